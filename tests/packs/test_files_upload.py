"""What `tasks.file.bulk_upload` takes in, what it refuses, and how it goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks import Cancelled, FatalError
from tasks.errors import ConfigurationError
from tasks.packs import files
from tasks.packs.files import folder, intake, upload
from tasks.packs.files.upload import Upload
from tasks.testing import Recorder


@pytest.fixture
def incoming(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one root that uploads may come from, with three files."""
    folder = tmp_path / "incoming"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.txt").write_text("first")
    (folder / "deep" / "b.txt").write_text("second")
    (folder / "deep" / "er" / "größe.txt").write_text("third")
    monkeypatch.setattr(files.FILES, "_settings", None)
    files.FILES.configure(files.FILES.kind(files_root=str(root), upload_roots=(str(folder),)))
    return folder


def take(*paths: Path | str, **options: Any) -> Upload:
    recorder = options.pop("recorder", None) or Recorder()
    return files.bulk_upload(recorder.context, [str(path) for path in paths], **options)


def states(result: Upload) -> dict[str, str]:
    return {Path(one.path).name: one.status for one in result.files}


def test_a_folder_is_taken_in_with_all_it_holds(incoming: Path, root: Path) -> None:
    recorder = Recorder()
    result = take(incoming, recorder=recorder)
    assert (result.copied, result.unchanged, result.refused, result.bytes) == (3, 0, 0, 16)
    assert (root / "uploads/a.txt").read_text() == "first"
    assert (root / "uploads/deep/er/größe.txt").read_text() == "third"
    assert [one.target for one in result.files] == ["uploads/a.txt", "uploads/deep/b.txt", "uploads/deep/er/größe.txt"]
    assert [(report["current"], report["total"]) for report in recorder.progress] == [
        (0, 16),
        (5, 16),
        (11, 16),
        (16, 16),
    ]
    assert recorder.progress[1]["message"] == f"2 of 3: {incoming}/deep/b.txt"
    assert not any((root / upload.UNFINISHED).iterdir())


def test_files_and_a_target_of_ones_own(incoming: Path, root: Path) -> None:
    result = take(incoming / "a.txt", incoming / "deep" / "b.txt", incoming / "a.txt", target="from/there")
    assert [one.target for one in result.files] == ["from/there/a.txt", "from/there/deep/b.txt"]
    assert (root / "from/there/deep/b.txt").read_text() == "second"


def test_another_run_copies_only_what_has_changed(incoming: Path, root: Path) -> None:
    take(incoming)
    inode = (root / "uploads/a.txt").stat().st_ino
    (incoming / "deep" / "b.txt").write_text("second, longer")
    result = take(incoming)
    assert states(result) == {"a.txt": "unchanged", "b.txt": "copied", "größe.txt": "unchanged"}
    assert (root / "uploads/a.txt").stat().st_ino == inode
    assert (root / "uploads/deep/b.txt").read_text() == "second, longer"


def test_a_stopped_job_leaves_whole_files_and_goes_on(incoming: Path, root: Path) -> None:
    (incoming / "large").write_bytes(os.urandom(20 << 20))
    recorder = Recorder()
    recorder.when(lambda: (root / upload.UNFINISHED / "job-1" / ".draft-1").exists() and len(recorder.progress) > 4,
                  lambda: recorder.context.stop(Cancelled))  # fmt: skip
    with pytest.raises(Cancelled):
        take(incoming, recorder=recorder)
    assert (root / "uploads/a.txt").read_text() == "first"
    assert not (root / "uploads/large").exists()
    assert list(root.rglob(".draft-*")) == []
    result = take(incoming, recorder=Recorder(attempt=2))
    assert states(result) == {"a.txt": "unchanged", "b.txt": "unchanged", "größe.txt": "unchanged", "large": "copied"}
    assert (root / "uploads/large").read_bytes() == (incoming / "large").read_bytes()


def test_what_a_killed_attempt_left_is_cleared(incoming: Path, root: Path) -> None:
    left = root / upload.UNFINISHED / "job-1" / ".draft-1"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    take(incoming, recorder=Recorder(attempt=2))
    assert not left.parent.exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/passwd", "not an absolute path under one of UPLOAD_ROOTS"),
        ("a.txt", "not an absolute path under one of UPLOAD_ROOTS"),
        ("{incoming}-other/a.txt", "not an absolute path under one of UPLOAD_ROOTS"),
        ("{incoming}/../secret.txt", "must not contain '..'"),
        ("{incoming}/none.txt", "there is no such file"),
        ("{incoming}/none/a.txt", "there is no such file"),
        ("{incoming}/link.txt", "symbolic links are not followed"),
        ("{incoming}/way/secret.txt", "symbolic link"),
        ("{incoming}/pipe", "it is no file"),
        ("{incoming}/deep\0", "not"),
    ],
)
@pytest.mark.usefixtures("root")
def test_what_lies_elsewhere_is_refused_and_the_rest_is_taken(
    incoming: Path, root: Path, outside: Path, path: str, words: str
) -> None:
    (incoming / "link.txt").symlink_to(outside)
    (incoming / "way").symlink_to(outside.parent)
    os.mkfifo(incoming / "pipe")
    result = take(path.format(incoming=incoming), incoming / "a.txt")
    refused, taken = result.files
    assert (refused.status, refused.target, taken.status) == ("refused", None, "copied")
    assert words in (refused.error or "")
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["a.txt"]


