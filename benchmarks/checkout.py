"""What an order's own transaction takes, and what is added by telling Meta of it.

A small order of a small shop: an address, the order, three lines and a payment are inserted, and
the stock is counted down; five statements, where most shops have thirty. Then our keyed Purchase
with its match fields, in the same transaction, or one task of a queue, whose argument is a short
text: django-tasks-db writes it in the transaction, Celery and RQ get theirs on commit.
"""

from __future__ import annotations

import functools
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import F

from benchmarks.build_event import purchases
from benchmarks.peers import places
from benchmarks.peers.sizes import size

ROUNDS = size("ROUNDS", 40)
ORDERS = size("ORDERS", 25)
"""A round of one contender."""
EVENTS = size("ENQUEUED", 1000)
"""For the rates."""

OURS = ("with track(), the buyer's request", "with track(), a webhook's")

Told = Callable[["Checkout"], object]


class Checkout(NamedTuple):
    """What the view of a checkout has at hand."""

    number: str
    bought: Any
    request: Any
    order: Any = None


class Cost(NamedTuple):
    """Milliseconds since the order began."""

    commit: float
    end: float
    cpu: float


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    yield "Telling Meta of an order, in the order's own transaction"
    yield from places.lines_of("benchmarks.checkout")


def measured() -> Iterator[str]:
    """Do so in a process that has the shop's settings."""
    from benchmarks.peers.models import Product

    Product.objects.bulk_create(Product(sku=f"SKU-{number}") for number in range(1000))
    yield f"  {places.machine()}"
    contenders = _contenders()
    figures = _rounds(contenders)
    yield f"  median of {ROUNDS} shuffled rounds of {ORDERS} orders, clock: until the commit is done"
    yield from _compared({name: [one.commit for one in told] for name, told in figures.items()})
    yield "  the same with what follows the commit"
    yield from _compared({name: [one.end for one in told] for name, told in figures.items()})
    yield "  the same, CPU of Python alone"
    yield from _compared({name: [one.cpu for one in told] for name, told in figures.items()})
    yield f"  events a second, {EVENTS} without an order: one a transaction, and fifty"
    for name, tell in contenders.items():
        if tell:
            yield f"  {name:<32} {_rate(tell, 1):6.0f} {_rate(tell, 50):6.0f}"


def _compared(figures: dict[str, list[float]]) -> Iterator[str]:
    """Return a line for each contender, and what ours adds over what the tasks add."""
    base = figures["the order alone"]
    added = {}
    for name, values in figures.items():
        added[name] = statistics.median(a - b for a, b in zip(values, base, strict=True))
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
        yield f"  {name:<32} {statistics.median(values):6.2f} ms {added[name]:+6.2f} ms {ratio:6.3f} x"
    for ours in OURS:
        shares = [
            f"{added[ours] / added[name]:.2f} x {name.removeprefix('with ')}"
            for name in added
            if name.endswith("task")
        ]
        yield f"  {ours} adds {', '.join(shares)}"


def _contenders() -> dict[str, Told | None]:
    from benchmarks.peers import tasks

    found: dict[str, Told | None] = {
        "the order alone": None,
        "the order alone, again": None,
        OURS[0]: _track,
        OURS[1]: _track_without_browser,
        "with a django-tasks-db task": lambda one: tasks.database_task.enqueue(_argument(one)),
    }
    if broker := os.environ.get("METAPIXEL_TEST_REDIS"):
        found["with a Celery task"] = partial(_on_commit, tasks.celery_task.delay)
        if enqueue := places.rq_enqueue(broker):
            found["with an RQ task"] = partial(_on_commit, enqueue)
    return found


def _on_commit(enqueue: Callable[[str], object], one: Checkout) -> None:
    transaction.on_commit(partial(enqueue, _argument(one)))


