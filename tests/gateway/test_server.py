"""The real server: sockets, bytes, signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from executors.leaving import Leaving
from gateway import connection
from gateway.app import Gateway
from gateway.crowd import MAX_CONNECTIONS
from gateway.server import Drain, Server, listen
from tasks.store.store import JobStore
from tests.gateway.conftest import opened
from tests.gateway.support import Hand
from tests.support.waiting import eventually_async


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> AsyncIterator[JobStore]:
    """One kind is enough here."""
    async with opened(request, template, tmp_path) as store:
        yield store


ROOT = Path(__file__).resolve().parents[2]
BODY = b'{"task":"tests.nothing"}'
POST = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


class Staying(Leaving):
    """Does not end the test runner."""

    def within(self, seconds: float) -> None: ...


class QuietServer(Server):
    """Leaves the signals to the test runner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@pytest.fixture
async def server(gateway: Gateway) -> AsyncIterator[Server]:
    ready = asyncio.Event()
    server = QuietServer(gateway, listen("127.0.0.1", 0), lambda url: ready.set(), Drain(20, Staying()))
    serving = asyncio.create_task(server.serve())
    await ready.wait()
    yield server
    server.should_exit = True
    await serving


def port_of(server: Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


async def say(server: Server, *parts: bytes, pause: float = 0.0) -> tuple[int, dict[str, object], bool]:
    """Status, problem and whether the server closed the connection, for a request written byte by byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            body = await reader.readexactly(int(lines[b"content-length"]))
            closed = lines.get(b"connection") == b"close" and await reader.read() == b""
    finally:
        writer.close()
    return int(head[9:12]), json.loads(body), closed


@pytest.mark.parametrize(
    ("name", "request_", "status"),
    [
        ("no HTTP", b"HELLO\r\n\r\n", 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ("length and chunks", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("two lengths", POST + b"Content-Length: 24\r\nContent-Length: 25\r\n\r\n" + BODY, 400),
        ("a length in words", POST + b"Content-Length: ten\r\n\r\n" + BODY, 400),
        ("a length beyond all", POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + BODY, 400),
        ("a broken chunk", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        ("two hosts", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\n\r\n", 400),
        ("bytes in the path", b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        ("a space in a header's name", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX y: 1\r\n\r\n", 400),
        ("a head without end", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 70_000, 431),
        ("a body announced too large", POST + b"Content-Length: 2000000\r\n\r\n{", 413),
        ("no host", b"GET / HTTP/1.1\r\n\r\n", 400),
        ("a foreign host", b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n", 421),
        ("another coding", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_refused_as_a_problem(
    server: Server, name: str, request_: bytes, status: int
) -> None:
    found, problem, closed = await say(server, request_)
    assert (found, problem["status"]) == (status, status)
    assert str(problem["type"]).startswith("/problems/")
    assert closed or status == 421


@pytest.mark.parametrize(
    "parts",
    [
        (b"GET / HTTP/1.1\r\n",),
        (POST + b"Content-Length: 24\r\n\r\n", b"{"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
        (b"",),
    ],
)
async def test_who_dawdles_is_told_and_let_go(
    server: Server, monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(connection, "HEAD_PATIENCE", 0.3)
    monkeypatch.setattr(connection, "BODY_PATIENCE", 0.3)
    status, problem, closed = await say(server, *parts, pause=0.05)
    assert (status, problem["type"], closed) == (408, "/problems/request-timeout", True)


async def test_silent_sockets_keep_nobody_out(server: Server) -> None:
    """More than there may be connections, from one caller who never sends a word."""
    silent = [await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(MAX_CONNECTIONS + 50)]
    try:
        for path in (b"/livez", b"/api/v1/tasks"):
            assert (await say(server, b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path))[0] == 200
        status, job, _ = await say(server, POST + b"Content-Length: 24\r\n\r\n" + BODY)
        assert (status, job["task"]) == (202, "tests.nothing")
        assert await silent[0][0].read() == b"", "the oldest is closed first"
        assert not silent[-1][0].at_eof()
    finally:
        for _, writer in silent:
            writer.close()


async def test_an_answer_that_nobody_reads_is_not_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_PATIENCE", 0.3)
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(server), limit=1)
    try:
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 200)
        await writer.drain()
        await _has_connections(server, True)
        await _has_connections(server, False)
    finally:
        writer.close()


async def _has_connections(server: Server, some: bool) -> None:
    async def look() -> bool:
        return bool(server.server_state.connections) is some

    await eventually_async(look)


async def test_answers_are_not_sniffed_and_not_kept(server: Server) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port_of(server)}") as client:
        for path in ("/", "/api/v1/jobs", "/livez", "/nothing"):
            headers = (await client.get(path)).headers
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store"), path


async def test_a_body_may_come_in_pieces(server: Server) -> None:
    pieces = [BODY[n : n + 4] for n in range(0, len(BODY), 4)]
    status, job, _ = await say(server, POST + b"Content-Length: 24\r\n\r\n", *pieces, pause=0.02)
    assert (status, job["task"]) == (202, "tests.nothing")


async def test_who_leaves_in_the_middle_leaves_no_trace(server: Server, gateway: Gateway) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(POST + b"Content-Length: 24\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    status, page, _ = await say(server, b"GET /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (status, page["jobs"]) == (200, [])


@contextlib.asynccontextmanager
async def process(tmp_path: Path, module: str = "gateway", **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    ours = {
        "PATH": os.environ["PATH"],
        "PORT": "0",
        "TASK_MODULES": "tests.gateway.support",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'jobs.db'}",
        "JOBGATE_QUEUES": "celery,low,high",
    }
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", module]
    started = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=ours | environ, stdout=pipe, stderr=pipe)
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.communicate()


async def test_the_signal_itself_stops_claims_while_the_door_is_still_open(server: Server, hand: Hand) -> None:
    server.handle_exit(signal.SIGTERM, None)
    assert hand.drained
    assert (await say(server, b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))[0] == 503, "answered: still open"
    assert not hand.hurried


async def test_a_second_signal_gives_back_what_runs_and_a_third_kills(
    server: Server, hand: Hand, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handlers: dict[int, object] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    hand.busy = 4
    server.handle_exit(signal.SIGINT, None)
    assert "waiting up to 20 s for the jobs that run (4); Ctrl-C or SIGTERM once more" in caplog.text
    server.handle_exit(signal.SIGINT, None)
    assert hand.hurried
    assert server._drain.code == 130
    assert handlers[signal.SIGINT] == handlers[signal.SIGTERM] == signal.SIG_DFL


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_serves_and_ends_when_told(tmp_path: Path, sig: int) -> None:
    async with process(tmp_path) as gateway, asyncio.timeout(60):
        assert gateway.stdout is not None
        line = (await gateway.stdout.readline()).decode()
        assert line.startswith("Jobgate serves http://127.0.0.1:")
        assert "· thread mode · store sqlite:///" in line
        assert "try: curl -s http://127.0.0.1:" in line
        gateway.send_signal(sig)
        out, err = await gateway.communicate()
        assert (gateway.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize(
    ("environ", "body"),
    [
        ({"TASK_MODULES": "tasks.packs.files,tasks.packs.demo"}, {"task": "demo.add", "args": [1, 2]}),
        (
            {"TASK_MODULES": "tasks.packs.files", "FILES_SAMPLES": "1"},
            {"task": "tasks.file.analyze_file", "kwargs": {"path": "report.pdf"}},
        ),
        ({"TASK_MODULES": "tasks.packs.files"}, None),
        ({"TASK_MODULES": "tests.gateway.support"}, None),
        ({"TASK_MODULES": "tests.support.waiting"}, None),
    ],
)
async def test_the_start_line_suggests_only_what_works(
    tmp_path: Path, environ: dict[str, str], body: dict[str, Any] | None
) -> None:
    async with process(tmp_path, FILES_ROOT=str(tmp_path / "files"), **environ) as gateway, asyncio.timeout(60):
        assert gateway.stdout is not None
        line = (await gateway.stdout.readline()).decode()
        base = line.split()[2]
        assert f" export JOBGATE_URL={base} " in line
        words = shlex.split(line.partition("try: ")[2])
        suggested = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
        assert suggested == body
        async with httpx2.AsyncClient(base_url=base) as client:
            path = "/api/v1/jobs" if body else "/api/v1/tasks"
            assert f"{base}{path}" in words
            assert (await client.request("POST" if body else "GET", path, json=body)).is_success
        if not body:
            assert list((tmp_path).glob("files/*")) == [], "samples only where they are wanted"
        gateway.terminate()
        warned = b"tasks: none is registered" in (await gateway.communicate())[1]
        assert warned == (environ["TASK_MODULES"] == "tests.support.waiting")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"HOST": "::"}, "set JOBGATE_API_KEYS"),
        ({"HOST": "jobs.example"}, "set JOBGATE_API_KEYS"),
        ({"HOST": "::", "JOBGATE_API_KEYS": "ops:change-me"}, "too weak for that: entry 1 (ops)"),
        ({"PORT": "eighty"}, "PORT='eighty' is wrong"),
        ({"JOBGATE_API_KEYZ": "x"}, "JOBGATE_API_KEYZ is not a setting"),
        ({"JOBGATE_API_KEYS": "shop:"}, "JOBGATE_API_KEYS takes name:key"),
        ({"JOBGATE_API_KEYS": ","}, "JOBGATE_API_KEYS=',' names nothing"),
        ({"JOBGATE_API_KEYS": "shop:s:read+wirte"}, "the scopes of 'shop' are some of"),
        ({"JOBGATE_METRICS_PUBLIC": "perhaps"}, "JOBGATE_METRICS_PUBLIC='perhaps' is wrong"),
        ({"CELERY_BROKER_URL": "http://u:secret@broker"}, "CELERY_BROKER_URL takes a URL that begins with redis://"),
        ({"REDIS_URL": "broker:6379"}, "REDIS_URL takes"),
        ({"CELERY_BROKER_URL": "broker:6379"}, "CELERY_BROKER_URL takes"),
        ({"TASK_MODULES": "no.such.module"}, "no.such.module"),
        ({"DATABASE_URL": "mysql://localhost/x"}, "DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:////nonexistent/dir/x.db"}, "there is no folder /nonexistent/dir"),
        ({"TASK_MODULES": "tasks.packs.files", "FILES_ROOT": "/nonexistent/a/b"}, "FILES_ROOT: /nonexistent/a/b"),
    ],
)
async def test_a_wrong_setting_is_one_clear_line(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    async with process(tmp_path, **environ) as gateway, asyncio.timeout(60):
        out, err = await gateway.communicate()
        assert (gateway.returncode, out) == (2, b"")
        assert words in err.decode()
        assert "secret" not in err.decode()
        assert err.decode().count("\n") == 1


@pytest.mark.parametrize("module", ["gateway", "executors.scheduler"])
async def test_a_store_that_is_away_is_one_clear_line(tmp_path: Path, module: str) -> None:
    url = "postgresql://jobgate:secret@127.0.0.1:9/jobs"
    async with process(tmp_path, module, DATABASE_URL=url) as started, asyncio.timeout(60):
        out, err = await started.communicate()
        assert (started.returncode, out) == (1, b"")
        assert err.decode().startswith("jobgate: the store cannot be reached")
        assert (err.decode().count("\n"), "secret" in err.decode()) == (1, False)


async def test_hosts_and_open_metrics_are_settings(tmp_path: Path) -> None:
    environ = {"JOBGATE_ALLOWED_HOSTS": "jobs.example, other.example", "JOBGATE_METRICS_PUBLIC": "yes"}
    async with process(tmp_path, **environ) as started, asyncio.timeout(60):
        assert started.stdout is not None
        base = (await started.stdout.readline()).decode().split()[2]
        async with httpx2.AsyncClient(base_url=base) as client:
            found = [
                (await client.get("/", headers={"host": host})).status_code for host in ("other.example", "x.example")
            ]
            assert found == [200, 421]
            assert (await client.get("/metrics", headers={"host": "x.example"})).status_code == 200


async def test_a_taken_port_is_one_clear_line(tmp_path: Path, server: Server) -> None:
    async with process(tmp_path, PORT=str(port_of(server))) as gateway, asyncio.timeout(60):
        out, err = await gateway.communicate()
        assert (gateway.returncode, out) == (2, b"")
        taken = f"jobgate: HOST, PORT: cannot listen on 127.0.0.1:{port_of(server)}: Address already in use\n"
        assert err.decode() == taken
