"""``track()``: say once what happened.

This module is the map of the package: the gate first, then the event, then the two sinks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections, transaction
from django.http import HttpRequest
from django.utils import timezone
from wagtail.models import Site

from wagtail_metapixel import (
    browser,
    catalogue,
    consent,
    counters,
    events,
    keys,
    matching,
    outbox,
    payloads,
    signals,
)
from wagtail_metapixel import visitor as visitors
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.consent import Choice, Decision, Reason
from wagtail_metapixel.events import Event
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import OutboxEvent, State, Twin
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Capture, Visitor

logger = logging.getLogger("wagtail_metapixel")


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """What became of a call of :func:`track`. True when the event was recorded."""

    event_name: str
    event_id: str = ""
    recorded: bool = False
    reason: str = ""
    """Why it was not recorded, or why it was recorded as ``rejected``."""

    def __bool__(self) -> bool:
        return self.recorded


def track(  # noqa: PLR0913 - keywords, each of them something a caller may know better
    name: str,
    request: HttpRequest | None = None,
    *,
    key: keys.Key | None = None,
    site: Site | None = None,
    visitor: Visitor | None = None,
    consent: str | None = None,
    user_data: Mapping[str, Any] | None = None,
    event_time: datetime | float | None = None,
    action_source: str = "website",
    using: str | None = None,
    **params: Any,
) -> Tracked:
    """Record that ``name`` happened, for Meta to hear once from the browser and once from us.

    ``request`` is the visitor's; leave it out where there is none (webhooks, tasks) and pass the
    ``key`` under which :func:`remember` kept the visitor, a ``visitor``, or ``consent="granted"``
    kept from earlier. ``key`` names what can happen only once: the order, the submission, the
    user. ``user_data`` holds e-mail, phone, name and address as they are; they are hashed before
    anything is stored, and used only where advanced matching is on. ``params`` are Meta's
    ``custom_data``: ``value`` in major units, ``currency`` by ISO 4217, ``contents``.

    Safe inside a transaction: the event is part of it. Raises :class:`EventError` for a
    developer's mistake while ``DEBUG`` is on; in production it never raises.
    """
    try:
        _refuse_event_loop("track")
        return _track(
            name,
            request,
            _Given(key, site, visitor, consent, user_data, event_time, action_source),
            params,
            outbox.alias(using),
        )
    except EventError as error:
        if settings.DEBUG:
            raise
        return _failed(name, counters.DIAGNOSTIC, str(error))
    except Exception as error:  # noqa: BLE001 - a checkout must not fail because of us
        logger.error("Recording %s failed: %s", str(name)[:50], type(error).__name__)
        return _failed(name, counters.FAILED, type(error).__name__)


async def atrack(name: str, request: HttpRequest | None = None, **kwargs: Any) -> Tracked:
    """Do what :func:`track` does, from an async view."""
    return await sync_to_async(track)(name, request, **kwargs)


async def aremember(request: HttpRequest, key: keys.Key, *, using: str | None = None) -> bool:
    """Do what :func:`remember` does, from an async view."""
    return await sync_to_async(remember)(request, key, using=using)


def remember(request: HttpRequest, key: keys.Key, *, using: str | None = None) -> bool:
    """Keep the visitor of ``request`` with a cart or order, for the work that has no request.

    Only after a grant, only from the buyer's own browser. Returns whether anything was kept;
    never raises in production.
    """
    try:
        _refuse_event_loop("remember")
        held = visitors.capture(request)
        if not visitors.is_the_buyers(held):
            return False
        site = held.site()
        decision = consent_gate(site, None, held=held)
        if site is None or not decision.allowed:
            return False
        database = outbox.alias(using)
        # A savepoint: a failing INSERT would spoil the caller's own transaction.
        with transaction.atomic(using=database):
            visitors.store(_read(held, site, decision), key, using=database)
    except EventError:
        if settings.DEBUG:
            raise
        return False
    except Exception as error:  # noqa: BLE001 - placing an order must not fail because of us
        logger.error("Keeping the visitor failed: %s", type(error).__name__)
        return False
    return True


# track(), step by step


@dataclass(frozen=True, slots=True)
class _Given:
    """The keyword arguments of :func:`track`."""

    key: keys.Key | None = None
    site: Site | None = None
    visitor: Visitor | None = None
    consent: str | None = None
    user_data: Mapping[str, Any] | None = None
    event_time: datetime | float | None = None
    action_source: str = "website"


def _track(
    name: str, request: HttpRequest | None, given: _Given, params: Mapping[str, Any], using: str
) -> Tracked:
    event_name = catalogue.check_event_name(name)
    held, person = _whose(request, given, using)
    if held is None and person is None and given.consent is None:
        return _withheld(event_name, None, Reason.NO_VISITOR)
    site = _site(given, held, person)
    decision = consent_gate(site, event_name, held=held, visitor=person, stated=given.consent)
    if site is None or not decision.allowed:
        return _withheld(event_name, site, decision.reason)

    if person is None and held is not None:
        person = _read(held, site, decision)
    event, problems = _event(event_name, site, person, given, params)
    user_data, found = _user_data(site, person, given.user_data)
    _raise_mistakes(problems + found)
    if not matching.enough(user_data):
        return _withheld(event_name, site, Reason.NO_IDENTIFIER)

    keyed = given.key is not None
    rows = _rows(event, user_data, decision, site, person, problems, keyed=keyed)
    outbox.insert(rows, using=using)
    reason = rows[0].reason
    has_twin = not reason and rows[0].twin == Twin.MAYBE
    if has_twin and held is not None and held.has_middleware:
        once = partial(outbox.first_to_tell, event.event_id, using=using)
        browser.echo_on_commit(
            held, event, decision.pixels, using=using, may_tell=once if keyed else None
        )
    return _recorded(event, site, reason)


def _whose(
    request: HttpRequest | None, given: _Given, using: str
) -> tuple[Capture | None, Visitor | None]:
    """Return the request that speaks for the person, or the visitor kept for them.

    Where a visitor was kept, a request counts only when it comes from the same browser and says
    what that browser's answer is: not staff's, a webhook's, or a return from a payment page that
    the browser sent without our cookies.
    """
    held = visitors.capture(request) if request is not None else None
    if given.visitor is not None:
        return None, given.visitor
    kept = _recalled(given.key, using) if given.key is not None else None
    if kept is not None:
        return (held, None) if held is not None and _speaks_for(held, kept) else (None, kept)
    if held is None or visitors.is_the_buyers(held):
        return held, None
    # Without a key a staff browser is told so by the gate, and a first visit has no cookies yet.
    can_speak = given.key is None and visitors.comes_from_a_page(held)
    return (held if can_speak else None), None


def _speaks_for(held: Capture, kept: Visitor) -> bool:
    site = current().site(kept.site_pk)
    if site is None or not visitors.is_the_same(held, kept):
        return False
    return consent.ask(held, site)[0] is not Choice.UNKNOWN


def _recalled(key: keys.Key, using: str) -> Visitor | None:
    # A failing SELECT, too, would spoil the caller's own transaction on PostgreSQL.
    inside = connections[using].in_atomic_block
    with transaction.atomic(using=using) if inside else nullcontext():
        return visitors.recall(key, using=using)


def _site(given: _Given, held: Capture | None, person: Visitor | None) -> SiteConfig | None:
    snapshot = current()
    if given.site is not None:
        return snapshot.site(given.site.pk)
    if person is not None:
        return snapshot.site(person.site_pk)
    if held is not None:
        return held.site()
    return snapshot.sites[0] if len(snapshot.sites) == 1 else None


def _read(held: Capture, site: SiteConfig, decision: Decision) -> Visitor:
    return visitors.read(held, site, consent=decision.choice, consent_proof=decision.proof)


def _event(
    event_name: str,
    site: SiteConfig,
    person: Visitor | None,
    given: _Given,
    params: Mapping[str, Any],
) -> tuple[Event, list[Problem]]:
    custom_data, problems = events.build_custom_data(event_name, params)
    event_time, late = events.check_event_time(
        given.event_time, now=time.time(), action_source=given.action_source
    )
    if given.key is None:
        event_id = keys.new_event_id()
    else:
        key = current().installation_key
        event_id = keys.event_id(key, site.site_pk, given.key, event_name)
    on_a_page = person is not None and given.action_source == "website"
    event = Event(
        event_name=event_name,
        event_id=event_id,
        event_time=event_time,
        action_source=given.action_source,
        event_source_url=person.url if person and on_a_page else "",
        custom_data=custom_data,
    )
    return event, problems + late


def _user_data(
    site: SiteConfig, person: Visitor | None, told: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[Problem]]:
    matched: dict[str, Any] = {}
    problems: list[Problem] = []
    if told and site.advanced_matching:
        matched, problems = matching.match(told, region=site.phone_region or None)
    return {**matched, **(person.user_data() if person else {})}, problems


def _rows(
    event: Event,
    user_data: Mapping[str, Any],
    decision: Decision,
    site: SiteConfig,
    person: Visitor | None,
    problems: Iterable[Problem],
    *,
    keyed: bool,
    may_have_twin: bool = True,
) -> list[OutboxEvent]:
    on_a_page = event.action_source == "website" and may_have_twin
    twin = Twin.MAYBE if on_a_page else Twin.NO
    source = catalogue.ACTION_SOURCES.get(event.action_source)
    max_age = source.max_age if source else catalogue.MAX_AGE
    expires_at, twin_expires_at = outbox.deadlines(event.event_time, max_age, twin)
    reason = "; ".join(f"{p.field}: {p.rule}" for p in problems if p.fatal)[:500]
    event_bytes, user_bytes = payloads.server_event(event), payloads.dump(user_data)
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


def _digests(person: Visitor | None, user_data: Mapping[str, Any]) -> list[str]:
    snapshot = current()
    found = person.digests(snapshot) if person else []
    for name in ("em", "ph", "external_id"):
        for value in user_data.get(name, ()):
            found.append(keys.digest(snapshot.installation_key, name, value))
    return found


# Page events, posted by metapixel.js


@dataclass(frozen=True, kw_only=True)
class Declared:
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

    ``pixel_failed`` says that the browser could not load Meta's script: there is no twin then.
    """
    user_data = person.user_data()
    if not matching.enough(user_data):
        for item in declared:
            _withheld(item.event_name, site, Reason.NO_IDENTIFIER)
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
        )
        chosen = tuple(pixel for pixel in decision.pixels if pixel.gets(item.event_name))
        if not chosen:
            _withheld(item.event_name, site, Reason.NO_PIXEL)
            continue
        one = Decision(None, decision.choice, decision.proof, chosen)
        rows += _rows(
            event, user_data, one, site, person, (), keyed=False, may_have_twin=not pixel_failed
        )
    if rows:
        outbox.insert(rows, using=outbox.alias(using))
    return len(rows)


