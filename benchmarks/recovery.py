"""How long a shop's events take to be made up for after Meta was away for an hour.

Fifty events a second have come to wait. The last try failed just before Meta came back, and drew the
longest wait there is: nothing worse can befall. One worker, answers after 80 ms.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

from benchmarks.peers import places
from benchmarks.peers.sizes import size

EVENTS = size("OUTAGE_EVENTS", 180_000)
WAIT = size("OUTAGE_WAIT", 0)
"""Seconds of the last wait; 0 stands for the longest that is drawn."""
TRIES = 40


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    yield "Recovery after an hour without Meta"
    yield from places.lines_of("benchmarks.recovery")


def measured() -> Iterator[str]:
    """Do so in a process that has the shop's settings."""
    from benchmarks.peers.seeding import copy, template, tidy
    from tests.factories import PIXEL_ID
    from wagtail_metapixel import datasets
    from wagtail_metapixel.delivery import BACKOFF
    from wagtail_metapixel.models import Dataset

    yield f"  {places.machine()}"
    copy(template("AddToCart"), EVENTS - 1)
    tidy()
    places.ledger("?delay=0.08")
    datasets.pause(PIXEL_ID, WAIT or BACKOFF.ceiling(TRIES), "for the benchmark", using="default")
    Dataset.objects.update(failures=TRIES)
    started = time.monotonic()
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with places.running(["-m", "django", "metapixel_deliver"], **silent) as worker:
        places.await_received(EVENTS, process=worker, seconds=1800)
    ledger = places.ledger()
    begun, ended = ledger["first"] - started, ledger["last"] - started
    yield (
        f"  {EVENTS:,} events: the first was received after {begun:.0f} s, the last after"
        f" {ended:.0f} s, in {ledger['requests']:,} requests"
    )


if __name__ == "__main__":
    places.tell(measured)
