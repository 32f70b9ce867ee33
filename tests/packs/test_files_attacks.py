"""Files that mean harm, or are merely broken: each ends soon, and in one clear sentence."""

from __future__ import annotations

import io
import random
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfWriter

from tasks import Cancelled, FatalError, SoftTimeLimitExceeded
from tasks.packs import files
from tasks.packs.files import docx_reader, pdf_reader, plain_reader
from tasks.testing import Recorder
from tests.packs.support import SAMPLES, analyze, one_page, pdf, rezip, stream

MINUTES = (SAMPLES / "minutes.docx").read_bytes()
REPORT = (SAMPLES / "report.pdf").read_bytes()
#: Seconds, for what takes one or two on an idle machine, and minutes or hours where it goes wrong.
PATIENCE = 30


class TestPdf:
    def check(self, root: Path, data: bytes, words: str) -> None:
        (root / "file.pdf").write_bytes(data)
        with pytest.raises(FatalError, match=words) as caught:
            analyze("file.pdf")
        assert "'file.pdf'" in str(caught.value)

    def test_a_password_is_asked_for_by_nobody(self, root: Path) -> None:
        self.check(root, _encrypted("secret"), "it is encrypted: save it without a password first")

    def test_a_pdf_that_is_encrypted_without_a_password_is_read(self, root: Path) -> None:
        (root / "file.pdf").write_bytes(_encrypted(""))
        assert analyze("file.pdf").pages == 2

    @pytest.mark.parametrize("length", [8, 100, 1500, len(REPORT) - 20])
    def test_a_truncated_pdf_is_damaged(self, root: Path, length: int) -> None:
        self.check(root, REPORT[:length], "is damaged")

    def test_a_tree_of_a_billion_pages_is_refused(self, root: Path) -> None:
        kids = (b"<</Type/Pages/Kids[%d 0 R %d 0 R]/Count 2>>" % (n, n) for n in range(3, 33))
        data = pdf(b"<</Type/Catalog/Pages 2 0 R>>", *kids, b"<</Type/Page/MediaBox[0 0 1 1]>>")
        self.check(root, data, "larger inside than a PDF may be")

    def test_a_stream_that_unpacks_to_more_than_is_taken_is_refused(self, root: Path) -> None:
        self.check(root, one_page(stream(bytes(pdf_reader.MAX_STREAM + 1))), "larger inside than a PDF may be")

    def test_a_page_of_too_many_operators_is_refused(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert pdf_reader._LIMITS["stream_parsing_work_maximum_count"] == pdf_reader.MAX_TOKENS
        monkeypatch.setitem(pdf_reader._LIMITS, "stream_parsing_work_maximum_count", 1000)
        self.check(root, one_page(stream(b"q Q " * 2000)), "larger inside than a PDF may be")

    def test_forms_that_draw_each_other_twice_come_to_an_end(self, root: Path) -> None:
        form = b"/Type/XObject/Subtype/Form/BBox[0 0 1 1]/Resources<</XObject<</X %d 0 R>>>>"
        forms = [stream(b"/X Do /X Do ", form % (n + 1)) for n in range(6, 40)]
        (root / "file.pdf").write_bytes(
            one_page(stream(b"/X Do"), b"<</XObject<</X 6 0 R>>>>", *forms, stream(b"q Q", form % 5))
        )
        started = time.monotonic()
        assert analyze("file.pdf").words == 0
        assert time.monotonic() - started < PATIENCE

    @pytest.mark.parametrize("inside_a_form", [False, True])
    def test_a_job_is_stopped_in_the_middle_of_a_page(self, root: Path, inside_a_form: bool) -> None:
        text = b"BT /F1 12 Tf " + b"(a) Tj " * 10_000 + b"ET"
        page = one_page(stream(text))
        if inside_a_form:  # where the parser swallows what is raised
            form = stream(text, b"/Type/XObject/Subtype/Form/BBox[0 0 1 1]/Resources<</Font<</F1 5 0 R>>>>")
            page = one_page(stream(b"/X Do"), b"<</Font<</F1 5 0 R>>/XObject<</X 6 0 R>>>>", form)
        (root / "file.pdf").write_bytes(page)
        recorder = Recorder()
        recorder.stop_after(3, SoftTimeLimitExceeded)
        with pytest.raises(SoftTimeLimitExceeded):
            files.analyze_file(recorder.context, "file.pdf")


class TestDocx:
    def check(self, root: Path, data: bytes, words: str) -> None:
        (root / "file.docx").write_bytes(data)
        started = time.monotonic()
        with pytest.raises(FatalError, match=words) as caught:
            analyze("file.docx")
        assert "'file.docx'" in str(caught.value)
        assert time.monotonic() - started < PATIENCE

    def test_a_package_that_unpacks_to_more_than_memory_is_refused(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(docx_reader, "MAX_UNPACKED", 1 << 20)
        noise = random.Random(1).randbytes(1 << 20)
        self.check(root, rezip(MINUTES, {"word/media/a.bmp": noise}), "not a document but a bomb")

    def test_a_part_of_zeros_is_refused_by_its_ratio(self, root: Path) -> None:
        self.check(root, rezip(MINUTES, {"word/media/a.bmp": bytes(20 << 20)}), "not a document but a bomb")

    def test_a_part_that_hides_its_size_is_not_read_beyond_it(self, root: Path) -> None:
        data = bytearray(rezip(MINUTES, {"word/document.xml": b"<a>" + bytes(40 << 20)}))
        entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"word/document.xml"))
        data[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
        self.check(root, bytes(data), "damaged|encoding")

    def test_more_xml_than_memory_is_refused(self, root: Path) -> None:
        noise = random.Random(1).randbytes(1 << 18)
        xml = _document(b"<w:p/>" * 3_000_000)
        self.check(root, rezip(MINUTES, {"word/document.xml": xml, "word/media/a": noise}), "bytes of XML; at most")

    def test_a_list_of_a_hundred_thousand_parts_is_refused(self, root: Path) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as package:
            for number in range(6000):
                package.writestr(f"word/{number}", b"")
            package.writestr("[Content_Types].xml", b"<a/>")
        self.check(root, target.getvalue(), "more than 5000 parts")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-7", "cp037"])
    @pytest.mark.parametrize("part", ["word/document.xml", "word/styles.xml", "word/named.like.a.picture.png"])
    def test_a_part_that_declares_entities_is_refused_in_every_encoding(
        self, root: Path, encoding: str, part: str
    ) -> None:
        bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "{"lol" * 99}">]><a>&b;</a>'
        self.check(root, rezip(MINUTES, {part: bomb.encode(encoding)}), "DOCTYPE|encoding|damaged")

    def test_a_doctype_cannot_hide_behind_an_encoding(self, root: Path) -> None:
        hidden = b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
        self.check(root, rezip(MINUTES, {"word/document.xml": hidden}), "in an encoding that no such file uses")

    def test_an_entity_cannot_name_a_file(self, root: Path, outside: Path) -> None:
        bomb = f'<!DOCTYPE a [<!ENTITY b SYSTEM "file://{outside}">]><a>&b;</a>'.encode()
        self.check(root, rezip(MINUTES, {"word/document.xml": bomb}), "DOCTYPE")

    def test_nesting_without_end_is_damage(self, root: Path) -> None:
        xml = _document(b"<w:tbl><w:tr><w:tc>" * 20_000)
        self.check(root, rezip(MINUTES, {"word/document.xml": xml}), "is damaged")

    def test_a_compression_that_nobody_uses_is_refused(self, root: Path) -> None:
        target = io.BytesIO(MINUTES)
        with zipfile.ZipFile(target, "a", zipfile.ZIP_LZMA) as package:
            package.writestr("word/more.xml", b"<a/>")
        self.check(root, target.getvalue(), "compressed in a way")

    def test_a_truncated_docx_is_damaged(self, root: Path) -> None:
        self.check(root, MINUTES[: len(MINUTES) // 2], "is damaged")

    def test_a_package_without_a_document_is_damaged(self, root: Path) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as package:
            package.writestr("[Content_Types].xml", b"<a/>")
            package.writestr("word/document.xml", b"<a/>")
        self.check(root, target.getvalue(), "is damaged")

    def test_a_docx_with_a_password_is_called_encrypted(self, root: Path) -> None:
        container = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le")
        self.check(root, container, "is encrypted: save it without a password first")


class TestHtml:
    @pytest.mark.parametrize(
        "piece",
        ["<div>", "<b c=1>", "<", "<a ", "<!--", "<a b='", '<a b="', "<script>", "<title>", "</", "&", "<!", "<svg "],
    )
    def test_a_page_of_one_piece_repeated_takes_no_longer_than_its_length(self, root: Path, piece: str) -> None:
        (root / "page").write_text("<html>" + piece * (300_000 // len(piece)) + "x")
        started = time.monotonic()
        assert analyze("page").type == "text/html"
        assert time.monotonic() - started < PATIENCE

    def test_a_huge_number_is_no_way_to_crash(self, root: Path) -> None:
        (root / "page").write_text("<html>&#" + "9" * 10_000 + ";")
        with pytest.raises(FatalError, match="'page' is damaged"):
            analyze("page")


class TestText:
    def test_binary_junk_is_of_no_known_kind(self, root: Path) -> None:
        (root / "junk.txt").write_bytes(random.Random(5).randbytes(5000))
        with pytest.raises(FatalError, match=r"'junk\.txt' is of no known kind"):
            analyze("junk.txt")

    def test_two_bytes_that_happen_to_match_make_no_picture(self, root: Path) -> None:
        (root / "junk").write_bytes(b"BM" + random.Random(5).randbytes(5000))
        with pytest.raises(FatalError, match="'junk' is of no known kind"):
            analyze("junk")

    def test_high_bytes_at_random_are_no_text(self, root: Path) -> None:
        chance = random.Random(5)
        (root / "junk.txt").write_bytes(bytes(chance.choices(range(128, 256), k=5000)))
        with pytest.raises(FatalError, match=r"'junk\.txt': it is not a text in any encoding"):
            analyze("junk.txt")

    @pytest.mark.parametrize("piece", [".", "...!", " ", "\n \n", "a'", "-", "任", "\u0300", "x\xad"])
    def test_a_text_of_one_piece_repeated_takes_no_longer_than_its_length(self, root: Path, piece: str) -> None:
        (root / "text").write_text(piece * (300_000 // len(piece)) + "x", "utf-8")
        started = time.monotonic()
        analyze("text")
        assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("sample", [REPORT, MINUTES], ids=["pdf", "docx"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_is_survived_or_said(root: Path, sample: bytes, data: st.DataObject) -> None:
    broken = bytearray(sample)
    for place in data.draw(st.lists(st.integers(0, len(sample) - 1), min_size=1, max_size=20)):
        broken[place] = data.draw(st.integers(0, 255))
    (root / "file").write_bytes(broken)
    with suppress(FatalError):
        assert analyze("file").size == len(sample)


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir()))
@pytest.mark.usefixtures("samples")
def test_a_cancelled_job_stops_at_its_next_report(name: str) -> None:
    recorder = Recorder()
    recorder.stop_after(2, Cancelled)
    with pytest.raises(Cancelled):
        files.analyze_file(recorder.context, name)


@pytest.mark.usefixtures("samples")
def test_a_stop_that_a_parser_turns_into_an_error_of_its_own_is_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()

    def read(*_: object) -> None:
        recorder.context.stop(SoftTimeLimitExceeded)
        raise ValueError("what the parser made of it")

    monkeypatch.setattr(plain_reader, "read", read)
    with pytest.raises(SoftTimeLimitExceeded):
        files.analyze_file(recorder.context, "welcome.txt")


def _encrypted(password: str) -> bytes:
    writer = PdfWriter(clone_from=io.BytesIO(REPORT))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def _document(body: bytes) -> bytes:
    return (
        b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
        b"%s</w:body></w:document>" % body
    )
