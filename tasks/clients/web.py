"""HTTP to addresses that callers name: guarded, bounded, and nothing is carried over to other hosts.

For an address that an operator set (a model, a vendor) a plain client does; this one is for what stands in a job's
arguments. The name is resolved once, checked, and the checked address is what is connected to; so is every redirect's.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import anyio
import httpx2
import msgspec
from msgspec import Struct

from tasks.clients import bounded, guard, refusal
from tasks.clients.bounded import AnswerTooLarge
from tasks.clients.guard import AddressRefused, Unreachable
from tasks.errors import explain

__all__ = ["AddressRefused", "Answer", "AnswerTooLarge", "Call", "Rules", "Unreachable", "call"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: Headers that say how a message is sent; they are ours to set.
_OURS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect", "keep-alive"}
    | {"accept-encoding", "proxy-authorization", "proxy-connection"}
)
#: What goes along to another host; whatever else a caller set may be a credential.
_HARMLESS = frozenset(("accept", "accept-language", "content-type", "user-agent"))
_REDIRECTS = (301, 302, 303, 307, 308)
#: Encodings that an answer may name: labels of https://encoding.spec.whatwg.org/ that servers use. Each is decoded in
#: linear time; anything else is read as UTF-8.
CHARSETS = frozenset(
    {"utf-8", "utf8", "us-ascii", "ascii", "latin1", "utf-16", "utf-16le", "utf-16be", "macintosh", "koi8-r", "koi8-u"}
    | {"gbk", "gb2312", "gb18030", "big5", "euc-jp", "iso-2022-jp", "shift_jis", "euc-kr"}
    | {f"iso-8859-{n}" for n in (*range(1, 9), *range(10, 17)) if n != 12}
    | {f"windows-{n}" for n in (874, *range(1250, 1259))}
)
#: Addresses of one name that are tried.
_TRIES = 3


class Rules(Struct, frozen=True, kw_only=True):
    """What may be called, and how much of it.

    `allowed`: hosts, host:port or networks that may be called though they are not public; `timeout`: seconds for all of
    it, redirects and body; `max_bytes` of the answer's body; `authorities`: a PEM file of certificate authorities in
    place of the usual ones.
    """

    allowed: tuple[str, ...] = ()
    timeout: float = 30.0
    max_bytes: int = 1 << 20
    max_redirects: int = 5
    authorities: str = ""


class Call(Struct, frozen=True, kw_only=True):
    """One request; `body` is sent as it is."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Answer(Struct, frozen=True, kw_only=True):
    """What came back, from `url` in the end; header names are in lower case."""

    status: int
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        charset = self.headers.get("content-type", "").partition("charset=")[2].partition(";")[0].strip(' "').lower()
        # The other side names the codec, and some of Python's take time that grows with the square of the text.
        return self.body.decode(charset if charset in CHARSETS else "utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. ValueError for anything else."""
        return msgspec.json.decode(self.body)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the other side asks to be left alone, or None."""
        return refusal.retry_after(self.headers)


async def call(wanted: Call, rules: Rules) -> Answer:
    """Send the request, follow its redirects, and take the answer, whatever its status is.

    Raises AddressRefused, AnswerTooLarge (both end a job) and Unreachable (which may pass).
    """
    _refuse_nonsense(wanted)
    try:
        with anyio.fail_after(rules.timeout):
            for _ in range(rules.max_redirects + 1):
                answer = await _once(wanted, rules)
                target = answer.headers.get("location") if answer.status in _REDIRECTS else None
                if target is None:
                    return answer
                if not rules.max_redirects:
                    raise AddressRefused(f"{_host(wanted.url)} redirects, which is not followed")
                wanted = _redirected(wanted, answer.status, target)
    except TimeoutError as error:
        raise Unreachable(f"{_host(wanted.url)} did not answer within {rules.timeout:g} s") from error
    raise AddressRefused(f"{_host(wanted.url)} redirects more than {rules.max_redirects} times")


async def _once(wanted: Call, rules: Rules) -> Answer:
    url = _parsed(wanted.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await guard.addresses(url.raw_host.decode("ascii"), port, rules.allowed)
    tried = found[:_TRIES]
    # A silent address leaves time for the next one.
    limits = httpx2.Timeout(rules.timeout, connect=rules.timeout / max(len(tried), 1))
    for number, address in enumerate(tried, start=1):
        try:
            return await _sent(wanted, url, str(address), rules, limits)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if number == len(tried):
                raise Unreachable(f"{url.host} cannot be connected to: {explain(error)}") from error
        except httpx2.LocalProtocolError:
            raise AddressRefused("a header holds what no HTTP header takes") from None
        except httpx2.TransportError as error:
            raise Unreachable(f"{url.host} broke off: {explain(error)}") from error
    raise Unreachable(f"{url.host} has no address")


async def _sent(wanted: Call, url: httpx2.URL, address: str, rules: Rules, limits: httpx2.Timeout) -> Answer:
    # A client for each request: no connection, cookie or proxy of the environment is shared with any other.
    async with httpx2.AsyncClient(
        verify=_trust(rules.authorities), trust_env=False, timeout=limits, follow_redirects=False
    ) as client:
        own = {"host": url.netloc.decode("ascii"), **bounded.PLAIN}
        request = client.build_request(
            wanted.method,
            url.copy_with(host=address),
            headers={**wanted.headers, **own},
            content=wanted.body or None,
            # The certificate must be the name's, not the address's.
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        response = await client.send(request, stream=True)
        try:
            bounded.limit(response, rules.max_bytes)
            body = await response.aread()
        finally:
            await response.aclose()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, url=str(url), headers=headers, body=body)


def _redirected(wanted: Call, status: int, location: str) -> Call:
    before = _parsed(wanted.url)
    try:
        after = before.join(location)
    except httpx2.InvalidURL as error:
        raise AddressRefused(f"{before.host} redirects to what is no address: {error}") from error
    same = (before.scheme, before.netloc) == (after.scheme, after.netloc)
    becomes_get = (status == 303 and wanted.method != "HEAD") or (status in (301, 302) and wanted.method == "POST")
    if wanted.body and not same and not becomes_get:
        raise AddressRefused(f"{before.host} redirects the request's body to {after.host}: it was not meant for that")
    headers = {k: v for k, v in wanted.headers.items() if same or k.lower() in _HARMLESS}
    if becomes_get:
        kept = {k: v for k, v in headers.items() if k.lower() != "content-type"}
        return Call(method="GET", url=str(after), headers=kept)
    return Call(method=wanted.method, url=str(after), headers=headers, body=wanted.body)


def _refuse_nonsense(wanted: Call) -> None:
    if wanted.method not in METHODS:
        raise AddressRefused(f"method {wanted.method!r}: takes {', '.join(METHODS)}")
    for name, value in wanted.headers.items():
        if name.lower() in _OURS:
            raise AddressRefused(f"the header {name!r} is set here and not taken from a caller")
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise AddressRefused(f"{name!r} is not the name of a header")
        if not value.isprintable() or not value.isascii() or value != value.strip():
            raise AddressRefused(f"the header {name!r} holds characters that a header cannot")


def _parsed(text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise AddressRefused(f"{text[:200]!r} is not an address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise AddressRefused(f"{text[:200]!r}: takes an address with http:// or https:// and a host")
    if url.userinfo:
        raise AddressRefused(f"{url.host}: a user and password in an address are not sent; use a header")
    return url


def _host(text: str) -> str:
    return _parsed(text).host


@lru_cache(maxsize=8)
def _trust(authorities: str) -> ssl.SSLContext:
    # Read once: it takes longer than many a call.
    return ssl.create_default_context(cafile=authorities) if authorities else httpx2.create_ssl_context(trust_env=False)
