from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory, PixelFactory
from wagtail_metapixel import claims, counters, datasets, delivery, graph_api
from wagtail_metapixel.drivers import draining
from wagtail_metapixel.models import Counter, Delivery, OutboxEvent, State
from wagtail_metapixel.sandbox.server import SandboxServer

pytestmark = pytest.mark.django_db
OTHER = "9999999999"


@pytest.fixture
def sandbox(settings):
    with SandboxServer(pixels={PIXEL_ID: TOKEN, OTHER: "OTHER"}) as server:
        settings.WAGTAIL_METAPIXEL = {
            "SANDBOX": server.url,
            "ACCESS_TOKENS": {PIXEL_ID: TOKEN, OTHER: "OTHER"},
        }
        yield server
        graph_api.close()


def later(seconds):
    return timezone.now() + timedelta(seconds=seconds)


def row(**kwargs):
    return OutboxEventFactory(**kwargs).pk


def leased(**kwargs):
    return row(lease_token=uuid.uuid4(), leased_until=later(60), **kwargs)


def states():
    return list(OutboxEvent.objects.order_by("pk").values_list("state", flat=True))


# What waits


def test_of_each_pixel_the_row_that_goes_first_is_found():
    row(rank=30)
    first = row(rank=0)
    other = row(pixel_id=OTHER)
    assert draining.waiting(using="default") == {PIXEL_ID: first, OTHER: other}


def test_what_is_final_or_not_due_or_of_a_paused_pixel_does_not_wait():
    row(state=State.SENT)
    row(due_at=later(60))
    row(pixel_id=OTHER)
    datasets.pause(OTHER, 60, "token", using="default")
    assert draining.waiting(using="default") == {}


def test_a_pixel_that_somebody_serves_does_not_wait():
    leased(rank=0)
    row(rank=30)
    assert draining.waiting(using="default") == {}


def test_a_lease_that_ended_serves_nobody():
    pk = row(lease_token=uuid.uuid4(), leased_until=later(-1))
    assert draining.waiting(using="default") == {PIXEL_ID: pk}


def test_workers_are_counted_by_their_leases():
    token = uuid.uuid4()
    for _ in range(2):
        row(lease_token=token, leased_until=later(60))
    leased(pixel_id=OTHER)
    row(lease_token=uuid.uuid4(), leased_until=later(-1))
    leased(state=State.SENT)
    assert draining.workers(using="default") == 2


# Sending


def test_drains_in_batches_until_nothing_is_due(sandbox):
    OutboxEventFactory.create_batch(5)
    seen = []
    total = draining.drain(
        using="default", limit=2, after_batch=lambda one: seen.append(one.claimed)
    )
    assert (total.by_state["sent"], total.requests) == (5, 3)
    assert seen == [2, 2, 1, 0]


def test_one_pixel_that_cannot_send_keeps_no_other_waiting(sandbox, settings):
    OutboxEventFactory.create_batch(3, rank=0)
    PixelFactory(pixel_id=OTHER)
    OutboxEventFactory.create_batch(2, rank=90, pixel_id=OTHER)
    settings.WAGTAIL_METAPIXEL["ACCESS_TOKENS"][PIXEL_ID] = "EXPIRED"
    total = draining.drain(using="default", limit=2)
    assert states() == [State.PENDING] * 3 + [State.SENT] * 2
    assert len(total.messages) == 1


def test_only_the_named_pixels_are_drained_also_after_one_failed(sandbox, settings):
    OutboxEventFactory.create_batch(2, rank=0)
    OutboxEventFactory(pixel_id=OTHER)
    settings.WAGTAIL_METAPIXEL["ACCESS_TOKENS"][PIXEL_ID] = "EXPIRED"
    draining.drain(using="default", only=[PIXEL_ID])
    assert set(states()) == {State.PENDING}


def test_stops_between_batches_when_told(sandbox):
    OutboxEventFactory.create_batch(4)
    answers = iter([False, False, False])
    draining.drain(using="default", limit=2, stopping=lambda: next(answers, True))
    assert states().count(State.SENT) == 2


def test_time_is_up_after_so_many_seconds(monkeypatch):
    monkeypatch.setattr(draining.time, "monotonic", lambda: now)
    now = 10.0
    is_late = draining.until(5)
    assert not is_late()
    now = 15.0
    assert is_late()


# A task's turn


def test_a_turn_sends_and_saves_what_was_counted(sandbox):
    counters.add(counters.Item(counters.WITHHELD, "consent unknown"), 3)
    OutboxEventFactory.create_batch(3)
    assert draining.take_turn(using="default").by_state == {"sent": 3}
    assert Counter.objects.get().count == 3


def test_a_turn_makes_room_when_enough_are_at_work(monkeypatch):
    monkeypatch.setattr(delivery, "deliver_due", lambda **_kwargs: pytest.fail("sent"))
    for _ in range(draining.WORKERS_MAX):
        leased()
    row()
    assert draining.take_turn(using="default") is None


# What stands in the way


def test_a_paused_pixel_stands_in_the_way_of_what_waits_for_it_only():
    datasets.pause(OTHER, 60, "Nothing waits for this one.", using="default")
    datasets.pause(PIXEL_ID, 60, "The token is too old.", using="default")
    row()
    [found] = draining.hindrances(using="default")
    assert (found.pixel_id, found.reason) == (PIXEL_ID, "The token is too old.")
    assert found.until > timezone.now()
    assert draining.hindrances(using="default", only=[OTHER]) == []


def test_events_of_a_copied_database_are_told_until_they_are_gone(monkeypatch):
    Delivery.objects.create(
        pk=1, fingerprint="x", held_since=timezone.now(), held_reason="It was restored."
    )
    assert draining.hindrances(using="default") == []
    monkeypatch.setattr(draining.copies, "held", lambda using: 3)
    assert draining.hindrances(using="default") == [draining.Hindrance("", "It was restored.")]


def test_what_waits_is_counted_by_pixel():
    row(due_at=later(60))
    row(pixel_id=OTHER)
    row(state=State.SENT)
    assert draining.count_pending(using="default") == 2
    assert draining.count_pending(using="default", only=[OTHER]) == 1
    assert draining.something_pending(using="default")
    claims.claim(10, using="default")
    assert draining.something_pending(using="default")
