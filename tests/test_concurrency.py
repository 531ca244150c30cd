"""Several connections at once. On SQLite one writer waits for the other, so some of it is
PostgreSQL's alone; what can hold on both is tested on both.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction
from django.test import RequestFactory
from django.utils import timezone
from wagtail.models import Locale

from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory, PixelFactory
from wagtail_metapixel import claims, datasets, graph_api, site_settings, visitor
from wagtail_metapixel.delivery import deliver_due
from wagtail_metapixel.models import OutboxEvent, State, VisitorRecord
from wagtail_metapixel.sandbox.server import SandboxServer
from wagtail_metapixel.tracking import remember, track

USING = "default"
SECONDS = 20
FACT = {"keyed": True, "event_name": "Lead", "event_id": "f" * 32}
ORDER = Group(pk=17)

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(function, *arguments):
    """Call ``function`` with each argument in a thread, and so a connection, of its own."""
    start = threading.Barrier(len(arguments), timeout=SECONDS)

    def run(argument):
        try:
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:  # so that whoever waits fails, and not hangs
                    cursor.execute("SET lock_timeout = '3s'")
            start.wait()
            return function(argument)
        finally:
            connections.close_all()
            graph_api.close()

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(run, arguments, timeout=SECONDS))


@pytest.fixture
def shop(db):
    Locale.objects.get_or_create(language_code="en")  # gone since the last test emptied all tables
    PixelFactory()
    return site_settings.current()


@pytest.fixture
def sandbox(settings):
    with SandboxServer(pixels={PIXEL_ID: TOKEN}) as server:
        settings.WAGTAIL_METAPIXEL = {
            "SANDBOX": server.url,
            "ACCESS_TOKENS": {PIXEL_ID: TOKEN},
        }
        yield server
        graph_api.close()


def buyer():
    fbp = f"fb.1.{int(time.time() * 1000)}.1234567890"
    request = RequestFactory().post(
        "/checkout/", headers={"Cookie": f"metapixel_consent=granted.abc; _fbp={fbp}"}
    )
    visitor.capture(request, by_middleware=True)
    return request


def buy(request=None):
    return track("Purchase", request, key=ORDER, value=5, currency="EUR")


# The shop


def test_order_reported_twice_at_the_same_moment_is_sent_once(shop, sandbox):
    def place(request):
        with transaction.atomic():
            Group.objects.create(name=f"order {id(request)}")
            return bool(buy(request))

    assert at_once(place, buyer(), buyer()) == [True, True]
    assert_one_was_sent(sandbox)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "verb", [buy, lambda request: remember(request, ORDER)], ids=["track", "remember"]
)
def test_open_transactions_on_one_order_wait_for_nothing(shop, verb):
    both_hold_their_rows = threading.Barrier(2, timeout=5)

    def place(request):
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '200ms'")
            done = verb(request)
            both_hold_their_rows.wait()
            return bool(done)

    assert at_once(place, buyer(), buyer()) == [True, True]
    assert OutboxEvent.objects.count() + VisitorRecord.objects.count() == 2


@pytest.mark.postgres
def test_order_told_in_two_open_transactions_is_sent_once(shop, sandbox):
    both_hold_their_rows = threading.Barrier(2, timeout=5)

    def place(request):
        with transaction.atomic():
            buy(request)
            both_hold_their_rows.wait()

    at_once(place, buyer(), buyer())
    assert_one_was_sent(sandbox)


def assert_one_was_sent(sandbox):
    for _ in range(2):
        OutboxEvent.objects.update(due_at=timezone.now() - claims.LEASE)
        deliver_due()
    assert sorted(OutboxEvent.objects.values_list("state", flat=True)) == ["duplicate", "sent"]
    assert [event["counts"]["server"] for event in sandbox.events()] == [1]


@pytest.mark.postgres
def test_delivery_neither_sees_nor_waits_for_an_order_that_is_not_committed(shop, sandbox):
    OutboxEventFactory()
    with transaction.atomic():
        assert buy(buyer())
        [summary] = at_once(lambda _nothing: deliver_due(), None)
    assert dict(summary.by_state) == {"sent": 1}
    assert OutboxEvent.objects.get(event_name="Purchase").state == State.PENDING


# The workers


def test_workers_that_claim_at_once_never_share_a_row():
    OutboxEvent.objects.bulk_create(OutboxEventFactory.build_batch(60))
    batches = at_once(lambda limit: claims.claim(limit, using=USING), 7, 11, 13, 40)
    claimed = [row.pk for _token, rows in batches for row in rows]
    assert len(claimed) == len(set(claimed)) == 60
    for token, rows in batches:
        leased = OutboxEvent.objects.filter(lease_token=token)
        assert {row.pk for row in rows} == set(leased.values_list("pk", flat=True))


@pytest.mark.postgres
def test_claim_steps_over_rows_that_another_is_just_claiming():
    OutboxEventFactory.create_batch(4)
    with transaction.atomic():
        _, mine = claims.claim(2, using=USING)
        [(_, theirs)] = at_once(lambda limit: claims.claim(limit, using=USING), 4)
    assert len(mine) == len(theirs) == 2
    assert not {row.pk for row in mine} & {row.pk for row in theirs}


def test_workers_send_each_row_once(sandbox):
    OutboxEvent.objects.bulk_create(OutboxEventFactory.build_batch(60))

    def work(_number):
        sent = 0
        while (summary := deliver_due(limit=7)).claimed:
            sent += summary.by_state[State.SENT]
        return sent

    assert sum(at_once(work, 1, 2, 3)) == 60
    assert [event["counts"]["server"] for event in sandbox.events()] == [1] * 60
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {State.SENT}


def test_of_two_workers_with_rows_of_one_key_one_goes_and_the_other_waits():
    rows = OutboxEventFactory.create_batch(2, **FACT)

    def decide(row):
        duplicates, waiting = claims.decide_keys([row], using=USING)
        return len(duplicates), len(waiting)

    assert sorted(at_once(decide, *rows)) == [(0, 0), (0, 1)]


def test_workers_that_pause_one_pixel_at_once_make_one_dataset():
    at_once(lambda reason: datasets.pause(PIXEL_ID, 60, reason, using=USING), *"abcd")
    assert datasets.failures(PIXEL_ID, using=USING) == 4


SLOW = """
CREATE FUNCTION wait_a_little() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON wagtail_metapixel_sentkey
    FOR EACH ROW EXECUTE FUNCTION wait_a_little();
"""


@pytest.mark.postgres
def test_two_workers_with_the_same_keys_in_another_order_do_not_block_each_other():
    one, other = ({**FACT, "event_id": letter * 32} for letter in "ab")
    batches = [
        [OutboxEventFactory(**one, rank=0), OutboxEventFactory(**other, rank=1)],
        [OutboxEventFactory(**one, rank=1), OutboxEventFactory(**other, rank=0)],
    ]
    with connection.cursor() as cursor:
        cursor.execute(SLOW)
    try:
        found = at_once(lambda rows: claims.decide_keys(rows, using=USING), *batches)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION wait_a_little CASCADE")
    assert sorted(len(waiting) for _duplicates, waiting in found) == [0, 2]
