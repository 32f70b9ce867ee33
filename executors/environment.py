"""From environment variables to a frozen Struct: texts become what the fields say, and errors name the variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from tasks.errors import ConfigurationError
from tasks.mismatch import path_of, wanted, words_of

T = TypeVar("T")

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def read(kind: type[T], variables: Mapping[str, str], environ: Mapping[str, str], **more: Any) -> T:
    """A `kind`, each field from its variable where that one is set; `more` are fields without one.

    Raises ConfigurationError naming the variable and what it takes.
    """
    hints = get_type_hints(kind)
    given = {name: _value(variable, hints[name], text) for name, variable in variables.items()
             if (text := environ.get(variable))}  # fmt: skip  # one line a part
    try:
        return msgspec.convert({**given, **more}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _explain(error, kind, given, variables) from None


def _value(variable: str, hint: Any, text: str) -> Any:
    if get_origin(hint) is tuple:
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        if not parts:  # a key that got lost on its way must not open the door
            raise ConfigurationError(f"{variable}={text!r} names nothing: leave it out, or name something")
        return parts
    if hint is bool or bool in get_args(hint):
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    return text


def _explain(
    error: msgspec.ValidationError, kind: type[Any], given: Mapping[str, Any], variables: Mapping[str, str]
) -> ConfigurationError:
    name = (path_of(error) or [""])[0]
    words = words_of(error, kind)
    # What is no value of its type at all; a value outside of its bounds is told by the bounds.
    takes = wanted(kind, name) if ", got " in words or "; got " in words else words.removeprefix("Expected ")
    return ConfigurationError(f"{variables.get(name, name)}={given.get(name)!r} is wrong: it takes {takes}")
