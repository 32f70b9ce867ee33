"""What a deployment says about the assistant."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.clients.chat import Endpoint, Usage
from tasks.clients.mail import Server
from tasks.clients.web import Rules

Price = Annotated[float, Meta(ge=0)] | None
Share = Annotated[float, Meta(gt=0, le=1)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Settings(Struct, frozen=True, kw_only=True):
    """Every field's variable is its name in capitals; docs/packs/assistant.md explains each. Those of the mail server
    are the mail pack's too: a deployment has one.

    Prices are for a million tokens, in whatever currency the deployment counts. Without both no cost is told.
    """

    assistant_chat_url: str = ""
    assistant_chat_key: str = ""
    assistant_chat_model: str = ""
    assistant_chat_timeout: Seconds = 120.0
    assistant_max_tokens: Count | None = None
    assistant_prompt: str = ""
    assistant_history: Annotated[int, Meta(ge=0)] = 20
    assistant_price_input: Price = None
    assistant_price_output: Price = None

    assistant_failure_rate: Share = 0.5
    assistant_failure_count: Count = 5
    assistant_stuck_after: Seconds = 600.0
    assistant_alerts: tuple[str, ...] = ()

    assistant_webhooks: bool = False
    assistant_webhook_hosts: tuple[str, ...] = ()
    assistant_webhook_timeout: Seconds = 30.0
    smtp_host: str = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65_535)] = 587
    smtp_user: str = ""
    smtp_password: str = ""
    smtp_starttls: bool = True
    smtp_authorities: str = ""
    smtp_timeout: Annotated[float, Meta(gt=0, le=120)] = 30.0
    mail_from: str = ""

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(
            base_url=self.assistant_chat_url,
            model=self.assistant_chat_model,
            key=self.assistant_chat_key,
            timeout=self.assistant_chat_timeout,
        )

    @property
    def mail(self) -> Server:
        return Server(
            host=self.smtp_host,
            port=self.smtp_port,
            user=self.smtp_user,
            password=self.smtp_password,
            starttls=self.smtp_starttls,
            authorities=self.smtp_authorities,
            timeout=self.smtp_timeout,
        )

    @property
    def webhooks(self) -> Rules:
        return Rules(allowed=self.assistant_webhook_hosts, timeout=self.assistant_webhook_timeout, max_redirects=0)

    def cost(self, usage: Usage | None) -> float | None:
        """What these tokens cost, or None where tokens or prices are not known."""
        if usage is None or self.assistant_price_input is None or self.assistant_price_output is None:
            return None
        asked, said = usage.prompt * self.assistant_price_input, usage.completion * self.assistant_price_output
        return round((asked + said) / 1_000_000, 9)
