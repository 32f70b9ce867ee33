"""What jobs complain of: how attempts ended lately, and who has tried too often; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from executors.facts import Facts
from executors.finding import Finding, Severity
from executors.remedy import REMEDIES
from tasks.inventory import Inventory, Outcome
from tasks.job import ErrorCode, State

#: Attempts after which a job that still waits counts as one that may retry for ever.
MANY_ATTEMPTS = 10
#: What no further attempt can mend.
_CERTAIN = frozenset({ErrorCode.UNKNOWN_TASK, ErrorCode.INVALID_ARGUMENTS})

_WORDLESS = (
    "raise it with words (raise ValueError(f'no order {order_id}')); `jobgate attempts ID` has the traceback. A Celery "
    "program that shows just the task's name asks a worker that has not registered it"
)


def complaints(facts: Facts) -> Iterator[Finding]:
    """What fails, why, and what to do about it."""
    record = facts.record
    if record is None:
        return
    by_task: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in record.outcomes:
        by_task[outcome.task].append(outcome)
    for task, outcomes in by_task.items():
        yield from _failing(task, outcomes)
    yield from _endless(record)


def _failing(task: str, outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    ended = sum(outcome.count for outcome in outcomes)
    kinds: dict[tuple[str, str | None], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.error_code is not None and outcome.status != State.REVOKED:
            kinds[outcome.error_code, outcome.error_type].append(outcome)
    for (code, error_type), alike in kinds.items():
        count, last = sum(outcome.count for outcome in alike), alike[0]
        words = f"{error_type}: {last.message}" if error_type else last.message or ""
        wordless = _is_wordless(last)
        yield Finding(
            code="task_failing",
            severity=_severity(code, count, ended),
            detail=f"{count} of the last {ended} attempts of task {task} failed with {words} ({code})"
            + (". That says no more than a name: the exception was raised without words" if wordless else ""),
            done="attempts that may succeed are repeated, at most max_retries times" if code not in _CERTAIN else None,
            remedy=_remedy(code, wordless),
            data={
                "task": task,
                "error": {"code": code, "type": error_type, "message": last.message},
                "failed": count,
                "attempts": ended,
                "example": last.job_id,
            },
        )


def _severity(code: str, count: int, ended: int) -> Severity:
    if code in _CERTAIN or 2 * count > ended:
        return Severity.WARNING
    return Severity.NOTE


def _is_wordless(outcome: Outcome) -> bool:
    """Whether the message is just the name of the task or of the exception."""
    message = (outcome.message or "").strip(" '\"()")
    return message in {"", outcome.task, outcome.task.rpartition(".")[2], outcome.error_type}


def _remedy(code: str, wordless: bool) -> str:
    if wordless:
        return _WORDLESS
    return REMEDIES[code]


def _endless(record: Inventory) -> Iterator[Finding]:
    for found in record.waiting:
        if found.attempts >= MANY_ATTEMPTS:
            yield Finding(
                code="retries_endless",
                severity=Severity.WARNING,
                detail=f"a job of task {found.task} in queue {found.queue} has {found.attempts} attempts behind it and "
                "waits for the next",
                done="it ends in FAILURE when max_retries or max_losses is used up: there is no limit above 1,000",
                remedy=f"GET /api/v1/jobs?status=RETRY&task={found.task} finds it, …/why says what fails: mend that, "
                "cancel the job, and lower the task's max_retries",
                data={"task": found.task, "queue": found.queue, "attempts": found.attempts, "jobs": found.jobs},
            )
