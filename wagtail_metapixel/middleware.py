"""The middleware: takes a raw copy of the request, and hands the echo to the response.

Stands above every cache, because caches change requests (wagtail-cache strips cookies and
``fbclid``) and must not store what belongs to one visitor.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from wagtail_metapixel import browser, conf, declarations, site_settings, visitor

logger = logging.getLogger("wagtail_metapixel")

STAFF_SECONDS = 365 * 24 * 3600

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class MetaPixelMiddleware:
    """Works under WSGI and ASGI. Adds no query, no cookie and no header to an ordinary page."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._acall(request)
        held = visitor.capture(request, by_middleware=True)
        response = self.get_response(request)
        assert isinstance(response, HttpResponseBase)  # noqa: S101 - the sync half of the contract
        return _finish(request, response, held)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        held = visitor.capture(request, by_middleware=True)
        if not site_settings.is_fresh():
            # A template tag in an async view may not read the database; so it is read before.
            await sync_to_async(site_settings.refresh)()
        response = self.get_response(request)
        assert not isinstance(response, HttpResponseBase)  # noqa: S101 - the async half
        return _finish(request, await response, held)


def notice_staff(request: HttpRequest | None, user: Any, **_kwargs: Any) -> None:
    """Mark the browser of somebody who may enter the admin. Receiver of ``user_logged_in``."""
    try:
        if request is not None and user.has_perm("wagtailadmin.access_admin"):
            visitor.capture(request).is_staff = True
    except Exception as error:  # noqa: BLE001 - nobody's login may fail because of us
        logger.error("The login of staff went unnoticed: %s", type(error).__name__)


def notice_login(request: HttpRequest | None, **_kwargs: Any) -> None:
    """Note that a visitor has signed in. Receiver of ``user_logged_in``."""
    _note_signed_in(request, True)


def notice_logout(request: HttpRequest | None, **_kwargs: Any) -> None:
    """Note that a visitor has signed out. Receiver of ``user_logged_out``."""
    _note_signed_in(request, False)


def _note_signed_in(request: HttpRequest | None, signed_in: bool) -> None:
    try:
        if request is not None:
            visitor.capture(request).signed_in = signed_in
    except Exception as error:  # noqa: BLE001 - as above
        logger.error("A login or logout went unnoticed: %s", type(error).__name__)


def _mark_signed_in(response: HttpResponseBase, held: visitor.Capture) -> None:
    """Say in a valueless cookie whether anybody has signed in, for pages may not ask."""
    site = held.site()
    if held.signed_in and not held.is_staff and site is not None and site.browser_matching:
        until_closed = settings.SESSION_EXPIRE_AT_BROWSER_CLOSE
        max_age = None if until_closed else settings.SESSION_COOKIE_AGE
        browser.set_cookie(response, held, visitor.USER_COOKIE, "", max_age=max_age)
    elif visitor.USER_COOKIE in held.cookies:
        browser.delete_cookie(response, held, visitor.USER_COOKIE)
    else:
        return
    held.no_store = True


def _finish(
    request: HttpRequest, response: HttpResponseBase, held: visitor.Capture
) -> HttpResponseBase:
    try:
        if held.signed_in is not None:
            _mark_signed_in(response, held)
    except Exception as error:  # noqa: BLE001 - a finished response must reach the visitor
        logger.error("The mark of a login was lost: %s", type(error).__name__)
    try:
        browser.attach(response, held)
        if held.is_staff:
            # Staff browse their own shop all day; pages obey the cookie without asking who it is.
            browser.set_cookie(response, held, visitor.OFF_COOKIE, "", max_age=STAFF_SECONDS)
    except Exception as error:  # noqa: BLE001 - a finished response must reach the visitor
        logger.error("The echo was lost: %s", type(error).__name__)
    try:
        if conf.get("INJECT"):
            return _with_head(request, response, held)
    except Exception as error:  # noqa: BLE001 - as above
        logger.error("The page stays without its pixel: %s", type(error).__name__)
    return response


def _with_head(
    request: HttpRequest, response: HttpResponseBase, held: visitor.Capture
) -> HttpResponseBase:
    from wagtail_metapixel import injection  # noqa: PLC0415 - most sites use the template tag

    if not injection.is_on() or held.method != "GET" or held.head_is_printed:
        return response

    def head() -> str:
        return "" if injection.holds_head(response) else declarations.head(request)

    injected = injection.inject(response, head)
    if not injected or held.echo or held.no_store:
        return response
    return injection.not_modified(request, response)
