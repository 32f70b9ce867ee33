"""A function's parameters as a type: arguments are checked, converted and described from it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec.inspect import Type, type_info

from tasks import models
from tasks.context import Context
from tasks.errors import ConfigurationError, InvalidArguments
from tasks.mismatch import path_of, unknown_field, words_of

_CONTAINERS = (list, dict, tuple, set, frozenset)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Signature:
    """What a task takes.

    `check` raises InvalidArguments with a JSON pointer under `/args` or `/kwargs`; `convert` returns the arguments as
    the function wants them (a UUID, a datetime, a Struct where the annotation says so).
    """

    def __init__(self, function: Callable[..., Any], skip_first: bool) -> None:
        parameters = list(inspect.signature(function).parameters.values())[1 if skip_first else 0 :]
        hints = _hints(function)
        named = [p for p in parameters if p.kind in (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)]
        self._positional = [p.name for p in parameters if p.kind in _POSITIONAL]
        self._positional_only = {p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY}
        self._names = [p.name for p in named]
        self._by_keyword = {p.name for p in named} - self._positional_only
        self._rest = next((hints.get(p.name, Any) for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._extra = next((hints.get(p.name, Any) for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._type = _struct(function, named, hints)
        self._kinds = {name: type_info(hints.get(name, Any)) for name in self._names}
        self._rest_kind, self._extra_kind = type_info(self._rest or Any), type_info(self._extra or Any)

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise InvalidArguments unless a call with these JSON values would fit."""
        self._bind(args, kwargs)
        for n, value in enumerate(args):
            kind = self._kinds[self._positional[n]] if n < len(self._positional) else self._rest_kind
            _refuse_unknown_fields(value, kind, f"/args/{n}")
        for name, value in kwargs.items():
            _refuse_unknown_fields(value, self._kinds.get(name, self._extra_kind), _pointer("kwargs", name))

    def convert(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The same arguments with every value in its annotated type; defaults stay the function's own."""
        value, rest, extra = self._bind(args, kwargs)
        given = len(args) - len(rest)
        positional = [getattr(value, name) for name in self._positional[:given]]
        named = {name: getattr(value, name) for name in kwargs if name not in extra}
        return [*positional, *rest], {**named, **extra}

    def schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the keyword arguments."""
        parts: dict[str, Any] = {}
        (schema,), components = msgspec.json.schema_components(
            [self._type], ref_template="#/$defs/{name}", schema_hook=lambda kind: models.schema_of(kind, parts)
        )
        components.update(parts)
        own = components.pop(schema.get("$ref", "").rpartition("/")[2], schema)
        closed = {**own, "additionalProperties": self._extra is not None}
        return {**closed, "$defs": components} if components else closed

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, list[Any], dict[str, Any]]:
        if not args and kwargs.keys() <= self._by_keyword:  # the usual call, without a detour
            try:
                return msgspec.convert(kwargs, self._type, dec_hook=models.decode), [], {}
            except msgspec.ValidationError as error:
                raise self._explain(error, ()) from None
        names = self._positional[: len(args)]
        rest = self._convert_rest(args[len(names) :], len(names))
        known = {name: value for name, value in kwargs.items() if name in self._names}
        extra = self._convert_extra({name: value for name, value in kwargs.items() if name not in known})
        self._refuse_clashes(names, known)
        try:
            given = {**dict(zip(names, args, strict=False)), **known}
            value: Any = msgspec.convert(given, self._type, dec_hook=models.decode)
        except msgspec.ValidationError as error:
            raise self._explain(error, names) from None
        return value, rest, extra

    def _convert_rest(self, values: Sequence[Any], offset: int) -> list[Any]:
        if values and self._rest is None:
            takes = f"takes at most {offset} positional argument{'' if offset == 1 else 's'}"
            raise InvalidArguments(f"too many positional arguments: the task {takes}", f"/args/{offset}")
        kind = Any if self._rest is None else self._rest
        return [_convert(value, kind, f"/args/{offset + n}") for n, value in enumerate(values)]

    def _convert_extra(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if values and self._extra is None:
            name = next(iter(values))
            takes = ", ".join(self._names) or "no arguments"
            raise InvalidArguments(f"unknown argument {name!r}: the task takes {takes}", _pointer("kwargs", name))
        kind = Any if self._extra is None else self._extra
        return {name: _convert(value, kind, _pointer("kwargs", name)) for name, value in values.items()}

    def _refuse_clashes(self, names: Sequence[str], known: Mapping[str, Any]) -> None:
        for name in names:
            if name in known:
                raise InvalidArguments(
                    f"argument {name!r} is given twice, in args and in kwargs", _pointer("kwargs", name)
                )
        for name in known:
            if name in self._positional_only:
                raise InvalidArguments(
                    f"argument {name!r} is positional only: give it in args", _pointer("kwargs", name)
                )

    def _explain(self, error: msgspec.ValidationError, names: Sequence[str]) -> InvalidArguments:
        text = str(error)
        if missing := re.search(r"missing required field `([^`]+)`", text):
            return InvalidArguments(f"argument {missing[1]!r} is missing", "/kwargs" if not names else "")
        head, *tail = path_of(error) or [""]
        where = f"/args/{names.index(head)}" if head in names else _pointer("kwargs", head)
        words = words_of(error, self._type)
        return InvalidArguments(f"argument {head!r}: {words}", where + _pointer(*tail, *_path_in_model(error)))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"task function {function.__qualname__}: cannot resolve an annotation: {error}"
        ) from error
    for name, hint in hints.items():
        if _spoils_memory(hint):
            words = "takes a text with a pattern or a container: leave the pattern out, or take the container alone"
            raise ConfigurationError(f"task function {function.__qualname__}: {name} {words}")
    return hints


def _spoils_memory(hint: Any) -> bool:
    """Whether msgspec 0.22 would write beyond its memory: a pattern and a container as alternatives of one type."""
    parts = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        metas = [meta for part in parts for meta in getattr(part, "__metadata__", ())]
        bare = [get_args(part)[0] if hasattr(part, "__metadata__") else part for part in parts]
        held = any((get_origin(part) or part) in _CONTAINERS for part in bare)
        if held and any(getattr(meta, "pattern", None) is not None for meta in metas):
            return True
    return any(_spoils_memory(part) for part in parts)


def _struct(function: Callable[..., Any], parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]) -> type:
    fields = [
        (p.name, hints.get(p.name, Any))
        if p.default is p.empty
        else (p.name, hints.get(p.name, Any), _default(p.default))
        for p in parameters
    ]
    struct = msgspec.defstruct(f"{function.__name__}_arguments", fields, kw_only=True, forbid_unknown_fields=True)
    for name, hint, *_ in fields:
        _refuse_unknown_type(function, name, hint)
    return struct


def _refuse_unknown_type(function: Callable[..., Any], name: str, hint: Any) -> None:
    try:
        msgspec.json.schema_components([hint], schema_hook=lambda kind: models.schema_of(kind, {}))
    except (TypeError, NotImplementedError) as error:
        shown = getattr(hint, "__name__", None) or str(hint)
        remedy = (
            "the context is given with @task(bind=True), as the first parameter"
            if hint is Context
            else "use JSON types, dates, UUIDs, enums, dataclasses, msgspec Structs or pydantic models"
        )
        raise ConfigurationError(
            f"task function {function.__qualname__}: parameter {name!r} is of type {shown}, which has no JSON form: "
            f"{remedy}"
        ) from error


def _refuse_unknown_fields(value: Any, kind: Type, pointer: str) -> None:
    if found := unknown_field(value, kind):
        raise InvalidArguments(found.words, pointer + _pointer(*found.path, found.name))


def _path_in_model(error: msgspec.ValidationError) -> tuple[str, ...]:
    cause = error.__cause__
    return cause.path if isinstance(cause, models.ModelMismatch) else ()


def _default(value: Any) -> Any:
    # msgspec refuses mutable defaults; only their presence matters here, the function keeps its own.
    return msgspec.field(default_factory=lambda: value) if isinstance(value, list | dict | set) else value


def _convert(value: Any, kind: Any, pointer: str) -> Any:
    try:
        return msgspec.convert(value, kind, dec_hook=models.decode)
    except msgspec.ValidationError as error:
        where = pointer + _pointer(*path_of(error), *_path_in_model(error))
        raise InvalidArguments(words_of(error, kind), where) from None


def _pointer(*parts: str) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
