"""What is wrong with a value that does not fit its type, in words: for arguments, requests, schedules and settings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect as kinds

_PATH = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
#: Values that a message names at most.
_SHOWN = 30

#: The names that msgspec has for types whose values are texts of a form, and what to write.
_FORMS = {
    "duration": 'a duration, such as "PT90S" for 90 seconds',
    "datetime": 'a moment, such as "2030-01-31T09:00:00Z"',
    "date": 'a date, such as "2030-01-31"',
    "time": 'a time, such as "09:00:00"',
    "uuid": 'a UUID, such as "12345678-1234-5678-1234-567812345678"',
    "decimal": 'a decimal number, such as "12.50"',
    "bytes": "bytes in base64",
}
#: How msgspec begins when such a text has another form.
_UNFORMED = {
    "Invalid ISO8601 duration": "duration",
    "Invalid RFC3339 encoded datetime": "datetime",
    "Invalid RFC3339 encoded date": "date",
    "Invalid RFC3339 encoded time": "time",
    "Invalid UUID": "uuid",
    "Invalid decimal string": "decimal",
    "Invalid base64 encoded string": "bytes",
}
#: What to write in a setting.
_SETTINGS: Mapping[type, str] = {
    kinds.BoolType: "1 or 0",
    kinds.IntType: "a whole number",
    kinds.FloatType: "a number",
    kinds.StrType: "a text",
}
_OBJECTS = (kinds.StructType, kinds.DataclassType, kinds.TypedDictType)
_ITEMS = (kinds.ListType, kinds.SetType, kinds.FrozenSetType, kinds.VarTupleType, kinds.CollectionType)


class Unknown(NamedTuple):
    """A field that its object does not have: the steps to the object, the field, and those that there are."""

    path: tuple[str, ...]
    name: str
    known: Sequence[str]

    @property
    def words(self) -> str:
        return f"unknown field {self.name!r}{remedy(self.name, self.known)}"


def remedy(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about a name that is not among those known."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    return f"; did you mean {near[0]!r}?" if near else f"; the fields are {', '.join(known)}"


def path_of(error: msgspec.ValidationError) -> list[str]:
    """The names and numbers that lead to the value."""
    found = _PATH.search(str(error))
    return [name or number for name, number in _STEP.findall(found[1] if found else "")]


def words_of(error: msgspec.ValidationError, hint: Any) -> str:
    """What is wrong, with the values or the form that are right; `hint` is the type of the whole."""
    words = _PATH.sub("", str(error))
    if words.startswith("Invalid enum value"):
        valid = [repr(value) for value in _choices(_at(kinds.type_info(hint), path_of(error)))]
        shown = ", ".join(valid[:_SHOWN]) + (", …" if len(valid) > _SHOWN else "")
        return f"takes one of {shown}; got {words.removeprefix('Invalid enum value ')}" if valid else words
    for beginning, kind in _UNFORMED.items():
        if words.startswith(beginning):
            return f"takes {_FORMS[kind]}"
    expected = _EXPECTED.fullmatch(words)
    if expected and not _FORMS.keys().isdisjoint(wanted := expected[1].split(" | ")):
        return f"takes {' or '.join(_FORMS.get(each, each) for each in wanted)}; got {expected[2]}"
    return words


def wanted(hint: Any, name: str) -> str:
    """What the field of that name takes, for a setting whose value is a text."""
    kind = _step(kinds.type_info(hint), name)
    texts = [_SETTINGS[type(each)] for each in _alternatives(kind) if type(each) in _SETTINGS]
    return " or ".join([*texts, *(repr(value) for value in _choices(kind))]) or "another value"


def unknown_field(value: Any, kind: kinds.Type | None, path: tuple[str, ...] = ()) -> Unknown | None:
    """The first field inside of `value` that its dataclass, TypedDict or Struct does not have."""
    if isinstance(value, Mapping):
        return _unknown_of(value, kind, path)
    if isinstance(value, list | tuple):
        for n, part in enumerate(value):
            if found := unknown_field(part, _step(kind, str(n)), (*path, str(n))):
                return found
    return None


def _unknown_of(value: Mapping[str, Any], kind: kinds.Type | None, path: tuple[str, ...]) -> Unknown | None:
    alternatives = [each for each in _alternatives(kind) if isinstance(each, _OBJECTS)]
    if alternatives and not any(isinstance(each, kinds.DictType) for each in _alternatives(kind)):
        known = [field.encode_name for each in alternatives for field in each.fields]
        tags = {getattr(each, "tag_field", None) for each in alternatives}
        for name in value:
            if name not in known and name not in tags:
                return Unknown(path, str(name), known)
    for name, part in value.items():
        if found := unknown_field(part, _step(kind, str(name)), (*path, str(name))):
            return found
    return None


def _alternatives(kind: kinds.Type | None) -> Iterator[kinds.Type]:
    """The types of which a value may have one."""
    if isinstance(kind, kinds.Metadata):
        yield from _alternatives(kind.type)
    elif isinstance(kind, kinds.UnionType):
        for each in kind.types:
            yield from _alternatives(each)
    elif kind is not None:
        yield kind


def _step(kind: kinds.Type | None, name: str) -> kinds.Type | None:
    """The type of the part of that name or number."""
    for each in _alternatives(kind):
        if isinstance(each, _OBJECTS):
            if (field := next((field for field in each.fields if field.encode_name == name), None)) is not None:
                return field.type
        elif isinstance(each, kinds.NamedTupleType) and name.isdecimal() and int(name) < len(each.fields):
            return each.fields[int(name)].type
        elif isinstance(each, kinds.TupleType) and name.isdecimal() and int(name) < len(each.item_types):
            return each.item_types[int(name)]
        elif isinstance(each, _ITEMS):
            return each.item_type
        elif isinstance(each, kinds.DictType):
            return each.value_type
    return None


def _at(kind: kinds.Type | None, path: Sequence[str]) -> kinds.Type | None:
    for name in path:
        kind = _step(kind, name)
    return kind


def _choices(kind: kinds.Type | None) -> list[Any]:
    """The values of enums and literals."""
    found: list[Any] = []
    for each in _alternatives(kind):
        if isinstance(each, kinds.EnumType):
            found += [member.value for member in each.cls]
        elif isinstance(each, kinds.LiteralType):
            found += each.values
    return found
