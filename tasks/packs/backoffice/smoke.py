"""Shows on a running gateway that the back-office works."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.smoke import Smoke


def smoke(gateway: Smoke) -> Iterator[str]:
    session = gateway.post("/api/backoffice/sessions", {"user_id": "smoke test", "ttl": 60})
    at = f"/api/backoffice/sessions/{session['id']}"
    gateway.check(gateway.post(f"{at}/touch")["expires_at"] >= session["expires_at"], "a touch prolongs the session")
    figures = gateway.job("auth.session_statistics")
    gateway.check(figures["open"] >= 1, "the statistics count the open session")
    gateway.check(gateway.post(f"{at}/close")["state"] == "closed", "the session is closed")
    yield f"opened, touched, counted and closed session {session['id']}"
    cleaned = gateway.job("auth.cleanup_expired_sessions")
    yield f"ended {cleaned['expired']} sessions whose time was over"
    said = gateway.job("scheduled_task.test_task", message="smoke")
    gateway.check(said["message"] == "smoke", "the test task says what it is told")
    yield f"ran the test task in the queue {said['queue']}"
    agents = gateway.job("periodic_agent_health_check")
    yield f"checked {agents['checked']} agents: {len(agents['failing'])} fail, {len(agents['overdue'])} are overdue"
