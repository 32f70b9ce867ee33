"""The whole product on one machine, in the background: `jobgate stack start|stop|restart|status|logs|inspect`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.prompt import Prompt

from executors.settings import Settings, inherited, source_of
from gateway.cli import bulk, local_stack, log_file, output, own_redis, queues, supervision
from gateway.cli.daemon import FAILED, LOOK, Daemon, State
from gateway.cli.door import address
from gateway.cli.exits import CommandError, Exit
from gateway.cli.inspection import WAITING, inspect
from gateway.cli.options import AsJson, DryRun, Yes, door
from tasks.private_files import keep_files_private

app = typer.Typer(name="stack", help="The product's processes on this machine, under Supervisor.", no_args_is_help=True)

#: Seconds in which a process must say that it is ready, and beyond the drain in which it must have stopped.
READY = 120.0
#: What each process prints once it works.
SIGN = "Jobgate "
#: How the line begins that a process of ours prints before it ends without having worked.
COMPLAINT = "jobgate: "
REDIS = "redis"
#: How the systems that came here call these processes.
ALIASES = {
    "gateway": ("web",),
    "celery-worker": ("worker",),
    "beat": ("scheduler",),
    "celery-beat": ("scheduler",),
    "celery": ("worker", "scheduler"),
    "broker": (REDIS,),
}
COMMAND = (sys.executable, "-m", "gateway.cli")
#: Begins the command of a program that must not see the deployment's secrets.
NOTHING_INHERITED = ("env", "-i")

Component = Annotated[str | None, typer.Argument(help="web, worker, scheduler or redis; all without it.")]
Folder = Annotated[Path, typer.Option(help="Where logs, the socket and the process ids lie.")]


@app.command()
def start(component: Component = None, folder: Folder = local_stack.FOLDER, json_: AsJson = False) -> None:
    """Start the processes, in Celery mode unless USE_CELERY says otherwise, and return when they work."""
    daemon = Daemon(folder)
    if not daemon.runs:
        _launch(daemon)
    _start(daemon, _chosen(daemon, component))
    _show(daemon, json_)


@app.command()
def stop(component: Component = None, folder: Folder = local_stack.FOLDER, json_: AsJson = False) -> None:
    """Stop them: each finishes what it does, within the drain timeout."""
    daemon = Daemon(folder)
    if not daemon.runs:
        output.note("the stack does not run")
    elif component is None:
        _shut_down(daemon)
    else:
        _stop(daemon, _chosen(daemon, component))
    if json_ or (component is not None and daemon.runs):
        _show(daemon, json_)


@app.command()
def restart(component: Component = None, folder: Folder = local_stack.FOLDER, json_: AsJson = False) -> None:
    """Stop and start. Without a component, settings are read anew."""
    if component is None:
        if Daemon(folder).runs:
            _shut_down(Daemon(folder))
        start(None, folder, json_)
        return
    daemon = _running(folder)
    chosen = _chosen(daemon, component)
    _stop(daemon, chosen)
    _start(daemon, chosen)
    _show(daemon, json_)


@app.command()
def status(component: Component = None, folder: Folder = local_stack.FOLDER, json_: AsJson = False) -> None:
    """Show the processes. Exit code 1 when one is down."""
    daemon = _running(folder)
    chosen = set(_chosen(daemon, component))
    _show(daemon, json_, chosen)
    if any(each.name in chosen and each.state != "RUNNING" for each in daemon.states()):
        raise typer.Exit(Exit.BAD)


@app.command()
def logs(
    component: Component = None,
    lines: Annotated[int, typer.Argument(help="How many lines of each.", min=1)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added.")] = False,
    folder: Folder = local_stack.FOLDER,
) -> None:
    """Print the end of the logs. On a terminal, without a component, asks which."""
    files = {file.stem: file for file in sorted((folder / "logs").glob("*.log"))}
    if not files:
        raise CommandError(Exit.NOT_FOUND, f"there are no logs in {folder}/logs")
    if component is None and output.asks():
        component = Prompt.ask("Which log", choices=[*files, "all"], console=output.console())
    names = list(files) if component in {None, "all"} else _names(str(component), list(files))
    say: Callable[[str, str], None] = _say_named if len(names) > 1 else _say_line
    for name in names:
        for line in log_file.tail(files[name], lines):
            say(name, line)
    for name, line in log_file.follow({name: files[name] for name in names}) if follow else ():
        say(name, line)


@app.command()
def config(
    home: Annotated[str, typer.Option(help="Where the product and its .venv lie.")] = "/opt/jobgate",
    data: Annotated[str, typer.Option(help="The processes' working directory.")] = "/var/lib/jobgate",
    logs: Annotated[str, typer.Option(help="Where the logs go.")] = "/var/log/jobgate",
    environment: Annotated[str, typer.Option(help="A file of NAME=value lines.")] = "/etc/jobgate/environment",
    user: Annotated[str, typer.Option(help="Who runs them.")] = "jobgate",
) -> None:
    """Print the processes for the supervisord of a server, as in deploy/supervisor/jobgate.conf."""
    place = supervision.Place(
        directory=data,
        logs=logs,
        stop_seconds=_stop_seconds(Settings()),
        autostart=True,
        rotate=False,
        # A store that is away ends a process after some two seconds; this many tries wait for it for days.
        start_seconds=5,
        start_retries=1000,
        user=user,
    )
    output.say(supervision.server_file(home, environment, place).rstrip())


@app.command()
def purge(
    context: typer.Context,
    queue: Annotated[str | None, typer.Argument(help="One queue; all without it.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json_: AsJson = False,
) -> None:
    """Cancel what waits: all of it, or one queue's."""
    if queue is not None:
        queues.purge(context, queue, dry_run, yes, json_)
        return
    body = {"action": "cancel", "filter": {"status": WAITING}}
    bulk.run(door(context), address("bulk"), body, dry_run=dry_run, yes=yes, json_=json_)


