from __future__ import annotations

import json
import logging
import math
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory, PixelFactory
from wagtail_metapixel import (
    claims,
    counters,
    database_time,
    datasets,
    delivery,
    graph_api,
    other_deployments,
    signals,
)
from wagtail_metapixel.delivery import Backoff, deliver_due
from wagtail_metapixel.drivers import draining
from wagtail_metapixel.graph_api import Answer, Kind
from wagtail_metapixel.models import Dataset, OutboxEvent, SentKey, State, Twin, Withdrawal
from wagtail_metapixel.sandbox.server import SandboxServer

OTHER_PIXEL, OTHER_TOKEN = "9999999999", "ANOTHER-TOKEN"
TOKENS = {PIXEL_ID: TOKEN, OTHER_PIXEL: OTHER_TOKEN}
POISON = {"user_data": b"{}"}  # which Meta refuses: it says nothing of the person
FACT = {"keyed": True, "event_name": "Lead", "event_id": "f" * 32}

pytestmark = pytest.mark.django_db


@pytest.fixture
def sandbox(settings):
    with SandboxServer(pixels=TOKENS) as server:
        settings.WAGTAIL_METAPIXEL = {"SANDBOX": server.url, "ACCESS_TOKENS": TOKENS}
        yield server
        graph_api.close()


@pytest.fixture
def during_request(monkeypatch):
    """Call a function at the beginning of each request."""

    def call(function):
        def post_events(*args, post=graph_api.post_events, **kwargs):
            function()
            return post(*args, **kwargs)

        monkeypatch.setattr(graph_api, "post_events", post_events)

    return call


def states():
    return list(OutboxEvent.objects.order_by("pk").values_list("state", flat=True))


def dataset(pixel_id=PIXEL_ID):
    return Dataset.objects.get(pixel_id=pixel_id)


def sent_ids(request):
    return [event["event_id"] for event in request.params["data"]]


def an_hour_later():
    """Let the pauses and waits of an hour pass."""
    hour = timedelta(hours=1)
    for row in Dataset.objects.exclude(paused_until=None):
        Dataset.objects.filter(pk=row.pk).update(paused_until=row.paused_until - hour)
    for event in OutboxEvent.objects.all():
        OutboxEvent.objects.filter(pk=event.pk).update(due_at=event.due_at - hour)


# Accepted


def test_due_row_is_sent_as_it_was_recorded(sandbox):
    row = OutboxEventFactory()
    summary = deliver_due()
    [request] = sandbox.requests
    [event] = request.params["data"]
    assert event == json.loads(row.event) | {"user_data": json.loads(row.user_data)}
    assert (summary.claimed, summary.requests, dict(summary.by_state)) == (1, 1, {"sent": 1})


def test_sent_row_keeps_the_trace_and_nothing_of_the_person(sandbox):
    OutboxEventFactory()
    deliver_due()
    row = OutboxEvent.objects.get()
    assert (row.state, row.attempts, bytes(row.user_data)) == (State.SENT, 0, b"{}")
    assert row.trace_id
    assert row.final_at
    assert dataset().last_accepted_at


def test_sent_row_is_never_sent_again(sandbox):
    OutboxEventFactory()
    deliver_due()
    assert deliver_due().claimed == 0
    assert len(sandbox.requests) == 1


def test_without_due_rows_nobody_is_asked(sandbox):
    OutboxEventFactory(due_at=timezone.now() + timedelta(minutes=1))
    assert deliver_due().requests == 0
    assert sandbox.requests == []


def test_batch_holds_no_more_than_its_limit(sandbox):
    OutboxEventFactory.create_batch(5)
    assert [deliver_due(limit=2).claimed for _ in range(4)] == [2, 2, 1, 0]
    assert [len(sent_ids(request)) for request in sandbox.requests] == [2, 2, 1]


def test_only_the_named_pixels_are_served(sandbox):
    OutboxEventFactory()
    OutboxEventFactory(pixel_id=OTHER_PIXEL)
    deliver_due(only=[OTHER_PIXEL])
    assert states() == [State.PENDING, State.SENT]


