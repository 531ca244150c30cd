"""What a template asks for: the head of a page, a declared page event, a ticket.

The tags of all template languages call :func:`page_head`, :func:`declare` and :func:`ticket`
through :func:`guarded`. The same bytes for every visitor, save the ticket, whose page is kept out
of every cache.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from wagtail_metapixel import (
    browser,
    catalogue,
    counters,
    event_options,
    keys,
    payloads,
    recording,
    unanswered,
)
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.parameters import SERVER_ONLY
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Capture, capture

logger = logging.getLogger("wagtail_metapixel")

DECLARATION_BYTES = 4096
POSTED_BYTES = 5120
"""Of a declaration inside the JSON of a post: each quote has a backslash there."""
TICKET_SECONDS = 24 * 3600
TICKET_CHARACTERS = 4096
"""As much as the door reads of any text."""
ADMINS = ("wagtailadmin_home", "admin:index")
"""Names of the addresses below which nothing is printed."""

_PAGE = "_metapixel_page"
_UNKNOWN = object()


class DeclaresEvent(Protocol):
    """A page that says which event its showing is."""

    def metapixel_event(self, request: HttpRequest) -> tuple[str, Mapping[str, Any]] | None:
        """Return the event's name and its parameters, or ``None``."""


# The guard of all tags


def guarded(
    tag: str, request: Any, function: Callable[..., SafeString], /, *args: Any, **params: Any
) -> SafeString:
    """Return ``function(request, *args, **params)``; what fails prints nothing, and is said.

    A developer's mistake, arguments that ``function`` does not take among them, is raised as
    ``EventError`` while ``DEBUG`` is on.
    """
    if not isinstance(request, HttpRequest):
        counters.add(counters.Item(counters.DIAGNOSTIC, f"{tag}: no request in the context"))
        return SafeString("")
    try:
        try:
            return function(request, *args, **params)
        except TypeError:
            _check_arguments(tag, function, request, *args, **params)
            raise
    except EventError as error:
        if settings.DEBUG:
            raise
        misused(tag, str(error))
    except Exception as error:  # noqa: BLE001 - a page must not fail because of us
        counters.add(counters.Item(counters.FAILED, f"{tag}: {type(error).__name__}"))
        logger.error("%s printed nothing: %s", tag, type(error).__name__)
    return SafeString("")


def misused(tag: str, reason: str) -> None:
    """Count and log that ``tag`` printed nothing because of how it was written."""
    counters.add(counters.Item(counters.DIAGNOSTIC, reason))
    logger.error("%s printed nothing: %s", tag, reason)


def _check_arguments(
    tag: str, function: Callable[..., SafeString], /, *args: Any, **params: Any
) -> None:
    # Only after a TypeError: a look at the signature takes longer than most calls.
    try:
        inspect.signature(function).bind(*args, **params)
    except TypeError as error:
        raise EventError(tag, str(error)) from None


# What the tags print


def page_head(request: HttpRequest, lookup: Callable[[str], Any], /) -> SafeString:
    """Return the head of a page, and the event of the page that is being served.

    ``lookup`` gives the template's variables by their names.
    """
    markup = head(request)
    if not markup:
        return markup
    # Apart: the page's own method may fail, and the head is needed all the same.
    event = guarded("metapixel", request, served_event, lookup)
    return SafeString(f"{markup}\n{event}") if event else markup


def declare(request: HttpRequest, /, event_name: str, **params: Any) -> SafeString:
    """Return the signed declaration of a page event; ``params`` are its parameters."""
    return page_event(request, event_name, params)


def now_serving(request: HttpRequest, page: DeclaresEvent | None) -> None:
    """Remember whose event belongs into the answer to ``request``; ``None``: nobody's."""
    setattr(request, _PAGE, page)


def served_event(request: HttpRequest, lookup: Callable[[str], Any] | None = None, /) -> SafeString:
    """Return the declaration of the page that is being served, the first time it is asked for.

    That page is the one last given to :func:`now_serving`; else what the template calls ``page``
    or ``self``, if it declares an event. ``EventError`` when the page's method fails.
    """
    page = getattr(request, _PAGE, _UNKNOWN)
    if page is _UNKNOWN:
        page = _page_of(lookup) if lookup else None
    now_serving(request, None)
    if page is None or _page(request)[1] is None:
        return SafeString("")
    told = _told_by(page, request)
    return page_event(request, *told) if told else SafeString("")


