"""What is asked of a run."""

from __future__ import annotations

import argparse
from typing import NamedTuple

PARTS = ("submit", "batches", "idle", "celery", "metrics", "memory", "waiting")
STORES = ("sqlite", "postgresql")
MODES = ("thread", "prefork", "threads", "solo")


class Options(NamedTuple):
    """`only`, `stores` and `modes` are the parts to run; `seconds` a load's length, `jobs` Celery's end to end."""

    only: list[str]
    stores: list[str]
    modes: list[str]
    seconds: float
    rounds: int
    jobs: int
    json: str | None


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway on this machine.")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; commas between (default: all)")
    parser.add_argument("--store", default=",".join(STORES), help=f"of {', '.join(STORES)} (default: both)")
    parser.add_argument(
        "--mode", default="thread,prefork,solo", help=f"of {', '.join(MODES)}; celery means prefork,solo"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of load a round (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="of each measurement; medians are shown (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=3000, help="end to end with Celery (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    given = parser.parse_args(arguments)
    return Options(
        only=_chosen(parser, "--only", given.only, PARTS),
        stores=_chosen(parser, "--store", given.store, STORES),
        modes=_chosen(parser, "--mode", given.mode.replace("celery", "prefork,solo"), MODES),
        seconds=given.seconds,
        rounds=given.rounds,
        jobs=given.jobs,
        json=given.json,
    )


def _chosen(parser: argparse.ArgumentParser, option: str, text: str, known: tuple[str, ...]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            parser.error(f"{option} takes {', '.join(known)}; got {name!r}")
    return [name for name in known if name in names]
