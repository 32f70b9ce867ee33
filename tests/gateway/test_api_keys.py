"""Which keys a server takes that other machines can reach, and the command that makes one."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import httpx2
import pytest

from executors.settings import Settings
from gateway.api_keys import new_entry, parse, weaknesses
from gateway.bind_address import check_bind_address
from gateway.scopes import SCOPES
from tasks.errors import ConfigurationError
from tests.gateway.cli.conftest import Shell
from tests.support.processes import Process, clean_environment, python

STRONG = "ops:jg_1y2U71diYfUZ_T57-vrJrKs2LJiQe0iY:admin"
WEAK = {
    "ops:change-me": "the key needs 20 characters",
    "a": "the key needs 20 characters",
    "ops:change-me:admin": "the key needs 20 characters",
    "ops:test:read": "the key needs 20 characters",
    "ops:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:read": "8 different ones",
    "ops:abababababababababababab:read": "8 different ones",
    "ops:change-me-please-0123456789:admin": "easy to guess",
    "ops:MySecretKeyOfTheShop2026:read": "easy to guess",
    "ops:Password-Password-1234567:read": "easy to guess",
    STRONG.removesuffix(":admin"): "it names no scope: add :read",
    STRONG.removeprefix("ops:").removesuffix(":admin"): "it names no scope",
}


@pytest.mark.parametrize("entry", WEAK)
def test_a_weak_key_is_refused_where_other_machines_can_use_it(entry: str, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(host="::", api_keys=(STRONG, entry))
    with pytest.raises(ConfigurationError, match=re.escape(WEAK[entry])) as refused:
        check_bind_address(settings)
    assert "entry 2" in refused.value.detail
    assert "jobgate keys new NAME --scope read" in refused.value.detail
    if len(parse(entry).secret) > 4:
        assert parse(entry).secret not in refused.value.detail
    check_bind_address(Settings(api_keys=(entry,)))
    assert "accepted on loopback only: entry 1" in caplog.text


@pytest.mark.parametrize(
    "entry",
    [
        STRONG,
        "shop:0c1d2e3f4a5b6c7d8e9fa0b1c2d3e4f5:read",
        "shop:6f1ce1b3-5b62-4c46-9d75-3f0a7f0c3a51:submit+read",
        "shop:co:lon:xyzzyvutjklmnopqrs:read",
    ],
)
def test_a_drawn_key_with_scopes_is_taken(entry: str) -> None:
    assert list(weaknesses([entry])) == []


def test_a_new_entry_is_strong_and_says_what_was_asked_for() -> None:
    entries = {new_entry("shop", ["submit", "read", "submit"]) for _ in range(500)}
    assert len(entries) == 500
    assert list(weaknesses(entries)) == []
    assert {parse(entry)._replace(secret="") for entry in entries} == {("shop", "", frozenset({"submit", "read"}))}


@pytest.mark.parametrize("name", ["", " ", "a b", "a:b", "a,b", "a'b", "a\nb"])
def test_a_name_that_an_entry_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a caller's name"):
        new_entry(name, ["read"])


def test_the_command_prints_an_entry_and_how_to_use_it() -> None:
    shell = Shell({})
    for scope in SCOPES:
        assert parse(shell.out("keys", "new", "shop", "--scope", scope)).scopes == {scope}
    found = shell.json("keys", "new", "shop", "--scope", "read", "--scope", "submit")
    assert found["entry"] == f"shop:{found['key']}:read+submit"
    assert "--scope takes one or more of read, submit, control, admin" in shell(
        "keys", "new", "shop", "--scope", "Read", exit=2
    ).stderr  # fmt: skip
    assert "Missing option" in shell("keys", "new", "shop", exit=2).stderr


@pytest.mark.parametrize(
    ("host", "behind_tls", "warns"),
    [("10.0.0.1", False, True), ("::", False, True), ("jobs.example", False, True),
     ("::", True, False), ("127.0.0.1", False, False), ("localhost", False, False)],
)  # fmt: skip
def test_plain_http_for_other_machines_is_warned_of(
    host: str, behind_tls: bool, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    check_bind_address(Settings(host=host, api_keys=(STRONG,), behind_tls=behind_tls))
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [True for message in messages if "plain HTTP" in message] == [True] * warns


def test_a_command_without_a_key_says_which_variable_to_set(tmp_path: Path) -> None:
    environment = clean_environment(DATABASE_URL=f"sqlite:///{tmp_path}/jobs.db", PORT="0", JOBGATE_API_KEYS=STRONG)
    process = Process("gateway", python("-m", "gateway"), environment, tmp_path)
    try:
        url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        words = Shell({"JOBGATE_URL": url})("list", exit=5).stderr
        assert words == f"jobgate: {url} needs an API key: set JOBGATE_API_KEY\n"
        words = Shell({"JOBGATE_URL": url, "JOBGATE_API_KEY": "wrong"})("list", exit=5).stderr
        assert words == f"jobgate: {url} needs an API key: the key in JOBGATE_API_KEY is none of its keys\n"
        while httpx2.get(f"{url}/api/v1/jobs").status_code != 429:
            pass
        words = Shell({"JOBGATE_URL": url})("list", exit=5).stderr
        assert words == f"jobgate: {url} needs an API key: set JOBGATE_API_KEY\n", "throttled, and told the same"
        assert Shell({"JOBGATE_URL": url, "JOBGATE_API_KEY": parse(STRONG).secret}).json("list") == []
    finally:
        process.stop()
