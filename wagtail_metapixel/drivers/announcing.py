"""Telling a queue that events wait: by the thread, never by a request, and at most once a second.

The message says nothing but that. What is to be sent stands in the outbox, so a message that gets
lost is said again, and one too many finds nothing to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from wagtail_metapixel import counters
from wagtail_metapixel.drivers import draining

logger = logging.getLogger("wagtail_metapixel")

PAUSE_SECONDS = 1.0
PAUSE_MAX_SECONDS = 60.0
"""Between two messages of one process, the longer the less they are heard."""
NOT_PUBLISHED = "The queue could not be told that events wait"


class Announcer:
    """One process's. ``publish`` puts one message into the queue, and may raise what it likes."""

    def __init__(self) -> None:
        self._pause = PAUSE_SECONDS
        self._said_at = float("-inf")
        self._said: set[int] = set()
        self._is_broken = False

    def look(self, publish: Callable[[], object], *, using: str) -> bool:
        """Announce if something waits that nobody serves. Returns whether to look again soon.

        Raises database errors; what ``publish`` raises is counted, and logged the first time.
        """
        since = time.monotonic() - self._said_at
        if since < PAUSE_SECONDS:
            return True
        rows = set(draining.waiting(using=using).values())
        # Somebody took what the last message was about: it was heard.
        if not rows & self._said:
            self._pause, self._said = PAUSE_SECONDS, set()
        if rows and since >= self._pause:
            self._try_to(publish)
            self._said, self._said_at = rows, time.monotonic()
            self._pause = min(self._pause * 2, PAUSE_MAX_SECONDS)
        return bool(rows)

    def _try_to(self, publish: Callable[[], object]) -> None:
        try:
            publish()
        except Exception as error:  # noqa: BLE001 - whatever a broker, or its client, brings about
            counters.add(counters.Item(counters.DIAGNOSTIC, NOT_PUBLISHED))
            if not self._is_broken:
                logger.error("%s (%s); they stay.", NOT_PUBLISHED, type(error).__name__)
            self._is_broken = True
        else:
            self._is_broken = False
