"""The text of a DOCX."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import islice
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from docx import Document
from docx.document import Document as DocumentObject
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml.ns import qn
from docx.text.paragraph import Paragraph

from tasks.errors import FatalError
from tasks.packs.files.content import MAX_CHARACTERS, Content, Watch

#: What the package may hold: entries, bytes unpacked, bytes of XML (a tree of it takes up to twenty times as much
#: memory), and how much smaller than its content it may be.
MAX_ENTRIES = 5_000
MAX_UNPACKED = 256 << 20
MAX_XML = 16 << 20
MAX_RATIO = 200
#: Bytes unpacked below which no ratio is a bomb.
_HARMLESS = 4 << 20
#: Elements between two looks at whether the job is to stop.
_STRIDE = 20_000

_PARAGRAPH = qn("w:p")
_TEXT = qn("w:t")
_SPACES = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
# Word writes every text box twice, the second time for programs older than 2010.
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_PAGES = re.compile(rb"<Pages>(\d{1,6})</Pages>")
_DECLARED = re.compile(r"""<\?xml[^>]*?encoding\s*=\s*["']([^"']*)""")


def read(data: bytes, watch: Watch) -> Content:
    pages = _check(data)
    watch(0.1)
    document = Document(io.BytesIO(data))
    watch(0.5)
    text, truncated = _text(document, watch)
    return Content(text=text, title=_title(document), pages=pages, truncated=truncated)


def _check(data: bytes) -> int | None:
    """Refuse a bomb before anything parses it; the page count that the writing program left, if it did."""
    # Counted in the bytes: the list itself would fill the memory.
    if data.count(b"PK\x01\x02") > MAX_ENTRIES:
        raise FatalError(f"it has more than {MAX_ENTRIES} parts; it is not a document but a bomb")
    with ZipFile(io.BytesIO(data)) as package:
        entries = package.infolist()
        _check_sizes(entries, len(data))
        parts = [entry for entry in entries if _is_xml(package, entry)]
        size = sum(entry.file_size for entry in parts)
        if size > MAX_XML:
            raise FatalError(f"it has {size} bytes of XML; at most {MAX_XML} are read")
        for entry in parts:
            _check_xml(entry.filename, package.read(entry))
        properties = next((entry for entry in parts if entry.filename == "docProps/app.xml"), None)
        found = _PAGES.search(package.read(properties)) if properties else None
    return int(found[1]) if found else None


def _check_sizes(entries: list[ZipInfo], size: int) -> None:
    if any(entry.flag_bits & 1 for entry in entries):
        raise FatalError("it is encrypted: save it without a password first")
    # The others unpack without a bound, and no such file uses them.
    if any(entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for entry in entries):
        raise FatalError("it is compressed in a way that no such file uses")
    # ZipFile reads no more of an entry than its header promises, so the promises can be counted.
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED or (unpacked > _HARMLESS and unpacked > MAX_RATIO * size):
        raise FatalError(f"it unpacks from {size} to {unpacked} bytes; it is not a document but a bomb")


def _is_xml(package: ZipFile, entry: ZipInfo) -> bool:
    """Whether a parser may take the part for XML, whatever its name is."""
    with package.open(entry) as part:
        head = part.read(64)
    # The last four bytes are `<?xm` in EBCDIC, which libxml2 knows.
    return head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith((b"<", b"\x4c\x6f\xa7\x94"))


def _check_xml(name: str, xml: bytes) -> None:
    text = xml.decode("utf-16" if xml.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    declared = _DECLARED.match(text)
    # Any other encoding, or UTF-16 without its mark, could hide from us what the parser sees.
    if "\0" in text or (declared and declared[1].lower() not in ("utf-8", "utf-16")):
        raise FatalError(f"its part {name} is in an encoding that no such file uses")
    # python-docx expands no entities; no honest document declares any.
    if "<!DOCTYPE" in text:
        raise FatalError(f"its part {name} has a DOCTYPE, which no such file needs")


def _text(document: DocumentObject, watch: Watch) -> tuple[str, bool]:
    body = document.element.body
    for fallback in list(body.iter(_FALLBACK)):
        fallback.getparent().remove(fallback)
    pieces: list[str] = []
    size = 0
    for number, piece in enumerate(_pieces(document)):
        if number % _STRIDE == 0:
            watch(0.5 + 0.5 * min(1, size / MAX_CHARACTERS))
        pieces.append(piece)
        size += len(piece)
        if size > MAX_CHARACTERS:
            break
    text = re.sub(r"\n{3,}", "\n\n", "".join(pieces)).strip()
    return text[:MAX_CHARACTERS], size > MAX_CHARACTERS


def _pieces(document: DocumentObject) -> Iterator[str]:
    """The text in the order of the file, with tables and text boxes, without what was deleted under tracking."""
    for element in document.element.body.iter(_PARAGRAPH, _TEXT, *_SPACES):
        if element.tag == _PARAGRAPH:
            yield "\n\n"
        elif element.tag == _TEXT:
            yield element.text or ""
        else:
            yield _SPACES[element.tag]


def _title(document: DocumentObject) -> str | None:
    """The title from the properties, or the first paragraph in the style of one."""
    # python-docx makes properties up where there are none.
    if any(relation.reltype == RELATIONSHIP_TYPE.CORE_PROPERTIES for relation in document.part.package.rels.values()):
        title = str(document.core_properties.title)
        if title.strip():
            return title
    first = (block for block in islice(document.iter_inner_content(), 20) if isinstance(block, Paragraph))
    return next((p.text for p in first if p.style is not None and p.style.name == "Title" and p.text.strip()), None)
