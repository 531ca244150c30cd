"""From the commit of an event to its receipt by the sandbox, with the ``thread`` driver.

Real HTTP on loopback, a database file, the delivery thread of this process; one event at a time,
at moments that know nothing of the thread's polling.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from unittest import mock

from django.http import HttpRequest
from django.test import RequestFactory, override_settings

from tests.factories import PIXEL_ID, TOKEN
from wagtail_metapixel.drivers import thread
from wagtail_metapixel.sandbox.server import SandboxServer
from wagtail_metapixel.tracking import track

EVENTS = 100


def request() -> HttpRequest:
    """Return a shopper's request, with consent."""
    made = RequestFactory().post("/cart/", headers={"user-agent": "Mozilla/5.0"})
    made.META["HTTP_COOKIE"] = "metapixel_consent=granted.1; _fbp=fb.1.1795322685020.1234567890"
    return made


def delays(sandbox: SandboxServer) -> Iterator[float]:
    """Record events one by one; return the seconds until each was received."""
    for number in range(EVENTS):
        time.sleep(random.uniform(0.0, 0.05))
        started = time.monotonic()
        tracked = track("AddToCart", request(), value=1, currency="EUR")
        if not tracked:
            raise SystemExit(f"The event was not recorded: {tracked.reason}")
        while len(sandbox.events()) <= number:
            time.sleep(0.001)
            if time.monotonic() - started > 30:
                raise SystemExit("An event did not arrive within 30 s.")
        yield time.monotonic() - started


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    with SandboxServer(pixels={PIXEL_ID: TOKEN}) as sandbox:
        configured = {"SANDBOX": sandbox.url, "ACCESS_TOKENS": {PIXEL_ID: TOKEN}}
        with (
            override_settings(WAGTAIL_METAPIXEL=configured),
            mock.patch.object(thread, "in_tests", return_value=False),
        ):
            thread.delivery_thread.ensure_started()
            found = sorted(delays(sandbox))
            thread.delivery_thread.stop()
    p95 = found[int(len(found) * 0.95) - 1]
    yield f"Commit to the sandbox's receipt, thread driver, {EVENTS} events one at a time"
    yield f"  median {statistics.median(found) * 1000:.1f} ms   p95 {p95 * 1000:.1f} ms"
    yield f"  longest {found[-1] * 1000:.1f} ms"
