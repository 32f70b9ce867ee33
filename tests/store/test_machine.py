"""The machine runs on both databases as they are, and falls over every deliberately broken variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import text

from tasks.store.backend import Backend, Query, Rows, make_backend, parse_url
from tasks.store.sqlite import SqliteBackend
from tests.store.machine import WORDING, Machine
from tests.store.support import CLOCK

CALM = settings(deadline=None, database=None, print_blob=False, suppress_health_check=list(HealthCheck))
THOROUGH = settings(CALM, max_examples=40, stateful_step_count=30)
#: Enough to find most of the mutants below, without a word on how; the rarest are given ten times as many.
BRIEF = settings(CALM, max_examples=300, stateful_step_count=30, derandomize=True, phases=[Phase.generate])

#: Name, statement, and what is broken in it. All are run without the schema's guards, or those would find them first.
MUTANTS = [
    ("settle by any attempt", "SETTLE", "AND jobs.attempt = s.attempt", ""),
    ("settle by any owner", "SETTLE", "AND jobs.owner = s.owner", ""),
    ("settle from any state", "SETTLE", "jobs.status = 'STARTED' AND jobs.attempt = s.attempt AND jobs.owner = s.owner",
     "jobs.attempt = s.attempt AND s.owner IN (jobs.owner, jobs.finished_by)"),
    ("settle past a cancel", "SETTLE", "cancel_requested_at IS NOT NULL", "1 = 0"),
    ("claim whoever waits", "CLAIM", "rank IS NOT NULL", "1 = 1"),
    ("claim what has expired", "CLAIM", "(expires_at IS NULL OR expires_at > {now})", "1 = 1"),
    ("claim what already runs", "CLAIM", "status IN ('PENDING', 'RETRY') AND limit_name = '' AND rank IS NOT NULL",
     "status IN ('PENDING', 'RETRY', 'STARTED') AND limit_name = ''"),
    ("claim without counting", "CLAIM", "attempt = attempt + 1", "attempt = attempt"),
    ("take the worst first", "TAKE", "ORDER BY level, rank, number", "ORDER BY level, rank DESC, number"),
    ("take what has expired", "TAKE", "(expires_at IS NULL OR expires_at > {now})", "1 = 1"),
    ("cancel what has ended", "CANCEL", "'STARTED') RETURNING", "'STARTED', 'SUCCESS', 'FAILURE') RETURNING"),
    ("cancel without a word", "CANCEL", "COALESCE(cancel_requested_at, {now})", "cancel_requested_at"),
    ("cancel leaves it in line", "CANCEL", "rank = NULL, waits_for = NULL, rung_at = NULL", "rung_at = NULL"),
    ("reap who still lives", "REAP", "lease_until < {now}", "lease_until < {now} + 5000"),
    ("reap past a cancel", "REAP", "WHEN cancel_requested_at IS NOT NULL THEN 'REVOKED'", ""),
    ("reap for ever", "REAP", "WHEN losses < max_losses THEN", "WHEN losses <= max_losses THEN"),
    ("reap the lost as overrun", "REAP", "AND seen_at >= jobs.started_at + time_limit * 1000", ""),
    ("renew any attempt", "RENEW", "AND jobs.attempt = s.attempt", ""),
    ("renew for anybody", "RENEW", "AND jobs.owner = :owner", "AND :owner = :owner"),
    ("renew for ever", "RENEW", "COALESCE(cancel_requested_at + :grace, {now} + :lease)", "{now} + :lease"),
    ("release what runs", "RELEASE", "status IN ('PENDING', 'RETRY')", "status IN ('PENDING', 'RETRY', 'STARTED')"),
    ("stage what is held", "STAGE", "held = 0", "1 = 1"),
    ("stage too early", "STAGE", "due_at <= {now}", "due_at <= {now} + 2000"),
    ("expire what runs", "EXPIRE", "status IN ('PENDING', 'RETRY')", "status IN ('PENDING', 'RETRY', 'STARTED')"),
]  # fmt: skip  # a table


@contextmanager
def _machine(url: str, wording: dict[str, str], guarded: bool = True) -> Iterator[type[Machine]]:
    with start_blocking_portal() as portal:
        backend = portal.call(partial(make_backend, parse_url(url), clock=CLOCK))
        portal.call(_prepare, backend, guarded)

        def transact(self: Machine, program: list[Query]) -> list[Rows]:
            if isinstance(backend, SqliteBackend):
                return backend._transact(program)  # nobody else is there: two changes of thread less
            return portal.call(backend.transact, program)

        try:
            yield type("Driven", (Machine,), {"transact": transact, "wording": {**WORDING, **wording}})
        finally:
            portal.call(backend.stop)


async def _prepare(backend: Backend, guarded: bool) -> None:
    async with backend.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS clock (ms BIGINT NOT NULL)"))
        await connection.execute(text("INSERT INTO clock VALUES (0)"))
    await backend.start()
    if not guarded:
        drops = ["DROP TRIGGER jobs_guarded", "PRAGMA ignore_check_constraints = 1"]
        await backend.transact([Query(sql) for sql in drops])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_record_keeps_its_rules_whatever_comes(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[kind])
    with _machine(url, {}) as machine:
        run_state_machine_as_test(machine, settings=THOROUGH)


def test_it_does_so_without_the_schemas_guards(template_copies: Callable[[], str]) -> None:
    with _machine(template_copies(), {}, guarded=False) as machine:
        run_state_machine_as_test(machine, settings=settings(BRIEF, max_examples=50))


@pytest.mark.parametrize(("name", "statement", "sound", "broken"), MUTANTS, ids=[name for name, *_ in MUTANTS])
def test_a_broken_variant_is_found(
    template_copies: Callable[[], str], name: str, statement: str, sound: str, broken: str
) -> None:
    assert sound in WORDING[statement], "the mutant does not change anything any more"
    wording = {statement: WORDING[statement].replace(sound, broken)}
    with _machine(template_copies(), wording, guarded=False) as machine, pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(machine, settings=settings(BRIEF, max_examples=3000))
