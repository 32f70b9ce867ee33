"""The one parser for bodies: JSON under limits, then a Struct, with a pointer to whatever is wrong.

The plain `json` module takes NaN, 1e400, lone surrogates, NUL, repeated keys and any depth; each of them breaks
something further in, so all of them stop here.
"""

from __future__ import annotations

import json
import re
from asyncio import to_thread
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec
from msgspec import Meta, Struct

from gateway.problems import Refusal, in_body
from tasks.job import Submission
from tasks.mismatch import path_of, remedy, words_of

T = TypeVar("T")

#: Bytes of a body from which parsing would hold up the other requests for more than a moment.
LARGE = 64 * 1024
MAX_DEPTH = 32
#: Values in one job.
MAX_NODES = 100_000
MAX_BATCH = 10_000
MAX_INTEGER = 2**63 - 1
#: Characters of a caller's own text that an error repeats.
MAX_SHOWN = 200

_SPACE = " \t\r\n"
_LONG_NUMBER = re.compile(r"\d{19}|\d[eE]\+?\d{3}")
_BAD_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_BAD_TEXT = re.compile("[\x00\ud800-\udfff]")
_FIELD = re.compile(r"unknown field `(.*)`")


class Batch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/jobs:batch`: all of the jobs are accepted, or none."""

    jobs: Annotated[list[Submission], Meta(min_length=1, max_length=MAX_BATCH)]


class _Unfit(Exception):
    """A value that JSON can say and we do not take."""


class _Mark:
    """Stands for an unfit value while its place is looked for."""

    def __init__(self, why: str, key: str | None = None) -> None:
        self.why = why
        self.key = key


async def read(parse: Callable[[bytes], T], body: bytes) -> T:
    """What `parse` makes of the body, a large one in a thread: a megabyte takes 50 ms, in which nobody is answered."""
    return parse(body) if len(body) < LARGE else await to_thread(parse, body)


def submission(body: bytes) -> Submission:
    """The body of `POST /api/v1/jobs`. Raises Refusal."""
    value = parse_json(body)
    # A value takes two bytes at least.
    if len(body) > 2 * MAX_NODES:
        _refuse_crowd(value, "")
    return to_struct(value, Submission)


def batch(body: bytes) -> Batch:
    """The body of `POST /api/v1/jobs:batch`. Raises Refusal."""
    value = parse_json(body)
    wanted = to_struct(value, Batch)
    if len(body) > 2 * MAX_NODES:
        for n, job in enumerate(value["jobs"]):
            _refuse_crowd(job, f"/jobs/{n}")
    return wanted


def parse_json(body: bytes) -> Any:
    """The value of a JSON text within our limits. Raises Refusal."""
    if not body:
        raise Refusal("malformed-json", "the body is empty: send a JSON document")
    text = _text(body)
    # An array or object is opened by a bracket, so fewer brackets than the limit cannot be too deep.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_too_deep(text):
        raise _too_deep()
    try:
        # A call for each integer is a third of the parsing: only a text with long ones needs it.
        value, end = (_strict if _LONG_NUMBER.search(text) else _usual).raw_decode(text)
    except json.JSONDecodeError as error:
        raise Refusal("malformed-json", f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except _Unfit:
        raise _explain(text) from None
    if end != len(text):
        raise Refusal("malformed-json", f"more text after the end of the document, at character {end}")
    if b"\\u" in body and _BAD_ESCAPE.search(text):
        _refuse_text(value)
    return value


def _text(body: bytes) -> str:
    try:
        return body.decode().strip(_SPACE)
    except UnicodeDecodeError as error:
        raise Refusal("malformed-json", f"the body is not UTF-8 (byte {error.start})") from None


def to_struct(value: Any, kind: type[T]) -> T:
    """`value` as a Struct; nothing is converted on the way. Raises Refusal with a pointer."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        words, pointer = explained(error, kind)
        raise in_body("invalid-submission", words, pointer) from None


def explained(error: msgspec.ValidationError, kind: type[Any]) -> tuple[str, str]:
    """The words of a validation error, with the remedy, and the pointer of the value it means."""
    pointer = "".join(f"/{escaped(name)}" for name in path_of(error))
    words = words_of(error, kind)
    unknown = _FIELD.search(words)
    if unknown is None:
        return words[0].lower() + words[1:], pointer
    fields = _fields_at(kind, pointer)
    name = unknown[1] if len(unknown[1]) <= MAX_SHOWN else f"{unknown[1][:MAX_SHOWN]}…"
    return f"unknown field {name!r}{remedy(name, fields)}", f"{pointer}/{escaped(name)}"


def _fields_at(kind: type[Any], pointer: str) -> tuple[str, ...]:
    """The fields of the Struct at the pointer; in a list there are submissions."""
    if not pointer:
        return tuple(kind.__struct_fields__)
    inner = get_type_hints(kind).get(pointer.split("/")[1])
    found = inner if isinstance(inner, type) and issubclass(inner, Struct) else Submission
    return tuple(found.__struct_fields__)


def escaped(name: str) -> str:
    """`name` as one step of an RFC 6901 pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Unfit
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -MAX_INTEGER <= (value := int(text)) <= MAX_INTEGER:
        raise _Unfit
    return value


def _float(text: str) -> float:
    value = float(text)
    if value - value != 0.0:  # infinite: only infinities and NaN differ from themselves
        raise _Unfit
    return value


def _constant(text: str) -> Any:
    raise _Unfit


_strict = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
#: The same where no number can be too large.
_usual = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _explain(text: str) -> Refusal:
    """Read the text again, marking what is unfit, to say where it stands."""
    value, _ = _lenient.raw_decode(text)
    found = _find(value, lambda member: isinstance(member, _Mark))
    if found is None:
        return Refusal("malformed-json", "the body has a value that cannot be taken")
    pointer, mark = found
    return in_body("malformed-json", mark.why, pointer if mark.key is None else f"{pointer}/{_step(mark.key)}")


def _marked_object(pairs: list[tuple[str, Any]]) -> Any:
    counts = Counter(name for name, _ in pairs)
    twice = next((name for name, count in counts.items() if count > 1), None)
    return dict(pairs) if twice is None else _Mark(f"the key {twice[:100]!r} stands twice in one object", twice)


def _marked_number(text: str) -> Any:
    try:
        return _float(text) if not text.lstrip("-").isdigit() else _integer(text)
    except _Unfit:
        shown = text if len(text) <= 30 else f"{text[:30]}…"
        return _Mark(f"the number {shown} is too large: integers have 64 bits, others are finite doubles; use text")


_lenient = json.JSONDecoder(
    object_pairs_hook=_marked_object,
    parse_int=_marked_number,
    parse_float=_marked_number,
    parse_constant=lambda text: _Mark(f"{text} is not JSON: use null or text"),
)


def _find(value: Any, wanted: Callable[[Any], bool]) -> tuple[str, Any] | None:
    """The first key or value that is wanted, in the order of the text, and its pointer.

    The pointer is put together for what was found only: one for each member costs the length of all keys times depth.
    """
    if wanted(value):
        return "", value
    path: list[tuple[str | int, Iterator[tuple[str | int, Any]]]] = [("", _members(value))]
    while path:
        step, child = next(path[-1][1], (None, None))
        if step is None:
            path.pop()
            continue
        for member in (step, child):
            if wanted(member):
                steps = [*(parent for parent, _ in path[1:]), step]
                return "".join(f"/{_step(str(each))}" for each in steps), member
        if isinstance(child, dict | list):
            path.append((step, _members(child)))
    return None


def _members(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value)) if isinstance(value, list) else iter(())


def _step(name: str) -> str:
    """One step of a pointer, cut to what a reader needs: a caller's key may have a million characters."""
    return escaped(name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}…")


def _levels(value: Any) -> Iterator[list[Any]]:
    """The containers' members, level by level: no recursion, so no depth can hurt."""
    level = [value]
    while level:
        yield level
        level = [
            child
            for parent in level
            if (kind := type(parent)) is dict or kind is list
            for child in (parent.values() if kind is dict else parent)
        ]


#: What decides about depth: brackets outside of strings. A string that does not end swallows the rest.
_DEPTH_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|$)|[\[{]|[\]}]', re.DOTALL)


def _is_too_deep(text: str) -> bool:
    """Whether brackets are nested deeper than the limit. In one pass before any parser, so that nothing recurses."""
    depth = 0
    for token in _DEPTH_TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first != '"':
            depth -= 1
    return False


def _too_deep() -> Refusal:
    return Refusal("malformed-json", f"arrays and objects are nested more than {MAX_DEPTH} deep")


def _refuse_crowd(value: Any, pointer: str) -> None:
    if sum(map(len, _levels(value))) > MAX_NODES:
        raise in_body("malformed-json", f"a job has at most {MAX_NODES:,} values; send a file's path instead", pointer)


def _refuse_text(value: Any) -> None:
    found = _find(value, lambda member: isinstance(member, str) and _BAD_TEXT.search(member) is not None)
    if found is not None:
        pointer, text = found
        what = "the NUL character" if _BAD_TEXT.findall(text)[0] == "\x00" else "half of a surrogate pair"
        raise in_body("malformed-json", f"text cannot hold {what}", _BAD_TEXT.sub("\ufffd", pointer))
