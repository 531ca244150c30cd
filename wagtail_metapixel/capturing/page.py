"""The page events that a response declares. A browser tells them later; here nobody does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, NamedTuple, NoReturn

from django.http.response import HttpResponseBase

from wagtail_metapixel import catalogue, keys, site_settings
from wagtail_metapixel.addresses import EMAIL
from wagtail_metapixel.capturing import names, remedies
from wagtail_metapixel.capturing.expectation import differences, shown
from wagtail_metapixel.capturing.tracebacks import ends_here
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.visitor import capture


class DeclaredEvent(NamedTuple):
    """One page event as a page declares it."""

    event_name: str
    custom_data: Mapping[str, Any]
    """The parameters, as JSON numbers, texts and lists."""


class _Page(HTMLParser):
    """What stands in a page: ``islands`` are signatures and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.islands: list[tuple[str, str]] = []
        self.is_whole = self.has_head = self._is_inside = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.is_whole |= tag == "html"
        self.has_head |= given.get("id") == "metapixel-config"
        self._is_inside = tag == "script" and "data-metapixel-event" in given
        if self._is_inside:
            self.islands.append((given["data-metapixel-event"] or "", ""))

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            signature, text = self.islands[-1]
            self.islands[-1] = signature, text + data

    def handle_endtag(self, _tag: str) -> None:
        self._is_inside = False


def declared(response: HttpResponseBase | str) -> list[DeclaredEvent]:
    """Return the page events that ``response`` declares, in the order of the page.

    ``response`` is what Django's test client or a view returns, or HTML, such as a template that
    was rendered. A declaration with a signature that is not ours for this site counts for nothing.
    """
    return _read(response, _page(response), ours=True)


@ends_here
def assert_declared(
    response: HttpResponseBase | str,
    event_name: str,
    *,
    once: bool = False,
    count: int | None = None,
    **expected: Any,
) -> DeclaredEvent:
    """Assert that the page declares such an event, and return the first of them.

    ``expected`` are parameters, compared as ``assert_tracked()`` does. ``once``: and no other of
    that name; ``count``: so many of that kind. A whole page needs ``{% metapixel %}``, too.
    ``EventError`` for a name that is misspelt, or an event that no page declares.
    """
    _check(event_name, expected)
    check_number(once, count)
    page = _page(response)
    events = _read(response, page, ours=True)
    told = [event for event in events if event.event_name == event_name]
    names.check(expected, {name for event in told for name in event.custom_data})
    wrong = [list(differences(expected, event.custom_data.get)) for event in events]
    found = [e for e, differs in zip(events, wrong, strict=True) if e in told and not differs]
    if not found:
        headline = f"{event_name} is not declared{' as expected' if told else ''}."
        _fail(headline, response, page, {i: wrong[i] for i, e in enumerate(events) if e in told})
    number = len(told if once else found)
    if number != (1 if once else count or number):
        wanted = "once" if once else count
        _fail(f"{event_name} is declared {number} times, not {wanted}.", response, page)
    if page.is_whole and not page.has_head:
        _fail(f"{event_name} is declared, but no script on this page tells it.", response, page)
    return found[0]


@ends_here
def assert_not_declared(response: HttpResponseBase | str, event_name: str) -> None:
    """Assert that the page does not declare an event of this name, with whatever signature.

    Fails where no pixel is set up, for then no page declares anything.
    """
    _check(event_name, {})
    page = _page(response)
    if any(event.event_name == event_name for event in _read(response, page)):
        _fail(f"{event_name} is declared.", response, page)
    if not remedies.has_pixel():
        _fail(f"{event_name} would not be declared in any case.", response, page)


def check_number(once: bool, count: int | None) -> None:
    """Raise ``EventError`` for numbers that contradict each other, or count nothing."""
    if once and count not in (None, 1):
        raise EventError("count", "contradicts once=True; say one of them")
    if count is not None and count < 1:
        raise EventError("count", "has to be 1 or more; another assert says that there is none")


def _check(event_name: str, expected: Mapping[str, Any]) -> None:
    catalogue.check_event_name(event_name)
    if not catalogue.is_page_event(event_name):
        raise EventError("event_name", f"{event_name} is told by track(): use assert_tracked()")
    names.check_items(expected.get("contents"))
    for name in expected:
        if name in names.NEVER_DECLARED:
            raise EventError(name, "is never declared by a page; its parameters are")


# Reading


def _page(response: HttpResponseBase | str) -> _Page:
    if isinstance(response, str):
        return _Page(response)
    if callable(render := getattr(response, "render", None)):
        render()  # what a view returns, and no handler saw
    content: Any = getattr(response, "getvalue", lambda: b"")()
    return _Page(content.decode(response.charset or "utf-8", "replace"))


def _read(
    response: HttpResponseBase | str, page: _Page, *, ours: bool = False
) -> list[DeclaredEvent]:
    sites = _sites(response)
    return [
        event
        for signature, text in page.islands
        if not ours or any(keys.declaration_is_ours(text, signature, site) for site in sites)
        for event in _parsed(text)
    ]


def _sites(response: HttpResponseBase | str) -> list[int]:
    """Return the site the response is of, or all where nobody knows the request."""
    request = getattr(response, "wsgi_request", None) or getattr(response, "asgi_request", None)
    if request is None:
        return [site.site_pk for site in site_settings.current().sites]
    site = capture(request).site()
    return [site.site_pk] if site else []


def _parsed(text: str) -> Iterator[DeclaredEvent]:
    try:
        body = json.loads(text)
        yield DeclaredEvent(body["event_name"], body.get("custom_data", {}))
    except (ValueError, TypeError, KeyError, AttributeError):
        return


# Saying what there is instead


def _fail(
    headline: str,
    response: HttpResponseBase | str,
    page: _Page,
    wrong: Mapping[int, list[str]] | None = None,
) -> NoReturn:
    lines = [headline, *_account(response, page, wrong or {})]
    raise AssertionError(EMAIL.sub("<e-mail>", "\n".join(lines)))


def _account(
    response: HttpResponseBase | str, page: _Page, wrong: Mapping[int, list[str]]
) -> Iterator[str]:
    events = _read(response, page, ours=True)
    yield "Declared:" if events else "The page declares nothing."
    for number, event in enumerate(events):
        told = ", ".join(f"{name}={shown(value)}" for name, value in event.custom_data.items())
        yield f"  {event.event_name} {told}".rstrip()
        yield from (f"    - {difference}" for difference in wrong.get(number, ()))
    if others := len(page.islands) - len(events):
        yield f"Declared, but not signed by this installation for this site: {others}"
    if not remedies.has_pixel():
        yield remedies.NO_PIXEL
    elif not page.islands:
        yield "The template needs {% metapixel_event %}, and this host a pixel: use_pixel(hosts=)"
    if page.is_whole and not page.has_head:
        yield "The page has no scripts of ours: {% metapixel %} prints them, in its <head>."
    if not isinstance(response, str) and response.status_code != 200:
        yield f"The response has the status {response.status_code}."
