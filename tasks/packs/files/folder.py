"""The files root: every path of the pack is opened here, component by component, and never leads out of the root.

The roots that uploads come from are walked in the same way: `root` names another one than the files root.

A path is checked by opening it, not by looking at its text: no symbolic link is followed anywhere, whoever swaps a
folder for one while we walk. Needs POSIX (`openat`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated

from msgspec import Meta

from tasks.errors import FatalError

#: A path as a task takes it.
RelativePath = Annotated[
    str, Meta(min_length=1, max_length=1024, description="relative to the files root", examples=["report.pdf"])
]

#: Bytes read at a time; between two reads a job can be stopped.
CHUNK = 1 << 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would wait for somebody to write to it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_WORDS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "a part of the path is a symbolic link or no folder",
    errno.ELOOP: "symbolic links are not followed",
    errno.EACCES: "this process has no permission for it",
    errno.EPERM: "this process has no permission for it",
    errno.ENAMETOOLONG: "a part of the path is too long",
    errno.ENXIO: "it is not a regular file",
}


class _Configured:
    """The process's root; set once by the process entry."""

    root: Path | None = None


def configure(root: Path) -> None:
    """Make `root` the folder that all paths are relative to."""
    # Absolute now: the process may change its working folder later.
    _Configured.root = root.absolute()


def components(path: str) -> list[str]:
    """The names on the way to `path`; FatalError for one that is not relative or has `..`."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if path.startswith("/"):
        raise FatalError(f"{path!r}: give the path relative to the files root, without a leading slash")
    if ".." in names:
        raise FatalError(f"{path!r}: a path must not contain '..'")
    if not names or "\0" in path:
        raise FatalError(f"{path!r} is not the path of a file")
    return names


@contextmanager
def opened(path: str, root: Path | None = None) -> Iterator[IO[bytes]]:
    """The regular file at `path`, open for reading.

    Raises FatalError if it is missing, may not be read or is no regular file; OSError for faults that may pass.
    """
    *folders, name = components(path)
    with _explained(path), _held(_descend(folders, root=root)) as place:
        descriptor = os.open(name, _FILE, dir_fd=place)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FatalError(f"{path!r}: it is not a regular file")
    with open(descriptor, "rb", buffering=0) as file:
        yield file


@contextmanager
def made(names: Sequence[str]) -> Iterator[int]:
    """A descriptor of a folder under the root, which is made where it is missing."""
    with _explained("/".join(names)):
        descriptor = _descend(names, make=True)
    with _held(descriptor) as place:
        yield place


def listed(names: Sequence[str], root: Path) -> list[tuple[str, os.stat_result]]:
    """What lies in a folder, by name, links as links; FatalError for what is no folder or may not be read."""
    with _explained("/".join(names)), _held(_descend(names, root=root)) as place:
        found = []
        for name in sorted(os.listdir(place)):
            with suppress(FileNotFoundError):  # it has vanished meanwhile
                found.append((name, os.stat(name, dir_fd=place, follow_symlinks=False)))
        return found


def chunks(file: IO[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    """The rest of `file`, a chunk at a time; `check` may raise between two."""
    while chunk := file.read(CHUNK):
        check()
        yield chunk


def size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what will not pass by itself into FatalError; a disk or network fault stays an OSError and is retried."""
    try:
        yield
    except OSError as error:
        words = _WORDS.get(error.errno or 0)
        if words is None:
            raise
        raise FatalError(f"{path!r}: {words}") from error
    except UnicodeEncodeError as error:
        raise FatalError(f"{path!r}: not a name this file system can hold") from error


@contextmanager
def _held(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _descend(names: Sequence[str], make: bool = False, root: Path | None = None) -> int:
    place = _open_root(root or _Configured.root)
    for name in names:
        outer = place
        try:
            place = _enter(outer, name, make)
        finally:
            os.close(outer)
    return place


def _open_root(root: Path | None) -> int:
    if root is None:
        raise FatalError(
            "this process was not told its files root: call tasks.packs.files.configure(root) at its start"
        )
    try:
        # The root itself is the operator's choice and may be a symbolic link.
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        # Not the fault of the job's path, and it may pass.
        raise OSError(
            errno.ESTALE, f"the root {root} cannot be opened ({error.strerror}): is its volume there?"
        ) from error


def _enter(outer: int, name: str, make: bool) -> int:
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=outer)
    return os.open(name, _FOLDER, dir_fd=outer)
