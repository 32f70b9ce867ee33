"""All commands, put together; every trouble ends as one line on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from executors.identity import VERSION
from executors.settings import CallerSettings
from gateway.cli import (
    bulk,
    health,
    jobs,
    keys,
    output,
    overview,
    processes,
    queues,
    record,
    schedules,
    smoke,
    stack,
    steer,
    workers,
)
from gateway.cli.exits import command_error


class Commands(TyperGroup):
    """A group whose commands may raise what the product raises."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            known = command_error(error)
            if known is None:
                raise
            output.note(f"jobgate: {known.words}")
            raise typer.Exit(known.exit) from error


app = typer.Typer(
    cls=Commands,
    help="Background jobs behind an HTTP gateway.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.say(f"jobgate {VERSION}")
        raise typer.Exit


@app.callback()
def _point(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="The gateway; without it JOBGATE_URL, or this machine's.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = CallerSettings.from_env(url=url)


JOBS, SHOW, RUN = "Jobs", "What there is", "Processes and settings"

_PANELS: tuple[tuple[str, tuple[Callable[..., Any], ...]], ...] = (
    (JOBS, (jobs.submit, jobs.status, jobs.result, jobs.attempts, jobs.wait, jobs.why, jobs.logs, jobs.list_)),
    (JOBS, (steer.cancel, steer.retry, steer.hold, steer.release, bulk.delete, bulk.bulk)),
    (SHOW, (overview.tasks, overview.limits, overview.stats, overview.audit)),
    (RUN, (processes.serve, health.check, health.doctor, smoke.smoke, record.config)),
)
for panel, commands in _PANELS:
    for command in commands:
        app.command(command.__name__.rstrip("_"), rich_help_panel=panel)(command)
for process in (processes.worker, processes.scheduler):
    app.command(process.__name__, rich_help_panel=RUN, context_settings=processes.PASS_ON)(process)
for name, group in (("queues", queues.app), ("workers", workers.app), ("schedules", schedules.app)):
    app.add_typer(group, name=name, rich_help_panel=SHOW)
for name, group in (("keys", keys.app), ("db", record.db), ("stack", stack.app)):
    app.add_typer(group, name=name, rich_help_panel=RUN)


def main() -> None:
    """The entry point `jobgate`."""
    for stream in (sys.stdout, sys.stderr):
        # A task may log what this terminal's encoding does not have.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _keep_only(sys.argv[1:])
    app(prog_name="jobgate")


def _keep_only(words: Sequence[str]) -> None:
    """Leave out the commands that were not typed: making the parsers of all takes a tenth of a command's time.

    All stay where none is named, as for `--help`, or one that there is not: then they are suggested.
    """
    places = [n for n, word in enumerate(words) if not word.startswith("-") and words[n - 1 : n] != ["--url"]]
    typed = words[places[0]] if places else ""
    commands = [each for each in app.registered_commands if each.name == typed]
    groups = [each for each in app.registered_groups if each.name == typed]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups
