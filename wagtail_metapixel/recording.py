"""From an event to its rows in the outbox, and what is said about it: shared by all verbs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.db import Error
from django.dispatch import Signal
from django.utils import timezone

from wagtail_metapixel import (
    catalogue,
    counters,
    event_options,
    keys,
    outbox,
    payloads,
    signals,
)
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.consent import Decision, Reason
from wagtail_metapixel.events import Event
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import OutboxEvent, State, Twin
from wagtail_metapixel.redaction import shown_word
from wagtail_metapixel.savepoints import savepoint_if_inside
from wagtail_metapixel.site_settings import PixelConfig, SiteConfig, current
from wagtail_metapixel.visitor import Visitor

logger = logging.getLogger("wagtail_metapixel")

NOBODY_TELLS = "Only a server can tell this event, and its pixel is told by browsers alone."
"""Why an event is ``rejected`` for one pixel and not for another."""


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

    With a fatal problem the rows are ``rejected`` as they come, and hold nothing of the person; nor
    does the row of a pixel that the server tells nothing.
    """
    twin = Twin.MAYBE if may_have_twin and _told_by_browsers(event, site) else Twin.NO
    source = catalogue.ACTION_SOURCES.get(event.action_source)
    max_age = source.max_age if source else catalogue.MAX_AGE
    expires_at, twin_expires_at = outbox.deadlines(event.event_time, max_age, twin)
    reason = "; ".join(map(_in_words, (problem for problem in problems if problem.fatal)))[:500]
    event_bytes, user_bytes = payloads.server_event(event), payloads.dump_texts(user_data)
    digests = " ".join(_digests(person, user_data))
    fates = [(pixel, _fate(pixel, twin, reason)) for pixel in decision.pixels]
    return [
        OutboxEvent(
            site_pk=site.site_pk,
            pixel_id=pixel.pixel_id,
            event_name=event.event_name,
            event_id=event.event_id,
            host=person.host if person else site.hostname,
            event=event_bytes,
            user_data=user_bytes if state is State.PENDING else b"{}",
            payload_version=payloads.VERSION,
            keyed=keyed,
            twin=twin if pixel.in_browser or twin is Twin.NO else Twin.PIXEL,
            digests=digests,
            consent_proof=decision.proof,
            rank=outbox.RANKS.get(event.event_name, outbox.DEFAULT_RANK),
            state=state,
            reason=why,
            expires_at=expires_at,
            twin_expires_at=twin_expires_at if pixel.in_browser else None,
            final_at=None if state is State.PENDING else timezone.now(),
        )
        for pixel, (state, why) in fates
    ]


def _told_by_browsers(event: Event, site: SiteConfig) -> bool:
    """Tell whether a browser can say all that ``event`` says."""
    said = event_options.OF_A_LIMITED_SITE if site.limited_data_use else {}
    return event.action_source == "website" and event.options == said


def _fate(pixel: PixelConfig, twin: Twin, reason: str) -> tuple[State, str]:
    """Return the state in which the row of ``pixel`` begins, and why it is rejected."""
    if not reason and pixel.on_server:
        return State.PENDING, ""
    if not reason and twin is Twin.MAYBE:
        return State.BROWSER, ""
    return State.REJECTED, reason or NOBODY_TELLS


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
    _send(signals.event_withheld, event_name=event_name, reason=text, site_pk=site_pk)
    return Tracked(event_name=event_name, reason=text)


def recorded(event: Event, site: SiteConfig, reason: str) -> Tracked:
    """Tell that an event was recorded, with a ``reason`` as rejected."""
    told = {"event_name": event.event_name, "event_id": event.event_id}
    if reason:
        logger.warning("%s was recorded as rejected: %s", event.event_name, reason)
        _send(signals.event_rejected, pixel_id="", reason=reason, **told)
    else:
        _send(signals.event_tracked, site_pk=site.site_pk, **told)
    return Tracked(**told, recorded=not reason, reason=reason)


def _send(signal: Signal, **told: object) -> None:
    """Let receivers hear of it, none of whose failing queries spoils the caller's transaction."""
    if not signal.has_listeners(OutboxEvent):
        return
    try:
        with savepoint_if_inside(outbox.alias()):
            signal.send_robust(OutboxEvent, **told)
    except Error as error:
        logger.warning("A receiver's queries were undone: %s", type(error).__name__)


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
