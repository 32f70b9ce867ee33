"""Arithmetic on what a model writes: numbers and operators, nothing that can be called, nothing that grows for ever."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

MAX_LENGTH = 200
#: Beyond these a value is no answer but a way to keep the process busy.
_MAX_VALUE = 1e300
_MAX_EXPONENT = 1000

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def calculate(expression: str) -> int | float:
    """The value of `(2 + 3) * 4`. ValueError with the reason for all that is no arithmetic or too large."""
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"an expression has at most {MAX_LENGTH} characters")
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"that is no arithmetic: {error.msg}") from None
    except ZeroDivisionError:
        raise ValueError("there is no division by zero") from None
    except OverflowError:
        raise ValueError("the value is too large") from None


def _value(node: ast.expr) -> int | float:
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow) and abs(right) > _MAX_EXPONENT:
            raise ValueError(f"an exponent is at most {_MAX_EXPONENT}")
        return _checked(_BINARY[type(node.op)](left, right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _checked(_UNARY[type(node.op)](_value(node.operand)))
    if isinstance(node, ast.Constant):
        return _checked(node.value)
    raise ValueError(f"only numbers, brackets and + - * / // % ** are taken, not {type(node).__name__}")


def _checked(value: Any) -> int | float:
    if type(value) not in (int, float):
        raise ValueError(f"that is no number: {str(value)[:50]}")
    if not -_MAX_VALUE < value < _MAX_VALUE:
        raise ValueError("the value is too large")
    return value  # type: ignore[no-any-return]  # one of the two, as was just looked at