def test_pixels_and_test_codes_never_share_a_request(sandbox):
    OutboxEventFactory.create_batch(2)
    OutboxEventFactory.create_batch(2, pixel_id=OTHER_PIXEL)
    OutboxEventFactory.create_batch(2, test_event_code="TEST1")
    assert deliver_due().requests == 3
    found = {
        (
            request.path.split("/")[2],
            request.params.get("test_event_code"),
            request.headers["authorization"],
        )
        for request in sandbox.requests
    }
    assert found == {
        (PIXEL_ID, None, f"Bearer {TOKEN}"),
        (OTHER_PIXEL, None, f"Bearer {OTHER_TOKEN}"),
        (PIXEL_ID, "TEST1", f"Bearer {TOKEN}"),
    }
    assert set(states()) == {State.SENT}


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_meta_is_asked(sandbox, during_request):
    OutboxEventFactory()
    open_ones = []
    during_request(lambda: open_ones.append(connection.in_atomic_block))
    deliver_due()
    assert open_ones == [False]


def test_those_who_listen_hear_what_was_delivered_and_what_never_will_be(sandbox):
    heard = []

    def listen(signal, sender, **told):
        heard.append((signal is signals.event_delivered, told))

    both = (signals.event_delivered, signals.event_rejected)
    good = OutboxEventFactory()
    bad = OutboxEventFactory(**POISON)
    for signal in both:
        signal.connect(listen)
    try:
        deliver_due()
    finally:
        for signal in both:
            signal.disconnect(listen)
    names = {"event_name": "AddToCart", "pixel_id": PIXEL_ID}
    [delivered, rejected] = sorted(heard, key=lambda item: not item[0])
    assert delivered == (True, names | {"event_id": good.event_id})
    assert rejected[1].pop("reason").startswith("Meta error 100/2804050")
    assert rejected == (False, names | {"event_id": bad.event_id})


# Events at fault


@pytest.mark.parametrize("place", [0, 31, 63])
def test_poison_among_64_costs_few_requests_and_its_neighbours_nothing(sandbox, place):
    rows = [OutboxEventFactory.build(**(POISON if n == place else {})) for n in range(64)]
    OutboxEvent.objects.bulk_create(rows)
    summary = deliver_due()
    assert summary.requests <= 1 + 2 * math.log2(64)
    assert dict(summary.by_state) == {"sent": 63, "rejected": 1}
    assert OutboxEvent.objects.get(state=State.REJECTED).event_id == rows[place].event_id
    assert not OutboxEvent.objects.exclude(attempts=0).exists()
    assert [event["counts"]["server"] for event in sandbox.events()] == [1] * 63


def test_rejected_row_says_why(sandbox):
    OutboxEventFactory(**POISON)
    summary = deliver_due()
    row = OutboxEvent.objects.get()
    assert (row.state, row.reason[:24]) == (State.REJECTED, "Meta error 100/2804050: ")
    assert row.trace_id
    assert summary.messages == [f"{PIXEL_ID}: {row.reason}"]


def test_pixel_with_nothing_but_poison_is_not_paused(sandbox):
    OutboxEventFactory.create_batch(4, **POISON)
    deliver_due()
    assert set(states()) == {State.REJECTED}
    assert not Dataset.objects.exists()


def test_batch_full_of_poison_costs_a_bounded_number_of_requests_and_ends_at_last(
    sandbox, monkeypatch
):
    monkeypatch.setattr("wagtail_metapixel.delivery.REQUESTS_MAX", 10)
    OutboxEventFactory.create_batch(16, **POISON)
    summary = deliver_due()
    assert (summary.requests, summary.claimed - summary.released) == (10, 4)
    assert not OutboxEvent.objects.filter(state=State.PENDING).exclude(lease_token=None).exists()
    while states().count(State.PENDING):
        deliver_due()
    assert set(states()) == {State.REJECTED}


def test_worker_that_is_to_stop_gives_the_rest_of_its_batch_back(sandbox):
    OutboxEventFactory.create_batch(3, pixel_id=PIXEL_ID)
    OutboxEventFactory.create_batch(2, pixel_id=OTHER_PIXEL)
    summary = deliver_due(stopping=lambda: bool(sandbox.requests))
    assert (summary.requests, summary.claimed, summary.released) == (
        1,
        5,
        5 - summary.by_state["sent"],
    )
    assert not OutboxEvent.objects.exclude(lease_token=None).exists()
    assert not OutboxEvent.objects.exclude(attempts=0).exists()


