"""Pydantic models as arguments and results of tasks, by their methods alone: Jobgate does not need pydantic."""

from __future__ import annotations

from typing import Any


class ModelMismatch(ValueError):
    """A value does not fit a model; `path` leads to the part that is wrong."""

    def __init__(self, words: str, path: tuple[str, ...]) -> None:
        super().__init__(words)
        self.path = path


def is_model(kind: Any) -> bool:
    """Whether it is a class of models of pydantic 2."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_json_schema")


def decode(kind: type, value: Any) -> Any:
    """`value` as a `kind`; ModelMismatch if it does not fit. The `dec_hook` of msgspec."""
    if not is_model(kind):
        raise NotImplementedError(kind)
    try:
        return kind.model_validate(value)  # type: ignore[attr-defined]  # `is_model` has looked
    except ValueError as error:
        details: list[dict[str, Any]] = error.errors() if hasattr(error, "errors") else []
        words, path = (details[0]["msg"], details[0]["loc"]) if details else (str(error), ())
        raise ModelMismatch(words, tuple(map(str, path))) from error


def encode(value: Any) -> Any:
    """A model as JSON values. The `enc_hook` of msgspec; TypeError for what it knows no form of."""
    if is_model(type(value)):
        return value.model_dump(mode="json")
    raise TypeError(f"a value of type {type(value).__qualname__} has no JSON form")


def schema_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a model; that of its parts goes to `definitions`."""
    if not is_model(kind):
        raise NotImplementedError(kind)
    found: dict[str, Any] = kind.model_json_schema()
    definitions.update(found.pop("$defs", {}))
    return found
