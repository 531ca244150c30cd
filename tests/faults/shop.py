"""The shop's own transactions: rolled back, told twice, at once, or beside the delivery thread."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator

from django.contrib.auth.models import Group
from django.core.signals import request_started
from django.db import Error, connection, transaction

from tests.faults.crashes import compare, order
from tests.faults.meta import Meta
from tests.faults.places import Place, ended, until, work, work_once
from tests.faults.results import Bench, fault
from tests.visits import PAID, ask, webhook
from wagtail_metapixel.tracking import remember, track


class ChangedMindError(Exception):
    """The shop's own, inside a transaction."""


@contextlib.contextmanager
def comes_to_nothing() -> Iterator[None]:
    """A transaction, or a savepoint, that is rolled back."""
    with contextlib.suppress(ChangedMindError), transaction.atomic():
        yield
        raise ChangedMindError


def roll_back(_place: Place) -> None:
    """Report orders in transactions and savepoints that come to nothing, and one that lasts."""
    with comes_to_nothing():
        order(100)
    with comes_to_nothing():
        order(101)
        with comes_to_nothing():
            order(102)
        with transaction.atomic():
            order(103)
    with transaction.atomic():
        order(1)
        with comes_to_nothing():
            order(2)


@fault(45)
def rolled_back(bench: Bench) -> None:
    """The order is rolled back after its event was recorded: no event, from savepoints neither."""
    with Meta() as meta:
        place = bench.place(meta)
        place.do(roll_back)
        bench.expect(compare(bench, place) == 1, "more than the one order that lasted")
        place.do(work_once)
        bench.account(place, meta, 1)
        bench.expect(meta.accepted == 1, f"{meta.accepted} events were sent")
    bench.figure("phantom events 0")


# One order, told several times


def place_order(_place: Place) -> None:
    """Check out, as the buyer's request does, but leave the report to the webhooks."""
    with transaction.atomic():
        group = Group.objects.create(pk=17, name="order 17")
        assert remember(ask("/checkout/"), group)


def be_told(place: Place, number: int, hold: float = 0.0) -> None:
    """Report the payment of order 17 in a transaction that stays open for ``hold`` seconds."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # so that whoever waits for another fails
            cursor.execute("SET lock_timeout = '500ms'")
    # From a machine, but every third one by the buyer's own return to the thank-you page.
    request = webhook() if number % 3 else ask("/thanks/")
    with transaction.atomic():  # so that what takes time is not this process's first event
        track("AddToCart", ask(), **PAID)
        transaction.set_rollback(True)
    place.flag(f"ready {number}")
    place.await_flag("go")
    with transaction.atomic():
        connection.ensure_connection()
        started = time.monotonic()
        tracked = track("Purchase", request, key=Group(pk=17), order_id="order 17", **PAID)
        seconds = time.monotonic() - started
        time.sleep(hold)
    place.tell(number=number, recorded=bool(tracked), why=tracked.reason, seconds=seconds)


def sent_once(bench: Bench, place: Place, meta: Meta, rows: int) -> None:
    """All rows are there, one of them arrives, and the others are its duplicates."""
    place.do(work_once)
    if place.waiting():
        worker = place.start(work)
        until(lambda: not place.waiting(), "the decision about the others")
        bench.dismiss(worker)
    bench.account(place, meta, rows)
    states = sorted(place.rows("state"))
    bench.expect(states.count("sent") == 1, f"rows ended as {', '.join(states)}")
    bench.expect(set(states) <= {"sent", "duplicate"}, f"rows ended as {', '.join(states)}")
    bench.expect(sum(meta.ledger.values()) == 1, f"{meta.ledger.total()} arrived")


def tell_at_once(bench: Bench, place: Place, times: int, hold: float = 0.0) -> None:
    """Let so many processes report the order at the same moment."""
    tellers = [place.start(be_told, number, hold) for number in range(times)]
    for number in range(times):
        place.await_flag(f"ready {number}")
    place.flag("go")
    for teller in tellers:
        bench.result.broken += int(ended(teller) != 0)
    told = [fact for fact in place.told() if "number" in fact]
    refused = [fact["why"] for fact in told if not fact["recorded"]]
    bench.expect(not refused, f"not recorded: {', '.join(refused)}")


@fault(46)
def redelivered(bench: Bench) -> None:
    """A webhook comes ten times at once: each is answered, one event is sent."""
    with Meta() as meta:
        place = bench.place(meta)
        place.do(place_order)
        tell_at_once(bench, place, 10)
        sent_once(bench, place, meta, 10)
    bench.figure("10 rows, 1 sent, 9 duplicates")


@fault(47)
def webhook_first(bench: Bench) -> None:
    """The webhook is done before the checkout has committed: the key is the order's, one is sent."""
    with Meta() as meta:
        place = bench.place(meta)
        place.do(place_order)
        place.flag("go")
        place.do(be_told, 0)
        place.do(work_once)
        place.do(be_told, 1)
        place.do(be_told, 3)
        sent_once(bench, place, meta, 3)
    bench.figure("3 rows, 1 sent before the others came")


@fault("A", on=["postgres"])
def two_open_transactions(bench: Bench) -> None:
    """Webhook and thank-you page report one order in open transactions: neither waits."""
    with Meta() as meta:
        place = bench.place(meta)
        place.do(place_order)
        tell_at_once(bench, place, 2, hold=3.0)
        told = [fact for fact in place.told() if "number" in fact]
        sent_once(bench, place, meta, 2)
    longest = max(fact["seconds"] for fact in told)
    bench.expect(longest < 2, f"one waited {longest:.2f} s for the other's commit")
    bench.figure(f"recorded in {longest:.3f} s at most, beside one open for 3 s")


# Beside the thread


def read_then_write(place: Place, number: int, times: int) -> None:
    """Be a shop's process with the delivery thread: transactions that read first, then write."""
    request_started.send(None)
    names = [thread.name for thread in threading.enumerate()]
    assert any("metapixel" in name for name in names), f"no thread among {names}"
    failed = 0
    for turn in range(times):
        try:
            with transaction.atomic():
                Group.objects.filter(name__startswith="order").count()
                time.sleep(random.uniform(0, 0.004))
                order(number * 10_000 + turn)
        except Error as error:
            failed += 1
            place.tell(error=str(error))
    place.tell(failed=failed)
    until(lambda: not place.waiting_here(), "the thread")


@fault("B", on=["sqlite"])
def beside_the_thread(bench: Bench) -> None:
    """Read-then-write transactions of a shop on SQLite while the thread delivers: none fails."""
    with Meta() as meta:
        place = bench.place(meta, options={"DELIVERY": "thread"})
        shops = [place.start(read_then_write, number, 200) for number in (1, 2)]
        for shop in shops:
            bench.expect(ended(shop) == 0, "a shop died")
        told = place.told()
        bench.result.broken = sum(fact.get("failed", 0) for fact in told)
        orders = compare(bench, place)
        bench.account(place, meta, orders)
        bench.all_sent(place)
    bench.expect(orders == 400, f"{orders} orders")
    bench.figure(f"0 of {orders} failed, in {len(meta.requests)} requests of two threads")