def test_throttling_in_the_middle_of_a_search_gives_the_rest_back(sandbox, during_request):
    OutboxEventFactory(**POISON)
    OutboxEventFactory.create_batch(7)

    def throttle_the_third():
        if len(sandbox.requests) == 2:
            sandbox.misbehave("429", times=1)

    during_request(throttle_the_third)
    summary = deliver_due()
    assert (summary.requests, summary.released) == (3, 8)
    assert not OutboxEvent.objects.exclude(attempts=0, lease_token=None).exists()


# Access


def test_refused_token_pauses_the_pixel_and_costs_no_attempt(sandbox):
    OutboxEventFactory.create_batch(3)
    other = OutboxEventFactory(pixel_id=OTHER_PIXEL)
    sandbox.misbehave("expired_token", pixel=PIXEL_ID)
    deliver_due()
    waiting = OutboxEvent.objects.exclude(pk=other.pk)
    assert set(waiting.values_list("state", "attempts", "lease_token")) == {("pending", 0, None)}
    assert dataset().pause_reason.startswith("Meta error 190/463")
    other.refresh_from_db()
    assert other.state == State.SENT


def test_paused_pixel_asks_nothing_until_it_is_resumed(sandbox):
    OutboxEventFactory.create_batch(3)
    sandbox.misbehave("expired_token", times=1)
    deliver_due()
    assert deliver_due().claimed == 0
    assert len(sandbox.requests) == 1
    datasets.resume(PIXEL_ID, using="default")
    assert dict(deliver_due().by_state) == {"sent": 3}


def test_saved_token_ends_the_pause(sandbox, settings, django_capture_on_commit_callbacks):
    del settings.WAGTAIL_METAPIXEL["ACCESS_TOKENS"]
    pixel = PixelFactory(token="expired")
    OutboxEventFactory.create_batch(2)
    deliver_due()
    assert dataset().pause_reason.startswith("Meta error 190")
    with django_capture_on_commit_callbacks(execute=True):
        pixel.set_access_token(TOKEN)
        pixel.save()
    assert dict(deliver_due().by_state) == {"sent": 2}


def test_pixel_without_a_token_waits_and_says_so(sandbox, settings):
    settings.WAGTAIL_METAPIXEL["ACCESS_TOKENS"] = {}
    PixelFactory(token="")
    OutboxEventFactory()
    summary = deliver_due()
    row = OutboxEvent.objects.get()
    assert (row.state, row.attempts, summary.requests) == (State.PENDING, 0, 0)
    assert row.reason == dataset().pause_reason == delivery.NO_TOKEN
    assert summary.messages == [f"{PIXEL_ID}: {delivery.NO_TOKEN}"]


def test_after_a_pause_one_row_proves_the_pixel_before_the_others_follow(sandbox):
    rows = OutboxEventFactory.create_batch(5)
    datasets.pause(PIXEL_ID, -1, "token", using="default")
    assert dict(deliver_due().by_state) == {"sent": 5}
    requests = [sent_ids(request) for request in sandbox.requests]
    assert [len(ids) for ids in requests] == [1, 4]
    assert {each for ids in requests for each in ids} == {row.event_id for row in rows}


def test_probe_that_fails_pauses_again(sandbox):
    OutboxEventFactory.create_batch(5)
    datasets.pause(PIXEL_ID, -1, "token", using="default")
    sandbox.misbehave("expired_token")
    deliver_due()
    assert dataset().paused_until > timezone.now() + timedelta(minutes=4)
    assert set(OutboxEvent.objects.values_list("state", "attempts")) == {("pending", 0)}


