"""What a claim costs when much waits, and how long a fresh Purchase then takes.

Three outboxes stand side by side in one PostgreSQL: in one only a few thousand events wait; in the
others a hundred thousand and a million, beside as many that are final. Claims go round among them.
Then the million's pixel is paused, and a few thousand events of another one are claimed behind it.
At last a worker begins with the million, and Purchases are reported meanwhile.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.peers import places
from benchmarks.peers.sizes import size

ROUNDS = size("ROUNDS", 40)
LIMIT = 1000
FEW = 12 * LIMIT
MEDIUM = size("MEDIUM", 100_000)
LARGE = size("ROWS", 1_000_000)
PURCHASES = size("PURCHASES", 10)


class Store(NamedTuple):
    """An outbox to claim from."""

    using: str
    is_paused: bool = False


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    yield f"Claiming {LIMIT:,} events and giving them back"
    yield from places.lines_of("benchmarks.claiming")


def measured() -> Iterator[str]:
    """Do so in a process that has the shop's settings."""
    from benchmarks.peers.seeding import copy, template, tidy

    yield f"  {places.machine()}"
    for using, count in (("default", 0), ("medium", MEDIUM), ("large", LARGE)):
        started = time.monotonic()
        waiting = template("PageView", using=using)
        copy(waiting, count or FEW, using=using)
        copy(template("PageView", "second.example", using=using), FEW, using=using)
        if count:
            copy(waiting, count, using=using, sent=True)
        tidy(using=using)
        yield f"  seeding {count:,} took {time.monotonic() - started:.0f} s"
    stores = {
        f"{FEW:,} wait": Store("default"),
        f"{MEDIUM:,} wait, {MEDIUM:,} final": Store("medium"),
        f"{LARGE:,} wait, {LARGE:,} final": Store("large"),
        f"{LARGE:,} paused, {FEW:,} of another": Store("large", is_paused=True),
    }
    yield f"  median of {ROUNDS} shuffled rounds"
    figures = _rounds(stores)
    base = [sum(pair) for pair in next(iter(figures.values()))]
    for name, values in figures.items():
        claimed, released = (statistics.median(part) for part in zip(*values, strict=True))
        ratio = statistics.median(sum(a) / b for a, b in zip(values, base, strict=True))
        alone = statistics.median(
            a[0] / b[0] for a, b in zip(values, next(iter(figures.values())), strict=True)
        )
        yield (
            f"  {name:<38} claim {claimed:6.1f} ms {alone:5.2f} x   release {released:6.1f} ms"
            f"   both {ratio:5.2f} x"
        )
    yield from _fresh_purchases()


def _rounds(stores: dict[str, Store]) -> dict[str, list[tuple[float, float]]]:
    """Return milliseconds of claiming and of releasing."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
    for number in range(-3, ROUNDS):
        for name in random.sample(list(stores), len(stores)):
            found = _claim(stores[name])
            if number >= 0:
                figures[name].append(found)
    return figures


def _claim(store: Store) -> tuple[float, float]:
    from tests.factories import PIXEL_ID
    from wagtail_metapixel import claims, datasets

    if store.is_paused:
        datasets.pause(PIXEL_ID, 3600, "for the benchmark", using=store.using)
    started = time.perf_counter()
    token, rows = claims.claim(LIMIT, using=store.using)
    claimed = time.perf_counter()
    claims.release(rows, token, using=store.using)
    released = time.perf_counter()
    if len(rows) != LIMIT:
        raise SystemExit(f"{len(rows)} rows were claimed.")
    if store.is_paused:
        datasets.resume(PIXEL_ID, using=store.using)
    return (claimed - started) * 1e3, (released - claimed) * 1e3


# A fresh Purchase


def _fresh_purchases() -> Iterator[str]:
    from benchmarks.peers.seeding import template

    places.ledger("?delay=0.08")
    url = os.environ["METAPIXEL_TEST_DATABASE"].replace("/shop?", "/large?")
    environment = os.environ | {"METAPIXEL_TEST_DATABASE": url}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = ["-m", "django", "metapixel_deliver"]
    with places.running(command, env=environment, **silent) as worker:
        places.await_received(1, process=worker)
        began = places.ledger()
        delays = []
        for number in range(PURCHASES):
            time.sleep(random.uniform(0.0, 0.4))  # at any moment of the worker's batch
            started = time.monotonic()
            template("Purchase", using="large")
            delays.append(_arrival(number) - started)
        ended: dict[str, Any] = places.ledger()
        resident, peak = places.memory(worker.pid)
    rate = (ended["received"] - began["received"]) / (ended["last"] - began["first"])
    yield f"  {PURCHASES} Purchases behind {LARGE:,} PageViews, one worker, answers after 80 ms:"
    yield f"  commit to receipt median {statistics.median(delays):.2f} s, longest {max(delays):.2f} s"
    yield f"  meanwhile {rate:,.0f} events/s; the worker had {peak:.0f} MB at most, {resident:.0f} now"


def _arrival(number: int) -> float:
    deadline = time.monotonic() + 60
    while len(found := places.ledger()["purchases"]) <= number:
        if time.monotonic() > deadline:
            raise SystemExit("A Purchase did not arrive within 60 s.")
        time.sleep(0.01)  # the ledger has the moment of arrival, this only waits for it
    return float(found[number])


if __name__ == "__main__":
    places.tell(measured)
