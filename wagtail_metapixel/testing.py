"""For the test suite of a shop: set a pixel up, capture what is tracked, say what it should be.

::

    use_pixel()
    grant_consent(client)
    with capture_events() as events:
        client.post("/checkout/", ...)
    events.assert_tracked("Purchase", value=Decimal("59.00"), currency="EUR", once=True)

Nothing here needs pytest, and nothing is sent. What was tracked is read from the outbox, so that
an event of an order that was rolled back does not count. ``docs/testing.md`` is the tour.
"""

from __future__ import annotations

import secrets
import time
import unittest
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.cookies import SimpleCookie
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory, override_settings
from django.utils.translation import get_supported_language_variant
from wagtail.models import Locale, Site

from wagtail_metapixel import catalogue, conf, graph_api, outbox, site_settings
from wagtail_metapixel.capturing import page, waiting
from wagtail_metapixel.capturing.capture import EventCapture
from wagtail_metapixel.capturing.event import CapturedEvent
from wagtail_metapixel.capturing.tracebacks import ends_here
from wagtail_metapixel.choices import PixelMode
from wagtail_metapixel.consent import Choice
from wagtail_metapixel.identifiers import Fbc, Fbp
from wagtail_metapixel.models import MetaPixel, MetaPixelSettings
from wagtail_metapixel.sandbox.server import SandboxServer
from wagtail_metapixel.visitor import CONSENT_COOKIE

if TYPE_CHECKING:
    from django.test import SimpleTestCase as _TestCase
else:
    _TestCase = object

PIXEL_ID = "1234567890123456"
ACCESS_TOKEN = "SANDBOX-TOKEN-1234567890"
"""What the sandbox takes for a token. Meta would not."""
TEST_HOSTS = ("testserver", "localhost", "127.0.0.1")
"""The hosts of Django's test client and of its live server."""
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0"
CLIENT_IP_ADDRESS = "203.0.113.7"
"""A public address that belongs to nobody; the test client's own is of no use to Meta."""


# Setting up


def use_pixel(
    site: Site | None = None,
    *,
    pixel_id: str = PIXEL_ID,
    consent_provider: str = "cookie",
    advanced_matching: bool = True,
    hosts: Iterable[str] = (),
    events: Iterable[str] = (),
    mode: str = PixelMode.BOTH,
    **choices: Any,
) -> MetaPixel:
    """Give ``site``, else the default one, settings and a pixel; again changes the same pixel.

    The pixel sends for the site's host, those of Django's test servers, and ``hosts``; ``events``
    are the names it gets, none meaning all; ``mode`` is ``both``, ``server`` or ``browser``.
    ``choices`` are other fields of the settings, such as
    ``phone_region="DE"``. It has no access token, so nothing can leave, see :func:`sandbox`.
    ``TypeError`` for a choice there is not, ``ValueError`` for one the settings would not take.
    """
    __tracebackhide__ = True
    choices |= {"consent_provider": consent_provider, "advanced_matching": advanced_matching}
    _check_choices(choices)
    names = [catalogue.check_event_name(name) for name in _listed("events", events)]
    with waiting.no_news():
        site = site or _a_site()
        told = dict.fromkeys([site.hostname, *TEST_HOSTS, *_listed("hosts", hosts)])
        row = MetaPixelSettings.objects.filter(site=site).first() or MetaPixelSettings(site=site)
        _save(row, choices)
        asked = {"settings": row, "pixel_id": pixel_id}
        pixel = MetaPixel.objects.filter(**asked).first() or MetaPixel(**asked)
        _save(pixel, {"hosts": "\n".join(told), "events": names, "active": True, "mode": mode})
    site_settings.clear()
    return pixel


def _check_choices(choices: Iterable[str]) -> None:
    __tracebackhide__ = True
    fields = {field.name for field in MetaPixelSettings._meta.concrete_fields} - {"id", "site"}
    for name in set(choices) - fields:
        meant = catalogue.nearest(name, [*fields, "hosts", "events", "pixel_id", "site"])
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(sorted(fields))}"
        raise TypeError(f"use_pixel() has no argument {name!r}; {hint}")


