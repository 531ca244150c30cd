"""Saved settings end a pause: whatever kept Meta from taking events may be mended now."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction

from wagtail_metapixel import outbox
from wagtail_metapixel.models import MetaPixel, MetaPixelSettings


def end_pauses(
    instance: MetaPixel | MetaPixelSettings, *, using: str, raw: bool = False, **_kwargs: Any
) -> None:
    """Let the pixels of saved settings send again. Receiver of ``post_save``.

    Waits for the commit: a worker that tried earlier would meet the old token and pause anew.
    """
    if not raw:
        transaction.on_commit(partial(_resume, instance, using), using=using, robust=True)


def _resume(instance: MetaPixel | MetaPixelSettings, using: str) -> None:
    pixels = MetaPixel.objects.using(using)
    is_one = isinstance(instance, MetaPixel)
    saved = pixels.filter(pk=instance.pk) if is_one else pixels.filter(settings_id=instance.pk)
    for pixel_id in saved.values_list("pixel_id", flat=True):
        outbox.resume(pixel_id, using=outbox.alias())