def _argument(one: Checkout) -> str:
    """Return the least that a worker has to be told: the rest it can look up."""
    browser = ("client_ip_address", "client_user_agent", "fbp")
    facts = {name: one.bought.user_data[name] for name in browser}
    return json.dumps({"order": one.number, **facts})


def _track(one: Checkout) -> None:
    from wagtail_metapixel.tracking import track

    _check(track("Purchase", one.request, key=one.order, **_facts(one)))


def _track_without_browser(one: Checkout) -> None:
    """Report it as the payment's webhook does, with the consent that the shop has kept."""
    from wagtail_metapixel.tracking import track

    _check(track("Purchase", key=one.order, site=_site(), consent="granted", **_facts(one)))


@functools.cache
def _site() -> Any:
    from wagtail.models import Site

    return Site.objects.get(hostname="testserver")


def _facts(one: Checkout) -> dict[str, Any]:
    told = one.bought.user_data
    person = {k: v for k, v in told.items() if not k.startswith(("client_", "fbp", "external"))}
    return {**one.bought.params, "order_id": one.number, "user_data": person}


def _check(tracked: Any) -> None:
    if not tracked:
        raise SystemExit(f"The Purchase was not recorded: {tracked.reason}")


def _rounds(contenders: dict[str, Told | None]) -> dict[str, list[Cost]]:
    """Return what an order costs, the median of each round."""
    figures: dict[str, list[Cost]] = {name: [] for name in contenders}
    for number in range(-2, ROUNDS):
        for name in random.sample(list(contenders), len(contenders)):
            found = [_checkout(one, contenders[name]) for one in _checkouts(ORDERS)]
            if number >= 0:
                figures[name].append(Cost(*map(statistics.median, zip(*found, strict=True))))
    return figures


def _checkout(one: Checkout, tell: Told | None) -> Cost:
    marks = []
    started, cpu = time.perf_counter(), time.process_time()
    with transaction.atomic():
        transaction.on_commit(lambda: marks.append(time.perf_counter()))
        order = _place_order(one)
        if tell:
            tell(one._replace(order=order))
    end, cpu = time.perf_counter() - started, time.process_time() - cpu
    return Cost((marks[0] - started) * 1e3, end * 1e3, cpu * 1e3)


def _place_order(one: Checkout) -> Any:
    from benchmarks.peers.models import Address, Line, Order, Payment, Product

    person, params = one.bought.user_data, one.bought.params
    address = Address.objects.create(
        name=f"{person['first_name']}{person['last_name']}",
        street="Main Street 1",
        city=person["city"],
        postcode=person["zip"],
        country=person["country"],
    )
    order = Order.objects.create(
        number=one.number,
        email=person["email"].strip(),
        address=address,
        total=params["value"],
        currency=params["currency"],
    )
    Line.objects.bulk_create(
        Line(order=order, product_id=pk, quantity=bought["quantity"], price=bought["item_price"])
        for pk, bought in enumerate(params["contents"], 1)
    )
    Product.objects.filter(pk__in=[1, 2, 3]).update(stock=F("stock") - 1)
    Payment.objects.create(
        order=order, method="card", reference=f"ch_{one.number}", amount=params["value"]
    )
    return order


def _checkouts(count: int) -> list[Checkout]:
    """Return what views would have, made outside of what is measured."""
    from benchmarks.peers.seeding import request

    seed = random.getrandbits(64)
    return [
        Checkout(f"{seed:016x}-{number}", bought, request())
        for number, bought in enumerate(purchases(count, seed=seed))
    ]


def _rate(tell: Told, together: int) -> float:
    """Return events a second, without an order."""
    from django.contrib.auth.models import Group

    told = [one._replace(order=Group(pk=random.getrandbits(60))) for one in _checkouts(EVENTS)]
    started = time.perf_counter()
    for first in range(0, EVENTS, together):
        with transaction.atomic():
            for one in told[first : first + together]:
                tell(one)
    return EVENTS / (time.perf_counter() - started)


if __name__ == "__main__":
    places.tell(measured)
