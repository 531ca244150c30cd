"""What takes long: an hour of running, a million rows, ten minutes of kills.

METAPIXEL_FAULTS_SECONDS and METAPIXEL_FAULTS_ROWS make them shorter.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from datetime import timedelta
from pathlib import Path

from django.db import connection

from tests.faults.crashes import order
from tests.faults.meta import Meta
from tests.faults.places import Place, ended, seed, until, work
from tests.faults.results import Bench, fault
from wagtail_metapixel import claims

BATCH = 100
PART = 20_000
PURCHASE_SECONDS = 10


def seconds(default: float) -> float:
    return float(os.environ.get("METAPIXEL_FAULTS_SECONDS", default))


def rows(default: int) -> int:
    return int(os.environ.get("METAPIXEL_FAULTS_ROWS", default))


def fill(place: Place, first: int, end: int) -> None:
    """Let rows wait, in parts that a busy machine can make in time."""
    for start in range(first, end, PART):
        place.do(seed, min(PART, end - start), start)


@fault(7, selection="long")
def random_kills(bench: Bench) -> None:
    """SIGKILL at random, every 0.2 to 2 s, among three workers: all ends accepted."""
    with Meta() as meta:
        meta.usual, meta.delay = "slow", 0.05
        place = bench.place(meta, lease=3.0)
        recorded = rows(100_000)
        fill(place, 0, recorded)
        workers = [place.start(work, BATCH) for _ in range(3)]
        started, kills = time.monotonic(), 0
        while time.monotonic() - started < seconds(600):
            time.sleep(random.uniform(0.2, 2))
            unlucky = random.randrange(3)
            workers[unlucky].kill()
            workers[unlucky].join()
            workers[unlucky] = place.start(work, BATCH)
            kills += 1
            if place.waiting() < 5000:
                place.do(seed, 5000, recorded)
                recorded += 5000
        until(lambda: not place.waiting(), "the drain", 600)
        rate = recorded / (time.monotonic() - started)
        for worker in workers:
            worker.terminate()
            bench.expect(ended(worker) == 0, "a worker did not end well")
        bench.account(place, meta, recorded, twice_allowed=kills * BATCH)
        bench.all_sent(place)
    per = 100_000 * meta.twice / recorded
    bench.figure(f"{kills} kills, {recorded} events, {rate:.0f}/s, X {per:.0f} in 100,000")


# A million rows


def time_claims(place: Place, name: str) -> None:
    """Claim and give back, 40 times; tell how long the claims took."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE wagtail_metapixel_outboxevent")
    took = []
    for _ in range(40):
        started = time.perf_counter()
        token, found = claims.claim(BATCH, using="default")
        took.append(time.perf_counter() - started)
        claims.release(found, token, using="default", delay=timedelta(0))
    took.sort()
    place.tell(name=name, p50=statistics.median(took), p99=took[-1], memory=memory(os.getpid()))


def buy(_place: Place) -> None:
    order(1)


@fault(35, selection="long")
def backlog(bench: Bench) -> None:
    """A million rows wait: claiming stays as fast, memory as small, and a Purchase passes them."""
    with Meta() as meta:
        place = bench.place(meta)
        place.do(seed, 1000)
        place.do(time_claims, "few")
        waiting = rows(1_000_000)
        fill(place, 1000, waiting)
        place.do(time_claims, "many")
        few, many = place.told()
        meta.usual, meta.delay = "slow", 0.1
        worker = place.start(work)
        meta.arrived.wait(40)
        started = time.monotonic()
        place.do(buy)
        until(lambda: any(name == "Purchase" for _, name, _ in list(meta.ledger)), "the Purchase")
        passed = time.monotonic() - started
        bench.dismiss(worker)
        bench.account(place, meta, waiting + 1)
    grown = many["memory"] - few["memory"]
    bench.expect(passed < PURCHASE_SECONDS, f"a Purchase waited {passed:.1f} s")
    bench.expect(many["p50"] <= 2 * few["p50"], f"claims: {few['p50']:.4f} s, {many['p50']:.4f} s")
    bench.expect(grown < 20, f"memory grew by {grown:.0f} MB")
    bench.figure(
        f"claim of {BATCH}: p50 {1000 * few['p50']:.1f} ms with 1,000 rows,"
        f" {1000 * many['p50']:.1f} ms with {waiting} (worst {1000 * many['p99']:.1f} ms);"
        f" memory {grown:+.0f} MB; a Purchase out in {passed:.2f} s"
    )


# An hour


def memory(pid: int) -> float:
    """Return the resident megabytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@fault(37, selection="long")
def soak(bench: Bench) -> None:
    """A worker runs for an hour: files, connections and memory stay as many as they were."""
    with Meta() as meta:
        place = bench.place(meta)
        worker = place.start(work, BATCH)
        pid = worker.pid
        assert pid
        recorded, looks, started = 0, [], time.monotonic()
        while time.monotonic() - started < seconds(3600):
            place.do(seed, 1000, recorded)
            recorded += 1000
            time.sleep(2)
            looks.append((memory(pid), len(list(Path(f"/proc/{pid}/fd").iterdir()))))
        bench.drained_by(worker, place)
        bench.account(place, meta, recorded)
        bench.all_sent(place)
    warm, last = looks[len(looks) // 5], looks[-1]
    bench.expect(last[0] - warm[0] < 15, f"memory grew from {warm[0]:.0f} to {last[0]:.0f} MB")
    bench.expect(last[1] - warm[1] < 5, f"files grew from {warm[1]} to {last[1]}")
    bench.figure(
        f"{recorded} events; {warm[0]:.0f} to {last[0]:.0f} MB, {warm[1]} to {last[1]} files"
    )
