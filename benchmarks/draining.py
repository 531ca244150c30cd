"""What waits, sent to the last event: ours, and what a shop would do instead.

Ours sends a thousand a request, and keeps what it has sent. The peers make a task of each event:
on Celery and RQ with a real Redis, and on django-tasks-db; each has one worker process, its queue
is full before it starts, and its clock runs from the first receipt to the last. Each task posts
ready bytes on a connection that is kept. Meta's SDK builds and sends in the shop's own request.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import django
from django.db import connection

from benchmarks.peers import places
from benchmarks.peers.sizes import size

ROUNDS = size("DRAINS", 3)
EVENTS = size("EVENTS", 50_000)
TASKS = size("TASKS", 2000)
"""On Celery; the slower ones get fewer, and all get few where each answer takes long."""
SLOW = 0.08
OURS = "ours"
KEYED = "ours, all of them keyed Purchases"


class Run(NamedTuple):
    """Events a second, and what the worker had of memory: MB at first, after a tenth, at most."""

    rate: float
    memory: tuple[float, ...] = ()


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    yield "Draining what waits, events a second"
    yield from places.lines_of("benchmarks.draining")


def measured() -> Iterator[str]:
    """Do so in a process that has the shop's settings."""
    yield f"  {places.machine()}"
    for delay in (0.0, SLOW):
        yield f"  answers after {delay * 1000:.0f} ms, median of {ROUNDS} shuffled rounds"
        yield from _compared(_rounds(_contenders(delay), delay))


def _compared(figures: dict[str, list[Run]]) -> Iterator[str]:
    ours = [run.rate for run in figures[OURS]]
    for name, runs in figures.items():
        rates = [run.rate for run in runs]
        times = statistics.median(a / b for a, b in zip(ours, rates, strict=True))
        line = (
            f"  {name:<36} {statistics.median(rates):9.1f}  [{min(rates):.1f} - {max(rates):.1f}]"
        )
        yield line + ("" if name == OURS else f"   ours is {times:.1f} x")
    for name in (OURS, KEYED):
        idle, tenth, most = (
            max(part) for part in zip(*(run.memory for run in figures[name]), strict=True)
        )
        yield (
            f"  memory, {name}: idle {idle:.0f} MB, at most {most:.0f} MB;"
            f" {tenth:.0f} MB after the first tenth"
        )


def _contenders(delay: float) -> dict[str, Callable[[], Run]]:
    few = max(TASKS // 50, 5)
    celery, database, rq, sdk = (few,) * 4 if delay else (TASKS, TASKS // 4, few, TASKS // 4)
    found: dict[str, Callable[[], Run]] = {
        OURS: partial(_ours, "AddToCart"),
        KEYED: partial(_ours, "Purchase"),
        f"django-tasks-db, {database:,}": partial(_database_tasks, database),
        f"facebook_business in the request, {sdk:,}": partial(_sdk, sdk),
    }
    if broker := os.environ.get("METAPIXEL_TEST_REDIS"):
        found[f"Celery, {celery:,}"] = partial(_celery, celery)
        if enqueue := places.rq_enqueue(broker):
            found[f"RQ, {rq:,}"] = partial(_rq, rq, enqueue)
    return found


def _rounds(contenders: dict[str, Callable[[], Run]], delay: float) -> dict[str, list[Run]]:
    figures: dict[str, list[Run]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name in random.sample(list(contenders), len(contenders)):
            places.ledger(f"?delay={delay}")
            figures[name].append(contenders[name]())
    return figures


# Ours


def _ours(name: str) -> Run:
    from django.contrib.auth.models import Group

    from benchmarks.peers.seeding import copy, template, tidy

    more: dict[str, Any] = {"key": Group(pk=random.getrandbits(60))} if name == "Purchase" else {}
    copy(template(name, **more), EVENTS - 1)
    tidy()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.draining", "drain"], stdout=subprocess.PIPE, check=True
    )
    sent, seconds, *memory = json.loads(done.stdout)
    if sent != EVENTS or places.ledger()["received"] != EVENTS:
        raise SystemExit(f"{sent} of {EVENTS} events were sent.")
    return Run(EVENTS / seconds, tuple(memory))


def drain() -> None:
    """Be the worker: send all that is due, as ``metapixel_deliver --once`` does."""
    from wagtail_metapixel import delivery
    from wagtail_metapixel.drivers import draining

    connection.ensure_connection()
    memory = [places.memory()[0]]
    sent = 0

    def after_batch(summary: delivery.Summary) -> None:
        nonlocal sent
        sent += summary.by_state["sent"]
        if sent * 10 >= EVENTS and len(memory) == 1:
            memory.append(places.memory()[0])

    started = time.perf_counter()
    draining.drain(using="default", after_batch=after_batch)
    seconds = time.perf_counter() - started
    print(json.dumps([sent, seconds, *memory, places.memory()[1]]))


# The others


def _bodies(count: int) -> list[str]:
    from benchmarks.build_event import ours, purchases

    return [ours([one]).decode() for one in purchases(count)]


def _worked(count: int, arguments: list[str]) -> Run:
    """Start a worker and wait for its last event."""
    with places.running(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        places.await_received(count, process=worker)
    return _between_receipts(count)


def _between_receipts(count: int) -> Run:
    ledger: dict[str, Any] = places.ledger()
    return Run((count - 1) / (ledger["last"] - ledger["first"]))


def _celery(count: int) -> Run:
    from benchmarks.peers import tasks

    for body in _bodies(count):
        tasks.celery_task.delay(body)
    quiet = "--loglevel=ERROR --without-gossip --without-mingle --without-heartbeat".split()
    return _worked(
        count, ["-m", "celery", "-A", "benchmarks.peers.tasks", "worker", "--pool=solo", *quiet]
    )


def _database_tasks(count: int) -> Run:
    from benchmarks.peers import tasks

    for body in _bodies(count):
        tasks.database_task.enqueue(body)
    return _worked(count, "-m django db_worker --interval=0.1 --no-startup-delay".split())


def _rq(count: int, enqueue: Callable[[str], object]) -> Run:
    for body in _bodies(count):
        enqueue(body)
    # It forks for each task: loaded before, so that no child has to import it anew.
    start = "import benchmarks.peers.posting; from rq.cli import main; main()"
    redis = os.environ["METAPIXEL_TEST_REDIS"]
    return _worked(count, ["-c", start, "worker", "--quiet", "--url", redis])


def _sdk(count: int) -> Run:
    from facebook_business.api import FacebookAdsApi
    from facebook_business.session import FacebookSession

    from benchmarks.build_event import purchases, sdk_request

    FacebookSession.GRAPH = os.environ["METAPIXEL_TEST_META"]
    FacebookAdsApi.init(access_token="token", crash_log=False)
    for one in purchases(count):
        sdk_request([one]).execute()
    return _between_receipts(count)


def main() -> None:
    """Print the figures; with ``drain``, be the worker."""
    if sys.argv[1:] == ["drain"]:
        django.setup()
        return drain()
    return places.tell(measured)


if __name__ == "__main__":
    main()
