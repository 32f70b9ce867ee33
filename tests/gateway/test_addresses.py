"""What a pack declares, as the gateway serves it: over HTTP, with its tables in each kind of database."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from executors import assembly, packs
from executors.settings import Settings
from gateway import addresses
from gateway.app import Gateway, GatewayOptions, create_app
from gateway.cli import schema
from gateway.routes import OPERATIONS
from tasks.address import address
from tasks.errors import ConfigurationError
from tests.gateway.conftest import client_of
from tests.support import shop_pack

JSON = {"content-type": "application/json"}


def settings_of(url: str, **environment: str) -> Settings:
    return Settings(database_url=url, task_modules=("tests.support.shop_pack",), threads=2, environment=environment)


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    settings = settings_of(database_url, SHOP_NAME="corner", SHOP_ITEMS="tea,coffee")
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        yield client
    await packs.close(found)


async def test_from_an_address_to_the_table_and_back(shop: httpx2.AsyncClient) -> None:
    made = await shop.post("/api/shop/orders", json={"item": "coffee"})
    assert (made.status_code, made.json()) == (201, {"id": 1, "item": "coffee", "state": "new"})
    started = await shop.post("/api/shop/orders/1/pack")
    assert (started.status_code, started.json()["mode"]) == (202, "thread")
    job = (await shop.get(f"/api/v1/jobs/{started.json()['job_id']}?wait=20")).json()
    assert (job["status"], job["result"]) == ("SUCCESS", "corner: coffee")
    packed = await shop.get("/api/shop/orders?state=packed")
    assert packed.json() == [{"id": 1, "item": "coffee", "state": "packed"}]
    assert (await shop.delete("/api/shop/orders")).status_code == 204
    menu = await shop.get("/api/shop/menu")
    assert "menu.py" in menu.headers["content-disposition"]
    assert b"def menu" in menu.content


@pytest.mark.parametrize(
    ("request_", "body", "status", "kind", "place"),
    [
        ("POST /api/shop/orders", {"item": "gold"}, 409, "state-conflict", None),
        ("POST /api/shop/orders", {"item": ""}, 422, "invalid-submission", "/item"),
        ("POST /api/shop/orders", {"itme": "tea"}, 422, "invalid-submission", "/itme"),
        ("POST /api/shop/orders/77/pack", None, 404, "not-found", None),
        ("POST /api/shop/orders/x/pack", None, 404, "not-found", None),
        ("POST /api/shop/orders/%00/pack", None, 404, "not-found", None),
        ("GET /api/shop/price", None, 422, "invalid-parameters", "item"),
        ("GET /api/shop/orders?stat=new", None, 422, "invalid-parameters", "stat"),
        ("PUT /api/shop/orders", {}, 405, "method-not-allowed", None),
        ("POST /api/v1/jobs", {"task": "shop.mail_bill", "args": [1]}, 409, "not-configured", "/task"),
    ],
)
async def test_what_is_wrong_is_told_as_everywhere(
    shop: httpx2.AsyncClient, request_: str, body: Any, status: int, kind: str, place: str | None
) -> None:
    answer = await shop.request(*request_.split(), content=None if body is None else json.dumps(body), headers=JSON)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{kind}"), problem
    fault = (problem.get("errors") or [{}])[0]
    assert fault.get("pointer", fault.get("parameter")) == place
    if kind == "not-configured":
        assert "SHOP_MAIL_KEY" in problem["detail"]


async def test_they_are_described(shop: httpx2.AsyncClient) -> None:
    paths = (await shop.get("/openapi.json")).json()["paths"]
    assert paths["/api/shop/orders"]["post"]["requestBody"]["required"]
    assert [part["name"] for part in paths["/api/shop/orders/{number}/pack"]["post"]["parameters"]] == ["number"]
    assert "204" in paths["/api/shop/orders"]["delete"]["responses"]


async def test_a_key_needs_the_scope_of_the_address(database_url: str) -> None:
    settings = settings_of(database_url)
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    options = GatewayOptions(api_keys=("eve:kkkkkkkkkkkkkkkk:read",))
    async with assembly.gateway(settings) as control, client_of(create_app(control, options)) as client:
        client.headers["authorization"] = "Bearer kkkkkkkkkkkkkkkk"
        assert (await client.get("/api/shop/orders")).status_code == 200
        assert (await client.post("/api/shop/orders", json={"item": "tea"})).status_code == 403
    await packs.close(found)


async def test_a_start_without_the_tables_says_what_to_run(postgres_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"shop_orders.*jobgate db upgrade"):
        async with assembly.gateway(settings_of(postgres_url)):
            pass


def test_the_command_makes_the_tables(database_url: str) -> None:
    settings = settings_of(database_url)
    assert schema.found(settings).missing == ["shop_orders"]
    schema.upgrade(settings)
    assert schema.found(settings).current


def test_a_wrong_setting_names_its_variable(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="SHOP_OPEN='perhaps' is wrong"):
        assembly.load_tasks(settings_of(f"sqlite:///{tmp_path}/jobs.db", SHOP_OPEN="perhaps"))


def test_a_pack_is_switched_on_by_name_or_letter() -> None:
    assert Settings.from_env({"JOBGATE_PACKS": "files"}).modules.count("tasks.packs.files") == 1
    with pytest.raises(ConfigurationError, match=r"no pack 'fils'.*did you mean files"):
        Settings.from_env({"JOBGATE_PACKS": "fils"})


def test_nonsense_is_refused_where_it_is_declared() -> None:
    async def misnamed(number: int) -> None: ...

    with pytest.raises(ConfigurationError, match="name them in the path"):
        address("GET", "/api/x/{id}")(misnamed)


async def test_two_of_one_path_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    async def taken() -> None: ...

    monkeypatch.setattr(shop_pack, "taken", address("GET", "/api/v1/jobs")(taken), raising=False)
    async with assembly.gateway(settings_of(f"sqlite:///{tmp_path}/jobs.db")) as control:
        with pytest.raises(ConfigurationError, match="served by the gateway itself already"):
            create_app(control)


@pytest.fixture
async def everything(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with all packs."""
    settings = Settings.from_env(
        {"DATABASE_URL": f"sqlite:///{tmp_path / 'jobs.db'}", "JOBGATE_PACKS": "A,B,C,D,E", "FILES_ROOT": str(tmp_path)}
    )
    async with assembly.gateway(settings) as control:
        yield create_app(control)
        found = control.registry
    await packs.close(found)