def test_what_was_not_begun_is_given_back_where_something_breaks(monkeypatch):
    OutboxEventFactory(rank=0)
    OutboxEventFactory(pixel_id=OTHER_PIXEL)

    def broken(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(graph_api, "post_events", broken)
    with pytest.raises(MemoryError):
        deliver_due()
    leased = OutboxEvent.objects.order_by("pk").values_list("lease_token", flat=True)
    assert [token is not None for token in leased] == [True, False]


def refusing(monkeypatch, event_id, answer):
    """Let a Meta take all requests but those with one event; returns how many events each had."""
    counts = []

    def post_events(_pixel_id, _token, body, *, count):
        counts.append(count)
        accepted = Answer(kind=Kind.ACCEPTED, events_received=count)
        return answer if event_id.encode() in body else accepted

    monkeypatch.setattr(graph_api, "post_events", post_events)
    return counts


CULPRITS = {
    "an error of Meta's": Answer(kind=Kind.UNKNOWN, message="HTTP 500", code=1),
    "a passing one": Answer(kind=Kind.TRANSIENT, message="Meta error 1", code=1),
    "a parameter": Answer(kind=Kind.ACCESS, message="Meta error 100", code=100),
    "too large": Answer(kind=Kind.ACCESS, message="HTTP 413"),
}


@pytest.mark.parametrize("answer", CULPRITS.values(), ids=CULPRITS)
@pytest.mark.parametrize("at", [0, 7, 20])
def test_an_event_that_meta_never_takes_keeps_no_neighbour(monkeypatch, answer, at):
    pixel = PixelFactory()
    rows = OutboxEventFactory.create_batch(21, pixel_id=pixel.pixel_id)
    counts = refusing(monkeypatch, rows[at].event_id, answer)
    for _ in range(4):
        deliver_due()
        an_hour_later()
    assert states().count(State.SENT) == 20
    culprit = OutboxEvent.objects.get(pk=rows[at].pk)
    assert (culprit.state, culprit.reason) == (State.PENDING, answer.message)
    assert culprit.attempts >= 1
    assert len(counts) < 25


def test_whoever_failed_before_goes_after_the_others_and_does_not_charge_them(monkeypatch):
    PixelFactory()
    culprit = OutboxEventFactory(attempts=2, rank=0)
    rows = OutboxEventFactory.create_batch(10)
    counts = refusing(monkeypatch, culprit.event_id, CULPRITS["an error of Meta's"])
    deliver_due()
    assert counts == [10, 1]
    found = OutboxEvent.objects.filter(pk__in=[row.pk for row in rows])
    assert set(found.values_list("state", "attempts", "first_unknown_at")) == {("sent", 0, None)}
    assert not Dataset.objects.get().probing


def test_a_fault_of_metas_own_in_the_middle_is_not_taken_for_one_of_each_event(monkeypatch):
    PixelFactory()
    OutboxEventFactory.create_batch(200, attempts=1)
    OutboxEventFactory.create_batch(10)
    counts = []

    def post_events(_pixel_id, _token, _body, *, count):
        counts.append(count)
        if len(counts) == 1:
            return Answer(kind=Kind.ACCEPTED, events_received=count)
        return CULPRITS["an error of Meta's"]

    monkeypatch.setattr(graph_api, "post_events", post_events)
    deliver_due()
    assert len(counts) <= 2 + delivery.SUSPICIONS_MAX
    assert Dataset.objects.get().probing


@pytest.mark.parametrize(
    "answer",
    [
        Answer(kind=Kind.ACCESS, message="Meta error 190", code=190),
        Answer(kind=Kind.ACCESS, message="Meta error 100/33", code=100, subcode=33),
        Answer(kind=Kind.UNKNOWN, message="ReadTimeout while sending", was_answered=False),
    ],
    ids=["the token", "the pixel", "no answer"],
)
def test_what_is_no_events_fault_is_not_looked_for_in_events(monkeypatch, answer):
    PixelFactory()
    OutboxEventFactory.create_batch(8, attempts=1)
    fresh = OutboxEventFactory()
    counts = []

    def post_events(_pixel_id, _token, body, *, count):
        counts.append(count)
        accepted = Answer(kind=Kind.ACCEPTED, events_received=count)
        return accepted if fresh.event_id.encode() in body else answer

    monkeypatch.setattr(graph_api, "post_events", post_events)
    deliver_due()
    assert counts == [1, 8]
    assert Dataset.objects.get().probing


# Throttled


def test_a_pixel_that_is_paused_meanwhile_is_asked_nothing_more(monkeypatch):
    PixelFactory()
    OutboxEventFactory(rank=0)
    OutboxEventFactory(test_event_code="TEST1")
    slow = Answer(kind=Kind.THROTTLED, message="Meta error 4", code=4, wait_seconds=600)
    asked = []

    def post_events(*_args, **_options):
        asked.append(1)
        return slow

    monkeypatch.setattr(graph_api, "post_events", post_events)
    deliver_due()
    assert len(asked) == 1
    assert dataset().paused_until > timezone.now() + timedelta(minutes=9)


def test_an_answer_that_was_under_way_ends_no_pause_that_another_worker_was_told_of(monkeypatch):
    PixelFactory()
    OutboxEventFactory.create_batch(2)
    slow = Answer(kind=Kind.THROTTLED, message="Meta error 4", code=4, wait_seconds=600)
    calls = []

    def post_events(*_args, **_options):
        calls.append(1)
        if len(calls) == 1:
            deliver_due()  # another worker, while this request is under way
            return Answer(kind=Kind.ACCEPTED, events_received=1)
        return slow

    monkeypatch.setattr(graph_api, "post_events", post_events)
    deliver_due(limit=1)
    assert dataset().paused_until > timezone.now() + timedelta(minutes=9)
    assert dataset().last_accepted_at is not None


def test_pixel_near_its_limit_rests_without_a_probe(sandbox, monkeypatch):
    near = Answer(kind=Kind.ACCEPTED, message="96 % is used up", events_received=1, wait_seconds=90)
    monkeypatch.setattr(graph_api, "post_events", lambda *_args, **_options: near)
    OutboxEventFactory()
    assert dict(deliver_due().by_state) == {"sent": 1}
    resting = Dataset.objects.get()
    assert 80 < (resting.paused_until - timezone.now()).total_seconds() <= 90
    assert (resting.probing, resting.failures, resting.pause_reason) == (False, 0, near.message)


@pytest.mark.parametrize(
    ("mode", "retry_after", "seconds"), [("429", 120, 120), ("throttle", 300, 300)]
)
def test_throttled_pixel_pauses_as_long_as_meta_says(sandbox, mode, retry_after, seconds):
    OutboxEventFactory()
    sandbox.misbehave(mode, retry_after=retry_after)
    deliver_due()
    left = (dataset().paused_until - timezone.now()).total_seconds()
    assert seconds - 5 < left <= seconds
    assert OutboxEvent.objects.get().attempts == 0
    assert deliver_due().claimed == 0


# Nobody knows


@pytest.mark.parametrize("mode", ["500", "garbage", "reset"])
def test_unknown_answer_is_remembered_and_tried_again(sandbox, mode):
    OutboxEventFactory()
    sandbox.misbehave(mode, times=1)
    deliver_due()
    row = OutboxEvent.objects.get()
    assert (row.state, row.attempts) == (State.PENDING, 1)
    assert row.first_unknown_at
    assert row.reason
    an_hour_later()
    assert dict(deliver_due().by_state) == {"sent": 1}
    assert len({tuple(sent_ids(request)) for request in sandbox.requests}) == 1
    assert [event["event_id"] for event in sandbox.events()] == [row.event_id]


def test_answer_that_comes_too_late_is_unknown(sandbox, settings):
    settings.WAGTAIL_METAPIXEL["REQUEST_TIMEOUT"] = 1
    OutboxEventFactory()
    sandbox.misbehave("slow", seconds=5)
    deliver_due()
    assert OutboxEvent.objects.get().first_unknown_at


def test_connection_that_was_refused_is_tried_again_without_doubt(sandbox):
    OutboxEventFactory()
    sandbox.stop()
    deliver_due()
    row = OutboxEvent.objects.get()
    assert (row.state, row.attempts, row.first_unknown_at) == (State.PENDING, 1, None)


def test_waits_grow_while_meta_is_away(sandbox, monkeypatch):
    asked = []
    monkeypatch.setattr(Backoff, "seconds", lambda self, failures: asked.append(failures) or 1.0)
    OutboxEventFactory()
    sandbox.misbehave("500")
    for _ in range(3):
        deliver_due()
        an_hour_later()
    assert asked == [0, 1, 2]


def test_row_is_due_when_its_pixel_may_be_asked_again(sandbox, monkeypatch):
    monkeypatch.setattr(Backoff, "seconds", lambda self, failures: 100.0)
    OutboxEventFactory()
    sandbox.misbehave("500")
    deliver_due()
    for moment in (OutboxEvent.objects.get().due_at, dataset().paused_until):
        assert 95 < (moment - timezone.now()).total_seconds() <= 100


@pytest.mark.parametrize(
    ("failures", "ceiling"),
    [(0, 2), (1, 4), (2, 8), (3, 16), (6, 128), (7, 240), (50, 240), (10**9, 240)],
)
def test_longest_wait_doubles_up_to_the_cap(failures, ceiling):
    assert Backoff().ceiling(failures) == ceiling


@given(
    failures=st.integers(0, 10**6),
    base=st.floats(0.001, 100),
    cap=st.floats(0.001, 10_000),
)
def test_wait_lies_between_nothing_and_the_ceiling(failures, base, cap):
    backoff = Backoff(base=base, cap=cap)
    assert 0 <= backoff.seconds(failures) <= backoff.ceiling(failures) <= cap


def test_waits_are_spread_evenly_so_that_workers_do_not_return_at_once():
    waits = sorted(Backoff().seconds(6) / 128 for _ in range(2000))
    assert all(abs(waits[n] - n / 2000) < 0.08 for n in range(2000))


# Checks before sending


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({"expires_at": timedelta(seconds=-1)}, State.EXPIRED),
        ({"twin_expires_at": timedelta(seconds=-1), "twin": Twin.MAYBE}, State.EXPIRED),
        ({"first_unknown_at": timedelta(hours=-47, seconds=-1)}, State.DEAD),
    ],
    ids=["age", "twin", "unknown"],
)
def test_row_past_its_deadline_is_not_sent_and_harms_nobody(sandbox, columns, state):
    now = timezone.now()
    moments = {k: now + v if isinstance(v, timedelta) else v for k, v in columns.items()}
    OutboxEventFactory(**moments)
    OutboxEventFactory()
    deliver_due()
    assert states() == [state, State.SENT]
    late = OutboxEvent.objects.first()
    assert late.reason
    assert bytes(late.user_data) == b"{}"
    assert [len(sent_ids(request)) for request in sandbox.requests] == [1]


