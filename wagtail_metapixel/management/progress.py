"""The account that a deliverer gives of itself: one line that is rewritten, or a line per batch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.core.management.base import OutputWrapper

from wagtail_metapixel.drivers import draining
from wagtail_metapixel.models import State

if TYPE_CHECKING:
    from wagtail_metapixel.delivery import Summary

COUNT_SECONDS = 5.0
"""How often what waits is counted: with a million rows that takes a moment."""
RATE_SECONDS = 10.0


class Progress:
    """What one command has done so far. ``live`` rewrites one line, for somebody who watches."""

    def __init__(self, out: OutputWrapper, *, using: str, only: list[str]) -> None:
        self._out = out
        self._using, self._only = using, only
        self.is_live = bool(out.isatty())
        self._sent = self._rejected = 0
        self._waiting, self._counted_at = 0, float("-inf")
        self._ended: list[tuple[float, int]] = [(time.monotonic(), 0)]
        self._width = 0

    def batch(self, summary: Summary) -> None:
        """Tell what one batch did."""
        if self.is_live:
            self._note(summary)
            self._rewrite(self._live_line())
        elif summary.claimed:
            self._out.write(line(summary))

    def say(self, text: str) -> None:
        """Write a line of its own; the one that is rewritten goes on below it."""
        if self.is_live:
            self._rewrite("")
        self._out.write(text)

    def end(self) -> None:
        """Leave the line as it stands."""
        if self.is_live and self._width:
            self._out.write("")
            self._width = 0

    def _note(self, summary: Summary) -> None:
        ended = sum(summary.by_state.values())
        self._sent += summary.by_state[State.SENT]
        self._rejected += summary.by_state[State.REJECTED]
        now = time.monotonic()
        self._waiting = max(self._waiting - ended, 0)
        if now - self._counted_at > COUNT_SECONDS:
            self._counted_at = now
            self._waiting = draining.count_pending(using=self._using, only=self._only)
        self._ended.append((now, self._ended[-1][1] + ended))
        while len(self._ended) > 2 and now - self._ended[1][0] > RATE_SECONDS:
            del self._ended[0]

    def _live_line(self) -> str:
        (since, before), (now, after) = self._ended[0], self._ended[-1]
        rate = (after - before) / max(now - since, 0.001)
        return (
            f"{self._sent} sent, {self._rejected} rejected, {self._waiting} waiting, "
            f"{rate:.0f} events a second"
        )

    def _rewrite(self, text: str) -> None:
        self._out.write(f"\r{text.ljust(self._width)}" + ("" if text else "\r"), ending="")
        self._out.flush()
        self._width = len(text)


def line(summary: Summary) -> str:
    """Return what a batch, or a sum of them, did: ``3 requests: 5 sent, 1 rejected``."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(summary.by_state.items()))
    requests = "1 request" if summary.requests == 1 else f"{summary.requests} requests"
    waiting = f"; {summary.released} wait for another time" if summary.released else ""
    return f"{requests}: {states or 'nothing sent'}{waiting}"
