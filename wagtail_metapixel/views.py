"""The five addresses a browser talks to. Harmless by construction.

No form token stands in a cached page, so none is asked for: each request has to come from our own
pages (same origin), is small, is answered with ``no-store``, and can say nothing that matters.
Prices come from our own signature, the address and the agent from the request, action events not
at all. A refused request touches no database and sets no cookie; nothing here ever answers 500.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import RawPostDataException
from django.utils.cache import patch_cache_control
from django.views.decorators.csrf import csrf_exempt

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
    visitor,
)
from wagtail_metapixel.choices import ConsentProvider
from wagtail_metapixel.collecting import Declared
from wagtail_metapixel.consent import Choice, Decision, Reason
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.identifiers import Fbc, Fbp
from wagtail_metapixel.models import OutboxEvent
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Capture, Visitor

logger = logging.getLogger("wagtail_metapixel")

BODY_BYTES = 8192
EVENTS_MAX = 20
DEPTH_MAX = 6
CONSENT_SECONDS = 180 * 24 * 3600
META_COOKIE_SECONDS = 90 * 24 * 3600
ECHO_WINDOW = timedelta(minutes=30)
TICKET_WINDOW = timedelta(seconds=declarations.TICKET_SECONDS)
UNSIGNED = frozenset({"PageView", "Contact", "CustomizeProduct", "FindLocation"})
"""Names a browser may report without a declaration: they carry no value."""
UNSIGNED_TEXTS = ("content_name", "content_category")
UNSIGNED_TEXT_MAX = 100
"""What may be said beside them, and in how many characters."""

_CONTENT_TYPES = frozenset({"application/json", "text/plain"})
_UUID4 = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_DOMAIN = re.compile(r"[a-z0-9.-]{1,253}")

Body = dict[str, Any]
View = Callable[[HttpRequest], HttpResponse]


class _RefusedError(Exception):
    """A request that is turned away, with its status and a word for the counters."""

    def __init__(self, status: int, word: str) -> None:
        super().__init__(word)
        self.status = status
        self.word = word


def _door(
    answer: Callable[[Capture, SiteConfig, Body], HttpResponse], *, is_choice: bool = False
) -> View:
    """Make a view of ``answer``: checks at the door, ``no-store`` on the way out, never a 500.

    ``is_choice``: it takes a visitor's answer, which no traffic of others may keep out.
    """

    @csrf_exempt
    @functools.wraps(answer)
    def view(request: HttpRequest) -> HttpResponse:
        try:
            held = visitor.capture(request)
            site = _own_site(held)
            _same_origin(held)
            _within_limits(held, site, is_choice=is_choice)
            response = answer(held, site, _body(request))
        except _RefusedError as refused:
            counters.add(counters.Item(counters.REFUSED, refused.word))
            response = HttpResponse(status=refused.status)
            if refused.status == 405:
                response["Allow"] = "POST"
        except Exception as error:  # noqa: BLE001 - a public address that never answers 500
            logger.error("%s failed: %s", answer.__name__, type(error).__name__)
            counters.add(counters.Item(counters.FAILED, type(error).__name__))
            response = HttpResponse(status=204)
        patch_cache_control(response, private=True, no_store=True)
        return response

    # Cached pages are for strangers too, so LoginRequiredMiddleware has to let these through;
    # and our writes bring their own short transactions.
    view.login_required = False  # type: ignore[attr-defined]
    return transaction.non_atomic_requests(view)


# collect/: the server half of page events


@_door
def collect(held: Capture, site: SiteConfig, body: Body) -> HttpResponse:
    """Record the page events of one view and keep the first-party ids alive."""
    told = body.get("events")
    if not isinstance(told, list) or not 1 <= len(told) <= EVENTS_MAX:
        raise _RefusedError(400, "collect: no events")
    declared = list(_declared(told, site))
    if not declared:
        raise _RefusedError(400, "collect: no event of ours")
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
    person = _browser_visitor(held, site, decision, body)
    wanted = [
        event
        for event in declared
        if event.event_name != "PageView" or site.mirrors_page_view(event.event_id)
    ]
    if wanted:
        failed = body.get("pixel") == "failed"
        collecting.collect(wanted, person, decision, site, pixel_failed=failed)
    _keep_meta_cookies(response, held, person, body)
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


def _browser_visitor(held: Capture, site: SiteConfig, decision: Decision, body: Body) -> Visitor:
    """Return the visitor, with the page and the first-party ids as the browser told them."""
    person = visitor.read(held, site, consent=decision.choice, consent_proof=decision.proof)
    fbp, fbc = Fbp.parse(_text(body, "fbp")), Fbc.parse(_text(body, "fbc"))
    url = _text(body, "url")
    own = visitor.host_of(url) in site.own_hosts
    return person._replace(
        url=(addresses.clean_url(url, keep_query=None) or "") if own else person.url,
        referrer=addresses.clean_url(_text(body, "referrer"), keep_query=None) or "",
        fbp=str(fbp) if fbp else person.fbp,
        fbc=str(fbc) if fbc else person.fbc,
    )


def _keep_meta_cookies(response: HttpResponse, held: Capture, person: Visitor, body: Body) -> None:
    # Set by a server, a cookie lives as long as it says; Safari cuts those of scripts to 7 days.
    domain = _text(body, "domain").lower()
    inside = domain and (held.host == domain or held.host.endswith(f".{domain}"))
    for name, value in (("_fbp", person.fbp), ("_fbc", person.fbc)):
        if value:
            response.set_cookie(
                name,
                value,
                max_age=META_COOKIE_SECONDS,
                path="/",
                domain=domain if inside and _DOMAIN.fullmatch(domain) else None,
                secure=held.scheme == "https",
                samesite="Lax",
            )


# echo/: an event that did not fit into its cookie


@_door
def echo(held: Capture, site: SiteConfig, body: Body) -> HttpResponse:
    """Return the browser copies of the asked ids, none older than half an hour."""
    if body.get("probe") is True:
        return _probe(held)
    asked = body.get("ids")
    if not isinstance(asked, list) or len(asked) > EVENTS_MAX:
        raise _RefusedError(400, "echo: no ids")
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


@_door
def ticket(held: Capture, site: SiteConfig, body: Body) -> HttpResponse:
    """Answer a thank-you page once: the event, or "not paid yet", or nothing."""
    claims = keys.read_ticket(
        _text(body, "ticket"), site.site_pk, max_age=declarations.TICKET_SECONDS
    )
    if claims is None:
        raise _RefusedError(400, "ticket: not ours or too old")
    decision = consent.decide(site, None, held=held)
    if not decision.allowed:
        return HttpResponse(status=204)
    event_id, using = str(claims["i"]), outbox.alias()
    if not outbox.is_recorded(event_id, site.site_pk, using=using):
        return JsonResponse({"wait": True})
    rows = outbox.recorded([event_id], site.site_pk, newer_than=TICKET_WINDOW, using=using)
    person = _browser_visitor(held, site, decision, body)
    if not _is_the_buyer(person, rows) or not outbox.first_to_tell(event_id, using=using):
        return HttpResponse(status=204)
    return JsonResponse({"event": _copies(rows)[0]})


def _is_the_buyer(person: Visitor, rows: Iterable[OutboxEvent]) -> bool:
    mine = set(person.digests(current()))
    return any(mine & set(row.digests.split()) for row in rows)


# consent/: our own tool's answer


@functools.partial(_door, is_choice=True)
def consent_choice(held: Capture, site: SiteConfig, body: Body) -> HttpResponse:
    """Keep the visitor's answer in our cookie, with proof; stop what waits on withdrawal."""
    choice = _text(body, "choice")
    asks = site.consent_provider == ConsentProvider.COOKIE
    if choice not in ({"granted", "denied", "withdrawn"} if asks else {"withdrawn"}):
        raise _RefusedError(400, "consent: no choice")
    response = HttpResponse(status=204)
    if choice == "withdrawn" or (choice == "denied" and _has_granted(held, site)):
        person = visitor.read(held, site, consent=Choice.DENIED, consent_proof="")
        privacy.withdraw(person)
        for name in ("_fbp", "_fbc"):
            response.delete_cookie(name, path="/", samesite="Lax")
    proof = privacy.prove(choice, site, tool=site.consent_provider)
    if consent.ask_tool(held, site) is Choice.DENIED:
        return response  # the tool's own cookie says it, and a later yes there is to count again
    granted = choice == "granted"
    response.set_cookie(
        visitor.CONSENT_COOKIE,
        f"{Choice.GRANTED}.{proof}" if granted else str(Choice.DENIED),
        max_age=CONSENT_SECONDS,
        path="/",
        secure=held.scheme == "https",
        samesite="Lax",
    )
    return response


