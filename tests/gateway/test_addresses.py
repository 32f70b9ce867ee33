"""What a pack declares, as the gateway serves it: over HTTP, with its tables in each kind of database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import GatewayOptions, create_app
from gateway.cli import schema
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
