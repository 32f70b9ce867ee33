"""What this machine says of itself, without any library: what it cannot tell is None."""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path

from msgspec import Struct

_MEMORY = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


class Host(Struct, frozen=True, kw_only=True):
    """A machine at one moment: the load average of a minute; memory and disk in bytes."""

    host: str
    cores: int
    load: float | None
    memory_total: int | None
    memory_available: int | None
    disk_total: int
    disk_free: int


def look(disk: str, meminfo: Path = Path("/proc/meminfo")) -> Host:
    """`disk`: a path on the disk that is asked for. OSError if there is none."""
    usage, memory = shutil.disk_usage(disk), _memory(meminfo)
    return Host(
        host=socket.gethostname()[:255],
        cores=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        memory_total=memory.get("MemTotal"),
        memory_available=memory.get("MemAvailable"),
        disk_total=usage.total,
        disk_free=usage.free,
    )


def _memory(meminfo: Path) -> dict[str, int]:
    try:
        text = meminfo.read_text(encoding="ascii")
    except OSError:  # not Linux
        return {}
    return {name: int(kilobytes) << 10 for name, kilobytes in _MEMORY.findall(text)}
