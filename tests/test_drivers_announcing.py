from __future__ import annotations

import pytest

from wagtail_metapixel import counters
from wagtail_metapixel.drivers import announcing, draining
from wagtail_metapixel.drivers.announcing import Announcer


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(announcing, "time", found := Clock())
    return found


@pytest.fixture
def rows(monkeypatch):
    """The rows that wait, by primary key: a set for the test to change."""
    found = set()
    monkeypatch.setattr(draining, "waiting", lambda using: {str(row): row for row in found})
    return found


@pytest.fixture
def said(clock):
    """When something was published, in seconds since the start."""
    return []


@pytest.fixture
def look(clock, rows, said):
    announcer = Announcer()
    return lambda: announcer.look(lambda: said.append(clock.now - 1000), using="default")


def test_nothing_is_said_while_nothing_waits(look, said):
    assert look() is False
    assert said == []


def test_what_waits_is_said_at_once_and_hundred_commits_make_one_message(look, rows, said):
    rows |= {1}
    assert [look() for _ in range(100)] == [True] * 100
    assert said == [0]


def test_each_second_something_new_is_said_while_messages_are_heard(look, rows, said, clock):
    for number in range(4):
        rows.clear()
        rows.add(number)
        look()
        clock.now += 1
    assert said == [0, 1, 2, 3]


def test_what_nobody_hears_is_said_less_and_less_often(look, rows, said, clock):
    rows |= {1}
    for _ in range(300):
        look()
        clock.now += 1
    assert said == [0, 2, 6, 14, 30, 62, 122, 182, 242]


def test_whoever_comes_back_is_told_each_second_again(look, rows, said, clock):
    rows |= {1}
    for _ in range(100):
        look()
        clock.now += 1
    said.clear()
    rows.clear()
    assert look() is False
    rows |= {2}
    look()
    assert said == [100]


def test_a_queue_that_does_not_answer_is_logged_once_and_counted_each_time(rows, clock, caplog):
    def publish():
        raise ConnectionError("redis://:canary@broker")

    announcer = Announcer()
    rows |= {1}
    for _ in range(10):
        announcer.look(publish, using="default")
        clock.now += 1
    assert [record.getMessage() for record in caplog.records] == [
        "The queue could not be told that events wait (ConnectionError); they stay."
    ]
    assert list(counters.waiting().values()) == [3]
    announcer.look(lambda: None, using="default")
    clock.now += 100
    announcer.look(lambda: None, using="default")
    clock.now += 100
    announcer.look(publish, using="default")
    assert len(caplog.records) == 2
