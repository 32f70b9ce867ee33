"""What Supervisor is told about our processes: one description, for `jobgate stack` and for production's file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

WEB = "web"
#: Seconds beyond the drain timeout: open requests, and the notice to the load balancer.
MARGIN = 15
#: Bytes of a log before supervisord turns it, and how many turned ones it keeps.
LOG_BYTES = 10 * 1024 * 1024
LOG_BACKUPS = 5
#: Variables that the gateway alone needs: tasks run in workers, and what they run could read a worker's environment.
GATEWAY_ONLY = ("JOBGATE_API_KEYS", "JOBGATE_API_KEYS_FILE", "JOBGATE_API_KEY")
#: Beside the file of settings that all processes read: those that only the gateway reads.
GATEWAY_SETTINGS = "web.environment"
HEAD = """\
; Jobgate under the supervisord of a server: /etc/supervisor/conf.d/jobgate.conf. Written by `jobgate stack config`.
; Settings: NAME=value lines in the file that each command reads. Logs are turned by logrotate.
"""


class Program(Struct, frozen=True):
    """One process: its command, and its turn: low numbers start first and stop last."""

    name: str
    command: tuple[str, ...]
    priority: int


class Place(Struct, frozen=True, kw_only=True):
    """Where programs run. `rotate`: supervisord turns the logs itself; otherwise something else does. A program that
    ends within `start_seconds` is started again `start_retries` times, each time after a second more."""

    directory: str
    logs: str
    stop_seconds: int
    autostart: bool
    rotate: bool
    start_seconds: int = 1
    start_retries: int = 3
    user: str = ""


def programs(jobgate: tuple[str, ...], *, celery: bool) -> list[Program]:
    """Ours, each by its own command of `jobgate`. In thread mode the gateway does all the work."""
    web = Program(WEB, (*jobgate, "serve"), 300)
    if not celery:
        return [web]
    return [Program("worker", (*jobgate, "worker"), 100), Program("scheduler", (*jobgate, "scheduler"), 200), web]


def without_keys(program: Program) -> Program:
    """The program without the variables of the gateway, unless it is the gateway."""
    if program.name == WEB:
        return program
    unset = [word for name in GATEWAY_ONLY for word in ("-u", name)]
    return Program(program.name, ("env", *unset, *program.command), program.priority)


def program_section(program: Program, place: Place, name: str) -> str:
    """The section of one program, under `name`."""
    options = {
        "command": shlex.join(program.command),
        "directory": place.directory,
        "umask": "077",
        "user": place.user,
        "priority": program.priority,
        "autostart": _truth(place.autostart),
        # 2 is a wrong setting: it will not get better by being tried again. After any other code, 0 too, the process is
        # started again: only a stop of the program is a wanted end.
        "autorestart": "unexpected",
        "exitcodes": "2",
        "startsecs": place.start_seconds,
        "startretries": place.start_retries,
        # Only the process itself is asked: its pool's children finish their jobs. What stays is killed with them.
        "stopsignal": "TERM",
        "stopasgroup": "false",
        "stopwaitsecs": place.stop_seconds,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"{place.logs}/{program.name}.log",
        "stdout_logfile_maxbytes": LOG_BYTES if place.rotate else 0,
        "stdout_logfile_backups": LOG_BACKUPS if place.rotate else 0,
    }
    return section(f"program:{name}", options)


def server_file(home: str, environment: str, place: Place) -> str:
    """The programs for the supervisord of a server, where settings lie in the file `environment`, and those of the
    gateway alone in GATEWAY_SETTINGS beside it."""
    own = shlex.quote(str(Path(environment).with_name(GATEWAY_SETTINGS)))
    read = f"set -a; . {shlex.quote(environment)}; "
    more = f"[ ! -e {own} ] || . {own}; "
    ours = programs((f"{home}/.venv/bin/jobgate",), celery=True)
    sections = [
        program_section(
            Program(
                each.name,
                ("/bin/sh", "-c", f"{read}{more * (each.name == WEB)}exec {shlex.join(each.command)}"),
                each.priority,
            ),
            place,
            name,
        )
        for each, name in ((each, f"jobgate-{each.name}") for each in ours)
    ]
    group = section("group:jobgate", {"programs": ",".join(f"jobgate-{each.name}" for each in ours)})
    return document([HEAD, *sections, group])


def supervisord_sections(folder: Path) -> list[str]:
    """supervisord's own: everything of it lies in `folder`, and only its owner may talk to it."""
    socket = folder / "supervisor.sock"
    daemon: dict[str, object] = {
        "logfile": folder / "supervisord.log",
        "logfile_maxbytes": LOG_BYTES,
        "logfile_backups": LOG_BACKUPS,
        "pidfile": folder / "supervisord.pid",
        "childlogdir": folder,
        "umask": "077",
        # It complains of being root unless that was said to be wanted.
        "user": "root" if os.getuid() == 0 else "",
    }
    factory = {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"}
    return [
        section("unix_http_server", {"file": socket, "chmod": "0700"}),
        section("supervisord", daemon),
        section("rpcinterface:supervisor", factory),
        section("supervisorctl", {"serverurl": f"unix://{socket}"}),
    ]


def document(sections: Iterable[str]) -> str:
    return "\n".join(sections)


def section(name: str, options: Mapping[str, object]) -> str:
    # A percent sign begins an expansion in Supervisor's files.
    lines = [f"{key}={str(value).replace('%', '%%')}" for key, value in options.items() if str(value)]
    return "\n".join([f"[{name}]", *lines, ""])


def _truth(value: bool) -> str:
    return str(value).lower()
