"""What a template asks for: the head of a page, a declared page event, a ticket.

The same bytes for every visitor, save the ticket, whose page is kept out of every cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from wagtail_metapixel import browser, catalogue, counters, event_options, keys, payloads, recording
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Capture, capture

DECLARATION_BYTES = 4096
TICKET_SECONDS = 24 * 3600


def head(request: HttpRequest) -> SafeString:
    """Return the configuration and the scripts of a page."""
    held, site = _page(request)
    if site is None:
        return SafeString("")
    if held.head_is_printed:
        counters.add(counters.Item(counters.DIAGNOSTIC, "{% metapixel %} stands twice on a page"))
        return SafeString("")
    held.head_is_printed = True
    markup = browser.head_markup(site, held.host)
    if not markup:
        _say_why(site, held.host)
    return markup


def page_event(request: HttpRequest, name: str, params: Mapping[str, Any]) -> SafeString:
    """Return the signed declaration of a page event.

    ``EventError`` for an action event: those are born on the server, by ``track()``.
    """
    event_name = catalogue.check_event_name(name)
    if not catalogue.is_page_event(event_name):
        raise EventError(
            "event_name",
            f"{event_name} is something the server did; report it with track({event_name!r}, ...)",
        )
    held, site = _page(request)
    if site is None or not site.pixels_for(held.host, event_name):
        return SafeString("")
    problems: list[Problem] = []
    options, params, odd = event_options.read(params)
    if options.wire:
        # Left out, it would be told without its limit.
        raise EventError(min(options.wire), "cannot be said in a page: report it with track()")
    custom_data, wrong = build_custom_data(event_name, site.applied(params, problems))
    problems += odd
    rule = "is told by the browser itself"
    problems += [Problem(name, rule) for name in event_options.ADDRESSES if getattr(options, name)]
    if near := catalogue.event_name_problem(event_name):
        problems.append(near)
    recording.raise_mistakes(event_name, problems + wrong)
    text = payloads.declaration(event_name, custom_data)
    if len(text.encode()) > DECLARATION_BYTES:
        counters.add(counters.Item(counters.DIAGNOSTIC, "declaration: longer than 4 kB, cut"))
        text = payloads.declaration(event_name, _short(custom_data))
    return browser.declaration_markup(text, site)


def ticket(request: HttpRequest, name: str, key: keys.Key) -> SafeString:
    """Return the signed ticket for the one ``name`` that happened to ``key``."""
    event_name = catalogue.check_event_name(name)
    held, site = _page(request)
    if site is None:
        return SafeString("")
    held.no_store = True
    # What Django's cache middleware, and wagtail-cache's, ask before they store the page.
    for flag in ("_cache_update_cache", "_wagtailcache_update"):
        setattr(request, flag, False)
    event_id = keys.event_id(current().installation_key, site.site_pk, key, event_name)
    return browser.ticket_markup(keys.sign_ticket({"n": event_name, "i": event_id}, site.site_pk))


def _page(request: HttpRequest) -> tuple[Capture, SiteConfig | None]:
    held = capture(request)
    if getattr(request, "is_preview", False) or getattr(request, "is_dummy", False):
        return held, None
    site = held.site()
    if site is None:
        counters.add(counters.Item(counters.DIAGNOSTIC, str(Reason.NO_SITE)))
    return held, site


def _say_why(site: SiteConfig, host: str) -> None:
    reason = Reason.NO_PROVIDER
    if not site.enabled:
        reason = Reason.DISABLED
    elif not site.pixels_for(host):
        reason = Reason.HOST if site.pixels else Reason.NO_PIXEL
    counters.add(counters.Item(counters.DIAGNOSTIC, str(reason), "PageView", site.site_pk))


def _short(custom_data: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("value", "currency", "content_type", "content_name", "num_items", "search_string")
    return {
        name: value[:200] if isinstance(value, str) else value
        for name, value in custom_data.items()
        if name in kept
    }