app.command()(inspect)


def _launch(daemon: Daemon) -> None:
    environment = inherited(PYTHONUNBUFFERED="1")
    environment["USE_CELERY"] = environment.get("USE_CELERY") or "1"
    settings = Settings.from_env(environment)
    logs = daemon.folder / "logs"
    # The broker's socket, the logs and the environment of the processes concern their user alone.
    keep_files_private()
    daemon.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    daemon.folder.chmod(0o700)
    logs.mkdir(exist_ok=True)
    place = supervision.Place(
        directory=str(Path.cwd()),
        logs=str(logs),
        stop_seconds=_stop_seconds(settings),
        autostart=False,
        rotate=True,
    )
    chosen = [*map(supervision.without_keys, supervision.programs(COMMAND, celery=bool(settings.use_celery)))]
    if settings.use_celery and source_of("CELERY_BROKER_URL", environment) == "default":
        environment["CELERY_BROKER_URL"] = own_redis.url(daemon.folder)
        chosen.insert(0, supervision.Program(REDIS, (*NOTHING_INHERITED, *own_redis.command(daemon.folder)), 1))
    mode = "Celery mode" if settings.use_celery else "thread mode (USE_CELERY=0)"
    output.note(f"starting {', '.join(program.name for program in chosen)} in {mode}")
    sections = [*supervision.supervisord_sections(daemon.folder)]
    sections += [supervision.program_section(program, place, program.name) for program in chosen]
    daemon.launch(supervision.document(sections), environment)


def _start(daemon: Daemon, names: Sequence[str]) -> None:
    """Start those that do not live, Redis before those that need it, and wait until each says that it works."""
    down = [each.name for each in daemon.states() if each.name in names and not each.alive]
    for batch in ([REDIS] if REDIS in down else [], [name for name in down if name != REDIS]):
        growing = {name: log_file.Growing(_log(daemon, name)) for name in batch}
        for name in batch:
            daemon.start(name)
        for name, file in growing.items():
            _await_ready(daemon, name, file)


