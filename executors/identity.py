"""Who this process is: a name that no other process ever has, from which its death can be told."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

VERSION = "0.1.0"
#: Dead, but not yet waited for by its parent.
ZOMBIE = "zombie"
UNKNOWN_BOOT = "unknown"

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def host() -> str:
    return socket.gethostname()


def make_owner(name: str = "") -> str:
    """`host/boot/pid/start/nonce`, and the worker's name if it has one: `/celery@host`.

    Call it in the process that it names, after any fork. The name stays readable in jobs and attempts when the registry
    has forgotten the process.
    """
    pid = os.getpid()
    parts = [host(), _boot(), str(pid), _start_of(pid) or "0", secrets.token_hex(4)]
    return "/".join([*parts, name] if name else parts)


def shown_owner(owner: str) -> str:
    """An owner for people: `celery@host (pid 7)`, or with the host where it has no name."""
    parts = owner.split("/", 5)
    return owner if len(parts) < 5 else f"{parts[5] if len(parts) == 6 else parts[0]} (pid {parts[2]})"


def make_instance() -> str:
    """`host/boot/pid/start` of this process: the same before and after it executes itself again."""
    return make_owner().rpartition("/")[0]


def is_dead(owner: str) -> bool:
    """Whether the owner certainly lives no more: a process of this host and boot that is not there now.

    False for what cannot be told: other hosts, other boots, other containers with a boot id of their own.
    """
    parts = owner.split("/", 5)
    if len(parts) < 5 or UNKNOWN_BOOT in parts or parts[:2] != [host(), _boot()] or not parts[2].isdigit():
        return False
    return _has_gone(int(parts[2]), parts[3])


def is_stopped(pid: int) -> bool:
    """Whether the process was stopped by a signal or a debugger; False where that cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def _has_gone(pid: int, start: str) -> bool:
    now = _start_of(pid)
    if now is not None:
        return now == ZOMBIE or start not in {"0", now}
    try:  # /proc may be hidden or missing; then only a number that nobody has is certain
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _boot() -> str:
    # Containers of one host share the boot id but not the process table: the namespace tells them apart.
    try:
        return f"{_BOOT.read_text().strip()[:8]}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return UNKNOWN_BOOT


def _start_of(pid: int) -> str | None:
    """The process's start in clock ticks since boot (proc(5), field 22), or ZOMBIE; None where it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return ZOMBIE if fields[0] in "ZX" else fields[19]
