"""Puts a question to a platform over HTTP: in its turn, again where that can help, and says in words what failed."""

from __future__ import annotations

import asyncio
import re
import ssl
from functools import lru_cache
from urllib.parse import urljoin, urlsplit

import httpx2
import msgspec
from msgspec import Struct

from tasks.clients import bounded, refusal
from tasks.errors import FatalError
from tasks.packs.citations import pace
from tasks.packs.citations.host import domain_of
from tasks.packs.citations.platforms import Access, Answer, Platform, PlatformFailed, Source
from tasks.packs.citations.settings import Settings

#: Bytes of an answer.
MAX_ANSWER = 8 << 20
#: Where Gemini's redirects lie, beside the base address that is configured.
_REDIRECTORS = {"vertexaisearch.cloud.google.com"}
_REDIRECT_TIMEOUT = 10.0
_VERSION = re.compile(r"/v\d\w*(?=/)")


def connect(settings: Settings) -> httpx2.AsyncClient:
    """The client of one job."""
    return httpx2.AsyncClient(
        verify=_trust(), timeout=settings.citations_timeout, trust_env=False, headers=bounded.PLAIN
    )


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    # Read once: it takes longer than many an answer.
    return httpx2.create_ssl_context(trust_env=False)


class Asking(Struct, frozen=True):
    """A question to one platform, as a deployment reaches it."""

    platform: Platform
    access: Access
    settings: Settings
    http: httpx2.AsyncClient

    async def answer(self, question: str) -> Answer:
        """What the platform says. Raises PlatformFailed after the last try."""
        last = self.settings.citations_tries - 1
        for number in range(last):
            try:
                return await self._in_turn(question)
            except PlatformFailed as failure:
                if failure.lasting or (failure.retry_after or 0) > self.settings.citations_patience:
                    raise
                if failure.retry_after is None:
                    await asyncio.sleep(self.settings.citations_pause * 2**number)
        return await self._in_turn(question)

    async def _in_turn(self, question: str) -> Answer:
        await pace.turn(self.platform.name, self.access.interval, self.settings.citations_patience)
        try:
            return await self._once(question)
        except PlatformFailed as failure:
            if failure.retry_after:
                await pace.pause(self.platform.name, failure.retry_after)
            raise

    async def _once(self, question: str) -> Answer:
        request = self.platform.request(question, self.access)
        url = address(self.access.base_url, request.path)
        try:
            async with (
                asyncio.timeout(self.settings.citations_timeout),
                self.http.stream("POST", url, json=request.body, headers=request.headers) as reply,
            ):
                bounded.limit(reply, MAX_ANSWER)
                body = await reply.aread()
        except bounded.AnswerTooLarge as error:
            raise PlatformFailed(error.detail, lasting=True) from None
        except (TimeoutError, httpx2.TimeoutException):
            raise PlatformFailed(f"no answer within {self.settings.citations_timeout:g} s") from None
        except (httpx2.LocalProtocolError, UnicodeEncodeError):
            # Its words would hold the key.
            raise PlatformFailed("its key holds what no HTTP header takes", lasting=True) from None
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise PlatformFailed(refusal.broken(self.platform.name, error).detail) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise PlatformFailed(f"{type(error).__name__}: {error}", lasting=True) from error
        if reply.status_code != 200:
            raise self._refused(reply, body)
        return await self._understood(body)

    async def _understood(self, body: bytes) -> Answer:
        try:
            answer = self.platform.read(msgspec.json.decode(body, type=self.platform.reply))
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError) as error:
            raise PlatformFailed(f"its answer has another shape than expected: {error}") from error
        if not answer.text.strip() and not answer.sources:
            raise PlatformFailed("its answer was empty")
        if not self.platform.redirect:
            return answer
        led = await asyncio.gather(*(self._led(source) for source in answer.sources))
        return msgspec.structs.replace(answer, sources=led)

    def _refused(self, reply: httpx2.Response, body: bytes) -> PlatformFailed:
        wait = {"retry-after": reply.headers["retry-after"]} if "retry-after" in reply.headers else {}
        plain = httpx2.Response(reply.status_code, headers=wait, content=body)
        error = refusal.refused(self.platform.name, plain, self.access.key)
        if isinstance(error, FatalError):
            return PlatformFailed(error.detail, lasting=True)
        seconds = error.countdown if error.countdown is not None else self.platform.wait(body)
        return PlatformFailed(error.detail, retry_after=None if seconds is None else min(seconds, refusal.MAX_WAIT))

    async def _led(self, source: Source) -> Source:
        """The page that a redirect leads to; where it cannot be had, the domain that the title names stands for it."""
        try:
            parts = urlsplit(source.url)
        except ValueError:
            return source
        known = {*_REDIRECTORS, urlsplit(self.access.base_url).hostname}
        if self.platform.redirect not in parts.path or parts.hostname not in known:
            return source
        try:
            # Only the head is of use: the body, of whatever size, is not read.
            async with self.http.stream("GET", source.url, timeout=_REDIRECT_TIMEOUT) as reply:
                place = urljoin(source.url, reply.headers["location"])
        except (httpx2.HTTPError, httpx2.InvalidURL, KeyError, ValueError):
            domain = domain_of(source.title)
            return source if domain is None else Source(f"https://{domain}/", source.title)
        return Source(place, source.title)


def address(base_url: str, path: str) -> str:
    """The base address may end with the version, as clients of some vendors want it, or not."""
    base, version = base_url.rstrip("/"), _VERSION.match(path)
    return (base.removesuffix(version[0]) if version else base) + path