def _await_ready(daemon: Daemon, name: str, file: log_file.Growing) -> None:
    ends = time.monotonic() + READY
    seen: list[str] = []
    pids: set[int] = set()
    while True:
        state = _state(daemon, name)
        seen += file.news()
        if name == REDIS:
            if own_redis.answers(daemon.folder):
                return
        # Supervisor calls a process that became ready in less than a second STARTING for a while.
        elif state.state == "RUNNING" and any(SIGN in line for line in seen):
            return
        pids |= {state.pid} - {0}
        # A store that is away ends a process later than Supervisor takes it for started: it would be tried for ever.
        if state.state in FAILED or len(pids) > 1 or any(line.startswith(COMPLAINT) for line in seen):
            _give_up(daemon, name, seen, state)
        if time.monotonic() > ends:
            raise CommandError(Exit.TOO_LATE, f"{name} is not ready after {READY:g} s; see `jobgate stack logs {name}`")
        time.sleep(LOOK)


def _give_up(daemon: Daemon, name: str, seen: Sequence[str], state: State) -> NoReturn:
    words = [line for line in reversed(seen) if line.strip()]
    reason = next((line for line in words if line.startswith(COMPLAINT)), [*words, state.detail][0])
    daemon.stop(name)
    while (state := _state(daemon, name)).alive or state.state == "BACKOFF":
        time.sleep(LOOK)
        # What had ended by itself just before may have been started again.
        daemon.stop(name)
    raise CommandError(Exit.BAD, f"{name} does not start: {reason}")


def _stop(daemon: Daemon, names: Sequence[str]) -> None:
    """Ask all to stop but Redis, which the others need to the end; wait until they have."""
    alive = [each.name for each in daemon.states() if each.name in names and each.alive]
    for batch in ([name for name in alive if name != REDIS], [REDIS] if REDIS in alive else []):
        for name in batch:
            daemon.stop(name)
        while any(_state(daemon, name).alive for name in batch):
            time.sleep(LOOK)


def _shut_down(daemon: Daemon) -> None:
    _stop(daemon, _chosen(daemon, None))
    daemon.shut_down()
    output.note("the stack is stopped")


def _running(folder: Path) -> Daemon:
    daemon = Daemon(folder)
    if not daemon.runs:
        raise CommandError(Exit.BAD, "the stack does not run; `jobgate stack start` starts it")
    return daemon


def _chosen(daemon: Daemon, component: str | None) -> list[str]:
    """The processes that are meant, of those that this stack has."""
    there = [each.name for each in daemon.states()]
    return there if component in {None, "all"} else _names(str(component), there)


def _names(component: str, there: Sequence[str]) -> list[str]:
    names = [name for name in ALIASES.get(component, (component,)) if name in there]
    if not names:
        raise CommandError(Exit.NOT_FOUND, f"this stack has no {component!r}; it has {', '.join(there)}")
    return names


def _state(daemon: Daemon, name: str) -> State:
    return next(each for each in daemon.states() if each.name == name)


def _show(daemon: Daemon, json_: bool, names: set[str] | None = None) -> None:
    found = [each for each in daemon.states() if names is None or each.name in names]
    if json_:
        output.as_json(
            [{"name": each.name, "state": each.state, "pid": each.pid, "detail": each.detail} for each in found]
        )
        return
    output.table(
        ("process", "state", "pid", ""), [(each.name, each.state, each.pid or "", each.detail) for each in found]
    )


def _log(daemon: Daemon, name: str) -> Path:
    return daemon.folder / "logs" / f"{name}.log"


def _stop_seconds(settings: Settings) -> int:
    return round(settings.drain_timeout) + supervision.MARGIN


def _say_line(_name: str, line: str) -> None:
    output.say(line)


def _say_named(name: str, line: str) -> None:
    output.say(f"{name:<9} | {line}")
