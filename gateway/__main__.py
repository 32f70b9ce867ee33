"""The web process: `python -m gateway`, configured by the environment."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from executors import assembly, logs
from executors.control import Control
from executors.leaving import LEFTOVERS, Leaving
from executors.settings import CallerSettings, Settings
from gateway.app import GatewayOptions, create_app
from gateway.bind_address import check_bind_address
from gateway.routes import ANALYZE
from gateway.server import Drain, Server, listen
from tasks.errors import ConfigurationError, StoreUnavailable
from tasks.masking import shown_url
from tasks.private_files import keep_files_private
from tasks.registry import Registry
from tasks.store.backend import parse_url

DEMO: Mapping[str, Any] = {"task": "demo.add", "args": [1, 2]}
#: Where the command line looks for a gateway by default.
DEFAULT_URL = CallerSettings.from_env({}).url


def main() -> int:
    keep_files_private()
    logs.set_up()
    leaving = Leaving()
    try:
        settings = Settings.from_env()
        logs.set_up(settings.log_level, settings.log_format)
        check_bind_address(settings)
        leaving.code = uvloop.run(_serve(settings, listen(settings.host, settings.port), leaving))
    except ConfigurationError as error:
        print(f"jobgate: {error.detail}", file=sys.stderr)
        leaving.code = 2
    except StoreUnavailable as error:
        # Its first line: some drivers go on with the statement and advice.
        print(f"jobgate: {error.detail.splitlines()[0]}", file=sys.stderr)
        leaving.code = 1
    except KeyboardInterrupt:
        leaving.code = 130
    return leaving.code


async def _serve(settings: Settings, listener: socket.socket, leaving: Leaving) -> int:
    """Serve until a signal ends it; the exit code."""
    try:
        async with assembly.gateway(settings) as control:
            app = create_app(control, _options(settings))
            drain = Drain(settings.drain_timeout, leaving)
            server = Server(app, listener, lambda url: _announce(url, control, settings), drain)
            _tune_collector()
            await server.serve()
        leaving.code, leaving.closed = drain.code, True
    finally:
        leaving.within(LEFTOVERS)
    return leaving.code


def _announce(url: str, control: Control, settings: Settings) -> None:
    """Print where the gateway serves, and a request to try; how commands find it where they would ask another port."""
    header = "" if not settings.api_keys else " -H 'Authorization: Bearer '$KEY"
    example = _example(control.registry)
    curl = f"curl -s {url}/api/v1/tasks{header}"
    if example:
        body = msgspec.json.encode(example).decode()
        curl = f"curl -s -X POST {url}/api/v1/jobs{header} -H 'Content-Type: application/json' -d '{body}'"
    where = "" if url == DEFAULT_URL else f" · for commands: export JOBGATE_URL={url}"
    store = _shown(settings.database_url)
    print(f"Jobgate serves {url} · {control.mode} mode · store {store}{where} · try: {curl}", flush=True)


def _example(found: Registry) -> Mapping[str, Any] | None:
    """A submission that works here: on the sample document where it is there, otherwise of the demo; or None."""
    files = next((pack.settings for pack in found.packs if pack.name == "files"), None)
    if files is not None and Path(files.files_root, ANALYZE["kwargs"]["path"]).is_file():
        return ANALYZE
    return DEMO if DEMO["task"] in found else None


def _shown(database_url: str) -> str:
    """Without secrets; the path of an SQLite file absolute."""
    url = parse_url(database_url)
    if url.get_backend_name() == "sqlite":
        url = url.set(database=str(Path(str(url.database)).absolute()))
    return shown_url(url.render_as_string(hide_password=False))


def _options(settings: Settings) -> GatewayOptions:
    return GatewayOptions(
        api_keys=settings.api_keys, allowed_hosts=settings.allowed_hosts, metrics_public=settings.metrics_public
    )


def _tune_collector() -> None:
    # What lives now lives long; a rare collection is what keeps the slowest requests near the others.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)


if __name__ == "__main__":
    sys.exit(main())
