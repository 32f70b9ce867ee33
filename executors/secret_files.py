"""Settings that hold secrets may be given as files: NAME_FILE names a file that holds the value of NAME.

Container secrets and systemd's credentials are files; the environment of a process can be read by its children and by
whoever inspects a container.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.errors import ConfigurationError

SUFFIX = "_FILE"
#: What may be given so. A file of API keys holds an entry a line.
SECRETS = ("DATABASE_URL", "CELERY_BROKER_URL", "JOBGATE_PACKS_DATABASE_URL", "JOBGATE_API_KEYS")


def with_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns `environ` with the values from files in place of the variables that name the files.

    Raises ConfigurationError for a variable that is given twice, and for a file that is empty or cannot be read.
    """
    found = dict(environ)
    for name in SECRETS:
        path = found.pop(name + SUFFIX, "")
        if path and found.get(name):
            raise ConfigurationError(f"{name} and {name}{SUFFIX} are both set: unset one of them")
        if path:
            found[name] = _read(name, path)
    return found


def _read(name: str, path: str) -> str:
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(f"{name}{SUFFIX}={path!r} cannot be read: {reason}") from None
    value = ",".join(filter(None, lines))
    if not value:
        raise ConfigurationError(f"{name}{SUFFIX}={path!r} is empty: it must hold the value of {name}")
    return value
