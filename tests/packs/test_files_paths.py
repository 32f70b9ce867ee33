"""Paths that lead out of the root, or to what is no file: none is opened, and no worker hangs."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import FatalError
from tasks.packs import files
from tasks.packs.files import folder, reading
from tests.packs.support import analyze, export


class TestPaths:
    """Both tasks open files through one door; each attack is tried on both."""

    @pytest.fixture(params=["analyze", "export"])
    def use(self, request: pytest.FixtureRequest) -> Callable[[str], object]:
        return analyze if request.param == "analyze" else lambda path: export([path])

    @pytest.mark.parametrize("path", ["../secret.txt", "a/../../secret.txt", "..", "a/.."])
    @pytest.mark.usefixtures("root", "outside")
    def test_two_dots_are_refused(self, use: Callable[[str], object], path: str) -> None:
        with pytest.raises(FatalError, match=r"must not contain '\.\.'"):
            use(path)

    @pytest.mark.usefixtures("root")
    def test_an_absolute_path_is_refused_even_into_the_root(
        self, use: Callable[[str], object], root: Path, outside: Path
    ) -> None:
        (root / "a.txt").write_text("words")
        for path in (str(outside), str(root / "a.txt"), "//etc/passwd"):
            with pytest.raises(FatalError, match="give the path relative to the files root"):
                use(path)

    @pytest.mark.parametrize("path", ["", ".", "./", "a\0b"])
    @pytest.mark.usefixtures("root")
    def test_what_names_no_file_is_refused(self, use: Callable[[str], object], path: str) -> None:
        with pytest.raises(FatalError, match="is not the path of a file"):
            use(path)

    def test_a_link_is_not_followed_wherever_it_leads(
        self, use: Callable[[str], object], root: Path, outside: Path
    ) -> None:
        (root / "plain.txt").write_text("words")
        (root / "out").symlink_to(outside)
        (root / "in").symlink_to("plain.txt")
        (root / "loop").symlink_to("loop")
        for path in ("out", "in", "loop"):
            with pytest.raises(FatalError, match="symbolic links are not followed"):
                use(path)

    def test_a_link_in_the_middle_of_the_path_is_not_followed(
        self, use: Callable[[str], object], root: Path, outside: Path
    ) -> None:
        (root / "sub").symlink_to(outside.parent)
        with pytest.raises(FatalError, match="a part of the path is a symbolic link or no folder"):
            use("sub/secret.txt")

    def test_a_fifo_does_not_hang_the_worker(self, use: Callable[[str], object], root: Path) -> None:
        os.mkfifo(root / "pipe")
        with pytest.raises(FatalError, match="'pipe': it is not a regular file"):
            use("pipe")

    def test_a_folder_and_a_socket_are_no_files(
        self, use: Callable[[str], object], root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "folder").mkdir()
        monkeypatch.chdir(root)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            for path in ("folder", "folder/", "socket"):
                with pytest.raises(FatalError, match="it is not a regular file"):
                    use(path)

    @pytest.mark.usefixtures("root")
    def test_a_missing_file_is_named_as_it_was_asked_for(self, use: Callable[[str], object]) -> None:
        with pytest.raises(FatalError, match=r"^'sub/none\.txt': there is no such file$"):
            use("sub/none.txt")

    @pytest.mark.usefixtures("root")
    def test_names_that_no_file_system_holds_are_refused(self, use: Callable[[str], object]) -> None:
        for path in ("a" * 300, "\ud800"):
            with pytest.raises(FatalError, match=r"too long|not a name"):
                use(path)

    def test_the_root_itself_may_be_a_link(self, use: Callable[[str], object], root: Path, tmp_path: Path) -> None:
        (root / "a.txt").write_text("words")
        (tmp_path / "link").symlink_to(root)
        files.configure(tmp_path / "link")
        use("a.txt")

    def test_a_missing_root_is_tried_again_because_a_volume_may_come_back(
        self, use: Callable[[str], object], tmp_path: Path
    ) -> None:
        files.configure(tmp_path / "not mounted")
        with pytest.raises(OSError, match="is its volume there"):
            use("a.txt")

    def test_an_unset_root_is_said(self, use: Callable[[str], object], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(folder._Configured, "root", None)
        with pytest.raises(FatalError, match="was not told its files root: call "):
            use("a.txt")

    def test_a_fault_of_the_disk_stays_an_oserror_and_is_retried(
        self, use: Callable[[str], object], root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "a.txt").write_text("words")

        def fail(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(folder, "chunks", fail)
        with pytest.raises(OSError, match="Input/output error"):
            use("a.txt")

    def test_no_descriptor_is_left_open(self, use: Callable[[str], object], root: Path) -> None:
        (root / "deep" / "er").mkdir(parents=True)
        (root / "deep" / "er" / "a.txt").write_text("words")
        use("deep/er/a.txt")
        before = len(os.listdir("/proc/self/fd"))
        for path in ("deep/er/a.txt", "deep/none", "deep/er", "deep/none/a.txt", "../x"):
            with suppress(FatalError):
                use(path)
        assert len(os.listdir("/proc/self/fd")) == before

    @given(path=st.text(alphabet="./\\ab\0\u202e\ud800 ~", max_size=12))
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_path_leads_out_of_an_empty_root(self, root: Path, outside: Path, path: str) -> None:
        with pytest.raises(FatalError), folder.opened(path):
            pytest.fail("something was opened")


class TestSizes:
    def test_a_huge_file_is_refused_before_it_is_read(self, root: Path) -> None:
        with (root / "huge.txt").open("wb") as file:
            file.truncate(reading.MAX_BYTES + 1)
        started = time.monotonic()
        with pytest.raises(FatalError, match=r"'huge\.txt' has 67108865 bytes; at most 67108864 are analysed"):
            analyze("huge.txt")
        assert time.monotonic() - started < 5

    def test_a_file_that_grows_while_it_is_read_is_refused_too(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "log").write_bytes(b"x" * 100)
        monkeypatch.setattr(reading, "MAX_BYTES", 50)
        monkeypatch.setattr(folder, "size", lambda _: 10)
        with pytest.raises(FatalError, match="has 100 bytes; at most 50"):
            analyze("log")