def test_row_just_before_its_deadlines_is_sent(sandbox):
    soon = timezone.now() + timedelta(minutes=1)
    OutboxEventFactory(
        expires_at=soon, twin_expires_at=soon, first_unknown_at=soon - delivery.UNKNOWN_WINDOW
    )
    deliver_due()
    assert states() == [State.SENT]


def test_row_whose_person_took_the_consent_back_is_not_sent(sandbox):
    OutboxEventFactory(digests="mine")
    OutboxEventFactory(digests="yours")
    Withdrawal.objects.create(digest="mine")
    deliver_due()
    assert states() == [State.WITHDRAWN, State.SENT]
    assert bytes(OutboxEvent.objects.first().user_data) == b"{}"


def test_row_of_a_newer_release_waits_for_its_code(sandbox):
    OutboxEventFactory(payload_version=99)
    deliver_due()
    row = OutboxEvent.objects.get()
    assert (row.state, row.attempts, sandbox.requests) == (State.PENDING, 0, [])
    assert row.due_at > timezone.now()


def close_the_provider(pixel, _settings):
    pixel.settings.consent_provider = ""
    pixel.settings.save()


def close_the_pixel(pixel, _settings):
    pixel.active = False
    pixel.save()


def leave_it_to_browsers(pixel, _settings):
    pixel.mode = "browser"
    pixel.save()


