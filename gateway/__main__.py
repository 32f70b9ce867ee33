"""The web process: `python -m gateway`, configured by the environment."""

from __future__ import annotations

import gc
import socket
import sys

import msgspec
import uvloop

from executors import assembly, logs
from executors.leaving import LEFTOVERS, Leaving
from executors.settings import Settings, is_loopback
from gateway.app import GatewayOptions, create_app
from gateway.auth import Keys
from gateway.routes import ANALYZE
from gateway.server import Drain, Server, listen
from tasks.errors import ConfigurationError, StoreUnavailable
from tasks.private_files import keep_files_private
from tasks.store.backend import parse_url

EXAMPLE = msgspec.json.encode(ANALYZE).decode()


def main() -> int:
    keep_files_private()
    logs.set_up()
    leaving = Leaving()
    try:
        settings = Settings.from_env()
        logs.set_up(settings.log_level, settings.log_format)
        _check_door(settings)
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
            server = Server(app, listener, lambda url: _announce(url, control.mode, settings), drain)
            _tune_collector()
            await server.serve()
        leaving.code, leaving.closed = drain.code, True
    finally:
        leaving.within(LEFTOVERS)
    return leaving.code


def _announce(url: str, mode: str, settings: Settings) -> None:
    header = "" if not settings.api_keys else " -H 'Authorization: Bearer '$KEY"
    curl = f"curl -s -X POST {url}/api/v1/jobs{header} -H 'Content-Type: application/json' -d '{EXAMPLE}'"
    print(f"Jobgate serves {url} · {mode} mode · store {_shown(settings.database_url)} · try: {curl}", flush=True)


def _shown(database_url: str) -> str:
    """Without its password."""
    return parse_url(database_url).render_as_string(hide_password=True)


def _options(settings: Settings) -> GatewayOptions:
    return GatewayOptions(
        api_keys=settings.api_keys, allowed_hosts=settings.allowed_hosts, metrics_public=settings.metrics_public
    )


def _check_door(settings: Settings) -> None:
    if not settings.api_keys and not is_loopback(settings.host):
        raise ConfigurationError(
            f"HOST={settings.host} can be reached from other machines: set JOBGATE_API_KEYS=name:key,… "
            "or leave HOST at 127.0.0.1"
        )
    Keys(settings.api_keys)


def _tune_collector() -> None:
    # What lives now lives long; a rare collection is what keeps the slowest requests near the others.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)


if __name__ == "__main__":
    sys.exit(main())
