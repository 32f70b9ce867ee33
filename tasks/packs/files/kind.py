"""What kind of file some bytes are, told from the bytes alone."""

from __future__ import annotations

import re

import puremagic

from tasks.packs.files import encoding

EMPTY = "application/x-empty"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = "text/html"
XHTML = "application/xhtml+xml"
XML = "application/xml"
TEXT = "text/plain"
ZIP = "application/zip"
UNKNOWN = "application/octet-stream"

#: Texts whose words drown in commands; counting those would be a lie.
_MARKUP = {rb"{\rtf": "application/rtf", b"%!PS": "application/postscript"}

_PRELUDE = rb"\s*+(?:<\?xml[^>]*+>\s*+)?(?:<!--.*?-->\s*+)*+"
# The tags by which browsers know HTML (WHATWG MIME sniffing).
_TAGS = rb"!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p"
_HTML = re.compile(_PRELUDE + rb"<(?:" + _TAGS + rb")[\s>]", re.IGNORECASE | re.DOTALL)
#: Bytes at the start of a file in which its kind must show.
_HEAD = 4096


def kind(data: bytes) -> str:
    """The MIME type of a file with this content."""
    if not data:
        return EMPTY
    if data[:_HEAD].lstrip(b"\xef\xbb\xbf\0 \t\r\n").startswith(b"%PDF-"):
        return PDF
    if data.startswith(b"PK\x03\x04"):
        # A package lists its parts by name, uncompressed. Every Office format begins alike.
        return DOCX if b"[Content_Types].xml" in data and b"word/" in data else ZIP
    return _text(data) if encoding.is_text(data) else _binary(data)


def _text(data: bytes) -> str:
    for start, markup in _MARKUP.items():
        if data.startswith(start):
            return markup
    # HTML begins in ASCII; without its zero bytes UTF-16 does too.
    head = data[:_HEAD].lstrip(b"\xef\xbb\xbf\xff\xfe").replace(b"\0", b"")
    is_xml = head.lstrip().startswith(b"<?xml")
    if _HTML.match(head):
        return XHTML if is_xml else HTML
    return XML if is_xml else TEXT


def _binary(data: bytes) -> str:
    try:
        matches = puremagic.magic_string(data)
    except puremagic.PureError:
        return UNKNOWN
    # Two matching bytes are chance.
    return next((match.mime_type for match in matches if match.mime_type and match.confidence >= 0.3), UNKNOWN)