def close_the_host(pixel, _settings):
    pixel.hosts = "www.example.com"
    pixel.save()


def delete_the_site(pixel, _settings):
    pixel.settings.site.delete()


def test_two_deployments_on_one_database_leave_each_others_events_alone(sandbox, settings):
    row = OutboxEventFactory()
    settings.ALLOWED_HOSTS = ["other.example"]
    assert deliver_due().closed == {row.pixel_id: OutboxEvent.objects.get().reason}
    assert "does not serve testserver" in OutboxEvent.objects.get().reason
    for _ in range(2):
        assert deliver_due().claimed == 0
    assert draining.waiting(using="default") == {}
    # The other one is another process.
    other_deployments.clear()
    settings.ALLOWED_HOSTS = ["testserver"]
    assert dict(deliver_due().by_state) == {"sent": 1}


def test_events_of_a_host_that_nobody_serves_expire_all_the_same(sandbox, settings, monkeypatch):
    OutboxEventFactory(expires_at=timezone.now() + timedelta(hours=1))
    settings.ALLOWED_HOSTS = ["other.example"]
    deliver_due()
    OutboxEvent.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    clock = time.monotonic() + other_deployments.FORGET_SECONDS + 1
    monkeypatch.setattr(other_deployments.time, "monotonic", lambda: clock)
    assert dict(deliver_due().by_state) == {"expired": 1}