def _listed(name: str, values: Iterable[str]) -> list[str]:
    __tracebackhide__ = True
    if isinstance(values, str):
        raise ValueError(f"{name}: has to be a list of texts")  # noqa: TRY004 - as the others
    return list(values)


def _save(row: Model, choices: Mapping[str, Any]) -> None:
    """Save ``row`` with ``choices``; ``ValueError`` where the admin would refuse one."""
    __tracebackhide__ = True
    for name, value in choices.items():
        setattr(row, name, value)
    asked = [*choices, "pixel_id"]
    try:
        row.clean_fields(exclude=[f.name for f in row._meta.fields if f.name not in asked])
    except ValidationError as error:
        name, [message, *_rest] = next(iter(error.message_dict.items()))
        field: Any = row._meta.get_field(name)
        known = ", ".join(repr(value) for value, _label in field.choices or ())
        raise ValueError(f"{name}: {message}{f' There are {known}.' if known else ''}") from None
    row.save()


def _a_site() -> Site:
    site = Site.objects.order_by("-is_default_site", "pk").first()
    if site is not None:
        return site
    # Tests with real transactions leave empty tables behind: without a page, language, site.
    language = get_supported_language_variant(settings.LANGUAGE_CODE)
    Locale.objects.get_or_create(language_code=language)
    page_model: Any = Site._meta.get_field("root_page").related_model
    root = page_model.objects.first() or page_model.add_root(title="Root", slug="root")
    return Site.objects.create(hostname="testserver", root_page=root, is_default_site=True)


class Browser(Protocol):
    """What holds cookies: Django's test clients and request factories."""

    cookies: SimpleCookie


def grant_consent(client: Browser, *, fbp: str | bool = True, click_id: str = "") -> None:
    """Say yes in the browser ``client``: Django's test client, or a request factory.

    Sets the cookies that our script and endpoint would: the answer, ``_fbp`` (``False``: none, as
    where a blocker is at work), and ``_fbc`` when the visit began with a click on an ad.
    ``ValueError`` for a ``click_id`` or ``fbp`` Meta would not write.
    """
    now = int(time.time() * 1000)
    client.cookies[CONSENT_COOKIE] = f"{Choice.GRANTED}.{secrets.token_hex(16)}"
    if fbp is True and "_fbp" not in client.cookies:
        fbp = f"fb.1.{now}.{10**9 + secrets.randbelow(9 * 10**9)}"
    if isinstance(fbp, str):
        client.cookies["_fbp"] = _valid("fbp", Fbp.parse(fbp))
    if click_id:
        click = Fbc.from_fbclid(click_id, created_ms=now)
        client.cookies["_fbc"] = _valid("click_id", click)


class VisitorClient(Client):
    """Django's test client, with the headers of a browser: what it posts comes from a page."""

    page = ""
    """The page it got last."""

    def request(self, **request: Any) -> Any:
        """Send the address of the last page along, and remember this one if it is one."""
        environ = {**self.defaults, **request}
        scheme = environ.get("wsgi.url_scheme", "http")
        host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "testserver")
        here = f"{scheme}://{host}{environ.get('PATH_INFO', '/')}"
        if environ.get("REQUEST_METHOD") == "GET":
            self.page = here
        elif "HTTP_REFERER" not in environ:
            request["HTTP_REFERER"] = self.page or here
        return super().request(**request)


def visitor_client(host: str = "testserver") -> VisitorClient:
    """Return the browser of a visitor who said yes, at ``host``."""
    client = VisitorClient(
        SERVER_NAME=host, HTTP_USER_AGENT=USER_AGENT, REMOTE_ADDR=CLIENT_IP_ADDRESS
    )
    grant_consent(client)
    return client


