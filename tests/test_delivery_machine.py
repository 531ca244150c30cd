"""Delivery as a state machine: whatever happens in whatever order, what must never happen does not.

The machine records, delivers, breaks off, overtakes, lets time pass, takes consent back and repairs,
as hypothesis draws it. The sandbox is its model of Meta: what that has taken is the ledger. Time
passes by moving every time in the tables back. Invariants bear the numbers of the promises they
hold, I1 to I15; docs/faults.md has the list.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from datetime import timedelta
from types import MappingProxyType

import pytest
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory, PixelFactory
from wagtail_metapixel import counters, datasets, graph_api, outbox, site_settings
from wagtail_metapixel.delivery import deliver_due
from wagtail_metapixel.models import (
    Counter,
    Dataset,
    MetaPixelSettings,
    OutboxEvent,
    SentKey,
    State,
    Twin,
    Withdrawal,
)
from wagtail_metapixel.sandbox.server import SandboxServer

OTHER_PIXEL = "9999999999"
TOKENS = {PIXEL_ID: TOKEN, OTHER_PIXEL: "SANDBOX-TOKEN-OF-THE-OTHER"}
PIXELS = st.sampled_from(sorted(TOKENS))
PEOPLE = st.sampled_from(["a" * 24, "b" * 24, ""])
WEEK, DEDUPLICATION = 7 * 24, 48
EVENTS = MappingProxyType(
    {
        "pixel": PIXELS,
        "person": PEOPLE,
        "twin": st.sampled_from([Twin.NO, Twin.MAYBE]),
        "age": st.sampled_from([0, 0, 1, 30, 100, WEEK - 2]),
        "key": st.sampled_from(["", "", "order 1", "order 2"]),
        "is_poison": st.sampled_from([False, False, False, True]),
    }
)
FAULTS = ["429", "500", "throttle", "expired_token", "reset", "garbage"]
HOUR = timedelta(hours=1)
TIMES = MappingProxyType(
    {
        OutboxEvent: [
            "recorded_at", "due_at", "expires_at", "twin_expires_at", "first_unknown_at",
            "leased_until", "final_at",
        ],
        Dataset: ["paused_until"],
        SentKey: ["created_at"],
        Withdrawal: ["withdrawn_at"],
    }
)  # fmt: skip


WRITTEN = MappingProxyType(
    {
        OutboxEvent: ["event", "user_data", "reason", "answers", "trace_id"],
        Dataset: ["pause_reason"],
        Counter: ["reason"],
    }
)
"""What may come to hold words of Meta's or ours."""


class Killed(BaseException):
    """The process is gone: nobody catches this, and nothing is tidied up."""


