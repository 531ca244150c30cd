"""From an event to its rows in the outbox, and what is said about it: shared by all verbs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from wagtail_metapixel import catalogue, counters, keys, outbox, payloads, signals
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.consent import Decision, Reason
from wagtail_metapixel.events import Event
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import OutboxEvent, State, Twin
from wagtail_metapixel.redaction import shown_word
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Visitor

logger = logging.getLogger("wagtail_metapixel")


class Tracked(NamedTuple):
    """What became of an event. True when it was recorded."""

    event_name: str
    event_id: str = ""
    recorded: bool = False
    reason: str = ""
    """Why it was not recorded, or why it was recorded as ``rejected``."""

    def __bool__(self) -> bool:
        return self.recorded


def rows(
    event: Event,
    user_data: Mapping[str, Any],
    decision: Decision,
    site: SiteConfig,
    person: Visitor | None,
    problems: Iterable[Problem] = (),
    *,
    keyed: bool = False,
    may_have_twin: bool = True,
) -> list[OutboxEvent]:
    """Return a row for each pixel of ``decision``, unsaved.

    With a fatal problem the rows are ``rejected`` as they come, and hold nothing of the person.
    """
    told_by_browsers = event.action_source == "website" and not event.options
    twin = Twin.MAYBE if told_by_browsers and may_have_twin else Twin.NO
    source = catalogue.ACTION_SOURCES.get(event.action_source)
    max_age = source.max_age if source else catalogue.MAX_AGE
    expires_at, twin_expires_at = outbox.deadlines(event.event_time, max_age, twin)
    reason = "; ".join(map(_in_words, (problem for problem in problems if problem.fatal)))[:500]
    event_bytes, user_bytes = payloads.server_event(event), payloads.dump_texts(user_data)
    digests = " ".join(_digests(person, user_data))
    return [
        OutboxEvent(
            site_pk=site.site_pk,
            pixel_id=pixel.pixel_id,
            event_name=event.event_name,
            event_id=event.event_id,
            host=person.host if person else site.hostname,
            event=event_bytes,
            user_data=b"{}" if reason else user_bytes,
            payload_version=payloads.VERSION,
            keyed=keyed,
            twin=twin,
            digests=digests,
            consent_proof=decision.proof,
            rank=outbox.RANKS.get(event.event_name, outbox.DEFAULT_RANK),
            state=State.REJECTED if reason else State.PENDING,
            reason=reason,
            expires_at=expires_at,
            twin_expires_at=twin_expires_at,
            final_at=timezone.now() if reason else None,
        )
        for pixel in decision.pixels
    ]


def _in_words(problem: Problem) -> str:
    code = f" (Meta's error {problem.code})" if problem.code else ""
    return f"{problem.field}: {problem.rule}{code}"


def _digests(person: Visitor | None, user_data: Mapping[str, Any]) -> list[str]:
    snapshot = current()
    found = person.digests(snapshot) if person else []
    for name in ("em", "ph", "external_id"):
        for value in user_data.get(name, ()):
            found.append(keys.digest(snapshot.installation_key, name, value))
    return found


# What is said about it


def withheld(event_name: str, site: SiteConfig | None, reason: Reason | None) -> Tracked:
    """Count and tell that the gate kept an event back."""
    text = str(reason or Reason.NO_SITE)
    site_pk = site.site_pk if site else 0
    counters.add(counters.Item(counters.WITHHELD, text, event_name, site_pk))
    logger.info("%s was withheld: %s", event_name, text)
    signals.event_withheld.send_robust(
        OutboxEvent, event_name=event_name, reason=text, site_pk=site_pk
    )
    return Tracked(event_name=event_name, reason=text)


def recorded(event: Event, site: SiteConfig, reason: str) -> Tracked:
    """Tell that an event was recorded, with a ``reason`` as rejected."""
    told = {"event_name": event.event_name, "event_id": event.event_id}
    if reason:
        logger.warning("%s was recorded as rejected: %s", event.event_name, reason)
        signals.event_rejected.send_robust(OutboxEvent, pixel_id="", reason=reason, **told)
    else:
        signals.event_tracked.send_robust(OutboxEvent, site_pk=site.site_pk, **told)
    return Tracked(**told, recorded=not reason, reason=reason)


def failed(name: object, kind: str, reason: str) -> Tracked:
    """Count and log that an event could not be recorded."""
    # A name nobody checked may be anything, an e-mail address too.
    event_name = shown_word(name) if isinstance(name, str) else "?"
    counters.add(counters.Item(kind, reason, event_name))
    logger.error("%s was not recorded: %s", event_name, reason)
    return Tracked(event_name=event_name, reason=reason)


def raise_mistakes(event_name: str, problems: Iterable[Problem]) -> None:
    """Count and log ``problems``; while ``DEBUG`` is on, raise the first that is a mistake."""
    for problem in problems:
        told = f"{problem.field}: {problem.rule}"
        counters.add(counters.Item(counters.DIAGNOSTIC, told))
        logger.info("%s: %s", event_name, told)
        if problem.mistake and settings.DEBUG:
            raise EventError(problem.field, problem.rule)
