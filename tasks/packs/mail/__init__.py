"""Mail over SMTP: `tasks.email.send_email` and `tasks.email.send_notification`."""

from tasks.packs.mail.addresses import read_deliveries, read_sender
from tasks.packs.mail.letters import send_email, send_notification
from tasks.packs.mail.settings import MAIL

__all__ = ["MAIL", "read_deliveries", "read_sender", "send_email", "send_notification"]
