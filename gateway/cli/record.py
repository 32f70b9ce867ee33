"""Commands that look at the settings and the store themselves: they work where no gateway runs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import NamedTuple

import typer

from executors.settings import CALLER_VARIABLES, VARIABLES, CallerSettings, Settings, source_of
from gateway.cli import local_stack, output
from gateway.cli.exits import CommandError, Exit
from gateway.cli.options import AsJson
from tasks.masking import shown_url

db = typer.Typer(name="db", help="The database's schema.", no_args_is_help=True)

_HIDDEN = "***"
#: Settings with such names are not shown.
_SECRETS = ("_key", "_password", "_secret", "_token")


class Setting(NamedTuple):
    """One variable as the processes would read it now."""

    variable: str
    value: str
    source: str


def config(json_: AsJson = False) -> None:
    """Show every setting, where it comes from, and no secret. Exit code 2 when one is wrong."""
    found = list(_settings())
    if json_:
        output.as_json([setting._asdict() for setting in found])
    else:
        output.table(("variable", "value", "source"), found)


@db.command()
def upgrade() -> None:
    """Bring the database of DATABASE_URL to the schema of this release."""
    settings, schema = Settings.from_env(), _schema()
    before = schema.found(settings)
    done = "nothing to do"
    if not before.current:
        schema.upgrade(settings)
        made = f", with the tables {', '.join(before.missing)}" if before.missing else ""
        done = f"upgraded from {before.revision}{made}"
    output.say(f"{shown_url(settings.database_url)}: schema {schema.HEAD}: {done}")


@db.command()
def check() -> None:
    """Say whether the database can be reached and has the schema of this release. Exit code 1 when it has not."""
    settings = Settings.from_env()
    schema = _schema()
    found, where = schema.found(settings), shown_url(settings.database_url)
    if not found.current:
        tables = f" and the tables {', '.join(found.missing)}" if found.missing else ""
        words = f"{where} has schema {found.revision}, needs {schema.HEAD}{tables}: run `jobgate db upgrade`"
        raise CommandError(Exit.BAD, words)
    output.say(f"{where} has schema {found.revision}, as this release needs")


def _schema() -> ModuleType:
    # By name: the other commands need no database, and start in a third of the time without one.
    return importlib.import_module("gateway.cli.schema")


def _settings() -> Iterator[Setting]:
    environment = local_stack.environment()
    settings, caller = Settings.from_env(environment), CallerSettings.from_env()
    for of, variables in ((settings, VARIABLES), (caller, CALLER_VARIABLES)):
        for name, variable in variables.items():
            yield Setting(variable, _shown(name, getattr(of, name)), _source(variable, environment))
    for pack in importlib.import_module("executors.assembly").load_tasks(settings).packs:
        for name, variable in pack.variables.items():
            yield Setting(variable, _shown(name, getattr(pack.settings, name)), source_of(variable))


def _source(variable: str, environment: Mapping[str, str]) -> str:
    """Where its value comes from; "stack": from the stack that runs in the working directory."""
    source = source_of(variable)
    return "stack" if source == "default" and environment.get(variable) else source


def _shown(name: str, value: object) -> str:
    if name == "api_keys" and isinstance(value, tuple):
        return ",".join(f"{key.partition(':')[0]}:{_HIDDEN}" if ":" in key else _HIDDEN for key in value)
    if name.endswith(_SECRETS):
        return _HIDDEN if value else ""
    if name.endswith("_url"):
        return shown_url(str(value))
    return ",".join(value) if isinstance(value, tuple) else output.shown(value)
