"""Control characters in paths, page tokens and query values: a 4xx on every route, no 500, no log line."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import get_type_hints

import httpx2
import pytest

from executors.control import Control
from gateway.operation import Operation
from gateway.routes import OPERATIONS
from tasks.admission import Admission, Defaults
from tasks.errors import InvalidSubmission
from tasks.job import Submission
from tests.gateway.conftest import client_of
from tests.gateway.support import NOBODY, REGISTRY, Broken, make_gateway

ATTACKS = ["%00", "x%00", "%00%0a2026-12-01%20ERROR%20jobgate.audit:%20forged", "%0d%0aforged", "%1b[2J", "a%7f"]
TOKENS = ["\x00", "\x00\x00\x00", "a\nforged", "\x1b[2J", "\x7f"]
OPEN = re.compile(r"\{\w+\}")


def paths() -> Iterator[tuple[str, str]]:
    for operation in OPERATIONS:
        for attack in ATTACKS:
            if not OPEN.search(operation.path):
                yield operation.method, operation.path + attack
            for place in OPEN.finditer(operation.path):
                attacked = operation.path[: place.start()] + attack + operation.path[place.end() :]
                yield operation.method, OPEN.sub(NOBODY, attacked)


def queries(value: list[str], only: str = "") -> Iterator[tuple[Operation, str]]:
    for operation in OPERATIONS:
        for name in get_type_hints(operation.query) if operation.query else ():
            if not only or name == only:
                for each in value:
                    yield operation, f"{OPEN.sub(NOBODY, operation.path)}?{name}={each}"


async def test_a_control_character_in_a_path_is_404_on_every_route(
    shared_client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    for method, url in paths():
        answer = await shared_client.request(method, url)
        assert answer.status_code == 404, (method, url, answer.text)
    assert caplog.messages == []


async def test_a_nul_in_a_query_value_is_422_on_every_route_and_no_other_character_harms(
    shared_client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    cases = list(queries(ATTACKS))
    assert {operation.id for operation, _ in cases} >= {"listJobs", "pauseQueue", "listSchedules", "readAudit"}
    for operation, url in cases:
        answer = await shared_client.request(operation.method, url)
        # What the path names is looked for first on some routes, and there is nothing of that name.
        allowed = {404, 422} if "{" in operation.path else {422} if "%00" in url else {200, 404, 409, 415, 422}
        assert answer.status_code in allowed, (operation.method, url, answer.text)
    for name in ("%00", "a%0ab"):
        assert (await shared_client.get(f"/api/v1/jobs?{name}=1")).status_code == 422
    assert caplog.messages == []


async def test_a_page_token_of_control_characters_is_422_on_every_route(
    shared_client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = [base64.urlsafe_b64encode(token.encode()).decode().rstrip("=") for token in TOKENS]
    cases = list(queries(tokens, only="page_token"))
    assert {operation.id for operation, _ in cases} >= {"listJobs", "listSchedules", "readAudit"}
    for operation, url in cases:
        answer = await shared_client.request(operation.method, url)
        assert answer.status_code == 422, (url, answer.text)
        assert answer.json()["errors"][0]["parameter"] == "page_token"
    assert caplog.messages == []


async def test_a_tag_of_any_characters_but_nul_finds_itself(client: httpx2.AsyncClient) -> None:
    odd = "a\\b_c%d/\u00e9\U0001f600\n\x1f\x7f"
    job = (await client.post("/api/v1/jobs", json={"task": "tests.nothing", "tags": ["a", odd]})).json()
    assert [each["id"] for each in (await client.get("/api/v1/jobs", params={"tag": odd})).json()["jobs"]] == [
        job["id"]
    ]
    with pytest.raises(InvalidSubmission, match="a tag holds no NUL"):
        Admission(REGISTRY, Defaults()).admit(Submission(task="tests.nothing", tags=["a\0"]))


async def test_the_log_line_of_a_failure_quotes_the_path(control: Control, caplog: pytest.LogCaptureFixture) -> None:
    gateway = make_gateway(control)
    gateway.control = Broken(ZeroDivisionError("broken"))  # type: ignore[assignment]  # every verb of it fails
    async with client_of(gateway) as client:
        answer = await client.get("/api/v1/jobs/%C2%85forged")
        assert answer.status_code == 404
        answer = await client.get("/api/v1/schedules/%C2%85forged%E2%80%A8line")
    assert answer.status_code == 500
    assert [record.getMessage() for record in caplog.records] == [
        r"gateway: 'GET' '/api/v1/schedules/\x85forged\u2028line' failed, answered with 500"
    ]