OWNERS_IDS = ("celery_task_xyz", "run_abc123", "task_01HZX", "42x")


async def test_ids_of_other_forms_are_answered_in_words_wherever_a_path_has_an_id(everything: Gateway) -> None:
    """The ids that owners of other systems have in their programs: 404, and a sentence without a pattern."""
    operations = [*OPERATIONS, *addresses.operations(everything.control.registry.addresses, OPERATIONS)]
    asked = [operation for operation in operations if "{" in operation.path]
    assert len(asked) > 60
    async with client_of(everything) as client:
        for operation in asked:
            for given in OWNERS_IDS:
                path = operation.path.format_map(Given(given))
                answer = await client.request(operation.method, path, json=None if operation.method == "GET" else {})
                shown = f"{operation.method} {path}: {answer.status_code} {answer.text}"
                assert 400 <= answer.status_code < 500 or "profiles" in path, shown
                assert not re.search(r"regex|Expected|pattern|\[A-Z", answer.text), shown
                if answer.status_code == 404:
                    assert re.search(rf"\bno .*{given}", answer.json()["detail"], re.IGNORECASE), shown
                if operation.method == "GET" and "profiles" not in path:
                    assert answer.status_code == 404, shown


class Given(dict[str, str]):
    """One text for every part of a path that is not there."""

    def __init__(self, text: str) -> None:
        super().__init__(verb="restart", kind="wav")
        self.text = text

    def __missing__(self, key: str) -> str:
        return self.text
