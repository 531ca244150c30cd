"""Times and ids of events."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagtail_metapixel.events import Event, check_event_id, check_event_time
from wagtail_metapixel.exceptions import EventError

NOW = 1_800_000_000.25
DAY = 86_400


def only(problems):
    (problem,) = problems
    return problem


# Time


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, 1_800_000_000, id="76: None is now"),
        pytest.param(NOW - 60, 1_799_999_940, id="seconds, cut down"),
        pytest.param(int(NOW), 1_800_000_000, id="int"),
        pytest.param(datetime.fromtimestamp(NOW - 60, tz=UTC), 1_799_999_940, id="aware"),
        pytest.param(
            datetime.fromtimestamp(NOW - 60, tz=timezone(timedelta(hours=9))),
            1_799_999_940,
            id="another zone",
        ),
        pytest.param("2027-01-15T07:59:00Z", 1_799_999_940, id="72: ISO with zone"),
        pytest.param("2027-01-15T08:59:00+01:00", 1_799_999_940, id="72: ISO with offset"),
        pytest.param(NOW + 5, 1_800_000_000, id="75: five seconds ahead is now"),
        pytest.param(NOW + 299, 1_800_000_000, id="75: five minutes ahead is now"),
        pytest.param(NOW - 7 * DAY + 1, 1_799_395_201, id="just young enough"),
    ],
)
def test_a_time_becomes_seconds(value, expected):
    seconds, problems = check_event_time(value, now=NOW)
    assert (seconds, problems) == (expected, [])
    assert type(seconds) is int


@pytest.mark.parametrize(
    ("value", "expected", "mistake"),
    [
        pytest.param(1_799_999_940_123, 1_799_999_940, True, id="71: milliseconds"),
        pytest.param(datetime(2027, 1, 15, 7, 59), 1_800_000_000, True, id="73: decided, naive is now"),  # noqa: DTZ001
        pytest.param("2027-01-15T07:59:00", 1_800_000_000, True, id="72: decided, no zone is now"),
        pytest.param(date(2027, 1, 15), 1_800_000_000, True, id="a date"),
        pytest.param(True, 1_800_000_000, True, id="True"),
        pytest.param([], 1_800_000_000, True, id="a list"),
        pytest.param(NOW + 3600, 1_800_000_000, False, id="75: an hour ahead is now, reported"),
    ],
)  # fmt: skip
def test_a_doubtful_time_is_mended_and_reported(value, expected, mistake):
    seconds, problems = check_event_time(value, now=NOW)
    assert seconds == expected
    assert (only(problems).field, only(problems).fatal) == ("event_time", False)
    assert only(problems).mistake is mistake


@pytest.mark.parametrize(
    ("value", "code", "mistake"),
    [
        pytest.param(NOW - 8 * DAY, 2804003, False, id="74: eight days"),
        pytest.param(0, 2804003, False, id="76: zero"),
        pytest.param(-1, 2804003, False, id="76: minus one"),
        pytest.param(NOW + 365 * DAY, 2804004, False, id="75: a year ahead"),
        pytest.param("yesterday", None, True, id="76: a word"),
        pytest.param("1800000000", None, True, id="a number in a text"),
        pytest.param(float("nan"), None, False, id="NaN"),
        pytest.param(float("inf"), None, False, id="infinity"),
        pytest.param(10**400, None, False, id="astronomic"),
        pytest.param(1_800_000_000_000_000, None, False, id="microseconds"),
    ],
)
def test_a_time_meta_would_refuse_is_fatal(value, code, mistake):
    seconds, problems = check_event_time(value, now=NOW)
    assert type(seconds) is int
    problem = only(problems)
    assert (problem.field, problem.code, problem.fatal) == ("event_time", code, True)
    assert problem.mistake is mistake


@pytest.mark.parametrize(("days", "fatal"), [(61, False), (63, True)])
def test_a_physical_store_may_report_62_days_back(days, fatal):  # row 74
    _seconds, problems = check_event_time(NOW - days * DAY, now=NOW, action_source="physical_store")
    assert [problem.fatal for problem in problems] == ([True] if fatal else [])


def test_thirteen_digits_are_milliseconds_and_twelve_are_not():
    assert check_event_time(10**12, now=10**9)[0] == 10**9
    assert check_event_time(10**12 - 1, now=10**9)[1][0].code == 2804004


def test_an_action_source_meta_does_not_know_is_the_developers_mistake():
    _seconds, problems = check_event_time(None, now=NOW, action_source="web")
    problem = only(problems)
    assert (problem.field, problem.fatal, problem.mistake) == ("action_source", True, True)


@given(st.floats(allow_nan=True) | st.integers() | st.text(max_size=30) | st.datetimes())
def test_no_time_raises(value):
    seconds, _problems = check_event_time(value, now=NOW)
    assert type(seconds) is int
    assert seconds <= NOW


# Ids


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(0, "0", id="23: zero is an id"),
        pytest.param(uuid.UUID(int=5), str(uuid.UUID(int=5)), id="24: UUID"),
        pytest.param("order:17.a_b-c", "order:17.a_b-c", id="characters"),
        pytest.param("x" * 64, "x" * 64, id="longest"),
    ],
)
def test_an_event_id_becomes_a_text(given, expected):
    assert check_event_id(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("", id="22: empty"),
        pytest.param("a b", id="22: a space"),
        pytest.param("x" * 300, id="22: too long"),
        pytest.param("a\n", id="22: line end"),
        pytest.param("🙂", id="22: emoji"),
        pytest.param(None, id="None"),
        pytest.param(True, id="True"),
        pytest.param(1.5, id="float"),
        pytest.param(b"a", id="bytes"),
    ],
)
def test_an_event_id_of_other_characters_is_refused(given):
    with pytest.raises(EventError) as caught:
        check_event_id(given)
    assert caught.value.field == "event_id"


def test_an_event_cannot_be_changed():
    event = Event(event_name="Lead", event_id="1", event_time=2)
    with pytest.raises(AttributeError):
        event.event_id = "2"
    assert not event.custom_data
    assert event.action_source == "website"
