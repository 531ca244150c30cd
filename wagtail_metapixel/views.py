"""The addresses a browser talks to. Harmless by construction.

Prices come from our own signature, the address and the agent from the request, action events not
at all; what each request has to pass stands in :mod:`wagtail_metapixel.door`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.http import HttpResponse, JsonResponse

from wagtail_metapixel import (
    addresses,
    browser,
    catalogue,
    collecting,
    consent,
    counters,
    declarations,
    keys,
    limits,
    outbox,
    payloads,
    privacy,
    recording,
    signed_in,
    unanswered,
    visitor,
)
from wagtail_metapixel.choices import ConsentProvider
from wagtail_metapixel.collecting import Declared
from wagtail_metapixel.consent import Choice, Decision, Reason
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.door import Body, Call, RefusedRequestError, door
from wagtail_metapixel.identifiers import Fbc, Fbp
from wagtail_metapixel.models import OutboxEvent
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Capture, Visitor

EVENTS_MAX = 20
CONSENT_SECONDS = 180 * 24 * 3600
META_COOKIE_SECONDS = 90 * 24 * 3600
ECHO_WINDOW = timedelta(minutes=30)
TICKET_WINDOW = timedelta(seconds=declarations.TICKET_SECONDS)
UNSIGNED = frozenset({"PageView", "Contact", "CustomizeProduct", "FindLocation"})
"""Names a browser may report without a declaration: they carry no value."""
UNSIGNED_TEXTS = ("content_name", "content_category")
UNSIGNED_TEXT_MAX = 100
"""What may be said beside them, and in how many characters."""

_UUID4 = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_DOMAIN = re.compile(r"[a-z0-9.-]{1,253}")
SHARED = "another Meta pixel is on the page"
"""What the doctor is told when a browser found one beside ours."""

# collect/: the server half of page events


@door
def collect(call: Call) -> HttpResponse:
    """Record the page events of one view and keep the first-party ids alive."""
    request, held, site, body = call
    told = body.get("events")
    if not isinstance(told, list) or not 1 <= len(told) <= EVENTS_MAX:
        raise RefusedRequestError(400, "collect: no events")
    declared = list(_declared(told, site))
    if any("user_data" in said for said in (body, *told) if isinstance(said, dict)):
        # Read by nobody: who the person is says the request.
        counters.add(counters.Item(counters.REFUSED, "collect: user data", site_pk=site.site_pk))
    if not declared:
        raise RefusedRequestError(400, "collect: no event of ours")
    decision = consent.decide(site, None, held=held)
    response = HttpResponse(status=204)
    if not decision.allowed:
        for event in declared:
            recording.withheld(event.event_name, site, decision.reason)
        return response
    if limits.outbox_is_full(using=outbox.alias()):
        for event in declared:
            recording.withheld(event.event_name, site, Reason.CROWDED)
        return response
    person = _browser_visitor(call, decision)
    wanted = [
        event
        for event in declared
        if event.event_name != "PageView" or site.mirrors_page_view(event.event_id)
    ]
    if wanted:
        failed = body.get("pixel") == "failed"
        if body.get("pixel") == "shared":
            counters.add(counters.Item(counters.DIAGNOSTIC, SHARED, site_pk=site.site_pk))
        known = signed_in.with_account(person, request, site)
        collecting.collect(wanted, known, decision, site, pixel_failed=failed)
    _keep_meta_cookies(response, call, person)
    return response


def _declared(told: Iterable[Any], site: SiteConfig) -> Iterable[Declared]:
    for item in told:
        event = _one_declared(item, site) if isinstance(item, dict) else None
        if event is None:
            counters.add(counters.Item(counters.REFUSED, "collect: event", site_pk=site.site_pk))
        else:
            yield event


def _one_declared(item: Mapping[str, Any], site: SiteConfig) -> Declared | None:
    event_id = item.get("event_id")
    if not isinstance(event_id, str) or not _UUID4.fullmatch(event_id):
        return None
    if item.get("declaration") is None:
        name = item.get("event_name")
        unsigned = isinstance(name, str) and name in UNSIGNED
        declaration: Body | None = _unsigned(str(name), item) if unsigned else None
    else:
        declaration = _signed(item.get("declaration"), item.get("signature"), site)
    if declaration is None or not catalogue.is_page_event(declaration["event_name"]):
        return None
    return Declared(
        event_name=declaration["event_name"],
        event_id=event_id,
        custom_data=declaration.get("custom_data", {}),
    )


def _unsigned(name: str, item: Mapping[str, Any]) -> Body:
    told = item.get("custom_data")
    texts = {
        key: value.strip()[:UNSIGNED_TEXT_MAX]
        for key in UNSIGNED_TEXTS
        if isinstance(told, dict) and isinstance(value := told.get(key), str)
    }
    custom_data, _problems = build_custom_data(name, texts)
    return {"event_name": name, "custom_data": custom_data}


def _signed(text: Any, signature: Any, site: SiteConfig) -> Body | None:
    if not (isinstance(text, str) and isinstance(signature, str)):
        return None
    ours = keys.declaration_is_ours(text, signature, site.site_pk)
    return json.loads(text) if ours else None


def _browser_visitor(call: Call, decision: Decision) -> Visitor:
    """Return the visitor, with the page and the first-party ids as the browser told them."""
    person = visitor.read(
        call.held, call.site, consent=decision.choice, consent_proof=decision.proof
    )
    fbp, fbc = Fbp.parse(call.text("fbp")), Fbc.parse(call.text("fbc"))
    url = call.text("url")
    own = visitor.host_of(url) in call.site.own_hosts
    return person._replace(
        url=(addresses.clean_url(url, keep_query=None) or "") if own else person.url,
        referrer=addresses.clean_url(call.text("referrer"), keep_query=None) or "",
        fbp=str(fbp) if fbp else person.fbp,
        fbc=str(fbc) if fbc else person.fbc,
    )


def _keep_meta_cookies(response: HttpResponse, call: Call, person: Visitor) -> None:
    # Set by a server, a cookie lives as long as it says; Safari cuts those of scripts to 7 days.
    domain, held = call.text("domain").lower(), call.held
    found = domain if _DOMAIN.fullmatch(domain) and browser.covers(domain, held.host) else None
    for name, value in (("_fbp", person.fbp), ("_fbc", person.fbc)):
        if value:
            browser.set_cookie(
                response, held, name, value, max_age=META_COOKIE_SECONDS, domain=found
            )


# echo/: an event that did not fit into its cookie


@door
def echo(call: Call) -> HttpResponse:
    """Return the browser copies of the asked ids, none older than half an hour."""
    _request, held, site, body = call
    if body.get("probe") is True:
        return _probe(held)
    asked = body.get("ids")
    if not isinstance(asked, list) or len(asked) > EVENTS_MAX:
        raise RefusedRequestError(400, "echo: no ids")
    ids = [item for item in asked if isinstance(item, str) and _EVENT_ID.fullmatch(item)]
    if not ids or not consent.decide(site, None, held=held).allowed:
        return JsonResponse({"events": []})
    rows = outbox.recorded(ids, site.site_pk, newer_than=ECHO_WINDOW, using=outbox.alias())
    return JsonResponse({"events": _copies(rows)})


def _probe(held: Capture) -> HttpResponse:
    # For the doctor, who wants to know what a cookie of the echo is on its arrival.
    response = HttpResponse()
    browser.set_echo_cookie(response, held, browser.PROBE_COOKIE, "")
    return response


def _copies(rows: Iterable[OutboxEvent]) -> list[dict[str, Any]]:
    pixels: dict[str, list[str]] = {}
    told: dict[str, bytes] = {}
    for row in rows:
        told.setdefault(row.event_id, bytes(row.event))
        if row.pixel_id not in pixels.setdefault(row.event_id, []):
            pixels[row.event_id].append(row.pixel_id)
    return [payloads.stored_browser_event(told[event_id], pixels[event_id]) for event_id in told]


# ticket/: the thank-you page asks for its twin


@door
def ticket(call: Call) -> HttpResponse:
    """Answer a thank-you page once: the event, or "not paid yet", or nothing."""
    site = call.site
    claims = keys.read_ticket(
        call.text("ticket"), site.site_pk, max_age=declarations.TICKET_SECONDS
    )
    if claims is None:
        raise RefusedRequestError(400, "ticket: not ours or too old")
    decision = consent.decide(site, None, held=call.held)
    if not decision.allowed:
        return HttpResponse(status=204)
    event_id, using = str(claims["i"]), outbox.alias()
    person = _browser_visitor(call, decision)
    if not (
        outbox.is_recorded(event_id, site.site_pk, using=using)
        or _completed(call, claims, person, using)
    ):
        return JsonResponse({"wait": True})
    rows = outbox.recorded([event_id], site.site_pk, newer_than=TICKET_WINDOW, using=using)
    if not _is_the_buyer(person, rows) or not outbox.first_to_tell(event_id, using=using):
        return HttpResponse(status=204)
    return JsonResponse({"event": _copies(rows)[0]})


def _completed(call: Call, claims: Body, person: Visitor, using: str) -> bool:
    from wagtail_metapixel import completing  # noqa: PLC0415

    return completing.complete(claims, call.request, person, call.site, using=using)


def _is_the_buyer(person: Visitor, rows: Iterable[OutboxEvent]) -> bool:
    mine = set(person.digests(current()))
    return any(mine & set(row.digests.split()) for row in rows)


# consent/: our own tool's answer


@functools.partial(door, is_choice=True)
def consent_choice(call: Call) -> HttpResponse:
    """Keep the visitor's answer in our cookie, with proof; stop what waits on withdrawal.

    Where nobody has to be asked, the cookie holds objections only, and a grant takes it away.
    """
    choice, held, site = call.text("choice"), call.held, call.site
    if choice not in _CHOICES.get(site.consent_provider, {"withdrawn"}):
        raise RefusedRequestError(400, "consent: no choice")
    response = HttpResponse(status=204)
    if choice != "granted":
        unanswered.strike(call.request)
    if choice == "withdrawn" or (choice == "denied" and _has_granted(held, site)):
        person = visitor.read(held, site, consent=Choice.DENIED, consent_proof="")
        privacy.withdraw(person)
        for name in ("_fbp", "_fbc"):
            browser.delete_cookie(response, held, name)
        if visitor.USER_COOKIE in held.cookies:
            browser.delete_cookie(response, held, visitor.USER_COOKIE)
    proof = privacy.prove(choice, site, tool=site.consent_provider)
    if consent.ask_tool(held, site) is Choice.DENIED:
        return response  # the tool's own cookie says it, and a later yes there is to count again
    if choice == "granted" and site.consent_provider == ConsentProvider.NOT_REQUIRED:
        browser.delete_cookie(response, held, visitor.CONSENT_COOKIE)
        return response
    answer = f"{Choice.GRANTED}.{proof}" if choice == "granted" else str(Choice.DENIED)
    browser.set_cookie(response, held, visitor.CONSENT_COOKIE, answer, max_age=CONSENT_SECONDS)
    return response


# What is heard; of a tool that asks, only that somebody objects.
_CHOICES: Mapping[str, frozenset[str]] = {
    ConsentProvider.COOKIE: frozenset({"granted", "denied", "withdrawn"}),
    ConsentProvider.NOT_REQUIRED: frozenset({"granted", "withdrawn"}),
}


def _has_granted(held: Capture, site: SiteConfig) -> bool:
    return consent.ask(held, site)[0] == Choice.GRANTED


# matching/: who has signed in


@door
def matching(call: Call) -> HttpResponse:
    """Tell a visitor's own browser the digests that go with Meta's ``init``: ``{"em": "9f8…"}``.

    Only what the owner chose, and after a grant.
    """
    if not consent.decide(call.site, None, held=call.held).allowed:
        return JsonResponse({})
    return JsonResponse(
        {key: digests[0] for key, digests in signed_in.user_data(call.request, call.site).items()}
    )


# choice/: the answer in a cookie that no script may read


@door
def choice(call: Call) -> HttpResponse:
    """Tell the browser what stands in its own cookie of the site's consent tool."""
    return JsonResponse({"choice": consent.ask_tool(call.held, call.site)})
