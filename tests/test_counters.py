from __future__ import annotations

import datetime
import os
import threading

import pytest
from django.db import DatabaseError

from wagtail_metapixel import counters
from wagtail_metapixel.counters import Item
from wagtail_metapixel.models import Counter

ITEM = Item(counters.WITHHELD, "consent unknown", "Purchase", 1)
OTHER = Item(counters.FAILED, "OperationalError")


NOON = datetime.datetime(2026, 5, 4, 12, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch):
    """One day, whenever the tests run: there is a row for each."""
    monkeypatch.setattr(counters.timezone, "now", lambda: NOON)


def table():
    return {
        Item(row.kind, row.reason, row.event_name, row.site_pk): row.count
        for row in Counter.objects.all()
    }


@pytest.mark.django_db
def test_counting_touches_no_database(django_assert_num_queries):
    with django_assert_num_queries(0):
        counters.add(ITEM)
        counters.add(ITEM, 2)
    assert counters.waiting() == {ITEM: 3}


@pytest.mark.django_db
def test_flush_adds_to_what_other_processes_counted_today():
    counters.add(ITEM, 2)
    assert counters.flush(using="default") == 1
    counters.add(ITEM)
    counters.add(OTHER)
    counters.flush(using="default")
    assert table() == {ITEM: 3, OTHER: 1}
    assert counters.waiting() == {}


@pytest.mark.django_db
def test_flush_of_nothing_writes_nothing():
    assert counters.flush(using="default") == 0
    assert table() == {}


@pytest.mark.django_db
def test_what_cannot_be_saved_is_kept_whole_and_saved_later(monkeypatch):
    counters.add(ITEM, 2)
    counters.add(OTHER)

    def refuse_the_second(item, count, using, add=counters._add_to_table):
        add(item, count, using)
        if item == max(ITEM, OTHER):
            raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(counters, "_add_to_table", refuse_the_second)
        assert counters.flush(using="default") == 0
    assert table() == {}
    counters.add(ITEM)
    counters.flush(using="default")
    assert table() == {ITEM: 3, OTHER: 1}


@pytest.mark.django_db
def test_long_reason_is_cut_to_its_column():
    counters.add(Item(counters.DIAGNOSTIC, "r" * 300, "n" * 99))
    counters.flush(using="default")
    row = Counter.objects.get()
    assert (len(row.reason), len(row.event_name)) == (250, 50)


def test_no_count_is_lost_between_threads():
    def count():
        for _ in range(500):
            counters.add(ITEM)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.waiting() == {ITEM: 2000}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_fork_counts_anew_even_when_a_thread_was_counting():
    counters.add(ITEM)
    with counters._lock:
        child = os.fork()
        if not child:
            os._exit(0 if counters.waiting() == {} else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert counters.waiting() == {ITEM: 1}


@pytest.mark.django_db
def test_totals_hold_today_and_seven_days_of_all_sites_and_events():
    for days, site_pk, count in ((0, 1, 1), (0, 2, 2), (6, 1, 4), (7, 1, 8), (-1, 1, 16)):
        Counter.objects.create(
            day=NOON.date() - datetime.timedelta(days=days),
            site_pk=site_pk,
            kind=counters.WITHHELD,
            event_name="Purchase",
            reason="consent unknown",
            count=count,
        )
    Counter.objects.create(
        day=NOON.date() - datetime.timedelta(days=1), kind=counters.REFUSED, reason="b", count=9
    )
    assert counters.totals(using="default") == [
        (counters.REFUSED, "b", 0, 9),
        (counters.WITHHELD, "consent unknown", 3, 7),
    ]