def copy_to_a_laptop(_pixel, settings):
    settings.ALLOWED_HOSTS = ["localhost"]


@pytest.mark.parametrize(
    ("close", "word"),
    [
        (close_the_provider, "consent choice"),
        (close_the_pixel, "does not send for testserver"),
        (leave_it_to_browsers, "told by browsers alone"),
        (close_the_host, "does not send for testserver"),
        (delete_the_site, "site is gone"),
        (copy_to_a_laptop, "does not serve testserver"),
    ],
)
def test_the_gate_is_asked_again_before_an_event_leaves(sandbox, settings, close, word):
    pixel = PixelFactory()
    OutboxEventFactory()
    close(pixel, settings)
    deliver_due()
    row = OutboxEvent.objects.get()
    assert (row.state, sandbox.requests) == (State.PENDING, [])
    assert word in row.reason


def test_nothing_leaves_while_a_site_is_switched_off(sandbox, django_capture_on_commit_callbacks):
    pixel = PixelFactory(settings__enabled=False)
    row = OutboxEventFactory(site_pk=pixel.settings.site_id)
    open_one = PixelFactory(settings__site__hostname="other.example", hosts="other.example")
    OutboxEventFactory(site_pk=open_one.settings.site_id, host="other.example")
    deliver_due()
    assert states() == [State.PENDING, State.SENT]
    row.refresh_from_db()
    assert (row.attempts, row.reason) == (0, "Sending is switched off for this site.")
    pixel.settings.enabled = True
    pixel.settings.save()
    an_hour_later()
    deliver_due()
    assert set(states()) == {State.SENT}


# One event per key


def test_of_all_rows_of_a_key_one_is_sent_and_the_others_are_duplicates(sandbox):
    OutboxEventFactory.create_batch(3, **FACT)
    for _ in range(2):
        deliver_due()
        an_hour_later()
    assert states() == [State.SENT, State.DUPLICATE, State.DUPLICATE]
    assert len(sandbox.requests) == 1


def test_of_several_signals_the_one_with_a_limit_speaks(sandbox):
    OutboxEventFactory(**FACT, twin="maybe")
    limited = OutboxEventFactory(**FACT, twin="no")
    deliver_due()
    assert OutboxEvent.objects.get(state=State.SENT) == limited


def test_a_duplicate_that_says_something_else_is_told_apart(sandbox):
    said = b'{"event_name":"Purchase","event_id":"%b","event_time":%d,"action_source":"website",'
    said = said % (FACT["event_id"].encode(), timezone.now().timestamp())
    said += b'"custom_data":{"value":%d,"currency":"EUR"}}'
    for value in (5, 5, 7):
        OutboxEventFactory(**FACT | {"event_name": "Purchase"}, event=said % value)
    limited = (said % 5)[:-1] + b',"opt_out":true}'
    OutboxEventFactory(**FACT | {"event_name": "Purchase"}, event=limited)
    counters.clear()
    for _ in range(2):
        deliver_due()
        an_hour_later()
    assert states() == [State.SENT, State.DUPLICATE, State.DUPLICATE, State.DUPLICATE]
    reasons = OutboxEvent.objects.order_by("pk").values_list("reason", flat=True)
    assert ["with other parameters" in reason for reason in reasons] == [False, False, True, True]
    assert [item.kind for item in counters.waiting()].count(counters.DIAGNOSTIC) == 1


