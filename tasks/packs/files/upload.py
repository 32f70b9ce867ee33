"""The task that takes in files that lie on the server already."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import IO, Annotated, Literal

from msgspec import Meta, Struct

from tasks import Context, FatalError, task
from tasks.packs.files import draft, folder, intake
from tasks.packs.files.folder import RelativePath
from tasks.packs.files.intake import Found
from tasks.packs.files.process import lacking, process_file
from tasks.packs.files.settings import FILES, upload_roots
from tasks.packs.knowledge.index import DEFAULT_BASE, BaseName

#: The folder under the root that holds what is being copied, one folder per job.
UNFINISHED = ".uploads"
MAX_FILES = 1000
#: Bytes between two reports of progress within a file.
_STRIDE = 8 << 20

Source = Annotated[
    str, Meta(min_length=1, max_length=1024, description="a file or folder under one of UPLOAD_ROOTS, absolute")
]
Sources = Annotated[list[Source], Meta(min_length=1, max_length=MAX_FILES)]


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one file. `unchanged`: its copy is there already. `job_id` is the job that processes it."""

    path: str
    status: Literal["copied", "unchanged", "refused"]
    target: str | None = None
    bytes: int = 0
    job_id: str | None = None
    error: str | None = None


class Upload(Struct, frozen=True, kw_only=True):
    """The result of `tasks.file.bulk_upload`: how many files of each outcome, bytes that were copied, and each file."""

    copied: int
    unchanged: int
    refused: int
    bytes: int
    files: list[Outcome]


@task(
    name="tasks.file.bulk_upload",
    queue="file_tasks",
    bind=True,
    soft_time_limit=3600,
    time_limit=3660,
    needs=lambda: FILES.lacks("upload_roots"),
)
def bulk_upload(
    context: Context,
    paths: Sources,
    target: RelativePath = "uploads",
    process: bool = False,
    knowledge_base: BaseName = DEFAULT_BASE,
) -> Upload:
    """Copy files that lie on the server under the files root, below the folder `target`; folders with all they hold.

    Another run goes on where the last one ended: what is there already, with the size and time of its source, is not
    copied again. `process` has every file processed by a job of its own. Files that are refused do not stop the others.
    """
    if process and (lack := lacking()):
        raise FatalError(lack)
    folder.components(target)

    def submit(path: str) -> str:
        return process_file.apply_async([path], {"knowledge_base": knowledge_base}).id

    found = intake.find(paths, upload_roots(), MAX_FILES)
    return _Batch(context, found, target, submit if process else None).run()


class _Batch:
    """Files on their way in."""

    def __init__(
        self, context: Context, found: Sequence[Found], target: str, submit: Callable[[str], str] | None
    ) -> None:
        self._context = context
        self._found = found
        self._target = PurePosixPath(target)
        self._submit = submit
        self._home = [UNFINISHED, draft.folder_name(context.idempotency_key)]
        self._taken: dict[str, str] = {}
        self._message = ""
        self._done, self._total = 0, sum(one.size for one in found)

    def run(self) -> Upload:
        outcomes = [self._take(number, found) for number, found in enumerate(self._found, 1)]
        # What an attempt leaves that was stopped is cleared by the next one.
        with suppress(OSError), folder.made(self._home[:1]) as place:
            os.rmdir(self._home[1], dir_fd=place)
        self._context.progress(self._done, self._done, "done")
        states = [outcome.status for outcome in outcomes]
        return Upload(
            copied=states.count("copied"),
            unchanged=states.count("unchanged"),
            refused=states.count("refused"),
            bytes=sum(outcome.bytes for outcome in outcomes if outcome.status == "copied"),
            files=outcomes,
        )

    def _take(self, number: int, found: Found) -> Outcome:
        self._message = f"{number} of {len(self._found)}: {found.path}"
        self._report(0)
        try:
            return self._copy(found)
        except FatalError as error:
            return Outcome(path=found.path, status="refused", error=error.detail)
        finally:
            self._done += found.size

    def _copy(self, found: Found) -> Outcome:
        if found.error:
            raise FatalError(found.error)
        target = str(self._target / found.way)
        if self._taken.setdefault(target, found.path) != found.path:
            raise FatalError(f"{self._taken[target]} goes to {target} as well")
        *outer, name = folder.components(target)
        with folder.opened(found.way, found.root) as source, folder.made(outer) as place:
            size, known = folder.size(source), _is_copy(place, name, source)
            if not known:
                self._replace(source, place, name)
        return Outcome(
            path=found.path,
            status="unchanged" if known else "copied",
            target=target,
            bytes=size,
            job_id=self._submit(target) if self._submit is not None else None,
        )

    def _replace(self, source: IO[bytes], place: int, name: str) -> None:
        with folder.made(self._home) as home, draft.begun(home, self._context) as unfinished:
            before = os.fstat(source.fileno())
            with draft.opened(home, unfinished) as copy:
                self._write(source, copy)
                os.utime(copy.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
            after = os.fstat(source.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise FatalError("it changed while it was copied; take it in again")
            self._context.check()  # an attempt that has lost its job must not replace what its successor wrote
            try:
                os.replace(unfinished, name, src_dir_fd=home, dst_dir_fd=place)
            except IsADirectoryError as error:
                raise FatalError("there is a folder where its copy would be") from error
            os.fsync(place)

    def _write(self, source: IO[bytes], copy: IO[bytes]) -> None:
        done = reported = 0
        for chunk in folder.chunks(source, self._context.check):
            copy.write(chunk)
            done += len(chunk)
            if done - reported >= _STRIDE:
                self._report(done)
                reported = done
        copy.flush()
        os.fsync(copy.fileno())

    def _report(self, of_this: int) -> None:
        done = self._done + of_this
        self._context.progress(done, max(self._total, done), self._message)


def _is_copy(place: int, name: str, source: IO[bytes]) -> bool:
    """Whether the file of that name has the size and time of its source, as the copy that we made has."""
    facts = os.fstat(source.fileno())
    try:
        there = os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    same = (there.st_size, there.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    return stat.S_ISREG(there.st_mode) and same
