"""``complete()``: a grant on the thank-you page completes what was withheld without an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from wagtail_metapixel import event_options, matching, outbox, recording, unanswered
from wagtail_metapixel import visitor as visitors
from wagtail_metapixel.consent import Reason, decide
from wagtail_metapixel.events import Event
from wagtail_metapixel.site_settings import SiteConfig
from wagtail_metapixel.visitor import Visitor


def complete(
    claims: Mapping[str, Any],
    request: HttpRequest,
    person: Visitor,
    site: SiteConfig,
    *,
    using: str,
) -> bool:
    """Record the event of a ticket whose ``claims`` are ours; returns whether it was recorded.

    Only with its parameters in the ticket, only what was withheld lately, only in the session in
    which the order was noted, and only through an open gate. Two tabs may both do so: the key
    decides at the claim. Of who has signed in nothing is told: it may be the next person at this
    browser.
    """
    event_id, custom_data = str(claims.get("i")), claims.get("p")
    if not isinstance(custom_data, dict):
        return False
    happened_at = outbox.withheld_at(event_id, site.site_pk, using=using)
    if happened_at is None or not unanswered.is_noted(request, claims.get("k")):
        return False
    event_name = str(claims.get("n"))
    decision = decide(site, event_name, held=visitors.capture(request))
    if not decision.allowed:
        return False
    user_data = person.user_data()
    if not matching.enough(user_data):
        recording.withheld(event_name, site, Reason.NO_IDENTIFIER)
        return False
    event = Event(
        event_name=event_name,
        event_id=event_id,
        event_time=int(happened_at.timestamp()),
        event_source_url=person.url,
        referrer_url=person.referrer,
        custom_data=custom_data,
        options=event_options.OF_A_LIMITED_SITE if site.limited_data_use else {},
    )
    rows = recording.rows(event, user_data, decision, site, person, keyed=True)
    outbox.insert(rows, using=using)
    unanswered.strike(request, str(claims.get("k")))
    reason = rows[0].reason if all(row.reason for row in rows) else ""
    recording.recorded(event, site, reason)
    return True
