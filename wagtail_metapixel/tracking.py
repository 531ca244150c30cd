"""``track()``: say once what happened.

This module is the map of the package: the gate first, then the event, then the two sinks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections, transaction
from django.http import HttpRequest
from wagtail.models import Site

from wagtail_metapixel import (
    browser,
    catalogue,
    consent,
    counters,
    event_options,
    events,
    keys,
    matching,
    outbox,
    recording,
    signed_in,
    unanswered,
)
from wagtail_metapixel import visitor as visitors
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.consent import Choice, Decision, Reason
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.event_options import Options
from wagtail_metapixel.events import Event
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import Twin
from wagtail_metapixel.recording import Tracked
from wagtail_metapixel.savepoints import savepoint_if_inside
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Capture, Visitor

logger = logging.getLogger("wagtail_metapixel")

WITHOUT_A_PAGE = frozenset({"physical_store", "phone_call"})
"""Action sources whose request is that of the person at the till or on the phone."""
COMPLETED = frozenset({"Purchase"})
"""Events that a grant on the thank-you page completes."""
UNANSWERED = frozenset({Reason.UNKNOWN, Reason.NO_VISITOR})
"""Why such an event is withheld."""
REFUSED = frozenset({Reason.DENIED, Reason.GPC})


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
        given = _Given(key, site, visitor, consent, user_data, event_time, action_source)
        database = outbox.alias(using)
        _check_types(request, given, database)
        with _shield(given, database):
            tell = _track(name, request, given, params, database)
        return tell()
    except EventError as error:
        if settings.DEBUG:
            raise
        return recording.failed(name, counters.DIAGNOSTIC, str(error))
    except Exception as error:  # noqa: BLE001 - a checkout must not fail because of us
        return recording.failed(name, counters.FAILED, type(error).__name__)


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
        database = outbox.alias(using)
        if decision.reason is Reason.UNKNOWN:
            unanswered.note(request, key, using=database)
        elif decision.reason in REFUSED:
            unanswered.strike(request)
        if site is None or not decision.allowed:
            return False
        # A savepoint: a failing INSERT would spoil the caller's own transaction.
        with transaction.atomic(using=database):
            visitors.store(_person(request, held, site, decision), key, using=database)
    except EventError:
        if settings.DEBUG:
            raise
        return False
    except Exception as error:  # noqa: BLE001 - placing an order must not fail because of us
        logger.error("Keeping the visitor failed: %s", type(error).__name__)
        return False
    return True


# track(), step by step


def _shield(given: _Given, using: str) -> AbstractContextManager[Any]:
    """Return what keeps a failing query of ours from the caller's transaction.

    One savepoint for the visitor's record, which is asked for by ``key``, and the row; where there
    is no key, the row alone has one.
    """
    return savepoint_if_inside(using) if given.key is not None else nullcontext()


class _Given(NamedTuple):
    """The keyword arguments of :func:`track`."""

    key: keys.Key | None
    site: Site | None
    visitor: Visitor | None
    consent: str | None
    user_data: Mapping[str, Any] | None
    event_time: datetime | float | None
    action_source: str

    def __repr__(self) -> str:
        # Error reports print the arguments of functions, and the key or user_data is a person's.
        return f"_Given(action_source={self.action_source!r})"


def _track(
    name: str, request: HttpRequest | None, given: _Given, params: Mapping[str, Any], using: str
) -> Callable[[], Tracked]:
    # What is said about it comes from who called: a receiver's own failing query would take the row
    # along, in whose savepoint it ran.
    event_name = catalogue.check_event_name(name)
    held, person = _whose(request, given, using)
    site = _site(given, held, person, request)
    decision = consent_gate(site, event_name, held=held, visitor=person, stated=given.consent)
    if site is None or not decision.allowed:
        nobody = held is None and person is None and given.consent is None
        if decision.reason in UNANSWERED or (nobody and site is None):
            _keep_unanswered(event_name, site, request if held else None, given, params, using)
        elif decision.reason in REFUSED and held is not None and request is not None:
            unanswered.strike(request)
        if nobody:
            return partial(recording.withheld, event_name, None, _why_nobody(request, given))
        return partial(recording.withheld, event_name, site, decision.reason)

    if person is None and held is not None and request is not None:
        person = _person(request, held, site, decision)
    event, problems = _event(event_name, site, person, given, params)
    if near := catalogue.event_name_problem(event_name):
        problems.append(near)
    user_data, found = _user_data(site, person, given.user_data)
    found += event_options.unknown_place(event.options, user_data)
    recording.raise_mistakes(event_name, problems + found)
    if not matching.enough(user_data):
        unused = bool(given.user_data) and not site.advanced_matching
        missing = Reason.NO_MATCHING if unused else Reason.NO_IDENTIFIER
        return partial(recording.withheld, event_name, site, missing)

    keyed = given.key is not None
    rows = recording.rows(event, user_data, decision, site, person, problems, keyed=keyed)
    outbox.insert(rows, using=using, savepoint=not keyed)
    reason = rows[0].reason if all(row.reason for row in rows) else ""
    told = [row.pixel_id for row in rows if row.twin == Twin.MAYBE and not row.reason]
    if told and held is not None and held.has_middleware:
        once = partial(outbox.first_to_tell, event.event_id, using=using)
        undo = partial(outbox.not_told_yet, event.event_id, using=using)
        may_tell, take_back = (once, undo) if keyed else (None, None)
        browser.echo_on_commit(
            held, event, told, using=using, may_tell=may_tell, take_back=take_back
        )
    return partial(recording.recorded, event, site, reason)


def _check_types(request: HttpRequest | None, given: _Given, using: str) -> None:
    if request is not None and not hasattr(request, "META"):
        raise EventError("request", "has to be the visitor's HttpRequest, or None")
    if not isinstance(given.site, Site | None):
        raise EventError("site", "has to be a Wagtail Site, or None")
    if not isinstance(given.visitor, Visitor | None):
        raise EventError("visitor", "has to be a Visitor, or None")
    if given.consent is not None and given.consent not in list(Choice):
        raise EventError("consent", f"has to be one of {', '.join(Choice)}")
    if not isinstance(given.action_source, str):
        raise EventError("action_source", "has to be a text, such as website")
    if using not in connections:
        raise EventError("using", "names no database of this project")


def _whose(
    request: HttpRequest | None, given: _Given, using: str
) -> tuple[Capture | None, Visitor | None]:
    """Return the request that speaks for the person, or the visitor kept for them.

    Where a visitor was kept, a request counts only when it comes from the same browser and says
    what that browser's answer is: not staff's, a webhook's, or a return from a payment page that
    the browser sent without our cookies.
    """
    if given.visitor is not None:
        return None, given.visitor
    kept = visitors.recall(given.key, using=using) if given.key is not None else None
    if request is None or given.action_source in WITHOUT_A_PAGE:
        return None, kept
    held = visitors.capture(request)
    if kept is not None:
        return (held, None) if _speaks_for(held, kept) else (None, kept)
    if visitors.is_the_buyers(held):
        return held, None
    # Without a key a staff browser is told so by the gate, and a first visit has no cookies yet.
    can_speak = given.key is None and visitors.comes_from_a_page(held)
    return (held if can_speak else None), None


def _why_nobody(request: HttpRequest | None, given: _Given) -> Reason:
    """Say why it is not known who it was."""
    if request is None or given.action_source in WITHOUT_A_PAGE:
        return Reason.NO_VISITOR
    is_staff = visitors.OFF_COOKIE in visitors.capture(request).cookies
    return Reason.STAFF if is_staff else Reason.NO_COOKIES


def _speaks_for(held: Capture, kept: Visitor) -> bool:
    site = current().site(kept.site_pk)
    if site is None or not visitors.is_the_same(held, kept):
        return False
    # A signal of this browser's is an answer, too, and the gate knows which.
    opts_out = site.respect_gpc and held.header("Sec-GPC") == "1"
    return opts_out or consent.ask(held, site)[0] is not Choice.UNKNOWN


def _site(
    given: _Given, held: Capture | None, person: Visitor | None, request: HttpRequest | None
) -> SiteConfig | None:
    snapshot = current()
    if given.site is not None:
        return snapshot.site(given.site.pk)
    if person is not None:
        return snapshot.site(person.site_pk)
    if held is not None:
        return held.site()
    if len(snapshot.sites) == 1:
        return snapshot.sites[0]
    # At the till: not the buyer's request, but one to the shop's own address.
    at_the_till = request is not None and given.action_source in WITHOUT_A_PAGE
    return visitors.capture(request).site() if request is not None and at_the_till else None


def _keep_unanswered(
    event_name: str,
    site: SiteConfig | None,
    buyers: HttpRequest | None,
    given: _Given,
    params: Mapping[str, Any],
    using: str,
) -> None:
    """Let a grant on the thank-you page complete what was withheld for want of an answer."""
    if given.key is None or given.action_source != "website" or event_name not in COMPLETED:
        return
    fact = unanswered.Fact(event_name, given.key, given.event_time, params)
    if unanswered.keep(fact, site, using=using) and buyers is not None:
        unanswered.note(buyers, given.key, using=using)


def _person(request: HttpRequest, held: Capture, site: SiteConfig, decision: Decision) -> Visitor:
    person = visitors.read(held, site, consent=decision.choice, consent_proof=decision.proof)
    return signed_in.with_account(person, request, site)


def _event(
    event_name: str,
    site: SiteConfig,
    person: Visitor | None,
    given: _Given,
    params: Mapping[str, Any],
) -> tuple[Event, list[Problem]]:
    problems: list[Problem] = []
    options, params, odd = event_options.read(
        _with_original_id(params, site, problems), limited=site.limited_data_use
    )
    custom_data, wrong = build_custom_data(event_name, site.applied(params, problems))
    known = {problem.field: problem.rule for problem in problems}
    # Why a value is missing says more than that it is.
    wrong = [w._replace(rule=known[w.field]) if w.fatal and w.field in known else w for w in wrong]
    event_time, late = events.check_event_time(
        given.event_time, now=time.time(), action_source=given.action_source
    )
    key = given.key
    event_id = keys.new_event_id() if key is None else _event_id(site, key, event_name)
    event = Event(
        event_name=event_name,
        event_id=event_id,
        event_time=event_time,
        action_source=given.action_source,
        event_source_url=_source_url(options, site, person, given, odd),
        referrer_url=options.referrer_url,
        custom_data=custom_data,
        options=options.wire,
    )
    return event, [*odd, *problems, *wrong, *late]


def _source_url(
    options: Options,
    site: SiteConfig,
    person: Visitor | None,
    given: _Given,
    problems: list[Problem],
) -> str:
    if given.action_source != "website":
        return ""
    told = options.event_source_url
    if told and visitors.host_of(told) in site.own_hosts:
        return told
    if told:
        problems.append(Problem("event_source_url", "is not an address of this site"))
    return person.url if person else ""


def _event_id(site: SiteConfig, key: keys.Key, event_name: str) -> str:
    return keys.event_id(current().installation_key, site.site_pk, key, event_name)


def _with_original_id(
    params: Mapping[str, Any], site: SiteConfig, problems: list[Problem]
) -> Mapping[str, Any]:
    """Put the id of the original event in the place of its ``key``."""
    original = params.get("original_event_data")
    if not isinstance(original, Mapping) or "key" not in original:
        return params
    named = {name: value for name, value in original.items() if name != "key"}
    try:
        event_name = catalogue.check_event_name(named.get("event_name"))
        named.setdefault("event_id", _event_id(site, original["key"], event_name))
    except EventError as error:
        problems.append(Problem("original_event_data", f"its {error}", mistake=True))
    return {**params, "original_event_data": named}


def _user_data(
    site: SiteConfig,
    person: Visitor | None,
    told: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], list[Problem]]:
    matched: dict[str, Any] = {}
    problems: list[Problem] = []
    if told and site.advanced_matching:
        matched, problems = matching.match(told, region=site.phone_region or None)
    if person is None:
        return matched, problems
    # What the shop says of this order goes before what the account says; its id is ours alone.
    of_order = {
        key: value
        for key, value in matched.items()
        if key in dict(person.signed_in) and key != "external_id"
    }
    return {**matched, **person.user_data(), **of_order}, problems


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


def _refuse_event_loop(verb: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise EventError(verb, f"was called from async code; use `await a{verb}(...)` there")
