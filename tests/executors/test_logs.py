"""The log's forms, and task modules that set up logging themselves."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from executors import logs
from executors.assembly import load_tasks
from executors.settings import Settings
from tasks import step
from tasks.job import Attempt, ErrorCode

ATTEMPT = Attempt("some-id", "shop.pay", "high", 0, "[]", 2, 1, 0, 3, 3, None, None, 0, "me")
BROKEN = step.Failure(code=ErrorCode.TASK_ERROR, message="100% of it", type="ValueError", trace="Traceback …\n  line 1")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The test runner's own set-up is there again afterwards."""
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in logs.QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.setLogRecordFactory(factory)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("INFO", "json")
    logs.log_outcome(ATTEMPT, step.succeed(ATTEMPT, "1", 0.25))
    logs.log_outcome(ATTEMPT, step.retry(ATTEMPT, BROKEN, 1.0, 0.5))
    good, bad = map(json.loads, capsys.readouterr().err.splitlines())
    job = {"job_id": "some-id", "task": "shop.pay", "queue": "high", "attempt": 2}
    assert good.items() >= {**job, "level": "INFO", "outcome": "SUCCESS", "runtime": 0.25}.items()
    assert bad.items() >= {**job, "level": "WARNING", "outcome": "RETRY", "runtime": 0.5}.items()
    assert "ValueError: 100% of it\nTraceback …\n  line 1" in bad["message"]


def test_text_names_the_job_on_the_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("WARNING")
    logs.log_outcome(ATTEMPT, step.succeed(ATTEMPT, "1", 0.25))
    logs.log_outcome(ATTEMPT, step.fail(ATTEMPT, BROKEN, 0.5))
    first, *trace = capsys.readouterr().err.splitlines()
    assert first.endswith(
        "WARNING jobgate.attempt: fail: FAILURE after 0.500 s, queue high: ValueError: 100% of it "
        "[job some-id, task shop.pay, attempt 2]"
    )
    assert trace == ["    Traceback …", "      line 1"]


@given(text=st.text())
@example(text="x\n2026-12-01 12:00:00,000 ERROR jobgate.audit: forged")
@example(text="\r\x1b[2J\x85\u2028\u202e\ud800\x00")
@pytest.mark.parametrize("place", ["message", "exception", "task"])
def test_no_text_forges_a_log_line(place: str, text: str) -> None:
    made: dict[str, Any] = {"name": "jobgate.test", "level": logging.ERROR, "pathname": "", "lineno": 1, "args": ()}
    error = ValueError(text)
    record = logging.LogRecord(
        **made,
        msg=text if place == "message" else "failed",
        exc_info=(ValueError, error, None) if place == "exception" else None,
    )
    if place == "task":
        record.jobgate_attempt = structs.replace(ATTEMPT, task=text)
    first, *rest = logs.formatter("text").format(record).split("\n")
    assert " ERROR jobgate.test: " in first
    assert all(line.startswith("    ") for line in rest)
    (line,) = logs.formatter("json").format(record).splitlines()
    assert json.loads(line)["logger"] == "jobgate.test"
    for shown in (first, *rest, line):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]", shown)
        shown.encode()


def test_a_task_module_that_sets_up_logging_leaves_the_product_s_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_logging_tasks.py").write_text(
        "import logging.config\n"
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'INFO', 'handlers': ['here']},\n"
        "    'handlers': {'here': {'class': 'logging.StreamHandler'}}})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = logging.getLogger("jobgate")
    monkeypatch.setattr(own, "handlers", [])
    monkeypatch.setattr(own, "propagate", True)
    logs.set_up("INFO")
    load_tasks(Settings.from_env({"TASK_MODULES": "own_logging_tasks"}))
    logs.log_outcome(ATTEMPT, step.succeed(ATTEMPT, "1", 0.25))
    logging.getLogger("shop").warning("of the shop")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert " INFO jobgate.attempt: succeed: SUCCESS" in lines[0], "in the product's form, and once"
    assert lines[1] == "of the shop", "in the module's"
    assert any(isinstance(handler, logs.JobLog) for handler in logging.getLogger().handlers)
