"""Who may come in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from executors.control import Control
from executors.settings import is_loopback
from gateway import scopes
from gateway.auth import Keys, Neighbours
from gateway.guessing import ADDRESSES, FREE_FAILURES, Guessing
from gateway.problems import Refusal
from gateway.routes import OPERATIONS
from tasks.errors import ConfigurationError
from tasks.store.store import JobStore
from tests.gateway.conftest import opened
from tests.gateway.support import NOBODY, make_gateway


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> AsyncIterator[JobStore]:
    """One kind is enough here."""
    async with opened(request, template, tmp_path) as store:
        yield store


READ = {"task": "tests.read", "kwargs": {"path": "a.txt"}}


def client_of(control: Control, base_url: str = "http://jobs.example", **options: object) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=make_gateway(control, **options)), base_url=base_url)


@pytest.mark.parametrize("key", ["alpha", "beta:with:colons"])
async def test_a_key_opens_every_door(control: Control, key: str) -> None:
    async with client_of(control, api_keys=("alpha", "ops:beta:with:colons")) as client:
        headers = {"authorization": f"Bearer {key}"}
        assert (await client.post("/api/v1/jobs", json=READ, headers=headers)).status_code == 202
        assert (await client.get("/metrics", headers=headers)).status_code == 200


async def test_the_same_idempotency_key_of_two_callers_is_two_jobs(control: Control) -> None:
    gateway = make_gateway(control, api_keys=("shop:alpha", "ops:beta", "gamma", "delta", "shop:alpha-new"))
    ids = {}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=gateway), base_url="http://jobs.example"
    ) as client:
        for key in ("alpha", "beta", "gamma", "delta", "alpha-new"):
            headers = {"authorization": f"Bearer {key}", "idempotency-key": "order-4711"}
            answers = [await client.post("/api/v1/jobs", json=READ, headers=headers) for _ in range(2)]
            assert [answer.status_code for answer in answers] == ([200, 200] if key == "alpha-new" else [202, 200])
            (ids[key],) = {answer.json()["id"] for answer in answers}
    assert len(set(ids.values())) == 4
    # A caller who changes keys stays the same caller.
    assert ids["alpha-new"] == ids["alpha"]


async def test_another_callers_job_is_not_named_in_a_refusal(control: Control) -> None:
    async with client_of(control, api_keys=("shop:alpha", "ops:beta")) as client:
        for key, body in (("alpha", READ), ("beta", {**READ, "priority": 1})):
            headers = {"authorization": f"Bearer {key}", "idempotency-key": "order-4711"}
            assert (await client.post("/api/v1/jobs", json=body, headers=headers)).status_code == 202


def test_keys_have_names() -> None:
    keys = Keys(("shop:alpha", "beta", ":gamma", "ops:de:lta"))
    names = [
        keys.check({b"authorization": f"Bearer {key}".encode()}).name for key in ("alpha", "beta", "gamma", "de:lta")
    ]
    assert [names[0], names[3]] == ["shop", "ops"]
    assert names[1] != names[2]
    assert all(name.startswith("key-") and len(name) == 12 for name in names[1:3])


SCOPED = ("watch:w:read", "shop:s:submit+read", "desk:d:control", "ops:o:admin", "all:a", "odd:co:lon:read")
ALLOWED = {"w": {"read"}, "s": {"submit", "read"}, "d": {"control"}, "co:lon": {"read"}}
ASKED = {
    "read": [("GET", "/api/v1/jobs"), ("HEAD", "/api/v1/jobs"), ("GET", "/metrics"), ("GET", f"/api/v1/jobs/{NOBODY}")],
    "submit": [("POST", "/api/v1/jobs"), ("POST", "/api/v1/jobs:batch")],
    "control": [("POST", f"/api/v1/jobs/{NOBODY}/cancel"), ("POST", f"/api/v1/tasks/retry/{NOBODY}")],
    "admin": [("POST", "/api/v1/queues/celery/pause"), ("POST", "/api/v1/bulk"), ("GET", "/api/v1/audit"),
              ("POST", "/api/v1/schedules"), ("DELETE", "/api/v1/schedules/x")],
}  # fmt: skip


@pytest.mark.parametrize("key", ["w", "s", "d", "o", "a", "co:lon"])
async def test_a_key_allows_its_scopes_and_a_refusal_names_the_one_that_is_missing(control: Control, key: str) -> None:
    allowed = ALLOWED.get(key, set(ASKED))
    async with client_of(control, api_keys=SCOPED) as client:
        for scope, requests in ASKED.items():
            for method, url in requests:
                body = READ if url == "/api/v1/jobs" and method == "POST" else {}
                answer = await client.request(
                    method, url, json=None if method in ("GET", "HEAD") else body,
                    headers={"authorization": f"Bearer {key}"},
                )  # fmt: skip
                assert (answer.status_code == 403) == (scope not in allowed), (method, url, answer.text)
                if answer.status_code == 403:
                    assert f'scope="{scope}"' in answer.headers["www-authenticate"]
                if answer.status_code == 403 and method != "HEAD":
                    assert answer.json()["type"] == "/problems/missing-scope"
                    needs = answer.json()["detail"].partition(";")[0]
                    assert f"the scope {scope}" in needs
                    assert needs.count("admin") == 1


def test_every_operation_named_for_a_scope_exists() -> None:
    ids = {operation.id for operation in OPERATIONS}
    assert ids >= scopes._SUBMITS | scopes._CONTROLS | scopes._SECRETS


def test_a_wrong_scope_beside_a_right_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the scopes of 'shop' are some of read, submit, control, admin"):
        Keys(("shop:s:read+sumbit",))


@pytest.mark.parametrize("word", ["reed", "Read", "reads", "READ", "submitt", "admn", "controll", "reed+sumbit"])
def test_a_mistyped_scope_alone_is_refused_and_makes_no_admin(word: str) -> None:
    with pytest.raises(ConfigurationError, match="the scopes of 'shop' are some of read, submit, control, admin"):
        Keys((f"shop:s3cret:{word}",))


@pytest.mark.parametrize(
    "host", ["[::1]evil", "[::1", "[::1]:8000:9", "[::1]:port", "127.0.0.1:1@evil", "localhost.evil"]
)
def test_a_host_header_that_only_begins_well_is_refused(host: str) -> None:
    with pytest.raises(Refusal, match="answers to"):
        Neighbours().check("GET", {b"host": host.encode()})


@pytest.mark.parametrize("key", ["s3cret:read", "s3cret:read+admin", "s3cret:read:admin", "read"])
def test_a_scope_is_not_taken_for_a_key_nor_a_key_for_a_name(key: str) -> None:
    with pytest.raises(ConfigurationError, match="give name:key:scope") as refused:
        Keys((key,))
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("key", ["shop:", ":", "shop: ", "", "shop::read"])
def test_an_empty_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match="JOBGATE_API_KEYS takes name:key"):
        Keys(("ops:beta", key))


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        (None, "send the header"),
        ("", "send the header"),
        ("Bearer", "send the header"),
        ("Bearer  ", "send the header"),
        ("Basic YWxwaGE=", "send the header"),
        ("alpha", "send the header"),
        ("Bearer alph", "not one of"),
        ("Bearer alphaa", "not one of"),
        ("Bearer ops", "not one of"),
        ("Bearer ops:beta", "not one of"),
        ("Bearer alpha,beta", "not one of"),
    ],
)
async def test_without_a_key_nothing_is_told(control: Control, authorization: str | None, words: str) -> None:
    async with client_of(control, api_keys=("alpha", "ops:beta")) as client:
        headers = {} if authorization is None else {"authorization": authorization}
        for url in ("/api/v1/jobs", "/api/v1/nothing", "/metrics", "/openapi.json", "/"):
            answer = await client.get(url, headers=headers)
            assert answer.status_code == 401, url
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert words in answer.json()["detail"]


async def test_health_is_open_to_all(control: Control) -> None:
    async with client_of(control, api_keys=("alpha",)) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_metrics_are_open_if_somebody_says_so(control: Control) -> None:
    async with client_of(control, api_keys=("alpha",), metrics_public=True) as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/api/v1/stats")).status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:99", "LOCALHOST", "[::1]:8000", "[::1]"])
async def test_without_keys_loopback_comes_in(control: Control, host: str) -> None:
    async with client_of(control) as client:
        assert (await client.get("/", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:8000", "", "10.0.0.1", "[::2]"]
)
async def test_without_keys_a_foreign_host_does_not(control: Control, host: str) -> None:
    async with client_of(control) as client:
        assert (await client.get("/", headers={"host": host})).status_code == 421


async def test_a_host_can_be_allowed(control: Control) -> None:
    async with client_of(control, allowed_hosts=("jobs.example",)) as client:
        assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8000"}, 202),
        ({"sec-fetch-site": "none"}, 202),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "https://evil.example"}, 403),
    ],
)
async def test_other_sites_pages_change_nothing(control: Control, headers: dict[str, str], status: int) -> None:
    async with client_of(control, "http://127.0.0.1:8000") as client:
        assert (await client.post("/api/v1/jobs", json=READ, headers=headers)).status_code == status
        assert (await client.get("/api/v1/jobs", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("::", False),
     ("", False), ("jobs.example", False), ("10.0.0.1", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


async def test_guessing_is_throttled_and_told_and_locks_nobody_out(
    control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    right = {"authorization": "Bearer alpha"}
    async with client_of(control, api_keys=("ops:alpha:admin",)) as client:
        answers = [
            await client.get("/api/v1/tasks", headers={"authorization": f"Bearer guess-{n}"})
            for n in range(FREE_FAILURES + 5)
        ]
        assert [answer.status_code for answer in answers] == [401] * FREE_FAILURES + [429] * 5
        last = answers[-1]
        assert last.json()["type"] == "/problems/too-many-failures"
        assert 0 < int(last.headers["retry-after"]) <= 60
        assert last.headers["connection"] == "close"
        assert (await client.get("/api/v1/tasks")).status_code == 429, "without a key as well"
        assert (await client.get("/api/v1/tasks", headers=right)).status_code == 200, (
            "behind one proxy are many callers"
        )
        page = (await client.get("/metrics", headers=right)).text
    for kind, number in {"missing": 0, "wrong": FREE_FAILURES, "throttled": 6}.items():
        assert f'jobgate_http_unauthorized_total{{kind="{kind}"}} {number}.0\n' in page
    assert [record.getMessage() for record in caplog.records if "without a valid key" in record.getMessage()] == [
        "gateway: 1 requests without a valid key since the last such line, the latest from 127.0.0.1"
    ]


def test_failures_are_counted_by_the_minute_and_in_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    guessing = Guessing(lambda: now[0])
    refusal = Refusal("unauthorized", "wrong")
    kinds = [guessing.failed("a", refusal, missing=False).kind for _ in range(FREE_FAILURES + 1)]
    assert kinds == ["unauthorized"] * FREE_FAILURES + ["too-many-failures"]
    assert guessing.failed("b", refusal, missing=True) is refusal, "another address"
    now[0] = 60.0
    assert guessing.failed("a", refusal, missing=False) is refusal
    assert "13 requests" not in caplog.text
    assert "12 requests without a valid key since the last such line, the latest from a" in caplog.text
    for n in range(ADDRESSES + 10):
        guessing.failed(str(n), refusal, missing=False)
    assert len(guessing._failures) == ADDRESSES
