"""How Meta answers for a dataset: sending, or paused. Shared by all workers through the database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from wagtail_metapixel.database_time import from_now
from wagtail_metapixel.models import Dataset


def pause(pixel_id: str, seconds: float, reason: str, *, using: str) -> None:
    """Stop sending to one dataset for ``seconds``. Shared by all workers through the database."""
    Dataset.objects.using(using).get_or_create(pixel_id=pixel_id)
    dataset = Dataset.objects.using(using).filter(pixel_id=pixel_id)
    dataset.update(probing=True, failures=F("failures") + 1)
    # Another worker may have been told to wait longer.
    end = from_now(timedelta(seconds=seconds))
    dataset.exclude(paused_until__gt=end).update(paused_until=end, pause_reason=reason[:500])


def rest(pixel_id: str, seconds: float, reason: str, *, using: str) -> None:
    """Send nothing to one dataset for ``seconds``, although all is well with it."""
    end = from_now(timedelta(seconds=seconds))
    dataset = Dataset.objects.using(using).filter(pixel_id=pixel_id)
    dataset.exclude(paused_until__gt=end).update(paused_until=end, pause_reason=reason[:500])


def resume(pixel_id: str, *, using: str, accepted: bool = False) -> None:
    """Let a dataset send again: it accepted an event, or its settings were saved.

    An event that was accepted ends no pause that another worker was told of meanwhile.
    """
    values: dict[str, Any] = {
        "paused_until": None,
        "pause_reason": "",
        "probing": False,
        "failures": 0,
    }
    if accepted:
        Dataset.objects.using(using).get_or_create(pixel_id=pixel_id)
        dataset = Dataset.objects.using(using).filter(pixel_id=pixel_id)
        dataset.update(last_accepted_at=Now())
        dataset.exclude(paused_until__gt=Now()).update(**values)
    else:
        Dataset.objects.using(using).filter(pixel_id=pixel_id).update(**values)


def paused(*, using: str) -> set[str]:
    """Return the datasets that nothing is sent to for now."""
    resting = Dataset.objects.using(using).filter(paused_until__gt=Now())
    return set(resting.values_list("pixel_id", flat=True))


def probing(pixel_ids: Collection[str], *, using: str) -> dict[str, int]:
    """Return the datasets that one real event has to prove first, with their failures so far."""
    found = Dataset.objects.using(using).filter(pixel_id__in=pixel_ids, probing=True)
    return dict(found.values_list("pixel_id", "failures"))


def failures(pixel_id: str, *, using: str) -> int:
    """Return how often in a row a dataset could not be reached."""
    found = Dataset.objects.using(using).filter(pixel_id=pixel_id)
    return found.values_list("failures", flat=True).first() or 0
