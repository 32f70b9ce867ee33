"""What a schedule does while clocks are changed: tables of four zones, and every minute around changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tasks import clock_change, cron
from tasks.errors import InvalidSchedule
from tasks.schedule import Occurrence, Rule, Spec, occurrences, rule_of

#: Days, in UTC, around a change of the clock. Asia/Shanghai had summer time until 1991, Samoa left out a whole day.
CHANGES = [
    ("Asia/Shanghai", "1986-05-03"), ("Asia/Shanghai", "1986-09-13"), ("Asia/Shanghai", "2027-03-28"),
    ("Europe/Berlin", "2027-03-27"), ("Europe/Berlin", "2027-10-30"),
    ("America/New_York", "2027-03-13"), ("America/New_York", "2027-11-06"),
    ("Australia/Lord_Howe", "2027-04-03"), ("Australia/Lord_Howe", "2027-10-02"),
    ("Pacific/Apia", "2011-12-29"), ("America/St_Johns", "2006-10-28"),
]  # fmt: skip  # a table


def rule(expression: str, zone: str) -> Rule:
    return rule_of(Spec(name="s", task="t", cron=expression, timezone=zone), 0)


def at_of(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def at(text: str) -> int:
    return at_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def said(found: Occurrence, zone: str) -> str:
    """The moment in UTC, and what the zone's clock shows."""
    moment = datetime.fromtimestamp(found.at / 1000, UTC)
    return f"{moment:%d %H:%M}Z {moment.astimezone(ZoneInfo(zone)):%H:%M}"


# Zone, expression, from when (UTC), and the next fire times: day and time in UTC, then what the clock there shows.
TABLE = [
    # No changes any more: 02:30 is 18:30Z the day before, all year.
    ("Asia/Shanghai", "30 2 * * *", "2027-03-27T00:00", ["27 18:30Z 02:30", "28 18:30Z 02:30"]),
    ("Asia/Shanghai", "30 * * * *", "2027-10-30T17:00", ["30 17:30Z 01:30", "30 18:30Z 02:30", "30 19:30Z 03:30"]),
    # In 1986 the clock jumped at 02:00 of 4 May, and fell back at 02:00 of 14 September.
    ("Asia/Shanghai", "30 2 * * *", "1986-05-03T00:00", ["03 18:00Z 03:00", "04 17:30Z 02:30"]),
    ("Asia/Shanghai", "30 1 * * *", "1986-09-13T00:00", ["13 16:30Z 01:30", "14 17:30Z 01:30"]),
    # 28 March 2027: 02:00 becomes 03:00 at 01:00Z. 31 October: 03:00 becomes 02:00 at 01:00Z.
    ("Europe/Berlin", "30 2 * * *", "2027-03-27T00:00", ["27 01:30Z 02:30", "28 01:00Z 03:00", "29 00:30Z 02:30"]),
    ("Europe/Berlin", "*/20 2 * * *", "2027-03-28T00:00", ["28 01:00Z 03:00", "29 00:00Z 02:00", "29 00:20Z 02:20"]),
    ("Europe/Berlin", "0 2,3 * * *", "2027-03-28T00:00", ["28 01:00Z 03:00", "29 00:00Z 02:00"]),
    ("Europe/Berlin", "30 * * * *", "2027-03-28T00:00", ["28 00:30Z 01:30", "28 01:30Z 03:30", "28 02:30Z 04:30"]),
    ("Europe/Berlin", "30 2 * * *", "2027-10-30T12:00", ["31 00:30Z 02:30", "01 01:30Z 02:30"]),
    ("Europe/Berlin", "30 * * * *", "2027-10-31T00:00", ["31 00:30Z 02:30", "31 01:30Z 02:30", "31 02:30Z 03:30"]),
    ("Europe/Berlin", "0 3 * * *", "2027-10-31T00:00", ["31 02:00Z 03:00", "01 02:00Z 03:00"]),
    # 14 March 2027: 02:00 becomes 03:00 at 07:00Z. 7 November: 02:00 becomes 01:00 at 06:00Z.
    ("America/New_York", "0 2 * * *", "2027-03-13T12:00", ["14 07:00Z 03:00", "15 06:00Z 02:00"]),
    ("America/New_York", "15 2-3 * * *", "2027-03-14T00:00", ["14 07:00Z 03:00", "14 07:15Z 03:15", "15 06:15Z 02:15"]),
    ("America/New_York", "30 1 * * *", "2027-11-06T12:00", ["07 05:30Z 01:30", "08 06:30Z 01:30"]),
    ("America/New_York", "*/30 * * * *", "2027-11-07T05:00",
     ["07 05:30Z 01:30", "07 06:00Z 01:00", "07 06:30Z 01:30", "07 07:00Z 02:00"]),
    # Half an hour. 4 April 2027: 02:00 becomes 01:30 at 15:00Z. 3 October: 02:00 becomes 02:30 at 15:30Z.
    ("Australia/Lord_Howe", "45 1 * * *", "2027-04-03T00:00", ["03 14:45Z 01:45", "04 15:15Z 01:45"]),
    ("Australia/Lord_Howe", "45 * * * *", "2027-04-03T14:00", ["03 14:45Z 01:45", "03 15:15Z 01:45"]),
    ("Australia/Lord_Howe", "15 2 * * *", "2027-10-02T00:00", ["02 15:30Z 02:30", "03 15:15Z 02:15"]),
    ("Australia/Lord_Howe", "15 * * * *", "2027-10-02T14:00", ["02 14:45Z 01:15", "02 16:15Z 03:15"]),
]  # fmt: skip  # a table


