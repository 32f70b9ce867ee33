"""The ledger: each transfer once, both sides at once, nothing below zero, on both databases."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import create_app
from tasks import FatalError
from tasks.packs import credits as credits_pack
from tasks.packs.credits import ledger, reading
from tasks.packs.credits.tables import ACCOUNTS, DATABASE, LOTS
from tasks.packs.credits.word import StatementQuery, Transfer
from tasks.testing import Recorder
from tests.gateway.conftest import client_of

SOON = datetime(2027, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.moment = SOON - timedelta(days=30)

    def __call__(self) -> int:
        return int(self.moment.timestamp() * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ledger, "now", clock)
    return clock


@pytest.fixture
async def book(database_url: str, clock: Clock) -> AsyncIterator[None]:
    """An empty ledger."""
    DATABASE.configure(database_url)
    await DATABASE.create()
    yield
    await DATABASE.close()


async def grant(job: str, account: str, cents: int, **options: Any) -> Transfer:
    return await credits_pack.grant.function(Recorder(job).context, account, cents, **options)


async def deduct(job: str, account: str, cents: int, **options: Any) -> Transfer:
    return await credits_pack.deduct.function(Recorder(job).context, account, cents, **options)


async def cents(account: str) -> int:
    return (await reading.balance(account)).cents


async def balanced() -> bool:
    found = await reading.audit()
    assert found.faults == []
    return found.balanced and found.issued == found.spent + found.expired + found.held


@pytest.mark.usefixtures("book")
async def test_a_job_that_runs_again_moves_nothing_again() -> None:
    first = await grant("job-1", "ann", 500)
    assert (first.balance, await grant("job-1", "ann", 500)) == (500, first)
    spent = await deduct("job-2", "ann", 120, reason="a book")
    assert (spent.balance, await deduct("job-2", "ann", 120, reason="a book")) == (380, spent)
    assert [one.id for one in await reading.transfers("job-2")] == [spent.id]
    assert await cents("ann") == 380
    assert await balanced()


@pytest.mark.usefixtures("book")
async def test_a_key_of_one_account_is_never_that_of_another() -> None:
    await grant("job-1", "a", 100, key="b:c")
    assert (await grant("job-2", "a:b", 100, key="c")).account == "a:b"
    assert (await cents("a"), await cents("a:b")) == (100, 100)


@pytest.mark.usefixtures("book")
async def test_a_key_holds_for_all_jobs_and_for_one_wish_of_one_account() -> None:
    await grant("job-1", "ann", 500)
    await grant("job-2", "bob", 500)
    first = await deduct("job-3", "ann", 120, key="order-7")
    assert await deduct("job-4", "ann", 120, key="order-7") == first
    assert (await deduct("job-5", "bob", 120, key="order-7")).id != first.id
    with pytest.raises(FatalError, match="used before"):
        await deduct("job-6", "ann", 121, key="order-7")
    with pytest.raises(FatalError, match="used before"):
        await grant("job-7", "ann", 120, key="order-7")
    assert (await cents("ann"), await cents("bob")) == (380, 380)


@pytest.mark.usefixtures("book")
async def test_nothing_is_spent_that_is_not_there_and_a_refusal_stays_one() -> None:
    await grant("job-1", "ann", 100)
    for _ in range(2):
        with pytest.raises(FatalError, match="ann had 100 cents, which is less than 101"):
            await deduct("job-2", "ann", 101)
        await grant("job-3", "ann", 50)  # once; the second run finds the refusal all the same
    assert await cents("ann") == 150
    assert [one.outcome for one in await reading.transfers("job-2")] == ["refused"]
    assert (await deduct("job-4", "ann", 150)).balance == 0
    with pytest.raises(FatalError, match="had 0 cents"):
        await deduct("job-5", "nobody", 1)
    assert await balanced()


@pytest.mark.usefixtures("book")
async def test_what_expires_first_is_spent_first_and_what_has_expired_is_not(clock: Clock) -> None:
    await grant("job-1", "ann", 100)
    await grant("job-2", "ann", 200, expires_at=SOON)
    await grant("job-3", "ann", 300, expires_at=SOON - timedelta(days=7))
    await deduct("job-4", "ann", 350)
    assert [(part.cents, part.at) for part in (await reading.balance("ann")).expiring] == [
        (150, "2027-01-01T00:00:00.000Z")
    ]
    clock.moment = SOON
    assert await cents("ann") == 100  # before anybody swept
    with pytest.raises(FatalError, match="had 100 cents"):
        await deduct("job-5", "ann", 101)
    assert (await deduct("job-7", "ann", 100)).balance == 0
    found = await reading.audit()
    assert (found.issued, found.spent, found.expired, found.held) == (600, 450, 150, 0)
    assert await balanced()


@pytest.mark.usefixtures("book")
async def test_expiry_takes_what_has_expired_once(clock: Clock) -> None:
    for number in range(3):
        await grant(f"job-{number}", f"user-{number}", 100, expires_at=SOON)
    clock.moment = SOON
    swept = await credits_pack.expire.function(Recorder("job-7").context)
    assert (swept.grants, swept.cents) == (3, 300)
    again = await credits_pack.expire.function(Recorder("job-7").context)
    assert (again.grants, again.cents) == (0, 0)
    lines = (await reading.statement("user-1", StatementQuery())).lines
    assert [(line.kind, line.cents, line.balance, line.job_id) for line in lines] == [
        ("expire", -100, 0, "job-7"),
        ("grant", 100, 100, "job-1"),
    ]
    assert await balanced()


@pytest.mark.usefixtures("book")
async def test_expiry_opens_no_account() -> None:
    await credits_pack.expire.function(Recorder("job-1").context, "nobody")
    async with DATABASE.reading() as tables:
        assert "nobody" not in (await tables.execute(select(ACCOUNTS.c.name))).scalars().all()


@pytest.mark.usefixtures("book")
async def test_many_at_once_spend_no_cent_twice() -> None:
    await grant("job-0", "ann", 1000)
    done: list[str] = []

    async def run(job: str) -> None:
        with suppress(FatalError):
            await deduct(job, "ann", 100)
            done.append(job)

    async with anyio.create_task_group() as group:
        # Each job twice at once, as when a worker that was given up comes back.
        for number in range(24):
            group.start_soon(run, f"job-{number // 2 + 1}")
    assert len(set(done)) == 10
    assert await cents("ann") == 0
    assert await balanced()


@pytest.mark.usefixtures("book")
async def test_what_is_broken_by_hand_is_found() -> None:
    await grant("job-1", "ann", 500)
    await deduct("job-2", "ann", 100)
    async with DATABASE.writing() as tables:
        await tables.execute(update(LOTS).values(left=399))
    found = await reading.audit()
    assert not found.balanced
    assert "account ann says 400, its lots 399" in found.faults
    with pytest.raises(FatalError, match="its lots 399"):
        await credits_pack.audit.function()
    async with DATABASE.writing() as tables:
        await tables.execute(text("UPDATE credits_entries SET cents = -99 WHERE cents = -100"))
    assert any("add up to" in fault for fault in (await reading.audit()).faults)


@pytest.mark.usefixtures("book")
async def test_an_expiry_without_a_zone_is_refused() -> None:
    with pytest.raises(FatalError, match="time zone"):
        await grant("job-1", "ann", 5, expires_at=datetime(2027, 1, 1))  # noqa: DTZ001 - that is the fault


MOVES = st.tuples(
    st.sampled_from(["grant", "grant-soon", "deduct", "deduct", "expire", "later"]), st.integers(1, 300), st.booleans()
)


class Purse:
    """What an account should do, in the simplest words: pairs of an end, or None, and cents."""

    def __init__(self) -> None:
        self.lots: list[list[Any]] = []

    @property
    def cents(self) -> int:
        return sum(lot[1] for lot in self.lots)

    def forget(self, moment: datetime) -> None:
        self.lots = [lot for lot in self.lots if lot[0] is None or lot[0] > moment]

    def spend(self, amount: int) -> None:
        if amount > self.cents:
            return
        for lot in sorted(self.lots, key=lambda lot: (lot[0] is None, lot[0])):
            taken = min(lot[1], amount)
            lot[1] -= taken
            amount -= taken


@pytest.mark.usefixtures("book")
@given(moves=st.lists(MOVES, min_size=1, max_size=12))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_it_does_what_a_purse_would(clock: Clock, moves: list[Any]) -> None:
    purse, account = Purse(), f"user-{uuid.uuid4().hex[:16]}"
    await grant(f"{account}-open", account, 1)
    purse.lots.append([None, 1])
    for number, (move, amount, again) in enumerate(moves):
        soon = clock.moment + timedelta(days=7) if move == "grant-soon" else None
        if move == "later":
            clock.moment += timedelta(days=3)
        purse.forget(clock.moment)
        for _ in range(2 if again else 1):
            with suppress(FatalError):
                await _move(f"{account}-{number}", move, account, amount, soon)
        if move.startswith("grant"):
            purse.lots.append([soon, amount])
        elif move == "deduct":
            purse.spend(amount)
    assert await cents(account) == purse.cents
    assert await balanced()


async def _move(job: str, move: str, account: str, amount: int, ends: datetime | None) -> None:
    if move.startswith("grant"):
        await grant(job, account, amount, expires_at=ends)
    elif move == "deduct":
        await deduct(job, account, amount)
    elif move == "expire":
        await credits_pack.expire.function(Recorder(job).context, account)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    wanted = Settings(database_url=database_url, task_modules=("tasks.packs.credits",), threads=2, environment={})
    found = assembly.load_tasks(wanted)
    await packs.create_tables(found)
    async with assembly.gateway(wanted) as control, client_of(create_app(control)) as client:
        yield client
    await packs.close(found)


async def test_it_is_read_over_http(client: httpx2.AsyncClient) -> None:
    async def run(task: str, *args: Any) -> dict[str, Any]:
        made = await client.post("/api/v1/jobs", json={"task": f"tasks.credits.{task}", "args": args})
        assert made.status_code == 202, made.text
        job: dict[str, Any] = (await client.get(f"/api/v1/jobs/{made.json()['id']}?wait=20")).json()
        assert job["queue"] == "credits"
        return job

    for amount in (100, 200, 300):
        await run("grant", "user-1", amount)
    done = await run("deduct", "user-1", 450)
    assert (done["result"]["balance"], done["result"]["outcome"]) == (150, "made")
    refused = await run("deduct", "user-1", 151)
    assert (refused["status"], refused["attempt"]) == ("FAILURE", 1)
    assert "user-1 had 150 cents" in refused["error"]["message"]
    assert (await run("balance", "user-1"))["result"]["cents"] == 150
    assert (await client.get("/api/credits/accounts/user-1")).json()["cents"] == 150
    page = (await client.get("/api/credits/accounts/user-1/statement?limit=3")).json()
    rest = (await client.get(f"/api/credits/accounts/user-1/statement?before={page['next_before']}")).json()
    assert [line["cents"] for line in page["lines"] + rest["lines"]] == [-450, 300, 200, 100]
    assert rest["next_before"] is None
    moved = (await client.get(f"/api/credits/jobs/{done['id']}/transfers")).json()
    assert [one["cents"] for one in moved] == [450]
    assert (await client.get("/api/credits/audit")).json()["balanced"]


async def test_what_is_wrong_is_told(client: httpx2.AsyncClient) -> None:
    for path in (
        "accounts/nobody",
        "accounts/@issued",
        "accounts/nobody/statement",
        "jobs/x/transfers",
        "jobs/%00/transfers",
    ):
        assert (await client.get(f"/api/credits/{path}")).status_code == 404
    for args in (["a b", 5], ["@issued", 5], ["ann", 0], ["ann", -5], ["ann", 1.5], ["ann", 10**13]):
        for task in ("grant", "deduct"):
            answer = await client.post("/api/v1/jobs", json={"task": f"tasks.credits.{task}", "args": args})
            assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-arguments")
