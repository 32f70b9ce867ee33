"""Requests to addresses that callers name: what is refused, what is sent on, and how much is taken."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.clients import guard, web
from tasks.clients.web import AddressRefused, Answer, AnswerTooLarge, Call, Rules, Unreachable
from tasks.errors import ConfigurationError
from tests.support.outside import NAME, Outside, outside


@pytest.fixture(scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with outside(tmp_path_factory.mktemp("outside")) as world:
        yield world


@pytest.fixture
def world(_world: Outside) -> Outside:
    _world.reset()
    return _world


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What names resolve to: one answer after the other, the last one stays."""
    table: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in table:
            return real(host, port, *args, **kwargs)
        found = table[host].pop(0) if len(table[host]) > 1 else table[host][0]
        return [entry for address in found for entry in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return table


def rules(world: Outside, **fields: Any) -> Rules:
    return Rules(**{"allowed": (f"127.0.0.1:{world.port}",), "timeout": 10.0, **fields})


async def get(url: str, wanted: Rules, **fields: Any) -> Answer:
    return await web.call(Call(**{"method": "GET", "url": url, **fields}), wanted)


LOOPBACK = "127.0.0.1 localhost 2130706433 0x7f.1 0177.0.0.1 127.1 0 １２７.0.0.1 [::1] [::ffff:127.0.0.1]"
PRIVATE = "10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 [fd00::1] 169.254.169.254 [fe80::1] [::ffff:169.254.169.254]"
ODD = (
    "[64:ff9b::7f00:1] [2002:7f00:1::] [2001:0:7f00:1::] 192.0.0.8 224.0.0.1 255.255.255.255 [::] [ff02::1] 198.18.0.1"
)


@pytest.mark.parametrize("host", f"{LOOPBACK} {PRIVATE} {ODD} 240.0.0.1 [::127.0.0.1]".split())
async def test_what_is_not_public_is_not_called(host: str) -> None:
    with pytest.raises(AddressRefused):
        await get(f"http://{host}:8080/latest/meta-data", Rules(timeout=5))


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_makes_it_no_more_public(address: Any) -> None:
    bare = guard.is_public(address)
    assert guard.is_public(ip_address(f"::ffff:{address}")) == bare
    for prefix in ("64:ff9b::", "::"):
        assert not guard.is_public(ip_address(f"{prefix}{address}"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "http://"),
        ("gopher://example.com/", "http://"),
        ("//example.com/", "http://"),
        ("http://", "http://"),
        ("http://user:pass@example.com/", "user and password"),
        ("http://exa mple.com:x/", "not an address"),
    ],
)
async def test_what_is_no_address_of_the_web_is_told(url: str, says: str) -> None:
    with pytest.raises(AddressRefused, match=says):
        await get(url, Rules())


async def test_ports_of_other_protocols_are_not_called(names: dict[str, list[list[str]]]) -> None:
    names["public.example"] = [["93.184.215.14"]]
    with pytest.raises(AddressRefused, match="port 25"):
        await get("http://public.example:25/", Rules())


async def test_what_is_allowed_is_called(world: Outside) -> None:
    body = b'{"q": 1}'
    wanted = Call(method="POST", url=f"{world.url}/echo", headers={"X-Api-Key": "k"}, body=body)
    for allowed in (f"127.0.0.1:{world.port}", "127.0.0.1", "127.0.0.0/8"):
        answer = await web.call(wanted, rules(world, allowed=(allowed,)))
        assert (answer.status, answer.json()["method"], answer.json()["body"]) == (200, "POST", '{"q": 1}')
        assert answer.json()["headers"]["x-api-key"] == "k"
    with pytest.raises(AddressRefused):
        await web.call(wanted, rules(world, allowed=("127.0.0.1:1", "10.0.0.0/8")))
    assert len(world.calls) == 3


async def test_a_name_is_resolved_once_and_what_was_checked_is_called(
    world: Outside, names: dict[str, list[list[str]]]
) -> None:
    # Good when it is looked at, another a moment later: the second answer must never be asked for.
    names["rebind.example"] = [["127.0.0.1"], ["127.0.0.2"], []]
    answer = await get(f"http://rebind.example:{world.port}/echo", rules(world, allowed=("127.0.0.1/32",)))
    assert answer.json()["headers"]["host"] == f"rebind.example:{world.port}"
    assert names["rebind.example"] == [["127.0.0.2"], []]
    # One bad address among good ones spoils all.
    names["mixed.example"] = [["93.184.215.14", "127.0.0.1"]]
    with pytest.raises(AddressRefused):
        await get(f"http://mixed.example:{world.port}/echo", Rules(timeout=1))


async def test_the_name_stays_that_of_the_request_and_of_the_certificate(
    world: Outside, names: dict[str, list[list[str]]]
) -> None:
    names[NAME] = names["other.example"] = [["127.0.0.1"]]
    wanted = rules(world, allowed=("127.0.0.0/8",), authorities=str(world.authority))
    answer = await get(f"https://{NAME}:{world.secure_port}/echo", wanted)
    assert answer.json()["headers"]["host"] == f"{NAME}:{world.secure_port}"
    with pytest.raises(Unreachable, match=r"(?i)certificate"):
        await get(f"https://other.example:{world.secure_port}/echo", wanted)