def test_links_inside_a_folder_are_refused_one_by_one(incoming: Path, root: Path, outside: Path) -> None:
    (incoming / "deep" / "link.txt").symlink_to(outside)
    (incoming / "deep" / "up").symlink_to(incoming)
    result = take(incoming)
    assert (result.copied, result.refused) == (3, 2)
    assert not list(root.rglob("link.txt"))


def test_a_folder_that_cannot_be_read_is_one_refusal(
    incoming: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(names: Any, place: Path, real: Any = folder.listed) -> Any:
        if list(names) == ["deep"]:
            raise FatalError("'deep': this process has no permission for it")
        return real(names, place)

    monkeypatch.setattr(folder, "listed", listed)
    (incoming / "z.txt").write_text("last")
    assert states(take(incoming)) == {"a.txt": "copied", "deep": "refused", "z.txt": "copied"}


def test_what_has_vanished_is_left_out(incoming: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda place, real=os.listdir: [*real(place), "gone.txt"])
    assert states(take(incoming)) == {"a.txt": "copied", "b.txt": "copied", "größe.txt": "copied"}


def test_names_that_are_not_utf8_are_refused_one_by_one(incoming: Path, root: Path) -> None:
    for name in (b"bad\xff.txt", b"bad\xfe.txt", b"bad?.txt"):
        (incoming / os.fsdecode(name)).write_text("text")
    (incoming / os.fsdecode(b"folder\xff")).mkdir()
    result = take(incoming)
    assert (result.copied, result.refused) == (4, 3)
    assert {one.path for one in result.files if one.error == "its name is not UTF-8"} == {
        f"{incoming}/bad?.txt",
        f"{incoming}/folder?",
    }
    msgspec.json.encode(result)


def test_a_link_that_comes_between_look_and_copy_is_not_followed(
    incoming: Path, root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = intake.find

    def swap(*arguments: Any) -> Any:
        found = find(*arguments)
        (incoming / "a.txt").unlink()
        (incoming / "a.txt").symlink_to(outside)
        return found

    monkeypatch.setattr(intake, "find", swap)
    (refused,) = take(incoming / "a.txt").files
    assert (refused.status, (root / "uploads" / "a.txt").exists()) == ("refused", False)


def test_two_files_for_one_place_and_a_folder_in_the_way(
    incoming: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("another")
    (root / "uploads" / "deep" / "b.txt").mkdir(parents=True)
    roots = (str(incoming), str(tmp_path / "other"))
    files.FILES.configure(files.FILES.kind(files_root=str(root), upload_roots=roots))
    first, second, third = take(incoming / "a.txt", tmp_path / "other" / "a.txt", incoming / "deep" / "b.txt").files
    assert (first.status, second.status, third.status) == ("copied", "refused", "refused")
    assert "goes to uploads/a.txt as well" in (second.error or "")
    assert "there is a folder" in (third.error or "")


def test_too_many_files_are_refused_before_any_is_copied(
    incoming: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "MAX_FILES", 2)
    with pytest.raises(FatalError, match="more than 2 files"):
        take(incoming)
    assert list(root.iterdir()) == []


def test_a_file_that_changes_while_it_is_copied_is_not_taken(
    incoming: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = upload._Batch._write

    def change(self: Any, source: Any, copy: Any) -> None:
        write(self, source, copy)
        (incoming / "a.txt").write_text("first and more")

    monkeypatch.setattr(upload._Batch, "_write", change)
    (refused,) = take(incoming / "a.txt").files
    assert "it changed while it was copied" in (refused.error or "")
    assert not (root / "uploads" / "a.txt").exists()


def test_the_result_says_only_what_there_is_to_say(incoming: Path) -> None:
    result = msgspec.to_builtins(take("/etc/passwd", incoming / "a.txt"))
    assert [sorted(one) for one in result["files"]] == [
        ["error", "path", "status"],
        ["bytes", "path", "status", "target"],
    ]


def test_a_root_for_uploads_that_holds_the_files_root_is_refused(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="would take in itself"):
        files.FILES.configure(files.FILES.kind(files_root=str(root), upload_roots=(str(root.parent),)))
