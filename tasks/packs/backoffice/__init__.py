"""The back-office: sessions, tasks for its schedules, and agents."""

from tasks.packs.backoffice.agent_addresses import (
    change_agent,
    create_agent,
    delete_agent,
    list_agents,
    list_runs,
    list_tools,
    read_agent,
    run_agent,
)
from tasks.packs.backoffice.agent_tasks import execute_agent_periodic_task, periodic_agent_health_check
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
    "change_agent",
    "cleanup_expired_sessions",
    "cleanup_old_logs",
    "cleanup_old_sessions",
    "close_session",
    "create_agent",
    "delete_agent",
    "execute_agent_periodic_task",
    "list_agents",
    "list_runs",
    "list_sessions",
    "list_tools",
    "open_session",
    "periodic_agent_health_check",
    "read_agent",
    "read_session",
    "read_statistics",
    "run_agent",
    "run_test",
    "session_statistics",
    "touch_session",
]
