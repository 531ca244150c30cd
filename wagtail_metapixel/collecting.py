"""``collect()``: the server half of page events, posted by ``metapixel.js``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wagtail_metapixel import event_options, matching, outbox, recording
from wagtail_metapixel.consent import Decision, Reason
from wagtail_metapixel.events import Event
from wagtail_metapixel.models import OutboxEvent
from wagtail_metapixel.site_settings import SiteConfig
from wagtail_metapixel.visitor import Visitor


class Declared(NamedTuple):
    """One page event as the collect endpoint rebuilt it from our own signature."""

    event_name: str
    event_id: str
    custom_data: Mapping[str, Any]


def collect(
    declared: Sequence[Declared],
    person: Visitor,
    decision: Decision,
    site: SiteConfig,
    *,
    pixel_failed: bool,
    using: str | None = None,
) -> int:
    """Record the server half of page events in one INSERT; returns the number of rows.

    ``pixel_failed`` says that the browser could not load Meta's script: there is no twin then. A
    pixel that browsers alone tell gets no row: its browser has just told it.
    """
    if not any(pixel.on_server for pixel in decision.pixels):
        return 0
    user_data = person.user_data()
    if not matching.enough(user_data):
        for item in declared:
            recording.withheld(item.event_name, site, Reason.NO_IDENTIFIER)
        return 0
    rows: list[OutboxEvent] = []
    now = int(time.time())
    for item in declared:
        event = Event(
            event_name=item.event_name,
            event_id=item.event_id,
            event_time=now,
            event_source_url=person.url,
            referrer_url=person.referrer,
            custom_data=dict(item.custom_data),
            options=event_options.OF_A_LIMITED_SITE if site.limited_data_use else {},
        )
        chosen = tuple(pixel for pixel in decision.pixels if pixel.gets(item.event_name))
        if not chosen:
            recording.withheld(item.event_name, site, Reason.NO_PIXEL)
            continue
        told = tuple(pixel for pixel in chosen if pixel.on_server)
        one = Decision(None, decision.choice, decision.proof, told)
        rows += recording.rows(event, user_data, one, site, person, may_have_twin=not pixel_failed)
    if rows:
        outbox.insert(rows, using=outbox.alias(using))
    return len(rows)
