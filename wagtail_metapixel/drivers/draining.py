"""Sending until nothing is due, and what stands in the way when something stays.

For drivers that work in turns: a run of ``metapixel_deliver --once``, a task of a queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now

from wagtail_metapixel import claims, copies, counters, datasets
from wagtail_metapixel.catalogue import MAX_EVENTS_PER_REQUEST
from wagtail_metapixel.drivers.housekeeping import Housekeeping
from wagtail_metapixel.models import Dataset, Delivery, OutboxEvent, State
from wagtail_metapixel.site_settings import current

if TYPE_CHECKING:
    from wagtail_metapixel.delivery import Summary

TURN_SECONDS = 20.0
"""How long a task works before it makes room: less than a queue waits for one when it stops."""
WORKERS_MAX = 2
"""How many tasks send at once. One is enough for most; a third would only take others' places."""

_housekeeping = Housekeeping()


def never() -> bool:
    """Stop for nothing."""
    return False


def until(seconds: float) -> Callable[[], bool]:
    """Return a function that tells whether ``seconds`` have passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def drain(
    *,
    using: str,
    stopping: Callable[[], bool] = never,
    only: Collection[str] = (),
    limit: int = MAX_EVENTS_PER_REQUEST,
    after_batch: Callable[[Summary], None] = lambda _summary: None,
) -> Summary:
    """Send until nothing is due or ``stopping`` says so; returns the sum of all batches.

    ``after_batch`` is given what each of them did. Raises database errors.
    """
    # With what it needs of Graph: a process that only announces events starts sooner without.
    from wagtail_metapixel import delivery  # noqa: PLC0415

    total = delivery.Summary()
    failed: set[str] = set()
    asked = only
    is_long = until(delivery.OFF_WAIT.total_seconds() / 2)
    while not stopping():
        summary = delivery.deliver_due(using=using, only=only, limit=limit, stopping=stopping)
        add(total, summary)
        after_batch(summary)
        # What the settings keep back is put off, so that the next batch is another one.
        if summary.claimed > summary.released or (summary.closed and not is_long()):
            continue
        # What one pixel cannot send keeps no other one waiting.
        told = {message.partition(":")[0] for message in summary.messages}
        failed |= told
        only = {pixel for pixel in waiting(using=using) if not asked or pixel in asked} - failed
        if not (told and only):
            break
    return total


def take_turn(*, using: str) -> Summary | None:
    """Do what a queue's task is for: send for :data:`TURN_SECONDS` at most.

    ``None`` where enough do so just now. Whoever is at it asks for the next turn; who only made
    room must not: it would be the next one to make room, at once.
    """
    from wagtail_metapixel import graph_api  # noqa: PLC0415

    _housekeeping.run(using=using)
    if workers(using=using) >= WORKERS_MAX:
        return None
    try:
        return drain(using=using, stopping=until(TURN_SECONDS))
    finally:
        graph_api.close()
        if counters.waiting():
            counters.flush(using=using)


def add(total: Summary, summary: Summary) -> None:
    """Add what one batch did to what others did."""
    total.claimed += summary.claimed
    total.released += summary.released
    total.requests += summary.requests
    total.messages += summary.messages
    total.closed |= summary.closed
    for state, count in summary.by_state.items():
        total.by_state[state] += count


# What waits


def waiting(*, using: str) -> dict[str, int]:
    """Return the pixels that could send now, each with the primary key of the row that goes first.

    A pixel whose first row somebody has leased is left out: it is being served.
    """
    resting = datasets.paused(using=using)
    due = claims.of_this_deployment(_pending(using)).filter(due_at__lte=Now())
    return {
        pixel_id: row_pk
        for pixel_id, row_pk, is_leased in claims.first_of_each_pixel(due, "pk", _is_leased())
        if not is_leased and pixel_id not in resting
    }


def workers(*, using: str) -> int:
    """Return how many workers hold rows that go first just now."""
    tokens = set()
    for (pixel_id,) in claims.first_of_each_pixel(_pending(using)):
        front = _pending(using).filter(pixel_id=pixel_id).order_by("rank", "id")
        rows = front.values_list("lease_token", _is_leased())
        taken = rows[: WORKERS_MAX * MAX_EVENTS_PER_REQUEST]
        tokens |= {token for token, is_leased in taken if is_leased}
    return len(tokens)


def count_pending(*, using: str, only: Collection[str] = ()) -> int:
    """Count what waits, due or not. Takes longer the more it is."""
    rows = _pending(using)
    return (rows.filter(pixel_id__in=only) if only else rows).count()


def is_known(pixel_id: str, *, using: str) -> bool:
    """Tell whether a pixel stands in the settings of any site, or has events that wait."""
    in_settings = any(
        pixel.pixel_id == pixel_id for site in current().sites for pixel in site.pixels
    )
    return in_settings or _pending(using).filter(pixel_id=pixel_id).exists()


def something_pending(*, using: str) -> bool:
    """Tell whether anything waits, due or not."""
    return _pending(using).exists()


class Hindrance(NamedTuple):
    """Why events that wait are not sent for the time being."""

    pixel_id: str
    """Empty: of any pixel."""
    reason: str
    until: datetime | None = None


def hindrances(*, using: str, only: Collection[str] = ()) -> list[Hindrance]:
    """Return what keeps events back: they are held as those of a copy, or their pixel is paused."""
    found = []
    held = Delivery.objects.using(using).exclude(held_since=None).first()
    if held and copies.held(using=using):
        found.append(Hindrance("", held.held_reason))
    resting = Dataset.objects.using(using).filter(paused_until__gt=Now())
    if only:
        resting = resting.filter(pixel_id__in=only)
    found += [
        Hindrance(each.pixel_id, each.pause_reason, each.paused_until)
        for each in resting.order_by("pixel_id")
        if _pending(using).filter(pixel_id=each.pixel_id).exists()
    ]
    return found


def _is_leased() -> ExpressionWrapper[Any]:
    leased = Q(leased_until__isnull=False, leased_until__gt=Now())
    return ExpressionWrapper(leased, BooleanField())


def _pending(using: str) -> QuerySet[OutboxEvent]:
    return OutboxEvent.objects.using(using).filter(state=State.PENDING, held=False)
