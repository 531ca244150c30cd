"""Processes that are killed, at a point or at any moment; and one that is asked to end."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from tests.faults.meta import Meta
from tests.faults.places import Place, ended, seed, work, work_once
from tests.faults.results import Bench, fault
from tests.visits import ask
from wagtail_metapixel import claims, exchange, graph_api
from wagtail_metapixel.tracking import track

LEASE = 1.5
POLL = 0.2
BUSY = 4.0
"""Seconds that a busy machine may take on top."""
KILLED = -signal.SIGKILL


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# A shop that dies


def order(number: int) -> None:
    """Place an order and report it, in the transaction that is open."""
    group = Group.objects.create(name=f"order {number}")
    assert track(
        "Purchase", ask("/checkout/"), key=group, value=5, currency="EUR", order_id=group.name
    )


def sell(place: Place, first: int, die_in: str = "", die_at: int = 0) -> None:
    """Take orders until killed, or die with order ``die_at``, ``before`` or ``after`` its commit."""
    for number in itertools.count(first):
        with transaction.atomic():
            order(number)
            if die_in == "before" and number == die_at:
                die()
        if number == first:
            place.flag(f"sold {first}")
        if die_in == "after" and number == die_at:
            die()


def compare(bench: Bench, place: Place) -> int:
    """Every order has its event, and no event is without an order. Returns how many there are."""
    orders = {
        name for (name,) in place.sql("SELECT name FROM auth_group WHERE name LIKE 'order %%'")
    }
    events = {json.loads(bytes(row))["custom_data"]["order_id"] for row in place.rows("event")}
    bench.result.lost += len(orders - events)
    bench.expect(not events - orders, f"{len(events - orders)} events without an order")
    return len(orders)


@fault(1)
def before_commit(bench: Bench) -> None:
    """SIGKILL before the commit of order and row: neither is there, whenever it strikes."""
    with Meta() as meta:
        place = bench.place(meta)
        bench.expect(place.run(sell, 0, "before", 3) == KILLED, "it did not die")
        bench.expect(compare(bench, place) == 3, "the fourth order is there")
        runs = bench.size(12, 40, 200)
        for run in range(1, runs + 1):
            shop = place.start(sell, run * 10_000)
            place.await_flag(f"sold {run * 10_000}")
            time.sleep(random.uniform(0, 0.06))
            shop.kill()
            shop.join()
        orders = compare(bench, place)
        bench.expect(place.run(work_once) == 0, "the worker failed")
        bench.account(place, meta, orders)
        bench.all_sent(place)
    bench.figure(f"{runs} kills at random, {orders} orders, phantom events 0")


@fault(2)
def after_commit(bench: Bench) -> None:
    """SIGKILL after the commit, before anybody claimed: the next look sends it."""
    with Meta() as meta:
        place = bench.place(meta)
        bench.expect(place.run(sell, 0, "after", 9) == KILLED, "it did not die")
        bench.expect(compare(bench, place) == 10, "an order is missing")
        worker = place.start(work)
        seconds = bench.drained_by(worker, place)
        bench.account(place, meta, 10)
        bench.all_sent(place)
    bench.expect(seconds < POLL + BUSY, f"it took {seconds:.1f} s")
    bench.figure(f"sent {seconds:.2f} s after a worker started")


# A worker that dies


def dying(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    """Return ``function``, but its call number ``at`` is the process's last act."""
    calls = itertools.count(1)

    def called(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if next(calls) == at:
            die()
        return result

    return called


def half_a_body(connection: Any, data: Any) -> None:
    """Send half of what is the body of a request, and die."""
    half = len(data) // 2 if bytes(data[:1]) == b"{" else len(data)
    exchange._HTTPConnection.__base__.send(connection, data[:half])
    if half < len(data):
        time.sleep(0.05)  # so that it leaves this machine's buffers
        die()


def work_and_die(_place: Place, point: str, at: int, batch: int) -> None:
    """Be a worker that dies at ``point`` of its batch number ``at``."""
    if point == "claimed":
        claims.claim = dying(claims.claim, at)
    elif point == "sent_unmarked":
        graph_api.post_events = dying(graph_api.post_events, at)
    elif point == "marked":
        claims.finish = dying(claims.finish, at)
    else:
        exchange._HTTPConnection.send = half_a_body
    work(_place, batch)


def worker_dies(bench: Bench, point: str, *, twice_allowed: int = 0) -> tuple[Meta, Place]:
    """Kill a worker at ``point``, and let another send the rest."""
    with Meta() as meta:
        place = bench.place(meta, lease=LEASE)
        place.do(seed, 120)
        at = 1 if point == "body_half" else 2
        bench.expect(place.run(work_and_die, point, at, 50) == KILLED, "it did not die")
        worker = place.start(work, 50)
        seconds = bench.drained_by(worker, place)
    bench.account(place, meta, 120, twice_allowed=twice_allowed)
    bench.all_sent(place)
    bench.expect(seconds < LEASE + POLL + BUSY, f"recovered after {seconds:.1f} s")
    bench.figure(f"recovered after {seconds:.2f} s with a lease of {LEASE} s")
    return meta, place


@fault(3)
def claimed(bench: Bench) -> None:
    """SIGKILL after the claim, before sending: the lease ends, another sends, no attempt is charged."""
    _, place = worker_dies(bench, "claimed")
    bench.expect(set(place.rows("attempts")) == {0}, "an attempt was charged")


@fault(4)
def body_half(bench: Bench) -> None:
    """SIGKILL with half the body written: Meta saw no whole request, another sends."""
    meta, _ = worker_dies(bench, "body_half")
    bench.expect(meta.incomplete == 1, "no half body came in")


@fault(5)
def sent_unmarked(bench: Bench) -> None:
    """SIGKILL after sending, before the note of it: sent again with the same id, name and time."""
    meta, _ = worker_dies(bench, "sent_unmarked", twice_allowed=50)
    bench.expect(meta.twice == 50, "the crash came at another point")
    bench.expect(all(len(times) == 1 for times in meta.times.values()), "another event_time")


@fault(6)
def marked(bench: Bench) -> None:
    """SIGKILL after the note, before housekeeping: nothing is sent again."""
    worker_dies(bench, "marked")


@fault(8)
def sigterm(bench: Bench) -> None:
    """SIGTERM: the request under way is finished, the rest given back, status 0."""
    with Meta() as meta:
        meta.usual = "slow"
        meta.delay = 0.7
        place = bench.place(meta)
        place.do(seed, 90)
        worker = place.start(work, 30)
        meta.arrived.wait(20)
        started = time.monotonic()
        worker.terminate()
        bench.expect(ended(worker) == 0, f"status {worker.exitcode}")
        seconds = time.monotonic() - started
        bench.account(place, meta, 90)
        bench.expect(set(place.rows("lease_token")) == {None}, "leases are left")
        bench.expect(len(meta.requests) == 1, "it began another request")
    bench.expect(seconds < 10, f"it took {seconds:.1f} s")
    bench.figure(f"exit after {seconds:.2f} s, leases left 0, {place.waiting()} rows wait")
