"""Saved settings end a pause: whatever kept Meta from taking events may be mended now."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from wagtail_metapixel import datasets, outbox
from wagtail_metapixel.models import MetaPixel, MetaPixelSettings


def end_pauses(
    instance: MetaPixel | MetaPixelSettings, *, using: str, raw: bool = False, **_kwargs: Any
) -> None:
    """Let the pixels of saved settings send again. Receiver of ``post_save``.

    Waits for the commit: a worker that tried earlier would meet the old token and pause anew.
    """

    # A function: Django asks a robust callback that failed for a name, which a partial has not.
    def resume() -> None:
        for pixel_id in _pixel_ids(instance, using):
            datasets.resume(pixel_id, using=outbox.alias())

    if not raw:
        transaction.on_commit(resume, using=using, robust=True)


def _pixel_ids(instance: MetaPixel | MetaPixelSettings, using: str) -> list[str]:
    if isinstance(instance, MetaPixel):
        return [instance.pixel_id]
    pixels = MetaPixel.objects.using(using).filter(settings_id=instance.pk)
    return list(pixels.values_list("pixel_id", flat=True))
