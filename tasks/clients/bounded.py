"""Limits the size of an HTTP answer from outside, however its body is read: whole, in chunks, or event by event."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from tasks.errors import FatalError


class AnswerTooLarge(FatalError):
    """The answer is larger than may be taken."""


#: What a request asks for, so that `limit` can count the bytes of the text itself.
PLAIN = {"accept-encoding": "identity"}


def limit(answer: httpx2.Response, most: int, *, cut: bool = False) -> None:
    """Let the body have at most `most` bytes; reading beyond them raises AnswerTooLarge, or ends there with `cut`.

    A compressed body is refused (with `cut` not read at all): a small one may become a large one. Ask for a plain one
    with `PLAIN`.
    """
    packed = answer.headers.get("content-encoding", "identity").lower() != "identity"
    if packed and not cut:
        raise AnswerTooLarge("the answer is packed, though it was asked for plain: its size cannot be bounded")
    assert isinstance(answer.stream, httpx2.AsyncByteStream), "the answer of an asynchronous client, not yet read"
    answer.stream = _Limited(answer.stream, 0 if packed else most, cut)


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most: int, cut: bool) -> None:
        self._stream, self._most, self._cut = stream, most, cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        async for chunk in self._stream:
            if len(chunk) <= left:
                left -= len(chunk)
                yield chunk
                continue
            if not self._cut:
                raise AnswerTooLarge(f"the answer has more than {self._most} bytes")
            yield chunk[:left]
            return

    async def aclose(self) -> None:
        await self._stream.aclose()
