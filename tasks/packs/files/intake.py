"""What lies on the server under the allowed roots: found without following a link, and never outside of them."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from tasks import FatalError
from tasks.errors import printable
from tasks.packs.files import folder


class Found(Struct, frozen=True, kw_only=True):
    """A file at `way` under `root`, `size` bytes long; or, with an `error`, what will not be taken from there."""

    path: str
    root: Path
    way: str
    size: int = 0
    error: str = ""


def find(paths: Sequence[str], roots: Sequence[Path], at_most: int) -> list[Found]:
    """The files at `paths` (a folder stands for all that is in it), each once. FatalError for more than `at_most`."""
    found: dict[tuple[str, str], Found] = {}
    for path in paths:
        for one in _at(path, roots):
            # Names that are not UTF-8 may look the same.
            found.setdefault((one.path, one.error and one.way), one)
            if len(found) > at_most:
                raise FatalError(f"more than {at_most} files lie there; take them in by parts")
    return list(found.values())


def _at(path: str, roots: Sequence[Path]) -> Iterator[Found]:
    root = next((root for root in roots if path == str(root) or path.startswith(f"{root}/")), None)
    if root is None:
        yield Found(path=path, root=Path("/"), way="", error="it is not an absolute path under one of UPLOAD_ROOTS")
        return
    inside = path[len(str(root)) :].strip("/")
    try:
        names = folder.components(inside) if inside else []
        yield from _below(root, names)
    except FatalError as error:
        yield Found(path=path, root=root, way=inside, error=error.detail)


def _below(root: Path, names: Sequence[str]) -> Iterator[Found]:
    """The file of these names, or all files in the folder of these names."""
    if not names:
        yield from _inside(root, names)
        return
    *outer, name = names
    facts = dict(folder.listed(outer, root)).get(name)
    if facts is None:
        raise FatalError("there is no such file")
    yield from _one(root, names, facts.st_mode, facts.st_size)


def _inside(root: Path, names: Sequence[str]) -> Iterator[Found]:
    for name, facts in folder.listed(names, root):
        yield from _one(root, [*names, name], facts.st_mode, facts.st_size)


def _one(root: Path, names: Sequence[str], mode: int, size: int) -> Iterator[Found]:
    way = "/".join(names)
    path = printable(f"{root}/{way}")
    if not _is_utf8(way):
        yield Found(path=path, root=root, way=way, error="its name is not UTF-8")
        return
    if stat.S_ISDIR(mode):
        try:
            yield from _inside(root, names)
        except FatalError as refusal:
            yield Found(path=path, root=root, way=way, error=refusal.detail)
        return
    error = "" if stat.S_ISREG(mode) else "symbolic links are not followed" if stat.S_ISLNK(mode) else "it is no file"
    yield Found(path=path, root=root, way=way, size=size, error=error)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
