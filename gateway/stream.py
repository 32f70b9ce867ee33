"""One job's life as server-sent events."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from msgspec import Struct
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import views
from gateway.call import Call
from gateway.problems import Refusal
from gateway.reply import Reply, encode
from tasks.job import Event, Job, LogLine
from tasks.moment import moment

#: Seconds between two looks: short while something happens, then longer and longer.
_FIRST_PAUSE = 0.1
_LAST_PAUSE = 2.0
_HEARTBEAT = 10.0
#: Seconds after which a stream ends.
LONGEST = 3600.0
_MAX_LINES = 1000
_SEEN = re.compile(rb"(\d{1,18})-(\d{1,18})")
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class StatusView(Struct, frozen=True, kw_only=True):
    """The data of `event: status`."""

    status: str
    at: views.Moment
    attempt: int
    runtime: float | None
    worker: str | None
    error: views.ErrorView | None


class Cursor(Struct):
    """How far a listener has come; its text is the `id` of an event and comes back as Last-Event-ID."""

    event: int = 0
    line: int = 0
    progress: str | None = None

    def __str__(self) -> str:
        return f"{self.event}-{self.line}"


async def events(call: Call) -> ASGIApp:
    job = await call.control.read(call.job_id)
    if call.scope["method"] == "HEAD":
        return Reply(200, media_type=b"text/event-stream")
    give_back = call.gateway.streams.take(call.caller)
    if give_back is None:
        options = call.gateway.options
        words = (
            f"{options.max_streams} streams may be open at once, {options.max_streams_each} of one key: "
            "read the job itself now and then, or come back"
        )
        raise Refusal("too-many-streams", words, [], [(b"retry-after", b"5")])
    seen = _SEEN.fullmatch(call.headers.get(b"last-event-id", b""))
    cursor = Cursor(event=int(seen[1]), line=int(seen[2])) if seen else Cursor()
    story = StreamingResponse(_story(call, job.id, cursor), headers=_HEADERS, media_type="text/event-stream")

    async def held(scope: Scope, receive: Receive, send: Send) -> None:
        # Here, and not in the story: that of a listener who has left already is never begun.
        try:
            await story(scope, receive, send)
        finally:
            give_back()

    return held


async def _story(call: Call, job_id: str, cursor: Cursor) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    pause, silence = _FIRST_PAUSE, 0.0
    until = time.monotonic() + LONGEST
    # A listener connects again, and goes on where the stream ended: browsers do so by themselves.
    while not call.gateway.draining and time.monotonic() < until:
        # The job is read before its events: once it is seen to have ended, all of its events are there.
        job = await call.control.read(job_id)
        news = await _news(call, job, cursor)
        if news:
            yield b"".join(news)
            pause, silence = _FIRST_PAUSE, 0.0
        if job.is_final:
            yield _block(cursor, "done", views.job_view(job))
            return
        if silence >= _HEARTBEAT:
            yield b": still here\n\n"
            silence = 0.0
        await call.control.wait(job_id, pause)
        silence += pause
        pause = min(pause * 1.5, _LAST_PAUSE)


async def _news(call: Call, job: Job, cursor: Cursor) -> list[bytes]:
    """What happened since `cursor`, which moves on."""
    blocks = _statuses(await call.control.events(job.id, cursor.event), cursor)
    if job.progress is not None and job.progress != cursor.progress:
        cursor.progress = job.progress
        blocks.append(_raw_block(cursor, "progress", job.progress.encode()))
    # A job that has ended gets no more chances: all of its lines go out now.
    while lines := await call.control.logs(job.id, cursor.line, _MAX_LINES):
        blocks += _lines(lines, cursor)
        if not job.is_final or len(lines) < _MAX_LINES:
            break
    return blocks


def _statuses(happened: Sequence[Event], cursor: Cursor) -> list[bytes]:
    blocks = []
    for event in happened:
        cursor.event = event.seq
        blocks.append(_block(cursor, "status", _status_view(event)))
    return blocks


def _lines(lines: Sequence[LogLine], cursor: Cursor) -> list[bytes]:
    blocks = []
    for line in lines:
        cursor.line = line.seq
        blocks.append(_block(cursor, "log", views.line_view(line)))
    return blocks


def _status_view(event: Event) -> StatusView:
    return StatusView(
        status=event.status,
        at=moment(event.at),
        attempt=event.attempt,
        runtime=event.runtime,
        worker=views.worker_of(event.owner),
        error=views.error_view(event),
    )


def _block(cursor: Cursor, name: str, value: Any) -> bytes:
    return _raw_block(cursor, name, encode(value))


def _raw_block(cursor: Cursor, name: str, data: bytes) -> bytes:
    # JSON from the record is on one line: a line break inside text is escaped there.
    return f"id: {cursor}\nevent: {name}\n".encode() + b"data: " + data.replace(b"\n", b" ") + b"\n\n"
