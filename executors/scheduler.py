"""The scheduler process: `python -m executors.scheduler`. It keeps the record moving where no gateway runs.

It stages delayed jobs, reaps lost ones, expires and sweeps, and in Celery mode rings for what is due.
"""

from __future__ import annotations

import signal
import sys

import anyio
import uvloop

from executors import assembly, logs
from executors.leaving import GRACE, Leaving
from executors.settings import Settings
from tasks.errors import ConfigurationError, StoreUnavailable
from tasks.private_files import keep_files_private


def main() -> int:
    keep_files_private()
    logs.set_up()
    leaving = Leaving()
    try:
        settings = Settings.from_env()
        logs.set_up(settings.log_level, settings.log_format)
        uvloop.run(_run(settings, leaving))
    except ConfigurationError as error:
        print(f"jobgate: {error.detail}", file=sys.stderr)
        return 2
    except StoreUnavailable as error:
        # Its first line: some drivers go on with the statement and advice.
        print(f"jobgate: {error.detail.splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


async def _run(settings: Settings, leaving: Leaving) -> None:
    async with assembly.scheduler(settings):
        print(f"Jobgate scheduler keeps {settings.mode} mode moving", flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for _ in received:
                break
        leaving.code = 0
        leaving.within(GRACE)


if __name__ == "__main__":
    sys.exit(main())
