from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from tests.factories import PIXEL_ID, OutboxEventFactory
from wagtail_metapixel import claims, outbox, signals
from wagtail_metapixel.models import OutboxEvent, State, Twin

USING = "default"
FACT = {"keyed": True, "event_name": "Purchase", "event_id": "f" * 32}

pytestmark = pytest.mark.django_db


def claim(limit=100, **kwargs):
    return claims.claim(limit, using=USING, **kwargs)


# Recording


def test_one_insert_takes_any_number_of_rows(django_assert_num_queries):
    rows = OutboxEventFactory.build_batch(3)
    with django_assert_num_queries(3) as queries:  # with its savepoint
        outbox.insert(rows, using=USING)
    assert [query["sql"].split()[0] for query in queries] == ["SAVEPOINT", "INSERT", "RELEASE"]


def test_same_fact_recorded_twice_is_two_rows_because_nothing_unique_is_checked_here():
    outbox.insert([OutboxEventFactory.build(**FACT)], using=USING)
    outbox.insert([OutboxEventFactory.build(**FACT)], using=USING)
    assert OutboxEvent.objects.count() == 2


def test_failed_insert_leaves_the_callers_transaction_usable():
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            outbox.insert([OutboxEventFactory.build(site_pk=None)], using=USING)
        OutboxEventFactory()
    assert OutboxEvent.objects.count() == 1


@pytest.fixture
def woken():
    calls = []

    def wake(using, **_kwargs):
        calls.append(using)

    signals.recorded.connect(wake)
    yield calls
    signals.recorded.disconnect(wake)


@pytest.mark.django_db(transaction=True)
def test_commit_wakes_the_driver(woken):
    with transaction.atomic():
        outbox.insert([OutboxEventFactory.build()], using=USING)
        assert woken == []
    assert woken == [USING]


@pytest.mark.django_db(transaction=True)
def test_rollback_wakes_nobody_and_leaves_no_row(woken):
    with transaction.atomic():
        outbox.insert([OutboxEventFactory.build()], using=USING)
        transaction.set_rollback(True)
    assert (woken, OutboxEvent.objects.count()) == ([], 0)


def test_rejected_rows_wake_nobody(woken, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        outbox.insert([OutboxEventFactory.build(state=State.REJECTED)], using=USING)
    assert woken == []


# Deadlines


def test_row_expires_before_meta_refuses_its_age():
    expires_at, twin_expires_at = outbox.deadlines(1_795_000_000, 7 * 86400, Twin.NO)
    assert expires_at.timestamp() == 1_795_000_000 + 7 * 86400 - 1800
    assert twin_expires_at is None


def test_row_with_a_twin_expires_before_meta_would_count_both():
    _, twin_expires_at = outbox.deadlines(1_795_000_000, 7 * 86400, Twin.MAYBE)
    left = twin_expires_at - timezone.now()
    assert timedelta(hours=47, minutes=29) < left <= timedelta(hours=47, minutes=30)


# The browser's half


def test_copy_that_reached_nobody_may_be_told_after_all():
    told = [outbox.first_to_tell("f" * 32, using=USING) for _ in range(2)]
    outbox.not_told_yet("f" * 32, using=USING)
    assert [*told, outbox.first_to_tell("f" * 32, using=USING)] == [True, False, True]


def told_to_browsers(*event_ids):
    rows = outbox.recorded(event_ids, 1, newer_than=timedelta(minutes=5), using=USING)
    return [row.pixel_id for row in rows]


def test_a_pixel_in_no_browser_is_not_named_and_keeps_the_others_from_nothing():
    OutboxEventFactory(site_pk=1, event_id="1" * 32, twin=Twin.PIXEL)
    OutboxEventFactory(site_pk=1, event_id="1" * 32, pixel_id="22222", twin=Twin.MAYBE)
    OutboxEventFactory(site_pk=1, event_id="2" * 32, twin=Twin.PIXEL)
    assert told_to_browsers("1" * 32, "2" * 32) == ["22222"]
    assert outbox.first_to_tell("1" * 32, using=USING)


def test_a_limit_on_any_row_keeps_all_from_browsers():
    OutboxEventFactory(site_pk=1, event_id="1" * 32, twin=Twin.NO)
    OutboxEventFactory(site_pk=1, event_id="1" * 32, pixel_id="22222", twin=Twin.MAYBE)
    assert told_to_browsers("1" * 32) == []
    assert not outbox.first_to_tell("1" * 32, using=USING)


def test_what_browsers_alone_tell_is_theirs_and_never_claimed():
    OutboxEventFactory(site_pk=1, event_id="1" * 32, twin=Twin.MAYBE, state=State.BROWSER)
    assert told_to_browsers("1" * 32) == [PIXEL_ID]
    assert claim()[1] == []


# The database


@pytest.mark.parametrize(
    ("vendor", "options", "bears"),
    [
        ("postgresql", {}, True),
        ("sqlite", {}, False),
        ("sqlite", None, False),
        ("sqlite", {"transaction_mode": "DEFERRED"}, False),
        ("sqlite", {"transaction_mode": "immediate"}, True),
        ("sqlite", {"transaction_mode": "EXCLUSIVE"}, True),
    ],
)
def test_second_writer_is_borne_by_all_but_sqlite_without_immediate(
    monkeypatch, vendor, options, bears
):
    class Database:
        settings_dict = {"OPTIONS": options}

    Database.vendor = vendor
    monkeypatch.setattr(outbox, "connections", {"other": Database})
    assert outbox.bears_second_writer("other") is bears


def test_router_names_the_database_unless_the_caller_does(settings):
    class Router:
        def db_for_write(self, model, **hints):
            return "events" if model is OutboxEvent else None

    assert outbox.alias() == "default"
    settings.DATABASE_ROUTERS = [Router()]
    assert outbox.alias() == "events"
    assert outbox.alias("given") == "given"
