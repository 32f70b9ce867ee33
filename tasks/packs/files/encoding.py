"""In which encoding a text is written, and the text.

What the file says itself comes first, then UTF-8, then a guess. charset-normalizer makes the guess, with two helps: it
takes short Chinese and Japanese texts for Korean or Thai, and it cannot tell the Latin code pages apart, which differ
only in the letters of some languages.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection

from charset_normalizer import from_bytes

from tasks.errors import FatalError
from tasks.packs.files import language

#: Python's codecs in order of preference, each with its name in the WHATWG Encoding Standard.
_NAMES = {
    "big5hkscs": "big5",
    "cp932": "shift_jis",
    "euc_jp": "euc-jp",
    "cp949": "euc-kr",
    "iso2022_jp": "iso-2022-jp",
    "gb18030": "gb18030",
    "cp1252": "windows-1252",
    "cp1251": "windows-1251",
    "cp1250": "windows-1250",
    "cp1254": "windows-1254",
    "iso8859_15": "iso-8859-15",
    "iso8859_2": "iso-8859-2",
    "cp1257": "windows-1257",
    "cp1253": "windows-1253",
    "cp1255": "windows-1255",
    "cp1256": "windows-1256",
    "cp874": "windows-874",
    "koi8_r": "koi8-r",
    "cp866": "ibm866",
}
#: What browsers read a declared encoding as: the larger one that people meant.
_SUCCESSORS = {
    "iso8859_1": "cp1252",
    "ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "tis_620": "cp874",
}
_LATIN = ("cp1252", "cp1250", "iso8859_15", "iso8859_2", "cp1254", "cp1257")
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
#: Bytes of the lines that are not ASCII from which the encoding is guessed, and of those before the first such byte.
_SAMPLE = 1 << 16
_BEFORE = 256

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_TELLING = re.compile(rb"[\x80-\xff\x1b]")
_HAN_OR_KANA = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_KANA = frozenset(map(chr, range(0x3041, 0x30FF)))
# The simplified characters that make up about half of any Chinese text.
_FREQUENT = frozenset(
    "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会家可下而过天去能对小多然于心学么之都"
    "好看起发当没成只如事把还用第样道想作种开美总从无情己面最女但现前些所同日手又行意动方期它头经长儿回位分爱老因很给名法间"
    "知世什两次使身者被高已其进此话常与活正感见明问力理点文几定本公特做外相西果走将月十实向声车全信重三机工物气每并别真打太"
    "新比才便再书部水像等体却加电主界门利海受听表德少代员许先口由死安写性马光白或住难教命花结更拉东记处让母应直字场平报关放"
    "接告入内系统件任务服务器数据库据程序网络文档编码分析户客请求结果"
)
_TELLING_CHARACTERS: dict[str, Collection[str]] = {"euc_jp": _KANA, "cp932": _KANA, "gb18030": _FREQUENT}


def decode(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """The text and the encoding's name. `declared` is what the file says of itself, heeded where it can be true."""
    codec, name = _marked(data) or _declared(data, declared) or _unicode(data) or _legacy(data)
    return data.decode(codec, "replace"), name


def is_text(data: bytes) -> bool:
    """Whether some encoding may make a text of this: no zero bytes, and few other control characters."""
    if _marked(data) or _wide(data):
        return True
    head = data[:_SAMPLE]
    return b"\0" not in head and len(_CONTROL.findall(head)) <= len(head) / 100


def _marked(data: bytes) -> tuple[str, str] | None:
    for mark, codec in _MARKS.items():
        if data.startswith(mark):
            return codec, codec.removesuffix("-sig")
    return None


def _declared(data: bytes, label: str | None) -> tuple[str, str] | None:
    try:
        codec = codecs.lookup(label or "").name.replace("-", "_")
    except (LookupError, UnicodeError):
        return None
    codec = _SUCCESSORS.get(codec, codec)
    # Only those: among Python's codecs are some that take for ever on hostile bytes.
    name = "utf-8" if codec == "utf_8" else _NAMES.get(codec)
    return (codec, name) if name is not None and _fits(data, codec) else None


def _unicode(data: bytes) -> tuple[str, str] | None:
    if wide := _wide(data):
        return wide, wide
    if b"\x1b$" in data:  # ISO-2022, whose text is ASCII to the eye
        return None
    if data.isascii():
        return "ascii", "ascii"
    return ("utf-8", "utf-8") if _fits(data, "utf-8") or _is_damaged_utf8(_sample(data)) else None


def _is_damaged_utf8(sample: bytes) -> bool:
    """A cut, or a slip of a few bytes, does not make another encoding of it."""
    text = sample.decode("utf-8", "replace")
    return text.count("\ufffd") <= len(re.findall(r"[^\x00-\x7f]", text)) / 50


def _wide(data: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of its spaces, digits and Latin letters is zero."""
    head = data[:4096]
    half = len(head) // 2
    for codec, high, low in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if head[high::2].count(0) > half * 0.4 and head[low::2].count(0) == 0 and _fits(head[: half * 2], codec):
            return codec
    return None


def _legacy(data: bytes) -> tuple[str, str]:
    sample = _sample(data)
    codec = next((codec for codec, telling in _TELLING_CHARACTERS.items() if _is_cjk(sample, codec, telling)), None)
    codec = codec or _guess(sample)
    if codec is None:
        raise FatalError("it is not a text in any encoding that is known here")
    return codec, _NAMES[codec]


def _sample(data: bytes) -> bytes:
    """The lines that are not ASCII, as far as they fit."""
    sample = bytearray()
    end = 0
    while len(sample) < _SAMPLE and (match := _TELLING.search(data, end)):
        # Of what stands before on the line a little is enough, and it is ASCII.
        start = max(data.rfind(b"\n", end, match.start()) + 1, match.start() - _BEFORE, end)
        found = data.find(b"\n", match.start()) + 1
        end = min(found or len(data), start + _SAMPLE)
        sample += data[start:end]
    return bytes(sample[:_SAMPLE])


def _is_cjk(sample: bytes, codec: str, telling: Collection[str]) -> bool:
    """Whether the sample, read so, holds the characters that texts of the language are made of."""
    try:
        # The decoder of a stream forgives a character that the sample cuts in two.
        text = codecs.getincrementaldecoder(codec)().decode(sample)
    except UnicodeDecodeError:
        return False
    found = _HAN_OR_KANA.findall(text)
    return sum(character in telling for character in found) >= max(1, 0.3 * len(found))


def _guess(sample: bytes) -> str | None:
    match = from_bytes(sample, cp_isolation=list(_NAMES)).best()
    if match is None:
        return None
    if not set(_LATIN).intersection(match.could_be_from_charset):
        return match.encoding
    fitting = [codec for codec in _LATIN if _fits(sample, codec)]
    # Where two read equally well, the more common one: max takes the first.
    return max(fitting, key=lambda codec: _fluency(sample.decode(codec)), default=match.encoding)


def _fits(data: bytes, codec: str) -> bool:
    """Whether all of it can be read so, and holds none of the control characters that no text has."""
    try:
        return not re.search("[\x80-\x9f]", data.decode(codec))
    except UnicodeDecodeError:
        return False


def _fluency(text: str) -> float:
    """How much the words that are not plain ASCII look like words of some language; two decimals mean something."""
    words = dict.fromkeys(word for word in text.split() if not word.isascii())
    return round(language.score(" ".join(list(words)[:60])[:1000]), 2)