def test_when_meta_rejects_the_first_the_second_may_tell_the_fact(sandbox):
    OutboxEventFactory(**FACT, **POISON)
    OutboxEventFactory(**FACT)
    for _ in range(2):
        deliver_due()
        an_hour_later()
    assert states() == [State.REJECTED, State.SENT]
    assert SentKey.objects.get().settled


def test_same_id_never_stands_twice_in_a_request(sandbox):
    OutboxEventFactory.create_batch(2, event_id="e" * 32)
    deliver_due()
    assert [sent_ids(request) for request in sandbox.requests] == [["e" * 32]]


# The lease


def test_worker_that_dies_leaves_rows_that_another_takes_when_the_lease_ends(
    sandbox, during_request
):
    OutboxEventFactory()

    def die():
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_api, "post_events", lambda *args, **kwargs: die())
        with pytest.raises(SystemExit):
            deliver_due()
    assert deliver_due().claimed == 0
    OutboxEvent.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    assert dict(deliver_due().by_state) == {"sent": 1}


@pytest.fixture
def slow_worker(monkeypatch):
    """Every request seems to come long after the one before."""
    monkeypatch.setattr(delivery, "RENEW_AFTER_SECONDS", -1.0)


def steal(pixel_id):
    """Let another worker take the rows of a pixel, as if our lease had ended."""
    rows = OutboxEvent.objects.filter(pixel_id=pixel_id)
    rows.update(leased_until=timezone.now() - timedelta(seconds=1))
    claims.claim(100, using="default", only=[pixel_id])


def test_rows_lost_on_the_way_are_not_sent(sandbox, slow_worker, during_request):
    OutboxEventFactory()
    OutboxEventFactory(pixel_id=OTHER_PIXEL)
    during_request(lambda: steal(OTHER_PIXEL))
    summary = deliver_due()
    assert (summary.requests, dict(summary.by_state)) == (1, {"sent": 1})
    assert states() == [State.SENT, State.PENDING]


def test_row_lost_during_its_own_request_is_left_to_its_new_owner(sandbox, during_request):
    OutboxEventFactory()
    heard = []

    def listen(**_kwargs):
        heard.append(1)

    during_request(lambda: steal(PIXEL_ID))
    signals.event_delivered.connect(listen)
    try:
        summary = deliver_due()
    finally:
        signals.event_delivered.disconnect(listen)
    assert states() == [State.PENDING]
    assert OutboxEvent.objects.get().lease_token is not None
    assert (dict(summary.by_state), heard) == ({"sent": 0}, [])


def test_lease_is_prolonged_on_a_long_way(sandbox, slow_worker, during_request):
    OutboxEventFactory()
    OutboxEventFactory(pixel_id=OTHER_PIXEL)
    left = []

    def look():
        row = OutboxEvent.objects.filter(pixel_id=OTHER_PIXEL)
        left.append((row.get().leased_until - timezone.now()).total_seconds())
        row.update(leased_until=timezone.now() + timedelta(seconds=3))

    during_request(look)
    deliver_due()
    assert left[1] > 50


def test_row_that_expires_on_a_long_way_is_not_sent(sandbox, slow_worker, during_request):
    OutboxEventFactory()
    OutboxEventFactory(pixel_id=OTHER_PIXEL, expires_at=timezone.now() + timedelta(seconds=30))
    later = time.time() + 60
    with pytest.MonkeyPatch.context() as patch:
        during_request(lambda: patch.setattr(database_time, "now_in_seconds", lambda _using: later))
        deliver_due()
    assert states() == [State.SENT, State.EXPIRED]


# Secrets


@pytest.mark.parametrize("mode", ["expired_token", "500", "reset", "garbage", "429"])
def test_token_stands_in_no_log_message_or_column(sandbox, caplog, mode):
    caplog.set_level(logging.DEBUG)
    OutboxEventFactory()
    sandbox.misbehave(mode)
    summary = deliver_due()
    rows = [*OutboxEvent.objects.values(), *Dataset.objects.values()]
    assert TOKEN not in f"{caplog.text}{summary}{rows}"
    assert summary.messages


def test_caller_inside_a_transaction_is_served_too(sandbox):
    OutboxEventFactory()
    with transaction.atomic():
        assert dict(deliver_due().by_state) == {"sent": 1}