def deny_consent(client: Browser) -> None:
    """Say no in the browser ``client``: the answer is kept, Meta's cookies are gone.

    What waits already is not withdrawn; post to the consent endpoint to see that.
    """
    client.cookies[CONSENT_COOKIE] = str(Choice.DENIED)
    for name in ("_fbp", "_fbc"):
        client.cookies.pop(name, None)


def _valid(name: str, value: Fbp | Fbc | None) -> str:
    if value is None:
        raise ValueError(f"{name}: is not what Meta writes")
    return str(value)


def visitor_request(
    path: str = "/",
    *,
    method: str = "GET",
    consent: str | None = "granted",
    fbp: str | bool = True,
    click_id: str = "",
    host: str = "testserver",
    client_ip_address: str = CLIENT_IP_ADDRESS,
    headers: Mapping[str, str] | None = None,
) -> HttpRequest:
    """Return a visitor's request, for calling ``track()`` without a view.

    ``consent`` is ``"granted"``, ``"denied"``, or ``None`` for a visitor who has not answered.
    A request other than GET comes from the page at the same address.
    """
    factory = RequestFactory(SERVER_NAME=host, REMOTE_ADDR=client_ip_address)
    if consent == Choice.GRANTED:
        grant_consent(factory, fbp=fbp, click_id=click_id)
    elif consent == Choice.DENIED:
        deny_consent(factory)
    sent = {"User-Agent": USER_AGENT}
    if method != "GET":
        sent["Referer"] = f"http://{host}{path}"
    request: HttpRequest = factory.generic(method, path, headers={**sent, **(headers or {})})
    return request


@contextmanager
def sandbox(*pixel_ids: str, strict: bool = False) -> Iterator[SandboxServer]:
    """Run the stand-in for Meta, so that ``deliver_due()`` really sends, but to this machine.

    For the pixels named, else that of :func:`use_pixel`. ``strict`` also refuses what Meta takes
    with a warning. Yields the server: ``.events()``, ``.rejections()``, ``.misbehave()``.
    """
    tokens = dict.fromkeys(pixel_ids or (PIXEL_ID,), ACCESS_TOKEN)
    with SandboxServer(pixels=tokens, strict=strict) as server:
        given = {**conf.given(), "SANDBOX": server.url, "ACCESS_TOKENS": tokens}
        with override_settings(WAGTAIL_METAPIXEL=given):
            site_settings.clear()
            try:
                yield server
            finally:
                graph_api.close()
                site_settings.clear()


# Capturing


_running: list[EventCapture] = []


@contextmanager
def capture_events(*, on_commit: bool = False, using: str | None = None) -> Iterator[EventCapture]:
    """Capture what is tracked within the block, in whatever kind of test.

    Recording is part of the caller's transaction, so nothing has to be committed to be seen. A
    shop that calls ``track()`` from ``transaction.on_commit`` in a ``TestCase`` says
    ``on_commit=True``: then all functions that wait run at the end of the block, as with
    Django's ``captureOnCommitCallbacks(execute=True)``. Otherwise none of them is touched.
    """
    capture = EventCapture(outbox.alias(using))
    site_settings.clear()
    _running.append(capture)
    try:
        with capture.listening():
            yield capture
            if on_commit:
                capture.run_on_commit()
    finally:
        _running.remove(capture)
        site_settings.clear()


def _latest() -> EventCapture:
    return _running[-1] if _running else EventCapture.of_everything(outbox.alias())


@ends_here
def assert_tracked(event_name: str, **expected: Any) -> CapturedEvent:
    """Do what :meth:`EventCapture.assert_tracked` does, in the innermost running capture.

    Without one, all that is in the outbox counts.
    """
    return _latest().assert_tracked(event_name, **expected)


@ends_here
def assert_not_tracked(event_name: str, *, before_commit: bool = False) -> None:
    """Do what :meth:`EventCapture.assert_not_tracked` does, likewise."""
    _latest().assert_not_tracked(event_name, before_commit=before_commit)


