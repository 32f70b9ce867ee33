"""The task that packs files into one ZIP."""

from __future__ import annotations

import hashlib
import os
import time
import unicodedata
from collections.abc import Iterator, Sequence
from io import BufferedRandom
from typing import IO, Annotated
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from msgspec import Meta, Struct

from tasks import Context, FatalError, task
from tasks.packs.files import draft, folder
from tasks.packs.files.folder import RelativePath

#: The folder under the root that holds one folder per job.
EXPORTS = "exports"
MAX_FILES = 1000
#: Bytes of all files together, before compression.
MAX_BYTES = 1 << 30
#: Bytes between two reports of progress within a file.
_STRIDE = 8 << 20
#: A ZIP knows no year before 1980 and none after 2107; seconds since the epoch.
_FIRST, _LAST = 315_532_800, 4_354_819_198

Paths = Annotated[list[RelativePath], Meta(min_length=1, max_length=MAX_FILES)]
#: A plain name, not hidden, that fits any file system in UTF-8.
Name = Annotated[
    str,
    Meta(
        pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,55}\.zip$(?!\n)",
        description="a plain file name that ends in .zip, at most 60 characters",
    ),
]


class Export(Struct, frozen=True, kw_only=True):
    """The result of `tasks.file.export_file`: `path` is relative to the files root, `sha256` is that of the ZIP."""

    path: str
    files: int
    bytes: int
    compressed_bytes: int
    sha256: str


class Member(Struct, frozen=True, kw_only=True):
    """One file on its way into the ZIP, under `name`."""

    path: str
    name: str


@task(name="tasks.file.export_file", queue="export", bind=True, soft_time_limit=1800, time_limit=1860)
def export_file(context: Context, paths: Paths, name: Name = "export.zip") -> Export:
    """Pack files into one ZIP, `exports/<job>/<name>` under the files root.

    The ZIP appears when it is complete, never before. Another attempt of the same job writes the same file anew;
    another job has a folder of its own.
    """
    members = name_members(paths)
    total = _measure(members, context)
    home = [EXPORTS, draft.folder_name(context.idempotency_key)]
    with folder.made(home) as place, draft.begun(place, context) as unfinished:
        with draft.opened(place, unfinished) as file:
            packed = _pack(file, members, total, context)
            result = _describe(file, "/".join([*home, name]), len(members), packed)
        context.check()  # an attempt that has lost its job must not replace what its successor wrote
        os.replace(unfinished, name, src_dir_fd=place, dst_dir_fd=place)
        os.fsync(place)
    context.log(f"{result.path}: {result.files} files, {result.bytes} bytes, packed into {result.compressed_bytes}")
    return result


def name_members(paths: Sequence[str]) -> list[Member]:
    """The files in the given order, each once, under the path it has below the root.

    Names that differ only in case or in Unicode form are one name to some systems: the second becomes `a (2).txt`.
    """
    members: dict[str, Member] = {}
    taken: set[str] = set()
    for path in ("/".join(folder.components(given)) for given in paths):
        if path not in members:
            name = next(name for name in _variants(path) if _key(name) not in taken)
            taken.add(_key(name))
            members[path] = Member(path=path, name=name)
    return list(members.values())


def _variants(path: str) -> Iterator[str]:
    yield path
    stem, extension = os.path.splitext(path)
    yield from (f"{stem} ({number}){extension}" for number in range(2, MAX_FILES + 2))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _measure(members: Sequence[Member], context: Context) -> int:
    """Bytes of all files; a missing one is found before anything is written."""
    total = 0
    for member in members:
        context.check()
        with folder.opened(member.path) as file:
            total += folder.size(file)
        _refuse_size(total)
    return total


def _refuse_size(total: int) -> None:
    if total > MAX_BYTES:
        raise FatalError(f"the files hold more than {MAX_BYTES} bytes together; export fewer at a time")


def _pack(target: IO[bytes], members: Sequence[Member], total: int, context: Context) -> int:
    """Write the ZIP; the bytes that went in, which are others than measured where a file has changed since."""
    done = 0
    with ZipFile(target, "w", ZIP_DEFLATED) as package:
        for number, member in enumerate(members, 1):
            message = f"{number} of {len(members)}: {member.name}"
            with folder.opened(member.path) as source, package.open(_entry(member, source), "w") as entry:
                context.progress(done, max(total, done), message)
                reported = done
                for chunk in folder.chunks(source, context.check):
                    entry.write(chunk)
                    done += len(chunk)
                    _refuse_size(done)
                    if done - reported >= _STRIDE:
                        context.progress(done, max(total, done), message)
                        reported = done
    context.progress(done, done, "done")
    return done


def _entry(member: Member, source: IO[bytes]) -> ZipInfo:
    changed = int(os.fstat(source.fileno()).st_mtime)
    # In UTC, so that the same files give the same ZIP on every machine.
    entry = ZipInfo(member.name, time.gmtime(min(max(changed, _FIRST), _LAST))[:6])
    entry.compress_type = ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    entry.file_size = folder.size(source)
    return entry


def _describe(file: BufferedRandom, path: str, files: int, packed: int) -> Export:
    """The result, from what really stands on the disk."""
    file.flush()
    os.fsync(file.fileno())
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Export(path=path, files=files, bytes=packed, compressed_bytes=size, sha256=digest)