async def test_redirects_are_checked_and_bounded(world: Outside) -> None:
    answer = await get(f"{world.url}/to?url=/echo", rules(world))
    assert (answer.status, answer.url) == (200, f"{world.url}/echo")
    for place in ("http://169.254.169.254/", "file:///etc/passwd", f"http://localhost:{world.port}/echo"):
        with pytest.raises(AddressRefused):
            await get(f"{world.url}/to?url={place}", rules(world))
    with pytest.raises(AddressRefused, match="more than 2"):
        await get(f"{world.url}/to?url=/to?url=/to?url=/to?url=/echo", rules(world, max_redirects=2))


async def test_no_credential_goes_to_another_host(world: Outside, names: dict[str, list[list[str]]]) -> None:
    names[NAME] = [["127.0.0.1"]]
    both = rules(world, allowed=("127.0.0.0/8",), authorities=str(world.authority))
    secrets = {"Authorization": "Bearer s", "Cookie": "c=1", "X-Api-Key": "k", "Accept": "text/plain"}
    elsewhere = f"https://{NAME}:{world.secure_port}/echo"
    stays = (await get(f"{world.url}/to?url=/echo", both, headers=secrets)).json()["headers"]
    assert [stays[name.lower()] for name in secrets] == list(secrets.values())
    goes = (await get(f"{world.url}/to?url={elsewhere}", both, headers=secrets)).json()["headers"]
    assert goes["accept"] == "text/plain"
    assert not goes.keys() & {"authorization", "cookie", "x-api-key"}
    # Nor does a body, which may hold one.
    with pytest.raises(AddressRefused, match="body"):
        await get(f"{world.url}/to?status=307&url={elsewhere}", both, method="POST", body=b"secret")
    moved = await get(f"{world.url}/to?status=303&url={elsewhere}", both, method="POST", body=b"secret")
    assert (moved.json()["method"], moved.json()["body"]) == ("GET", "")
    again = await get(f"{world.url}/to?status=307&url=/echo", both, method="PUT", body=b"secret")
    assert (again.json()["method"], again.json()["body"]) == ("PUT", "secret")


async def test_size_and_time_are_bounded(world: Outside) -> None:
    assert len((await get(f"{world.url}/large/65536", rules(world, max_bytes=65536))).body) == 65536
    with pytest.raises(AnswerTooLarge, match="more than 65535"):
        await get(f"{world.url}/large/65536", rules(world, max_bytes=65535))
    with pytest.raises(AnswerTooLarge, match="packed"):
        await get(f"{world.url}/packed", rules(world))
    with pytest.raises(Unreachable, match=r"within 0\.2 s"):
        await get(f"{world.url}/slow", rules(world, timeout=0.2))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Content-Length": "0"},
        {"X-A": "a\r\nX-B: b"},
        {"X A": "a"},
        {"X-A": "naïve"},
        {"": "a"},
        {"X-A": " a"},
        {"X-A": "a "},
    ],
)
async def test_headers_that_would_change_the_request_are_refused(world: Outside, headers: dict[str, str]) -> None:
    with pytest.raises(AddressRefused):
        await get(f"{world.url}/echo", rules(world), headers=headers)
    assert world.calls == []


async def test_a_silent_address_leaves_time_for_the_next_one(
    world: Outside, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["two.example"] = [["127.0.0.9", "127.0.0.1"]]
    real, limits = httpx2.AsyncClient.send, []

    async def send(client: httpx2.AsyncClient, request: httpx2.Request, **options: Any) -> httpx2.Response:
        limits.append(client.timeout.connect)
        if request.url.host == "127.0.0.9":
            raise httpx2.ConnectTimeout("silent")
        return await real(client, request, **options)

    monkeypatch.setattr(httpx2.AsyncClient, "send", send)
    answer = await get(f"http://two.example:{world.port}/echo", rules(world, allowed=("Two.Example",)))
    assert (answer.status, limits) == (200, [5.0, 5.0])


async def test_what_the_wire_refuses_to_send_is_told_without_it(
    world: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(*_: Any, **__: Any) -> httpx2.Response:
        raise httpx2.LocalProtocolError("secret")

    monkeypatch.setattr(httpx2.AsyncClient, "send", send)
    with pytest.raises(AddressRefused, match="header") as refused:
        await get(f"{world.url}/echo", rules(world))
    assert "secret" not in str(refused.value)


async def test_a_name_that_is_not_there_may_be_there_later() -> None:
    with pytest.raises(Unreachable, match="resolved"):
        await get("http://nobody.invalid/", Rules(timeout=5))


async def test_what_is_no_success_is_an_answer_too(world: Outside) -> None:
    answer = await get(f"{world.url}/status/429?retry_after=7", rules(world))
    assert (answer.status, answer.ok, answer.retry_after, answer.json()) == (429, False, 7, {"said": "no"})


def test_an_allow_list_is_looked_at_before_it_is_used() -> None:
    guard.check_allowed(("api.example", "api.example:8080", "10.0.0.0/8", "fd00::/8", "127.0.0.1"))
    for wrong in ("http://api.example", "api.example/path", " api.example", "[fd00::1]:8080"):
        with pytest.raises(ConfigurationError, match="host:port"):
            guard.check_allowed((wrong,))


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "rot13", "hex", "zlib", "utf-7", "no-such"])
def test_only_encodings_of_the_web_are_used_however_an_answer_names_them(charset: str) -> None:
    body = "Grüße ".encode() + b"a" * 300_000
    answer = Answer(status=200, url="http://x/", headers={"content-type": f"text/plain; charset={charset}"}, body=body)
    assert answer.text.startswith("Grüße ")


def test_an_encoding_of_the_web_is_used() -> None:
    headers = {"content-type": 'text/plain; charset="Windows-1252"'}
    assert Answer(status=200, url="http://x/", headers=headers, body="Grüße".encode("cp1252")).text == "Grüße"