@pytest.mark.parametrize(("zone", "expression", "start", "expected"), TABLE)
def test_the_table(zone: str, expression: str, start: str, expected: list[str]) -> None:
    found = islice(occurrences(rule(expression, zone), at(start)), len(expected))
    assert [said(each, zone) for each in found] == expected


def test_the_notes_say_what_the_clock_does() -> None:
    spring = rule("30 2 * * *", "Europe/Berlin").after(at("2027-03-27T12:00"))
    assert spring is not None
    assert spring.note == "02:30 does not exist on 2027-03-28 in Europe/Berlin: it fires at 03:00"
    autumn = list(islice(occurrences(rule("30 * * * *", "Europe/Berlin"), at("2027-10-31T00:00")), 2))
    assert [each.note.rpartition(" ")[2] for each in autumn] == ["first", "second"]
    usual = rule("30 2 * * *", "Europe/Berlin").after(at("2027-06-01T12:00"))
    assert usual is not None
    assert usual.note == ""


DAYS = 2


@cache
def minutes(zone: str, day: str) -> list[tuple[int, datetime]]:
    """Every minute of some days from `day` on, and what the clock of the zone shows."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    moments = [start + timedelta(minutes=n) for n in range(DAYS * 1440)]
    return [(at_of(moment), moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for moment in moments]


def counted_out(expression: str, zone: str, day: str) -> list[int]:
    """The rules of docs/schedules.md, followed minute by minute."""
    wanted = cron.parse(expression)
    shown = minutes(zone, day)
    if wanted.every_hour:
        return [moment for moment, wall in shown if wanted.after(wall - timedelta(minutes=1)) == wall]
    found = []
    latest = shown[0][1]
    for moment, wall in shown[1:]:
        following = wanted.after(latest)
        if following is not None and following <= wall:
            found.append(moment)
        latest = max(latest, wall)
    return found


hours = st.one_of(st.just("*"), st.sets(st.integers(0, 4), min_size=1).map(lambda some: ",".join(map(str, some))))
lists = st.sets(st.integers(0, 59), min_size=1, max_size=4).map(lambda some: ",".join(map(str, some)))


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@given(hour=hours, minute=lists)
@settings(max_examples=5, deadline=None)
def test_every_minute_of_a_change(zone: str, day: str, hour: str, minute: str) -> None:
    expression = f"{minute} {hour} * * *"
    expected = [moment for moment in counted_out(expression, zone, day) if moment > at(day)]
    end = at(day) + (DAYS * 1440 - 1) * 60_000
    assert [each.at for each in occurrences(rule(expression, zone), at(day), end)] == expected


@given(st.integers(0, 4_000_000_000), st.sampled_from([zone for zone, _ in CHANGES]), hours, lists)
@settings(max_examples=60, deadline=None)
def test_wherever_one_looks_from_the_next_is_the_same(second: int, zone: str, hour: str, minute: str) -> None:
    wanted = rule(f"{minute} {hour} * * *", zone)
    following = wanted.after(second * 1000)
    assert following is not None
    for earlier in (following.at - 1, (second * 1000 + following.at) // 2):
        if earlier >= second * 1000:
            assert wanted.after(earlier) == following
    assert following.at > second * 1000


def test_an_interval_is_real_time() -> None:
    every = rule_of(Spec(name="s", task="t", every=3600, timezone="Europe/Berlin"), at("2027-10-30T23:30"))
    found = [each.at for each in islice(occurrences(every, at("2027-10-30T23:30")), 5)]
    assert found == [at("2027-10-30T23:30") + n * 3_600_000 for n in range(1, 6)]


def test_once_is_once() -> None:
    once = rule_of(Spec(name="s", task="t", at="2027-01-01T09:00:00+08:00"), 0)
    assert [each.at for each in occurrences(once, 0)] == [at("2027-01-01T01:00")]


def test_bounds_are_kept() -> None:
    spec = Spec(name="s", task="t", cron="0 * * * *", start="2027-01-01T02:00:00Z", end="2027-01-01T04:00:00Z")
    found = [each.at for each in occurrences(rule_of(spec, 0), at("2020-01-01T00:00"))]
    assert found == [at(f"2027-01-01T0{n}:00") for n in (2, 3, 4)]


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({}, "/cron", "give one of"),
        ({"cron": "* * * * *", "every": 5.0}, "/every", "got cron and every"),
        ({"cron": "61 * * * *"}, "/cron", "minute: '61'"),
        ({"at": "tomorrow"}, "/at", "RFC 3339"),
        ({"at": "2027-01-01T00:00:00"}, "/at", "with an offset"),
        ({"every": 5.0, "start": "soon"}, "/start", "RFC 3339"),
        ({"every": 5.0, "start": "2027-01-02T00:00:00Z", "end": "2027-01-01T00:00:00Z"}, "/end", "before start"),
        ({"every": 5.0, "timezone": "Europe/Berln"}, "/timezone", "did you mean Europe/Berlin"),
        ({"every": 5.0, "timezone": "../etc/passwd"}, "/timezone", "not an IANA time zone"),
    ],
)
def test_a_wrong_rule_is_refused_where_it_is_wrong(fields: dict[str, object], pointer: str, words: str) -> None:
    with pytest.raises(InvalidSchedule, match=words) as refused:
        rule_of(Spec(name="s", task="t", **fields), 0)  # type: ignore[arg-type]
    assert refused.value.pointer == pointer


def test_a_gap_has_one_moment() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    found = clock_change.place(datetime(2027, 3, 28, 2, 30), berlin)  # noqa: DTZ001 - a wall
    assert found == clock_change.Place(at("2027-03-28T01:00"), at("2027-03-28T01:00"), gap=True)