def _has_granted(held: Capture, site: SiteConfig) -> bool:
    return consent.ask(held, site)[0] == Choice.GRANTED


# choice/: the answer in a cookie that no script may read


@_door
def choice(held: Capture, site: SiteConfig, _body: Body) -> HttpResponse:
    """Tell the browser what stands in its own cookie of the site's consent tool."""
    return JsonResponse({"choice": consent.ask_tool(held, site)})


# Checks at the door


def _own_site(held: Capture) -> SiteConfig:
    if held.method != "POST":
        raise _RefusedError(405, "not a POST")
    site = held.site()
    if site is None:
        raise _RefusedError(404, "no site")
    if visitor.OFF_COOKIE in held.cookies:
        raise _RefusedError(204, "staff")
    return site


def _same_origin(held: Capture) -> None:
    fetch_site = held.header("Sec-Fetch-Site")
    if fetch_site and fetch_site != "same-origin":
        raise _RefusedError(403, "another origin")
    origin = held.header("Origin") or held.header("Referer")
    if not origin and not fetch_site:
        raise _RefusedError(403, "no origin")
    if origin and not _is_own_origin(origin, held):
        raise _RefusedError(403, "another origin")


def _within_limits(held: Capture, site: SiteConfig, *, is_choice: bool) -> None:
    if whose := limits.exceeded(held, site, is_choice=is_choice):
        raise _RefusedError(429, f"too many requests of one {whose} in a minute")


def _is_own_origin(origin: str, held: Capture) -> bool:
    # The scheme is not compared: behind a proxy that ends TLS, ours may be the wrong one.
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == held.netloc


def _body(request: HttpRequest) -> Body:
    if (request.content_type or "").lower() not in _CONTENT_TYPES:
        raise _RefusedError(415, "content type")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or -1)
    except ValueError:
        length = -1
    if length < 0:
        raise _RefusedError(411, "no length")
    if length > BODY_BYTES:
        raise _RefusedError(413, "too long")
    try:
        # Decoded here: json.loads would guess UTF-16 and forgive a byte order mark.
        parsed = json.loads(request.body.decode())
    except (ValueError, RecursionError, RawPostDataException, OSError):
        raise _RefusedError(400, "not JSON") from None
    if not isinstance(parsed, dict) or _is_deeper(parsed, DEPTH_MAX):
        raise _RefusedError(400, "not a flat object")
    return parsed


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(item, depth - 1) for item in inner)


def _text(body: Body, name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) and len(value) <= 4096 else ""