# What is said about it


def consent_gate(
    site: SiteConfig | None,
    event_name: str | None,
    *,
    held: Capture | None = None,
    visitor: Visitor | None = None,
    stated: str | None = None,
) -> Decision:
    """Ask the gate. A function of its own, because ``track`` has an argument named ``consent``."""
    return consent.decide(site, event_name, held=held, visitor=visitor, stated=stated)


def _withheld(event_name: str, site: SiteConfig | None, reason: Reason | None) -> Tracked:
    text = str(reason or Reason.NO_SITE)
    site_pk = site.site_pk if site else 0
    counters.add(counters.Item(counters.WITHHELD, text, event_name, site_pk))
    logger.info("%s was withheld: %s", event_name, text)
    signals.event_withheld.send_robust(
        OutboxEvent, event_name=event_name, reason=text, site_pk=site_pk
    )
    return Tracked(event_name=event_name, reason=text)


def _recorded(event: Event, site: SiteConfig, reason: str) -> Tracked:
    told = {"event_name": event.event_name, "event_id": event.event_id}
    if reason:
        logger.warning("%s was recorded as rejected: %s", event.event_name, reason)
        signals.event_rejected.send_robust(OutboxEvent, pixel_id="", reason=reason, **told)
    else:
        signals.event_tracked.send_robust(OutboxEvent, site_pk=site.site_pk, **told)
    return Tracked(**told, recorded=not reason, reason=reason)


def _failed(name: object, kind: str, reason: str) -> Tracked:
    event_name = str(name)[:50]
    counters.add(counters.Item(kind, reason, event_name))
    logger.error("%s was not recorded: %s", event_name, reason)
    return Tracked(event_name=event_name, reason=reason)


def _raise_mistakes(problems: Iterable[Problem]) -> None:
    for problem in problems:
        counters.add(counters.Item(counters.DIAGNOSTIC, f"{problem.field}: {problem.rule}"))
        if problem.mistake and settings.DEBUG:
            raise EventError(problem.field, problem.rule)


def _refuse_event_loop(verb: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise EventError(verb, f"was called from async code; use `await a{verb}(...)` there")
