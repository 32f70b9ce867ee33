"""What a task's parameters may be, beside what the contract of executors shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest
from msgspec import Meta, Struct
from pydantic import BaseModel

from executors import results
from tasks import Context, task
from tasks.admission import Admission, Defaults
from tasks.errors import ConfigurationError, InvalidArguments
from tasks.job import Submission
from tasks.registry import Registry

Letters = Annotated[str, Meta(pattern="^[a-z]+$")]


def test_a_type_that_would_spoil_memory_is_refused() -> None:
    def one_or_many(to: Letters | list[Letters]) -> None: ...
    def deep(to: list[Letters | dict[str, int] | None]) -> None: ...
    def fine(to: Letters | None, others: list[Letters], either: str | list[Letters]) -> None: ...

    for function in (one_or_many, deep):
        with pytest.raises(ConfigurationError, match="to takes a text with a pattern or a container"):
            task(function)
    assert task(fine).signature.schema()["required"] == ["to", "others", "either"]


class Colour(Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Line:
    sku: str
    count: int = 1


class Place(TypedDict):
    town: str


class Point(NamedTuple):
    x: int
    lines: list[Line]


class Parcel(Struct):
    lines: list[Line]
    to: Place | None = None


class Owner(BaseModel):
    name: str
    since: datetime | None = None


class Shop(BaseModel):
    owners: list[Owner]


@task(name="signature.all_kinds")
def all_kinds(  # noqa: PLR0917 - one parameter of each kind
    line: Line | None = None,
    colour: Colour = Colour.RED,
    size: Literal["small", "large"] | None = None,
    wait: timedelta | None = None,
    colours: tuple[Colour, ...] = (),
    at: dict[str, datetime] | None = None,
    parcel: Parcel | None = None,
    by_name: dict[str, Line] | None = None,
    either: Line | list[Line] | None = None,
    point: Point | None = None,
    shop: Shop | None = None,
    *more: Line,
    **others: Colour,
) -> None: ...


def refused(*args: Any, **kwargs: Any) -> tuple[str, str]:
    with pytest.raises(InvalidArguments) as error:
        all_kinds.signature.check(args, kwargs)
    return error.value.detail, error.value.pointer


@pytest.mark.parametrize(
    ("kwargs", "words", "pointer"),
    [
        ({"colour": "blue"}, "takes one of 'red', 'green'; got 'blue'", "/kwargs/colour"),
        ({"colours": ["red", "blue"]}, "takes one of 'red', 'green'; got 'blue'", "/kwargs/colours/1"),
        ({"size": "medium"}, "takes one of 'large', 'small'; got 'medium'", "/kwargs/size"),
        ({"wait": 90}, 'takes a duration, such as "PT90S" for 90 seconds', "/kwargs/wait"),
        ({"wait": "90 s"}, 'takes a duration, such as "PT90S" for 90 seconds', "/kwargs/wait"),
        ({"at": {"open": "noon"}}, 'takes a moment, such as "2030-01-31T09:00:00Z"', "/kwargs/at/..."),
        ({"other": "blue"}, "takes one of 'red', 'green'; got 'blue'", "/kwargs/other"),
    ],
)
def test_a_wrong_value_is_told_with_those_that_are_right(kwargs: dict[str, Any], words: str, pointer: str) -> None:
    detail, where = refused(**kwargs)
    assert words in detail
    assert where == pointer


LINE = {"sku": "a", "cuont": 3}


@pytest.mark.parametrize(
    ("args", "kwargs", "pointer"),
    [
        ([LINE], {}, "/args/0/cuont"),
        ([], {"line": LINE}, "/kwargs/line/cuont"),
        ([], {"parcel": {"lines": [{"sku": "b"}, LINE]}}, "/kwargs/parcel/lines/1/cuont"),
        ([], {"parcel": {"lines": [], "form": "box"}}, "/kwargs/parcel/form"),
        ([], {"parcel": {"lines": [], "to": {"town": "Rome", "street": "x"}}}, "/kwargs/parcel/to/street"),
        ([], {"by_name": {"first": LINE}}, "/kwargs/by_name/first/cuont"),
        ([], {"either": LINE}, "/kwargs/either/cuont"),
        ([], {"either": [LINE]}, "/kwargs/either/0/cuont"),
        ([], {"point": [1, [LINE]]}, "/kwargs/point/1/0/cuont"),
        ([None, "red", None, None, [], None, None, None, None, None, None, LINE], {}, "/args/11/cuont"),
    ],
)
def test_a_field_that_its_object_does_not_have_is_refused(
    args: list[Any], kwargs: dict[str, Any], pointer: str
) -> None:
    """As an argument that the task does not have: a slip of the pen must not be dropped without a word."""
    detail, where = refused(*args, **kwargs)
    assert where == pointer
    assert detail.startswith("unknown field ")
    assert "did you mean 'count'?" in detail or "the fields are" in detail


def test_objects_that_fit_are_taken() -> None:
    parcel = {"lines": [{"sku": "a", "count": 2}], "to": {"town": "Rome"}}
    all_kinds.signature.check([], {"parcel": parcel, "either": [{"sku": "b"}], "point": [1, [{"sku": "c"}]]})


def test_pydantic_models_are_arguments_and_results() -> None:
    shop = {"owners": [{"name": "Ann", "since": "2030-01-31T09:00:00Z"}]}
    _, given = all_kinds.signature.convert([], {"shop": shop})
    assert given["shop"] == Shop.model_validate(shop)
    _, again = all_kinds.signature.convert([], {"shop": given["shop"]})
    assert again == given
    schema = all_kinds.signature.schema()
    assert schema["properties"]["shop"]["anyOf"][0]["properties"]["owners"]["items"] == {"$ref": "#/$defs/Owner"}
    assert schema["$defs"]["Owner"]["required"] == ["name"]
    wish = Submission(task="signature.all_kinds", kwargs=given)
    row = Admission(Registry([all_kinds]), Defaults()).admit(wish)
    assert json.loads(row.arguments) == [[], {"shop": shop}]
    assert json.loads(results.encode({"shops": [given["shop"]]}, 10_000)) == {"shops": [shop]}


def test_a_model_says_which_part_does_not_fit() -> None:
    detail, pointer = refused(shop={"owners": [{"name": "Ann"}, {"name": 7}]})
    assert "Input should be a valid string" in detail
    assert pointer == "/kwargs/shop/owners/1/name"


class Opaque: ...


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Context, r"parameter 'value' is of type Context, .*: the context is given with @task\(bind=True\)"),
        (Opaque, "parameter 'value' is of type Opaque, which has no JSON form: use JSON types"),
        (Callable[[], int], "parameter 'value' is of type .*Callable"),
    ],
)
def test_a_type_without_a_json_form_is_refused_by_the_parameters_name(kind: Any, words: str) -> None:
    def body(value: Any, other: int) -> None: ...

    body.__annotations__["value"] = kind
    with pytest.raises(ConfigurationError, match=words):
        task(body)
