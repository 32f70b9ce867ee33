"""What `tasks.file.export_file` leaves on the disk, when it ends well and when it does not."""

from __future__ import annotations

import errno
import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from tasks import Cancelled, FatalError, LeaseLost
from tasks.errors import InvalidArguments
from tasks.packs import files
from tasks.packs.files import export as module
from tasks.testing import Recorder
from tests.packs.support import SAMPLES, export


@pytest.fixture
def filled(root: Path) -> Path:
    files.fill(root)
    return root


def found_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_zip_holds_the_files_as_they_are(filled: Path) -> None:
    (filled / "sub" / "deep").mkdir(parents=True)
    (filled / "sub" / "deep" / "größe.txt").write_text("words")
    names = ["report.pdf", "sub/deep/größe.txt", "guide-gb18030.txt"]
    result = export(names)
    made = filled / result.path
    assert result.path == "exports/job-1/export.zip"
    assert result.files == 3
    assert result.bytes == sum((filled / name).stat().st_size for name in names)
    assert result.compressed_bytes == made.stat().st_size
    assert result.sha256 == hashlib.sha256(made.read_bytes()).hexdigest()
    with zipfile.ZipFile(made) as package:
        assert package.testzip() is None
        assert package.namelist() == names
        assert all(package.read(name) == (filled / name).read_bytes() for name in names)


def test_progress_counts_bytes_and_names_files(filled: Path) -> None:
    recorder = Recorder()
    result = files.export_file(recorder.context, ["welcome.txt", "report.pdf"])
    assert recorder.progress == [
        {"current": 0, "total": result.bytes, "message": "1 of 2: welcome.txt"},
        {"current": 859, "total": result.bytes, "message": "2 of 2: report.pdf"},
        {"current": result.bytes, "total": result.bytes, "message": "done"},
    ]
    line = f"exports/job-1/export.zip: 2 files, {result.bytes} bytes, packed into {result.compressed_bytes}"
    assert recorder.log == [("info", line)]


def test_progress_moves_within_a_large_file(root: Path) -> None:
    (root / "large").write_bytes(bytes(20 << 20))
    recorder = Recorder()
    files.export_file(recorder.context, ["large"])
    assert [report["current"] >> 20 for report in recorder.progress] == [0, 8, 16, 20]


def test_a_second_attempt_makes_the_same_file_again(filled: Path) -> None:
    first = export(["report.pdf", "welcome.txt"])
    assert export(["report.pdf", "welcome.txt"], attempt=2) == first
    assert found_under(filled / "exports") == ["job-1/export.zip"]


def test_another_job_does_not_touch_it(filled: Path) -> None:
    first = export(["report.pdf"], job="job-1")
    second = export(["welcome.txt"], job="job-2")
    assert (first.path, second.path) == ("exports/job-1/export.zip", "exports/job-2/export.zip")
    assert hashlib.sha256((filled / first.path).read_bytes()).hexdigest() == first.sha256


@pytest.mark.parametrize("job", ["../../x", "a/b", "", ".", "x" * 65, "ключ"])
def test_a_job_with_a_strange_id_has_a_folder_of_its_own_all_the_same(filled: Path, job: str) -> None:
    path = Path(export(["report.pdf"], job=job).path)
    assert len(path.parts[1]) == 32
    assert found_under(filled / "exports") == [f"{path.parts[1]}/export.zip"]


class TestNames:
    def members(self, *paths: str) -> list[str]:
        return [member.name for member in module.name_members(paths)]

    def test_a_file_that_is_named_twice_goes_in_once(self) -> None:
        assert self.members("a.txt", "./a.txt", "sub//b", "a.txt", "sub/b") == ["a.txt", "sub/b"]

    def test_names_that_some_systems_cannot_part_are_numbered(self) -> None:
        assert self.members("a.txt", "A.txt", "a (2).txt", "sub/a.txt") == [
            "a.txt",
            "A (2).txt",
            "a (2) (2).txt",
            "sub/a.txt",
        ]
        assert self.members("caf\u00e9", "cafe\u0301") == ["caf\u00e9", "cafe\u0301 (2)"]

    @pytest.mark.parametrize("name", ["a.zip", "Größe 2026.zip", "报告.zip", "a.b.zip"])
    def test_a_good_name_is_taken(self, name: str) -> None:
        files.export_file.signature.check([["a"], name], {})

    @pytest.mark.parametrize(
        "name", ["", ".zip", "a", "a.exe", "../a.zip", "/a.zip", "a/b.zip", "a\\b.zip", ".a.zip", "a\n.zip", "a.zip\n"]
    )
    def test_a_bad_name_is_refused_before_the_job_is_accepted(self, name: str) -> None:
        with pytest.raises(InvalidArguments):
            files.export_file.signature.check([["a"], name], {})

    def test_the_longest_name_fits_any_file_system(self, filled: Path) -> None:
        name = "𠮷" * 56 + ".zip"
        files.export_file.signature.check([["a"], name], {})
        assert (filled / export(["report.pdf"], name).path).exists()


