"""The text of a PDF."""

from __future__ import annotations

import io
import logging
from typing import Any

from pypdf import PdfReader, apply_configuration
from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

from tasks.errors import FatalError
from tasks.packs.files.content import MAX_CHARACTERS, Content, Watch

#: Bytes that one stream may unpack to, and what one page may hold: operators with their operands.
MAX_STREAM = 32 << 20
MAX_TOKENS = 1_000_000
MAX_PAGES = 10_000
#: Operators between two looks at whether the job is to stop.
_STRIDE = 5000

_LIMITS: dict[str, Any] = {
    "maximum_declared_stream_length": 64 << 20,
    "array_based_stream_maximum_output_length": MAX_STREAM,
    "zlib_maximum_output_length": MAX_STREAM,
    "lzw_maximum_output_length": MAX_STREAM,
    "run_length_maximum_output_length": MAX_STREAM,
    "brotli_maximum_output_length": MAX_STREAM,
    "stream_decoding_work_maximum_length": 4 * MAX_STREAM,
    "stream_parsing_work_maximum_count": MAX_TOKENS,
    "page_tree_maximum_entries": 2 * MAX_PAGES,
    "xform_maximum_invocations_per_extraction": 1000,
    # Nothing here decodes images; if something did, it must not start a program.
    "jbig2dec_binary": None,
}

#: Typesetters' joined letters, which no search would find.
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}

# It logs every fault that it mends, some in kilobytes: a hostile file would fill the log. What it cannot, it raises.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def read(data: bytes, watch: Watch) -> Content:
    try:
        with apply_configuration(**_LIMITS):
            return _read(data, watch)
    except LimitReachedError as error:
        raise FatalError(f"it is larger inside than a PDF may be here ({error})") from error
    except (FileNotDecryptedError, DependencyError) as error:
        raise FatalError("it is encrypted: save it without a password first") from error


def _read(data: bytes, watch: Watch) -> Content:
    reader = PdfReader(io.BytesIO(data))
    # Many a PDF is encrypted without a password, only to forbid printing; pypdf opens those by itself.
    pages = len(reader.pages)
    if not pages:
        raise FatalError("it is damaged: no page can be found in it")
    if pages > MAX_PAGES:
        raise FatalError(f"it has {pages} pages; at most {MAX_PAGES} are read")
    texts: list[str] = []
    size = 0
    for number, page in enumerate(reader.pages):
        share = number / pages
        watch(share)
        text = page.extract_text(visitor_operand_before=_Watcher(watch, share))
        texts.append(text.translate(_LIGATURES))
        size += len(texts[-1]) + 2
        if size > MAX_CHARACTERS:
            break
    text = "\n\n".join(texts)
    return Content(
        text=text[:MAX_CHARACTERS],
        title=_title(reader),
        pages=pages,
        has_paragraphs=False,
        truncated=size > MAX_CHARACTERS,
    )


class _Watcher:
    """Called by the parser for every operator, so that a job can be stopped in the middle of a page."""

    def __init__(self, watch: Watch, share: float) -> None:
        self._watch = watch
        self._share = share
        self._operators = 0

    def __call__(self, *_: Any) -> None:
        self._operators += 1
        if self._operators % _STRIDE == 0:
            self._watch(self._share)


def _title(reader: PdfReader) -> str | None:
    metadata = reader.metadata
    return metadata.title if metadata is not None else None
