"""Cron fields, held against Celery's own crontab and against croniter on expressions made up by hypothesis."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from celery import Celery
from celery.schedules import ParseException, crontab
from croniter import croniter
from hypothesis import HealthCheck, assume, given, settings

from tasks import cron
from tasks.cron import FIELDS, BadCron, Field

APP = Celery("oracle", set_as_current=False)
moments = st.datetimes(min_value=datetime(2024, 1, 1), max_value=datetime(2031, 12, 31))  # noqa: DTZ001 - walls


def numbers(field: Field) -> st.SearchStrategy[str]:
    plain = st.integers(field.low, field.high)
    names = st.sampled_from([name[:3] for name in field.names]) if field.names else st.nothing()
    full = st.sampled_from([name.title() for name in field.names]) if field.names else st.nothing()
    return st.one_of(plain.map(str), names, full)


def parts(field: Field, wraps: bool) -> st.SearchStrategy[str]:
    """`wraps`: with ranges over the end, and of one number."""
    number = numbers(field)
    plain = st.lists(st.integers(field.low, field.high), min_size=2, max_size=2, unique=True)
    ordered = plain.map(lambda ends: f"{min(ends)}-{max(ends)}")
    spans = st.tuples(number, number).map("-".join) if wraps else ordered
    steps = st.integers(1, field.high + 1)
    stepped = st.tuples(st.one_of(st.just("*"), spans), steps).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.one_of(st.just("*"), number, spans, stepped)


def expressions(wraps: bool) -> st.SearchStrategy[str]:
    lists = [st.lists(parts(field, wraps), min_size=1, max_size=3).map(",".join) for field in FIELDS]
    return st.tuples(*lists).map(" ".join)


def ours(expression: str, start: datetime, count: int) -> list[datetime]:
    try:
        rule = cron.parse(expression)
    except BadCron as error:
        assume("never fire" not in str(error))
        raise
    found = [rule.after(start)]
    while len(found) < count and found[-1] is not None:
        found.append(rule.after(found[-1]))
    return [wall for wall in found if wall is not None]


@given(expressions(wraps=True), moments)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_it_means_what_celery_means(expression: str, start: datetime) -> None:
    wanted = ours(expression, start, 4)
    theirs = crontab(**cron.split(expression), app=APP, nowfun=lambda: start.replace(tzinfo=UTC))
    found = []
    last = start.replace(tzinfo=UTC)
    for _ in wanted:
        before, delta, _ = theirs.remaining_delta(last)
        last = before + delta
        found.append(last.replace(tzinfo=None))
    assert wanted == found


@given(expressions(wraps=False), moments)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_it_means_what_croniter_means(expression: str, start: datetime) -> None:
    wanted = ours(expression, start, 4)
    # croniter takes 0-0 for *, has its own mind about ranges over the end (so those are not asked for here), and looks
    # ahead for some years only.
    assume(all(wall - start < timedelta(days=360) for wall in wanted))
    plain = re.sub("[A-Za-z]{4,}", lambda name: name[0][:3], expression).lower()
    theirs = croniter(plain, start, day_or=False)
    assert wanted == [theirs.get_next(datetime) for _ in wanted]


@pytest.mark.parametrize(
    ("expression", "start", "following"),
    [
        ("0 2 * * *", "2027-03-01T02:00", "2027-03-02T02:00"),
        ("0 3 * * mon", "2027-03-01T02:59", "2027-03-01T03:00"),
        ("30 4 1,15 * 5", "2027-01-01T05:00", "2027-01-15T04:30"),  # the 15th AND a Friday
        ("0 0 29 2 *", "2027-01-01T00:00", "2028-02-29T00:00"),
        ("0 0 29 2 mon", "2028-03-01T00:00", "2044-02-29T00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00", "2104-02-29T00:00"),  # 2100 is no leap year
        ("0 22-2/2 * * *", "2027-01-01T23:00", "2027-01-02T00:00"),
        ("0 0 * * fri-mon", "2027-01-05T00:00", "2027-01-08T00:00"),
        ("*/7 * * * *", "2027-01-01T00:56", "2027-01-01T01:00"),
        ("59 23 31 12 *", "2027-12-31T23:59", "2028-12-31T23:59"),
    ],
)
def test_the_next_minute(expression: str, start: str, following: str) -> None:
    assert cron.parse(expression).after(datetime.fromisoformat(start)) == datetime.fromisoformat(following)


@pytest.mark.parametrize(
    ("expression", "field", "words"),
    [
        ("60 * * * *", "minute", "takes 0 to 59"),
        ("* 24 * * *", "hour", "takes 0 to 23"),
        ("* * 0 * *", "day_of_month", "takes 1 to 31"),
        ("* * * 13 *", "month_of_year", "1 to 12 or jan to dec"),
        ("* * * * 7", "day_of_week", "Sunday is 0"),
        ("* * * * mun", "day_of_week", "sun to sat"),
        ("*/0 * * * *", "minute", "a whole number above 0"),
        ("*/x * * * *", "minute", "a whole number above 0"),
        ("5/10 * * * *", "minute", "a step stands after"),
        ("1- * * * *", "minute", "takes 0 to 59"),
        ("-1 * * * *", "minute", "takes 0 to 59"),
        (", * * * *", "minute", "takes 0 to 59"),
        ("１ * * * *", "minute", "takes 0 to 59"),
        ("* * 30 2 *", "day_of_month", "would never fire"),
        ("* * 31 4,6,9,11 *", "day_of_month", "would never fire"),
        ("* * * *", "", "takes five fields"),
        ("", "", "takes five fields"),
        ("@daily", "", "takes five fields"),
    ],
)
def test_a_bad_expression_names_the_field_and_the_remedy(expression: str, field: str, words: str) -> None:
    with pytest.raises(BadCron, match=re.escape(words)) as refused:
        cron.parse(expression)
    assert refused.value.field == field


@pytest.mark.parametrize("wrong", ["60", "*/0", "5/10", "-1", "1-", ",", "7-99"])
def test_celery_takes_none_of_these_either(wrong: str) -> None:
    with pytest.raises((ParseException, ValueError)):
        crontab(minute=wrong, app=APP)


def test_fields_by_name_make_an_expression() -> None:
    assert cron.join({"minute": 0, "hour": "2, 14", "day_of_week": "mon"}) == "0 2,14 * * mon"
    assert cron.split("0 2 * 3 mon") == {
        "minute": "0", "hour": "2", "day_of_month": "*", "month_of_year": "3", "day_of_week": "mon"
    }  # fmt: skip
    assert cron.join({"hour": " 2 , 14 "}) == "* 2,14 * * *"
    with pytest.raises(BadCron, match="hour"):
        cron.join({"hour": "25"})


@pytest.mark.parametrize("minute", ["1 5", "", "0 2 * * mon"])
def test_a_field_is_one_field(minute: str) -> None:
    with pytest.raises(BadCron, match=re.escape(f"{minute!r} is not one field")) as refused:
        cron.join({"minute": minute})
    assert refused.value.field == "minute"