@ends_here
def assert_clean(
    *,
    ignore: Collection[str] = (),
    content_ids: Iterable[str] | None = None,
    before_commit: bool = False,
) -> None:
    """Do what :meth:`EventCapture.assert_clean` does, likewise."""
    _latest().assert_clean(ignore=ignore, content_ids=content_ids, before_commit=before_commit)


@ends_here
def assert_withheld(event_name: str, reason: str = "") -> None:
    """Do what :meth:`EventCapture.assert_withheld` does; ``RuntimeError`` without a capture."""
    _latest().assert_withheld(event_name, reason)


# Not captured: what a page declares, its browser tells

declared = page.declared
assert_declared = page.assert_declared
assert_not_declared = page.assert_not_declared


_NOT_SET_UP = (
    "Nothing is captured: call super().setUp() at the start of setUp(),"
    " and put MetaPixelTestMixin before TestCase."
)


class MetaPixelTestMixin(_TestCase):
    """Stands before ``TestCase``: each test has a pixel, and ``self.metapixel`` captures.

    ``metapixel_choices`` are the arguments of :func:`use_pixel`. ``TypeError`` for a class that
    has the mixin behind ``TestCase``, ``RuntimeError`` for a ``setUp()`` that forgets the mixin's.
    """

    metapixel_choices: Mapping[str, Any] = MappingProxyType({})
    _metapixel: EventCapture | None = None

    declared = staticmethod(declared)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse the order of bases in which nobody would call :meth:`setUp`."""
        __tracebackhide__ = True
        super().__init_subclass__(**kwargs)
        bases: list[type] = list(cls.__mro__)
        if unittest.TestCase in bases[: bases.index(MetaPixelTestMixin)]:
            raise TypeError(f"{cls.__name__}: put MetaPixelTestMixin before TestCase.")

    def setUp(self) -> None:
        """Set the pixel up and begin to capture."""
        super().setUp()
        use_pixel(**self.metapixel_choices)
        self._metapixel = self.enterContext(capture_events())

    @property
    def metapixel(self) -> EventCapture:
        """The capture of this test. ``RuntimeError`` where :meth:`setUp` was not called."""
        __tracebackhide__ = True
        if self._metapixel is None:
            raise RuntimeError(_NOT_SET_UP)
        return self._metapixel

    @ends_here
    def assert_tracked(self, event_name: str, **expected: Any) -> CapturedEvent:
        """Do what :meth:`EventCapture.assert_tracked` does, in the innermost running capture."""
        return self._innermost().assert_tracked(event_name, **expected)

    @ends_here
    def assert_not_tracked(self, event_name: str, *, before_commit: bool = False) -> None:
        """Do what :meth:`EventCapture.assert_not_tracked` does, likewise."""
        self._innermost().assert_not_tracked(event_name, before_commit=before_commit)

    @ends_here
    def assert_withheld(self, event_name: str, reason: str = "") -> None:
        """Do what :meth:`EventCapture.assert_withheld` does, likewise."""
        self._innermost().assert_withheld(event_name, reason)

    @ends_here
    def assert_clean(self, **options: Any) -> None:
        """Do what :meth:`EventCapture.assert_clean` does, likewise."""
        self._innermost().assert_clean(**options)

    @ends_here
    def assert_declared(
        self, response: HttpResponseBase | str, event_name: str, **expected: Any
    ) -> page.DeclaredEvent:
        """Do what the function :func:`assert_declared` does."""
        self._innermost()
        return page.assert_declared(response, event_name, **expected)

    @ends_here
    def assert_not_declared(self, response: HttpResponseBase | str, event_name: str) -> None:
        """Do what the function :func:`assert_not_declared` does."""
        self._innermost()
        page.assert_not_declared(response, event_name)

    def _innermost(self) -> EventCapture:
        own = self.metapixel
        return _running[-1] if _running else own