class Delivery(RuleBasedStateMachine):
    """One run, in a transaction that is rolled back at its end."""

    sandbox: SandboxServer

    def __init__(self):
        super().__init__()
        self.sandbox.clear()
        self.sandbox.misbehave(None)
        self.outer = transaction.atomic()
        self.outer.__enter__()
        for pixel in TOKENS:
            PixelFactory(pixel_id=pixel)
        site_settings.clear()
        self.hours = 0.0  # how far time has come
        self.rows = {}  # primary key -> what is known of it
        self.read = 0  # requests that have been looked at
        self.ledger = []  # (hours, pixel, event) that Meta has taken
        self.finals = {}
        self.withdrawn = {}  # person -> number of rows recorded before
        self.failures = 0
        self.counted = 0
        self.log = io.StringIO()
        self.listener = logging.StreamHandler(self.log)
        logging.getLogger("wagtail_metapixel").addHandler(self.listener)

    # What a shop does

    @initialize(**EVENTS)
    def begin(self, **event):
        self.record(**event)

    @rule(**EVENTS)
    def record(self, pixel, person, twin, age, key, is_poison):
        now = timezone.now()
        happened = now - age * HOUR
        expires_at, twin_expires_at = outbox.deadlines(int(happened.timestamp()), WEEK * 3600, twin)
        name = "Purchase" if key else "Lead"
        event_id = (key or f"event {len(self.rows)}").replace(" ", "-")
        body = {
            "event_name": name,
            "event_time": int(happened.timestamp()),
            "event_id": event_id,
            "action_source": "website",
            "event_source_url": "https://testserver/",
            "custom_data": {"value": 1, "currency": "EUR"},
        }
        row = OutboxEventFactory(
            pixel_id=pixel,
            event_name=name,
            event_id=event_id,
            event=json.dumps(body).encode(),
            keyed=bool(key),
            twin=twin,
            digests=person,
            expires_at=expires_at,
            twin_expires_at=twin_expires_at,
            **({"user_data": b"{}"} if is_poison else {}),
        )
        self.rows[row.pk] = {
            "pixel": pixel,
            "id": event_id,
            "person": person,
            "until": self.hours + WEEK - age,
            "number": len(self.rows),
        }

    def record_and_roll_back(self, pixel=PIXEL_ID):
        with transaction.atomic():
            OutboxEventFactory(pixel_id=pixel, event_id="rolled-back")
            transaction.set_rollback(True)

    @rule(person=PEOPLE)
    def withdraw(self, person):
        if person:
            Withdrawal.objects.create(digest=person)
            self.withdrawn[person] = len(self.rows)

    @rule(
        what=st.sampled_from(
            ["roll back", "switch off", "switch on", "save", "save the other", "flush"]
        )
    )
    def do_something_else(self, what):
        if what == "roll back":
            self.record_and_roll_back()
        elif what == "flush":
            counters.flush(using="default")
        elif what.startswith("switch"):
            self.switch(enabled=what == "switch on")
        else:
            datasets.resume(PIXEL_ID if what == "save" else OTHER_PIXEL, using="default")

    def switch(self, enabled):
        MetaPixelSettings.objects.update(enabled=enabled)
        site_settings.clear()

    # What a deliverer does, and what befalls it

    # Few rules with variants: hypothesis leaves whole rules out of most of its runs.
    @rule(
        how=st.sampled_from(
            ["well", "well", "killed", "killed once sent", "overtaken", "culprit", *FAULTS]
        ),
        waited=st.sampled_from([True, True, False]),
    )
    def deliver(self, how, waited):
        if waited:
            self.pass_all_waits()
        if how.startswith("killed"):
            self.deliver_and_be_killed(sent=how != "killed")
        elif how == "overtaken":
            self.deliver_and_be_overtaken()
        elif how == "culprit":
            self.deliver_with_a_culprit()
        else:
            self.deliver_with("" if how == "well" else how)

    def deliver_with(self, fault=""):
        if fault:
            self.sandbox.misbehave(
                fault, times=1, **({"retry_after": 60} if fault == "429" else {})
            )
        self.failures += bool(fault)
        paused = datasets.paused(using="default")
        deliver_due()
        self.sandbox.misbehave(None)
        self.look_at_requests(paused)

    def deliver_with_a_culprit(self):
        """One event that Meta fails on, whatever stands beside it."""
        post = graph_api.post_events
        first = OutboxEvent.objects.filter(state=State.PENDING).order_by("pk").first()

        def fail_on_it(pixel, token, body, *, count):
            if first and first.event_id.encode() in body:
                return graph_api.Answer(kind=graph_api.Kind.UNKNOWN, message="HTTP 500", code=1)
            return post(pixel, token, body, count=count)

        self.failures += 1
        paused = datasets.paused(using="default")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graph_api, "post_events", fail_on_it)
            deliver_due()
        self.look_at_requests(paused)

    def deliver_and_be_killed(self, sent):
        post = graph_api.post_events

        def killed(*words, **options):
            if sent:
                post(*words, **options)
            raise Killed

        self.failures += 1
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(graph_api, "post_events", killed)
            deliver_due()
        self.look_at_requests(set())

    def deliver_and_be_overtaken(self):
        post = graph_api.post_events

        def slow(*words, **options):
            answer = post(*words, **options)
            if not overtaken:
                overtaken.append(True)
                self.end_leases()
                deliver_due()
                after.update(OutboxEvent.objects.values_list("pk", "state"))
            return answer

        overtaken, after = [], {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graph_api, "post_events", slow)
            deliver_due()
        finals = {pk: state for pk, state in after.items() if state != State.PENDING}
        now = dict(OutboxEvent.objects.filter(pk__in=finals).values_list("pk", "state"))
        assert now == finals, "I6: a late worker changed a newer state"
        self.look_at_requests(set())

    def end_leases(self):
        past = timezone.now() - timedelta(seconds=1)
        OutboxEvent.objects.filter(leased_until__gt=past).update(leased_until=past)

    def pass_all_waits(self):
        past = timezone.now() - timedelta(seconds=1)
        Dataset.objects.exclude(paused_until=None).update(paused_until=past)
        waiting = OutboxEvent.objects.filter(state=State.PENDING)
        waiting.filter(held=False).update(due_at=past)
        self.end_leases()

    @rule(hours=st.sampled_from([1, 1, 24, 50, 100]))
    def let_time_pass(self, hours):
        self.hours += hours
        for model, names in TIMES.items():
            for row in model.objects.values("pk", *names):
                moved = {name: row[name] - hours * HOUR for name in names if row[name]}
                if moved:
                    model.objects.filter(pk=row["pk"]).update(**moved)

    # What Meta was asked

    def look_at_requests(self, paused):
        requests = self.sandbox.requests
        for request in requests[self.read :]:
            pixel = request.path.split("/")[2]
            events = request.params["data"]
            assert 1 <= len(events) <= 1000, "I5"
            assert pixel not in paused, "I14: a paused pixel was asked"
            for event in events:
                self.check_sent(pixel, event)
            if request.status in (0, 200):  # 0: taken, and the connection broke
                self.ledger += [(self.hours, pixel, event) for event in events]
        self.read = len(requests)

    def check_sent(self, pixel, event):
        said = [
            row
            for row in self.rows.values()
            if (row["pixel"], row["id"]) == (pixel, event["event_id"])
        ]
        assert said, "I11: it was never recorded for this pixel"
        assert any(self.hours < row["until"] for row in said), "I4: older than Meta takes events"
        assert any(row["number"] >= self.withdrawn.get(row["person"], 0) for row in said), "I10"

    # What holds at any time

    @invariant()
    def nothing_is_lost(self):
        states = dict(OutboxEvent.objects.values_list("pk", "state"))
        assert states.keys() == self.rows.keys(), "I1"
        taken = {(pixel, event["event_id"]) for _hours, pixel, event in self.ledger}
        for pk, state in states.items():
            if state == State.SENT:
                assert (self.rows[pk]["pixel"], self.rows[pk]["id"]) in taken, "I1: sent to nobody"
            if state != State.PENDING:
                assert self.finals.setdefault(pk, state) == state, "I6: a final state has changed"
        for pk in self.finals:
            assert states[pk] != State.PENDING, "I6: a final row waits again"

    @invariant()
    def copies_agree_and_are_near(self):
        copies = {}
        for hours, pixel, event in self.ledger:
            copies.setdefault((pixel, event["event_id"]), []).append((hours, event))
        for same in copies.values():
            assert all(event == same[0][1] for _at, event in same), "I2: the copies differ"
            hours = [at for at, _event in same]
            assert max(hours) - min(hours) <= DEDUPLICATION, "I3: Meta counts two"

    @invariant()
    def a_key_is_sent_once(self):
        sent = OutboxEvent.objects.filter(keyed=True, state=State.SENT)
        facts = list(sent.values_list("pixel_id", "event_name", "event_id"))
        assert len(facts) == len(set(facts)), "I12"

    @invariant()
    def blame_is_bounded(self):
        worst = max(OutboxEvent.objects.values_list("attempts", flat=True), default=0)
        assert worst <= self.failures, "I9"

    @invariant()
    def no_token_is_written_down(self):
        written = [self.log.getvalue()]
        for model, names in WRITTEN.items():
            written += map(repr, model.objects.values_list(*names))
        text = "".join(written)
        assert [token for token in TOKENS.values() if token in text] == [], "I13"

    @invariant()
    def what_was_counted_stays_counted(self):
        saved = Counter.objects.aggregate(count=Sum("count", default=0))["count"]
        counted = saved + sum(counters.waiting().values())
        assert counted >= self.counted, "I15"
        self.counted = counted

    def teardown(self):
        try:
            self.drain()
        finally:
            logging.getLogger("wagtail_metapixel").removeHandler(self.listener)
            counters.clear()
            self.outer.__exit__(Killed, Killed(), None)

    def drain(self):
        """Let Meta be well: everything that may leave does (I8)."""
        self.switch(enabled=True)
        for _ in range(30):
            for pixel in TOKENS:
                datasets.resume(pixel, using="default")
            self.pass_all_waits()
            self.deliver_with()
            if not OutboxEvent.objects.filter(state=State.PENDING).exists():
                break
        else:
            raise AssertionError("I8: something waits for ever")
        self.nothing_is_lost()
        self.copies_agree_and_are_near()
        self.a_key_is_sent_once()
        self.no_token_is_written_down()


@pytest.mark.django_db
def test_delivery_keeps_its_promises_whatever_happens(settings):
    many = int(os.environ.get("METAPIXEL_TEST_EXAMPLES", "25"))
    with SandboxServer(pixels=TOKENS) as server:
        settings.WAGTAIL_METAPIXEL = {"SANDBOX": server.url, "ACCESS_TOKENS": TOKENS}
        machine = type("Machine", (Delivery,), {"sandbox": server})
        try:
            run_state_machine_as_test(
                machine,
                settings=hypothesis_settings(max_examples=many, stateful_step_count=30),
            )
        finally:
            graph_api.close()
