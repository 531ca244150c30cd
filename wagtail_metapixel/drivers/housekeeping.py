"""What a deliverer does besides: saving what was counted, and deleting what is kept no longer."""

from __future__ import annotations

import time
from collections.abc import Callable

from wagtail_metapixel import counters, retention

PURGE_SECONDS = 3600.0


class Housekeeping:
    """The work of one process. Each process does it; doing it twice changes nothing."""

    def __init__(self) -> None:
        self._purge_at = 0.0

    def run(self, *, using: str, stopping: Callable[[], bool] = lambda: False) -> None:
        """Save counters, and once an hour purge, until ``stopping`` says so.

        Raises database errors.
        """
        if counters.waiting():
            counters.flush(using=using)
        if time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + PURGE_SECONDS
            retention.purge(using=using, stopping=stopping)