def _page_of(lookup: Callable[[str], Any]) -> Any:
    for name in ("page", "self"):
        page = lookup(name)
        if callable(getattr(type(page), "metapixel_event", None)):
            return page
    return None


def _told_by(page: Any, request: HttpRequest) -> tuple[str, Mapping[str, Any]] | None:
    where = f"{type(page).__name__}.metapixel_event"
    try:
        told = page.metapixel_event(request)
    except Exception as error:
        raise EventError(where, f"raised {type(error).__name__}") from error
    if told is None:
        return None
    if not (isinstance(told, tuple) and len(told) == 2 and isinstance(told[1], Mapping)):
        raise EventError(where, "has to return an event's name and a dict, or None")
    return told


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


def noscript(request: HttpRequest, /) -> SafeString:
    """Return the image for browsers without scripts; nothing where consent is asked for."""
    held, site = _page(request)
    if site is None or held.noscript_is_printed:
        return SafeString("")
    held.noscript_is_printed = True
    return browser.noscript_markup(site, held.host)


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
    custom_data, _problems = _checked(event_name, params, site)
    text = payloads.declaration(event_name, custom_data)
    size = len(text.encode())
    if size > DECLARATION_BYTES or size + text.count('"') + text.count("\\") > POSTED_BYTES:
        counters.add(counters.Item(counters.DIAGNOSTIC, "declaration: longer than 4 kB, cut"))
        text = payloads.declaration(event_name, _short(custom_data))
    return browser.declaration_markup(text, site)


def _checked(
    event_name: str, params: Mapping[str, Any], site: SiteConfig
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the parameters a page may tell of an event, and what was wrong with them."""
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
    problems += wrong
    recording.raise_mistakes(event_name, problems)
    return custom_data, problems


def ticket(request: HttpRequest, /, event_name: str, key: keys.Key, **params: Any) -> SafeString:
    """Return the signed ticket for the one ``event_name`` that happened to ``key``.

    With its parameters ``params``, a grant on this page completes what was withheld without one.
    """
    event_name = catalogue.check_event_name(event_name)
    held, site = _page(request)
    if site is None:
        return SafeString("")
    held.no_store = True
    # What Django's cache middleware, and wagtail-cache's, ask before they store the page.
    for flag in ("_cache_update_cache", "_wagtailcache_update"):
        setattr(request, flag, False)
    event_id = keys.event_id(current().installation_key, site.site_pk, key, event_name)
    claims: dict[str, Any] = {"n": event_name, "i": event_id}
    if not params:
        return browser.ticket_markup(keys.sign_ticket(claims, site.site_pk))
    custom_data, problems = _checked(event_name, params, site)
    if any(problem.fatal for problem in problems):
        # Meta would reject it. What track() recorded of it is told all the same.
        return browser.ticket_markup(keys.sign_ticket(claims, site.site_pk))
    claims["k"] = unanswered.order_digest(key)
    claims["p"] = {name: value for name, value in custom_data.items() if name not in SERVER_ONLY}
    signed = keys.sign_ticket(claims, site.site_pk)
    if len(signed) > TICKET_CHARACTERS:
        counters.add(counters.Item(counters.DIAGNOSTIC, "ticket: longer than 4 kB, cut"))
        signed = keys.sign_ticket({**claims, "p": _short(claims["p"])}, site.site_pk)
    return browser.ticket_markup(signed)


def _page(request: HttpRequest) -> tuple[Capture, SiteConfig | None]:
    held = capture(request)
    if getattr(request, "is_preview", False) or getattr(request, "is_dummy", False):
        return held, None
    site = held.site()
    if site is None:
        counters.add(counters.Item(counters.DIAGNOSTIC, str(Reason.NO_SITE)))
    elif held.path.startswith(_admin_paths()):
        return held, None
    return held, site


def _admin_paths() -> tuple[str, ...]:
    where = ("admin", get_script_prefix(), get_urlconf(), get_language())
    rendered = current().rendered
    if where not in rendered:
        rendered[where] = tuple(_paths(ADMINS))
    paths: tuple[str, ...] = rendered[where]
    return paths


def _paths(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        try:
            path = reverse(name)
        except NoReverseMatch:
            continue
        # An admin at the root would take all pages with it; the cookie of staff is enough there.
        if path != get_script_prefix():
            yield path


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
