"""Everything a caller can get wrong: each is a 4xx problem that points at the fault and says what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.gateway.support import NOBODY

JOBS = "/api/v1/jobs"
BATCH = "/api/v1/jobs:batch"
ONE = f"{JOBS}/{NOBODY}"
JSON = {"content-type": "application/json"}
READ = {"task": "tests.read", "kwargs": {"path": "a"}}


class Wrong(NamedTuple):
    """A request, and what must be said about it. `place`: a pointer, `?parameter` or `header:Name`."""

    name: str
    status: int
    kind: str
    place: str | None
    words: str
    method: str = "POST"
    url: str = JOBS
    body: Any = None
    headers: dict[str, str] = JSON


def post(name: str, kind: str, place: str | None, words: str, body: Any, status: int = 422, **more: Any) -> Wrong:
    return Wrong(name, status, kind, place, words, body=body, **more)


def get(name: str, kind: str, place: str | None, words: str, url: str, status: int = 422, **more: Any) -> Wrong:
    return Wrong(name, status, kind, place, words, method="GET", url=url, headers={}, **more)


def bad_json(name: str, body: bytes | str, place: str | None, words: str) -> Wrong:
    return post(name, "malformed-json", place, words, body if isinstance(body, bytes) else body.encode(), 400)


def kwargs(text: str) -> str:
    return f'{{"task": "tests.anything", "kwargs": {text}}}'


MALFORMED = [
    bad_json("an empty body", "", None, "the body is empty"),
    bad_json("only spaces", "  \n", None, "Expecting value"),
    bad_json("not JSON", "task=tests.read", None, "Expecting value at line 1, column 1"),
    bad_json("a cut document", '{"task": "tests.read"', None, "Expecting ',' delimiter"),
    bad_json("two documents", '{"task": "tests.nothing"} {}', None, "more text after the end"),
    bad_json("single quotes", "{'task': 1}", None, "property name"),
    bad_json("a trailing comma", '{"task": "tests.nothing",}', None, "line 1"),
    bad_json("UTF-16", '{"task": "tests.nothing"}'.encode("utf-16"), None, "not UTF-8"),
    bad_json("a byte-order mark", b"\xef\xbb\xbf{}", None, "Expecting value"),
    bad_json("broken UTF-8", b'{"task": "\xff"}', None, "not UTF-8 (byte 10)"),
    bad_json("a surrogate in the bytes", b'{"task": "\xed\xa0\x80"}', None, "not UTF-8"),
    bad_json("a raw control character", '{"task": "a\x01"}', None, "control character"),
    bad_json("NaN", kwargs('{"a": NaN}'), "/kwargs/a", "NaN is not JSON"),
    bad_json("Infinity", kwargs('{"a": [1, Infinity]}'), "/kwargs/a/1", "Infinity is not JSON"),
    bad_json("a number beyond doubles", kwargs('{"a": 1e400}'), "/kwargs/a", "1e400 is too large"),
    bad_json("an integer of 65 bits", kwargs('{"a": 18446744073709551616}'), "/kwargs/a", "integers have 64 bits"),
    bad_json("a negative integer of 65 bits", kwargs('{"a": -18446744073709551616}'), "/kwargs/a", "too large"),
    bad_json("an integer of 5,000 digits", kwargs('{"a": %s}' % ("9" * 5000)), "/kwargs/a", "too large"),
    bad_json("a key that stands twice", '{"task": "a", "task": "b"}', "/task", "'task' stands twice"),
    bad_json("a key twice, deep inside", kwargs('{"a": [{"b": 1, "b": 1}]}'), "/kwargs/a/0/b", "stands twice"),
    bad_json("an odd key twice", kwargs('{"a/b~": 1, "a/b~": 2}'), "/kwargs/a~1b~0", "stands twice"),
    bad_json("NUL in text", kwargs(r'{"a": "x\u0000"}'), "/kwargs/a", "NUL"),
    bad_json("NUL in a key", kwargs(r'{"\u0000": 1}'), "/kwargs/\ufffd", "NUL"),
    bad_json("half of a surrogate pair", kwargs(r'{"a": "\ud800"}'), "/kwargs/a", "surrogate"),
    bad_json("the wrong half", kwargs(r'{"a": ["\udc00"]}'), "/kwargs/a/0", "surrogate"),
    bad_json("40 levels", kwargs('{"a": ' + "[" * 40 + "]" * 40 + "}"), None, "more than 32 deep"),
    bad_json("100,000 levels", "[" * 100_000, None, "more than 32 deep"),
    bad_json("200,000 values", kwargs('{"a": [' + "0," * 200_000 + "0]}"), "", "at most 100,000 values"),
]

FIELDS = [
    post("an array", "invalid-submission", "", "expected `object`, got `array`", []),
    post("text", "invalid-submission", "", "expected `object`", "tests.read"),
    post("null", "invalid-submission", "", "expected `object`", b"null"),
    post("no task", "invalid-submission", "", "missing required field `task`", {}),
    post("a number as task", "invalid-submission", "/task", "expected `str`, got `int`", {"task": 1}),
    post("an unknown field", "invalid-submission", "/prio", "did you mean 'priority'?", {**READ, "prio": 1}),
    post(
        "a field of the record", "invalid-submission", "/status", "the fields are task", {**READ, "status": "SUCCESS"}
    ),
    post("args as an object", "invalid-submission", "/args", "expected `array`", {"task": "tests.read", "args": {}}),
    post(
        "kwargs as a list", "invalid-submission", "/kwargs", "expected `object`", {"task": "tests.read", "kwargs": []}
    ),
    post("a priority in words", "invalid-submission", "/priority", "expected `int", {**READ, "priority": "high"}),
    post("a priority of 10", "invalid-submission", "/priority", "from 0 to 9", {**READ, "priority": 10}),
    post("a fractional priority", "invalid-submission", "/priority", "expected `int", {**READ, "priority": 1.5}),
    post("a boolean priority", "invalid-submission", "/priority", "expected `int", {**READ, "priority": True}),
    post("a negative countdown", "invalid-submission", "/countdown", "seconds from 0", {**READ, "countdown": -1}),
    post("a countdown of a century", "invalid-submission", "/countdown", "seconds from 0", {**READ, "countdown": 4e9}),
    post("a countdown as text", "invalid-submission", "/countdown", "expected `float", {**READ, "countdown": "5"}),
    post(
        "an eta without offset", "invalid-submission", "/eta", "with an offset", {**READ, "eta": "2030-01-01T00:00:00"}
    ),
    post("an eta that is no moment", "invalid-submission", "/eta", "RFC 3339", {**READ, "eta": "tomorrow"}),
    post("an eta in the year 0", "invalid-submission", "/eta", "RFC 3339", {**READ, "eta": "0000-01-01T00:00:00Z"}),
    post(
        "eta and countdown",
        "invalid-submission",
        "/eta",
        "not both",
        {**READ, "countdown": 1, "eta": "2030-01-01T00:00:00Z"},
    ),
    post("expires as a list", "invalid-submission", "/expires", "expected `float | str", {**READ, "expires": []}),
    post("expires before now", "invalid-submission", "/expires", "seconds from 0", {**READ, "expires": -5}),
    post("negative retries", "invalid-submission", "/max_retries", "from 0 to 1000", {**READ, "max_retries": -1}),
    post("a time limit of 0", "invalid-submission", "/time_limit", "above 0", {**READ, "time_limit": 0}),
    post(
        "soft above hard",
        "invalid-submission",
        "/soft_time_limit",
        "below the hard",
        {**READ, "soft_time_limit": 9, "time_limit": 5},
    ),
    post("tags as text", "invalid-submission", "/tags", "expected `array`", {**READ, "tags": "a"}),
    post("a number as a tag", "invalid-submission", "/tags/1", "expected `str`", {**READ, "tags": ["a", 1]}),
    post("an empty tag", "invalid-submission", "/tags/0", "1 to 100", {**READ, "tags": [""]}),
    post("21 tags", "invalid-submission", "/tags", "at most 20", {**READ, "tags": ["t"] * 21}),
    post("held in words", "invalid-submission", "/held", "expected `bool`", {**READ, "held": "yes"}),
    post("an unknown task", "unknown-task", "/task", "did you mean tests.read", {"task": "tests.reed"}),
    post("an unknown queue", "unknown-queue", "/queue", "use one of celery, high, low", {**READ, "queue": "fast"}),
    post("an argument missing", "invalid-arguments", "/kwargs", "'path' is missing", {"task": "tests.read"}),
    post(
        "an argument too many",
        "invalid-arguments",
        "/kwargs/x",
        "the task takes path",
        {"task": "tests.read", "kwargs": {"path": "a", "x": 1}},
    ),
    post(
        "an argument of the wrong type",
        "invalid-arguments",
        "/kwargs/pages",
        "Expected `int`",
        {"task": "tests.read", "kwargs": {"path": "a", "pages": "two"}},
    ),
    post(
        "a positional argument of the wrong type",
        "invalid-arguments",
        "/args/0",
        "Expected `str`",
        {"task": "tests.read", "args": [7]},
    ),
    post(
        "positional arguments too many",
        "invalid-arguments",
        "/args/0",
        "too many",
        {"task": "tests.nothing", "args": [7]},
    ),
    post(
        "an argument twice",
        "invalid-arguments",
        "/kwargs/path",
        "twice",
        {"task": "tests.read", "args": ["a"], "kwargs": {"path": "b"}},
    ),
]

BATCHES = [
    post("an empty batch", "invalid-submission", "/jobs", "length >= 1", {"jobs": []}, url=BATCH),
    post("a batch without jobs", "invalid-submission", "", "missing required field `jobs`", {}, url=BATCH),
    post("a list as batch", "invalid-submission", "", "expected `object`", [READ], url=BATCH),
    post(
        "10,001 jobs",
        "invalid-submission",
        "/jobs",
        "length <= 10000",
        {"jobs": [{"task": "tests.nothing"}] * 10_001},
        url=BATCH,
    ),
    post(
        "a bad job in a batch",
        "invalid-submission",
        "/jobs/1/priority",
        "expected `int",
        {"jobs": [READ, {**READ, "priority": "x"}]},
        url=BATCH,
    ),
    post(
        "an unknown field in a batch",
        "invalid-submission",
        "/jobs/1/prio",
        "did you mean 'priority'",
        {"jobs": [READ, {**READ, "prio": 1}]},
        url=BATCH,
    ),
    post(
        "a bad argument in a batch",
        "invalid-arguments",
        "/jobs/17/kwargs/x",
        "unknown argument 'x'",
        {"jobs": [READ] * 17 + [{"task": "tests.read", "kwargs": {"path": "a", "x": 1}}]},
        url=BATCH,
    ),
    post(
        "an unknown task in a batch",
        "unknown-task",
        "/jobs/0/task",
        "no task 'x'",
        {"jobs": [{"task": "x"}]},
        url=BATCH,
    ),
    post(
        "NaN in a batch",
        "malformed-json",
        "/jobs/0/kwargs/a",
        "NaN",
        b'{"jobs": [{"task": "x", "kwargs": {"a": NaN}}]}',
        400,
        url=BATCH,
    ),
]

HEADS = [
    post("no content type", "unsupported-media-type", None, "Content-Type: application/json", READ, 415, headers={}),
    post(
        "a form",
        "unsupported-media-type",
        None,
        "got 'application/x-www-form-urlencoded'",
        b"task=a",
        415,
        headers={"content-type": "application/x-www-form-urlencoded"},
    ),
    post(
        "another charset",
        "unsupported-media-type",
        None,
        "UTF-8",
        READ,
        415,
        headers={"content-type": "application/json; charset=latin-1"},
    ),
    post("a large body", "payload-too-large", None, "1,048,576 bytes", b" " * (1024 * 1024 + 1), 413),
    post("a large batch", "payload-too-large", None, "16,777,216 bytes", b" " * (16 * 1024 * 1024 + 1), 413, url=BATCH),
    post(
        "an empty key",
        "invalid-parameters",
        "header:Idempotency-Key",
        "1 to 255",
        READ,
        headers={**JSON, "idempotency-key": ""},
    ),
    post(
        "a long key",
        "invalid-parameters",
        "header:Idempotency-Key",
        "1 to 255",
        READ,
        headers={**JSON, "idempotency-key": "k" * 256},
    ),
    post(
        "a key with a space",
        "invalid-parameters",
        "header:Idempotency-Key",
        "visible ASCII",
        READ,
        headers={**JSON, "idempotency-key": "a b"},
    ),
    post(
        "two lengths",
        "malformed-request",
        None,
        "not both",
        READ,
        400,
        headers={**JSON, "content-length": "5", "transfer-encoding": "chunked"},
    ),
    post(
        "a length in words",
        "malformed-request",
        None,
        "a whole number",
        READ,
        400,
        headers={**JSON, "content-length": "ten"},
    ),
    post(
        "a foreign host", "misdirected-request", None, "answers to", READ, 421, headers={**JSON, "host": "evil.example"}
    ),
    post(
        "a foreign page", "forbidden", None, "another site", READ, 403, headers={**JSON, "sec-fetch-site": "cross-site"}
    ),
    post(
        "a foreign origin",
        "forbidden",
        None,
        "another site",
        READ,
        403,
        headers={**JSON, "origin": "http://localhost:3000"},
    ),
]

ADDRESSES = [
    get("nothing there", "not-found", None, "GET /", "/api/v2/jobs", 404),
    get("a slash too many", "not-found", None, "GET /", "/api/v1/jobs/", 404),
    get("an odd path", "not-found", None, "GET /", "/%00%0a/x", 404),
    Wrong("a method it does not take", 405, "method-not-allowed", None, "takes GET, HEAD, POST", "DELETE"),
    Wrong("GET where POST is meant", 405, "method-not-allowed", None, "takes POST", "GET", BATCH),
    Wrong("an invented method", 405, "method-not-allowed", None, "got BREW", "BREW", "/livez"),
    get("an unknown job", "job-not-found", None, NOBODY, ONE, 404),
    get("an id that is none", "job-not-found", None, "the ids of jobs are UUIDs", f"{JOBS}/7", 404),
    get("an id with braces", "job-not-found", None, "the ids of jobs are UUIDs", f"{JOBS}/{{{NOBODY}}}", 404),
    *(
        get(f"{part} of an unknown job", "job-not-found", None, NOBODY, f"{ONE}/{part}", 404)
        for part in ("result", "attempts", "logs", "events")
    ),
    *(
        Wrong(f"{verb} an unknown job", 404, "job-not-found", None, NOBODY, "POST", f"{ONE}/{verb}")
        for verb in ("cancel", "hold", "release", "retry")
    ),
    get("an unknown task's page", "task-not-found", None, "GET /api/v1/tasks", "/api/v1/tasks/nope", 404),
    get("status of an unknown task", "job-not-found", None, NOBODY, f"/api/v1/tasks/status/{NOBODY}", 404),
    Wrong("cancel of an unknown task", 404, "job-not-found", None, NOBODY, "POST", f"/api/v1/tasks/cancel/{NOBODY}"),
    Wrong("retry of what is no id", 404, "job-not-found", None, "UUID", "POST", "/api/v1/tasks/retry/x"),
    post(
        "generating without the pack",
        "unknown-task",
        "/task",
        "generate_ai_response",
        {},
        url="/api/v1/tasks/ai/generate",
    ),
    post("generating from a list", "invalid-arguments", None, "an object", [], url="/api/v1/tasks/ai/generate"),
]

QUERIES = [
    get("an unknown parameter", "invalid-parameters", "?pagesize", "did you mean 'page_size'", f"{JOBS}?pagesize=5"),
    get("a page size in words", "invalid-parameters", "?page_size", "expected `int`", f"{JOBS}?page_size=many"),
    get("a page size of 0", "invalid-parameters", "?page_size", ">= 1", f"{JOBS}?page_size=0"),
    get("a page size of nothing", "invalid-parameters", "?page_size", "expected `int`", f"{JOBS}?page_size="),
    get("an invented token", "invalid-parameters", "?page_token", "next_page_token", f"{JOBS}?page_token=abc"),
    get("an unknown state", "invalid-parameters", "?status", "'DONE'", f"{JOBS}?status=SUCCESS,DONE"),
    get(
        "a moment without offset",
        "invalid-parameters",
        "?created_after",
        "with an offset",
        f"{JOBS}?created_after=2030-01-01T00:00:00",
    ),
    get("a moment in words", "invalid-parameters", "?finished_before", "RFC 3339", f"{JOBS}?finished_before=now"),
    get(
        "a day that is none",
        "invalid-parameters",
        "?created_before",
        "RFC 3339",
        f"{JOBS}?created_before=2030-02-31T00:00:00Z",
    ),
    get("retry_of what is no id", "invalid-parameters", "?retry_of", "UUID", f"{JOBS}?retry_of=7"),
    get("a parameter twice", "invalid-parameters", "?tag", "twice", f"{JOBS}?tag=a&tag=b"),
    get("NUL in a parameter", "invalid-parameters", "?tag", "NUL", f"{JOBS}?tag=%00"),
    get("broken escapes", "invalid-parameters", None, "percent-encoded", f"{JOBS}?tag=%ff"),
    get("101 parameters", "invalid-parameters", None, "at most 100", f"{JOBS}?" + "&".join(["status=SUCCESS"] * 101)),
    get("a wait in words", "invalid-parameters", "?wait", "expected `float`", f"{ONE}?wait=long"),
    get("a negative wait", "invalid-parameters", "?wait", ">= 0", f"{ONE}?wait=-1"),
    get("a wait for ever", "invalid-parameters", "?wait", "wait", f"{ONE}?wait=nan"),
    get("logs after words", "invalid-parameters", "?after", "expected `int`", f"{ONE}/logs?after=x"),
    get("logs after 2^70", "invalid-parameters", "?after", "<=", f"{ONE}/logs?after={2**70}"),
    get("no lines of log", "invalid-parameters", "?limit", ">= 1", f"{ONE}/logs?limit=0"),
    get("a listing of words", "invalid-parameters", "?limit", "expected `int`", "/api/v1/tasks/list?limit=x"),
    get("a listing of no state", "invalid-parameters", "?status", "'done'", "/api/v1/tasks/list?status=done"),
    get("readiness of something", "invalid-parameters", "?verbos", "did you mean 'verbose'", "/readyz?verbos"),
]

WRONG = [*MALFORMED, *FIELDS, *BATCHES, *HEADS, *ADDRESSES, *QUERIES]


def place_of(error: dict[str, str]) -> str:
    if "parameter" in error:
        return f"?{error['parameter']}"
    return f"header:{error['header']}" if "header" in error else error["pointer"]


async def in_parts(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 256 * 1024):
        yield body[start : start + 256 * 1024]


def test_the_table_is_long_enough() -> None:
    assert len(WRONG) >= 60
    assert len({wrong.name for wrong in WRONG}) == len(WRONG)


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.name for wrong in WRONG])
async def test_a_wrong_request_is_told_what_is_wrong(shared_client: httpx2.AsyncClient, wrong: Wrong) -> None:
    body = wrong.body if isinstance(wrong.body, bytes | None) else json.dumps(wrong.body).encode()
    answer = await shared_client.request(wrong.method, wrong.url, content=body, headers=wrong.headers)
    assert answer.status_code == wrong.status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"/problems/{wrong.kind}"
    assert problem["status"] == wrong.status
    assert wrong.words in problem["detail"]
    places = [place_of(error) for error in problem.get("errors", [])]
    assert places == ([] if wrong.place is None else [wrong.place])
    assert "Traceback" not in answer.text


async def test_a_body_without_a_length_is_cut_off_at_the_limit(client: httpx2.AsyncClient) -> None:
    body = in_parts(b" " * (2 * 1024 * 1024))
    answer = await client.post(JOBS, content=body, headers=JSON)
    assert answer.status_code == 413


async def test_a_batch_with_one_bad_job_accepts_none(client: httpx2.AsyncClient) -> None:
    await client.post(BATCH, json={"jobs": [READ, {"task": "x"}]})
    assert (await client.get(JOBS)).json()["jobs"] == []
