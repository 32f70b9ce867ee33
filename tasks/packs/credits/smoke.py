"""The smoke test: an account is opened, used and read, and the books balance."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tasks.smoke import Smoke


def smoke(gateway: Smoke) -> Iterator[str]:
    account = f"smoke-{uuid.uuid4()}"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    gateway.job("tasks.credits.grant", account, 500)
    gateway.job("tasks.credits.grant", account, 100, expires_at=tomorrow)
    gateway.job("tasks.credits.deduct", account, 120, reason="smoke", key="once")
    gateway.job("tasks.credits.deduct", account, 120, reason="smoke", key="once")
    found = gateway.get(f"/api/credits/accounts/{account}")
    gateway.check((found["cents"], found["expiring"]) == (480, []), "of 600, 120 were spent once, what expires first")
    yield f"{account} has {found['cents']} cents"
    moved = [line["cents"] for line in gateway.get(f"/api/credits/accounts/{account}/statement")["lines"]]
    gateway.check(moved == [-120, 100, 500], "the statement has every transfer once, newest first")
    books = gateway.get("/api/credits/audit")
    gateway.check(books["balanced"], f"the books balance: {books['faults']}")
    yield f"the books of {books['accounts']} accounts balance: {books['held']} cents are held"