class TestLimits:
    def test_no_file_and_too_many_are_refused_before_the_job_is_accepted(self) -> None:
        for paths in ([], ["a"] * 1001, [""], ["a" * 1025], "a.txt"):
            with pytest.raises(InvalidArguments):
                files.export_file.signature.check([paths], {})

    def test_too_many_bytes_are_refused_before_anything_is_written(self, root: Path) -> None:
        for name in ("a", "b"):
            with (root / name).open("wb") as file:
                file.truncate((1 << 29) + 1)
        with pytest.raises(FatalError, match="hold more than 1073741824 bytes together"):
            export(["a", "b"])
        assert not (root / "exports").exists()

    def test_a_file_that_grows_meanwhile_cannot_pass_the_limit(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "log").write_bytes(bytes(3 << 20))
        monkeypatch.setattr(module, "MAX_BYTES", 2 << 20)
        monkeypatch.setattr("tasks.packs.files.folder.size", lambda _: 10)
        with pytest.raises(FatalError, match="hold more than"):
            export(["log"])
        assert found_under(root / "exports") == []

    def test_a_missing_file_is_found_before_anything_is_written(self, filled: Path) -> None:
        with pytest.raises(FatalError, match=r"'none\.txt': there is no such file"):
            export(["report.pdf", "none.txt"])
        assert not (filled / "exports").exists()


class TestStops:
    @pytest.fixture
    def large(self, root: Path) -> Path:
        (root / "large").write_bytes(os.urandom(10 << 20))
        return root

    def test_a_cancelled_export_leaves_nothing(self, large: Path) -> None:
        recorder = Recorder()
        recorder.stop_after(1, Cancelled)
        with pytest.raises(Cancelled):
            files.export_file(recorder.context, ["large"])
        assert len(recorder.progress) == 1
        assert found_under(large) == ["large"]

    def test_an_export_that_is_cancelled_before_it_writes_makes_no_folder(self, large: Path) -> None:
        recorder = Recorder()
        recorder.context.stop(Cancelled)
        with pytest.raises(Cancelled):
            files.export_file(recorder.context, ["large"])
        assert [path.name for path in large.iterdir()] == ["large"]

    def test_a_cancel_between_two_chunks_is_noticed_there(self, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = Recorder()
        written = 0
        write = zipfile._ZipWriteFile.write  # type: ignore[attr-defined]

        def counting(self: object, data: bytes) -> object:
            nonlocal written
            written += len(data)
            recorder.context.stop(Cancelled)
            return write(self, data)

        monkeypatch.setattr(zipfile._ZipWriteFile, "write", counting)  # type: ignore[attr-defined]
        with pytest.raises(Cancelled):
            files.export_file(recorder.context, ["large"])
        assert written == 1 << 20
        assert found_under(large) == ["large"]

    def test_the_earlier_output_stays_until_the_new_one_is_complete(self, large: Path) -> None:
        first = export(["large"])
        recorder = Recorder(attempt=2)
        recorder.stop_after(1, Cancelled)
        with pytest.raises(Cancelled):
            files.export_file(recorder.context, ["large"])
        assert hashlib.sha256((large / first.path).read_bytes()).hexdigest() == first.sha256
        assert found_under(large / "exports") == ["job-1/export.zip"]

    def test_what_a_killed_attempt_left_is_swept_by_the_next(self, filled: Path) -> None:
        home = filled / "exports" / "job-1"
        home.mkdir(parents=True)
        (home / ".draft-1").write_bytes(b"half a ZIP")
        export(["report.pdf"], attempt=2)
        assert found_under(filled / "exports") == ["job-1/export.zip"]

    def test_an_attempt_that_lost_its_job_replaces_nothing(self, filled: Path) -> None:
        slow = Recorder(attempt=1)

        def overtake() -> None:
            slow.context.stop(LeaseLost)
            export(["welcome.txt"], attempt=2)

        slow.when(lambda: slow.progress[-1]["message"] == "done", overtake)
        with pytest.raises(LeaseLost):
            files.export_file(slow.context, ["report.pdf"])
        with zipfile.ZipFile(filled / "exports/job-1/export.zip") as package:
            assert package.namelist() == ["welcome.txt"]

    def test_an_attempt_that_does_not_know_it_is_lost_replaces_nothing_either(self, filled: Path) -> None:
        slow = Recorder(attempt=1)
        slow.when(lambda: slow.progress[-1]["message"] == "done", lambda: export(["welcome.txt"], attempt=2))
        with pytest.raises(FileNotFoundError):
            files.export_file(slow.context, ["report.pdf"])
        with zipfile.ZipFile(filled / "exports/job-1/export.zip") as package:
            assert package.namelist() == ["welcome.txt"]

    def test_a_full_disk_is_an_oserror_and_leaves_nothing(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            export(["report.pdf"])
        assert found_under(filled / "exports") == []


def test_an_export_folder_that_is_a_link_is_not_followed(filled: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (filled / "exports").symlink_to(elsewhere)
    with pytest.raises(FatalError, match="'exports/job-1': a part of the path is a symbolic link or no folder"):
        export(["report.pdf"])
    assert list(elsewhere.iterdir()) == []


def test_an_output_that_is_a_link_is_replaced_and_not_followed(filled: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (filled / "exports" / "job-1").mkdir(parents=True)
    (filled / "exports" / "job-1" / "export.zip").symlink_to(victim)
    result = export(["report.pdf"])
    assert victim.read_text() == "precious"
    assert not (filled / result.path).is_symlink()


def test_times_no_zip_can_hold_are_moved_into_range(filled: Path) -> None:
    for name, moment in (("welcome.txt", 0), ("report.pdf", 5_000_000_000)):
        os.utime(filled / name, (moment, moment))
    with zipfile.ZipFile(filled / export(["welcome.txt", "report.pdf"]).path) as package:
        assert [entry.date_time[0] for entry in package.infolist()] == [1980, 2107]


def test_the_samples_are_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 64_000
