"""What commands print: tables for people, JSON for programs, nothing that could steer a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.cli.exits import CommandError, Exit

#: Columns where no terminal says how many it has: nothing is cut short on its way into a pipe.
_UNBOUND = 10_000
_STYLES = {"SUCCESS": "green", "FAILURE": "red", "REVOKED": "magenta", "STARTED": "cyan", "RETRY": "yellow"}
#: Control characters but for tab and line feed: what a task logs must not move a reader's cursor.
_CONTROL = {n: "\ufffd" for n in [*range(32), *range(127, 160)] if chr(n) not in "\t\n"}


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Made for each use: tests and pipes change the streams."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=width if stream.isatty() else _UNBOUND, highlight=False)


def say(words: str) -> None:
    """One line on stdout, as it is."""
    typer.echo(words.translate(_CONTROL))


def note(words: str) -> None:
    """One line on stderr: for the person, not for the pipe."""
    typer.echo(words.translate(_CONTROL), err=True)


def asks() -> bool:
    """Whether there is somebody to answer a question."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirm(words: str, yes: bool) -> None:
    """Return when it is wanted; where nobody can be asked, `--yes` must say so."""
    if yes:
        return
    if not asks():
        raise CommandError(Exit.USAGE, f"this would {words}: say --yes")
    typer.confirm(f"{words}?", abort=True)


def as_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def as_line(value: Any) -> None:
    """One value on one line, for streams."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Aligned columns, empty ones left out; a note on stderr where there are no rows."""
    kept = [[shown(cell) for cell in row] for row in rows]
    if not kept:
        note("none")
        return
    used = [n for n in range(len(columns)) if any(row[n] for row in kept)]
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for n in used:
        grid.add_column(columns[n].upper(), no_wrap=True)
    for row in kept:
        grid.add_row(*(Text(row[n], style=_STYLES.get(row[n], "")) for n in used))
    # A line is never cut or folded to fit: the terminal wraps it, and an id can be copied whole.
    wide = console(width=_UNBOUND)
    with wide.capture() as captured:
        wide.print(grid)
    typer.echo("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def sheet(fields: Mapping[str, Any]) -> None:
    """One thing, field under field; what is empty is left out."""
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields.items():
        words = shown(value)
        if words:
            grid.add_row(name, Text(words, style=_STYLES.get(words, "")))
    console().print(grid)


def shown(value: Any) -> str:
    """A value for people: nothing for null, lists joined, JSON for what is deeper."""
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value).translate(_CONTROL)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.translate(_CONTROL)


def moment(text: str | None) -> str:
    """An RFC 3339 moment as the reader's own clock shows it."""
    return "" if not text else datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def progress(quiet: bool) -> Progress:
    """A bar on stderr, where there is somebody to look at it."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )
