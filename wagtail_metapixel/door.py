"""The door to our addresses: what every request of a browser has to pass.

No form token stands in a cached page, so none is asked for: each request has to come from our own
pages (same origin), is small, is answered with ``no-store``, and can say nothing that matters. A
refused request touches no database and sets no cookie; nothing behind this door ever answers 500.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.utils.cache import patch_cache_control
from django.views.decorators.csrf import csrf_exempt

from wagtail_metapixel import counters, limits, visitor
from wagtail_metapixel.site_settings import SiteConfig
from wagtail_metapixel.visitor import Capture

logger = logging.getLogger("wagtail_metapixel")

BODY_BYTES = 8192
DEPTH_MAX = 6
TEXT_MAX = 4096

_CONTENT_TYPES = frozenset({"application/json", "text/plain"})

Body = dict[str, Any]
View = Callable[[HttpRequest], HttpResponse]


class RefusedRequestError(Exception):
    """A request that is turned away, with its status and a word for the counters."""

    def __init__(self, status: int, word: str, **headers: str) -> None:
        super().__init__(word)
        self.status = status
        self.word = word
        self.headers = headers


class Call(NamedTuple):
    """A request that was let in."""

    request: HttpRequest
    held: Capture
    site: SiteConfig
    body: Body

    def text(self, name: str) -> str:
        """Return what the body says under ``name``, ``""`` when it is no text or too long."""
        value = self.body.get(name)
        return value if isinstance(value, str) and len(value) <= TEXT_MAX else ""

    def __repr__(self) -> str:
        # For error reports: nothing of the person.
        return f"Call(site_pk={self.site.site_pk})"


def door(answer: Callable[[Call], HttpResponse], *, is_choice: bool = False) -> View:
    """Make a view of ``answer``: checks at the door, ``no-store`` on the way out, never a 500.

    ``is_choice``: it takes a visitor's answer, which no traffic of others may keep out.
    """

    @functools.wraps(answer)
    def checked(request: HttpRequest) -> HttpResponse:
        held = visitor.capture(request)
        site = _own_site(held)
        _same_origin(held)
        within_limits(held, site, is_choice=is_choice)
        return answer(Call(request, held, site, _body(request)))

    return public(checked)


def public(answer: View) -> View:
    """Make a view of ``answer``, which may raise: ``no-store`` on the way out, never a 500."""

    @csrf_exempt
    @functools.wraps(answer)
    def view(request: HttpRequest) -> HttpResponse:
        try:
            response = answer(request)
        except RefusedRequestError as refused:
            counters.add(counters.Item(counters.REFUSED, refused.word))
            response = HttpResponse(status=refused.status, headers=refused.headers)
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


# Checks at the door


def _own_site(held: Capture) -> SiteConfig:
    if held.method != "POST":
        raise RefusedRequestError(405, "not a POST", Allow="POST")
    site = held.site()
    if site is None:
        raise RefusedRequestError(404, "no site")
    if visitor.OFF_COOKIE in held.cookies:
        raise RefusedRequestError(204, "staff")
    return site


def _same_origin(held: Capture) -> None:
    fetch_site = held.header("Sec-Fetch-Site")
    if fetch_site and fetch_site != "same-origin":
        raise RefusedRequestError(403, "another origin")
    origin = held.header("Origin") or held.header("Referer")
    if not origin and not fetch_site:
        raise RefusedRequestError(403, "no origin")
    if origin and not _is_own_origin(origin, held):
        raise RefusedRequestError(403, "another origin")


def within_limits(
    held: Capture, site: SiteConfig, *, is_choice: bool = False, status: int = 429
) -> None:
    """Raise :class:`RefusedRequestError` where an address or a site asks for too much."""
    if whose := limits.exceeded(held, site, is_choice=is_choice):
        raise RefusedRequestError(status, f"too many requests of one {whose} in a minute")


def _is_own_origin(origin: str, held: Capture) -> bool:
    # The scheme is not compared: behind a proxy that ends TLS, ours may be the wrong one.
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == held.netloc


def _body(request: HttpRequest) -> Body:
    if (request.content_type or "").lower() not in _CONTENT_TYPES:
        raise RefusedRequestError(415, "content type")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or -1)
    except ValueError:
        length = -1
    if length < 0:
        raise RefusedRequestError(411, "no length")
    if length > BODY_BYTES:
        raise RefusedRequestError(413, "too long")
    try:
        # Decoded here: json.loads would guess UTF-16 and forgive a byte order mark.
        parsed = json.loads(request.body.decode())
    except (ValueError, RecursionError, RawPostDataException, OSError):
        raise RefusedRequestError(400, "not JSON") from None
    if not isinstance(parsed, dict) or _is_deeper(parsed, DEPTH_MAX):
        raise RefusedRequestError(400, "not a flat object")
    return parsed


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(item, depth - 1) for item in inner)
