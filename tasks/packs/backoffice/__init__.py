"""The back-office: sessions, tasks for its schedules, and agents."""

from tasks.packs.backoffice.auth import cleanup_expired_sessions, cleanup_old_sessions, session_statistics
from tasks.packs.backoffice.pack import BACKOFFICE
from tasks.packs.backoffice.scheduled import cleanup_old_logs, run_test
from tasks.packs.backoffice.session_addresses import (
    close_session,
    list_sessions,
    open_session,
    read_session,
    read_statistics,
    touch_session,
)

__all__ = [
    "BACKOFFICE",
    "cleanup_expired_sessions",
    "cleanup_old_logs",
    "cleanup_old_sessions",
    "close_session",
    "list_sessions",
    "open_session",
    "read_session",
    "read_statistics",
    "run_test",
    "session_statistics",
    "touch_session",
]
