"""How often something happened, kept in memory and added to a table by the delivery driver.

Never written in a caller's transaction: a counter row is shared by everybody, and waiting for it
would be waiting for a stranger.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter as Tally
from datetime import timedelta
from typing import NamedTuple

from django.db import Error, transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from wagtail_metapixel.models import Counter

logger = logging.getLogger("wagtail_metapixel")

WITHHELD = "withheld"
DIAGNOSTIC = "diagnostic"
REFUSED = "refused"
FAILED = "failed"


WEEK = timedelta(days=7)


class Item(NamedTuple):
    """What is counted."""

    kind: str
    reason: str
    event_name: str = ""
    site_pk: int = 0


_lock = threading.Lock()
_tally: Tally[Item] = Tally()


def add(item: Item, count: int = 1) -> None:
    """Count ``item``. Cheap, never raises, touches no database."""
    with _lock:
        _tally[item] += count


def waiting() -> dict[Item, int]:
    """Return what was counted in this process since the last flush."""
    with _lock:
        return dict(_tally)


def flush(*, using: str) -> int:
    """Add what was counted to the table; returns the number of items. On failure all is kept."""
    global _tally
    with _lock:
        taken, _tally = _tally, Tally()
    try:
        with transaction.atomic(using=using):
            # Sorted, so that two processes that flush at once cannot wait for each other.
            for item, count in sorted(taken.items()):
                _add_to_table(item, count, using)
    except Error as error:
        logger.warning("Counters could not be saved yet: %s", type(error).__name__)
        with _lock:
            _tally.update(taken)
        return 0
    return len(taken)


class Total(NamedTuple):
    """How often something happened, all events and sites together."""

    kind: str
    reason: str
    today: int
    seven_days: int


def totals(*, using: str) -> list[Total]:
    """Return what the table counted in the last seven days (UTC), the most frequent first."""
    today = timezone.now().date()
    rows = Counter.objects.using(using).filter(day__gt=today - WEEK, day__lte=today)
    sums = rows.values("kind", "reason").annotate(
        today=Sum("count", filter=Q(day=today), default=0), seven_days=Sum("count")
    )
    return [Total(**row) for row in sums.order_by("-seven_days", "kind", "reason")]


def clear() -> None:
    """Forget what was counted and not flushed."""
    with _lock:
        _tally.clear()


def _after_fork() -> None:
    # The parent's lock may be held by a thread that is not here, and it saves its own counts.
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _tally.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)


def _add_to_table(item: Item, count: int, using: str) -> None:
    row, _created = Counter.objects.using(using).get_or_create(
        day=timezone.now().date(),
        site_pk=item.site_pk,
        kind=item.kind,
        event_name=item.event_name[:50],
        reason=item.reason[:250],
    )
    Counter.objects.using(using).filter(pk=row.pk).update(count=F("count") + count)
