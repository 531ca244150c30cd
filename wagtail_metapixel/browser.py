"""The browser sink: what a page holds, and how the copy of an action event reaches a browser.

Pages hold JSON islands and deferred static scripts, never inline code, and nothing that comes from
the visitor's request. An action event travels with the response of the request that caused it: in
a small cookie when the browser navigates, in a header when a script asked.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from django.db import transaction
from django.http.response import HttpResponseBase
from django.templatetags.static import static
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils.cache import patch_cache_control
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from wagtail_metapixel import conf, counters, keys, payloads, script_files
from wagtail_metapixel.choices import ConsentProvider
from wagtail_metapixel.events import Event
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.site_settings import PixelConfig, SiteConfig, current
from wagtail_metapixel.visitor import Capture

ECHO_COOKIE_PREFIX = "metapixel_e_"
SHARED_ECHO_PREFIX = "metapixel_s"
"""Before the number of the site, where the cookies of several hosts stand on one domain."""
PROBE_COOKIE = f"{ECHO_COOKIE_PREFIX}probe"
"""Asked for by the doctor only."""
ECHO_HEADER = "Metapixel-Echo"
ECHO_SECONDS = 30 * 60
ECHO_BYTES = 1024
"""All echo cookies of a browser together, names and values; or the header of a response."""
NO_ROOM = "echo: left out, the browser holds too much that it did not take"


# What a page holds


def head_markup(site: SiteConfig, host: str) -> SafeString:
    """Return the config island and the scripts, or nothing where no pixel sends for ``host``.

    Rendered once a snapshot of the settings: the bytes are the same for every visitor anyway.
    """
    pixels = site.pixels_for(host)
    where = (get_script_prefix(), get_urlconf(), get_language())
    domain = cookie_domain(host)
    # Not by host: a stranger may write a thousand of them into his requests.
    named = (conf.get("SANDBOX"), conf.get("SCRIPT_URL"), script_files.pattern())
    key = (site.site_pk, pixels, where, domain, named)
    rendered = current().rendered
    if key not in rendered:
        rendered[key] = _head_markup(site, pixels, domain)
    markup: SafeString = rendered[key]
    return markup


def _head_markup(
    site: SiteConfig, pixels: tuple[PixelConfig, ...], domain: str | None
) -> SafeString:
    if not (site.enabled and pixels and site.consent_provider):
        return SafeString("")
    return format_html(
        '<script type="application/json" id="metapixel-config">{}</script>\n{}',
        island(page_config(site, pixels, domain)),
        format_html_join(
            "\n",
            '<script defer src="{}"></script>',
            ((static(script_files.static_path(name)),) for name in scripts(site, pixels)),
        ),
    )


def page_config(
    site: SiteConfig, pixels: Collection[PixelConfig], domain: str | None = None
) -> dict[str, Any]:
    """Return what ``metapixel.js`` needs to know, the same for every visitor.

    ``domain`` is that of our cookies, where a host does not keep its own.
    """
    config: dict[str, Any] = {
        "pixels": [{"id": pixel.pixel_id, "events": _told_here(pixel)} for pixel in pixels],
        **{name: endpoint(name) for name in ("collect", "echo", "ticket", "consent")},
        **_consent_config(site),
        "echoes": _echo_prefix(site if domain else None),
        "script": conf.script_url(),
        "page_view": True,
        "gpc": site.respect_gpc,
    }
    if domain:
        config["domain"] = domain
    if site.limited_data_use:
        config["ldu"] = True
    # Of another tool nobody knows the answer before it has loaded.
    ours = site.consent_provider == ConsentProvider.COOKIE
    if site.load_before_consent and ours and not site.data_layer:
        config["early"] = True
    if site.data_layer:
        config["data_layer"] = True
    if site.automatic_events:
        config["auto_config"] = True
    if _asks_who_signed_in(site, pixels):
        config["matching"] = endpoint("matching")
    return config


def _asks_who_signed_in(site: SiteConfig, pixels: Collection[PixelConfig]) -> bool:
    told_to_meta = not site.data_layer and any(pixel.in_browser for pixel in pixels)
    return bool(site.browser_matching) and told_to_meta


def _told_here(pixel: PixelConfig) -> list[str] | None:
    """Return the events a browser tells this pixel: ``None`` for all, ``[]`` for none."""
    if not pixel.in_browser:
        return []
    return sorted(pixel.events) if pixel.events else None


def _consent_config(site: SiteConfig) -> dict[str, Any]:
    """Return which tool is asked, and by which names: nothing of it depends on the visitor."""
    config: dict[str, Any] = {"provider": site.consent_provider}
    if site.consent_provider in {ConsentProvider.TCF, ConsentProvider.FUNCTION}:
        config["mirror"] = site.consent_mirror
    if site.consent_provider == ConsentProvider.TCF:
        purposes = [int(number) for number in site.consent_category.split(",") if number.isdigit()]
        config["tool"] = {
            "purposes": purposes,
            "vendor": site.consent_vendor_id,
            "provider": site.consent_ac_provider_id,
        }
    elif site.consent_category:
        config["tool"] = {"category": site.consent_category}
    if site.consent_provider == ConsentProvider.DJANGO_COOKIE_CONSENT:
        config["choice"] = endpoint("choice")
    return config


def scripts(site: SiteConfig, pixels: Collection[PixelConfig]) -> list[str]:
    """Return the scripts that a page with these pixels loads, in order; the core comes last."""
    companions = ["first_party_cookies.js"]
    if _asks_who_signed_in(site, pixels):
        companions.append("advanced_matching.js")
    if any(pixel.in_browser for pixel in pixels):
        companions.append("meta_script.js")
    companions.append("page_swaps.js")
    if site.html_attributes:
        companions.append("html_attributes.js")
    if site.single_page:
        companions.append("single_page.js")
    return [*_consent_scripts(site), *companions, "metapixel.js"]


def _consent_scripts(site: SiteConfig) -> list[str]:
    provider = site.consent_provider
    # Also where nobody has to be asked: who need not consent may still object.
    if provider in {ConsentProvider.COOKIE, ConsentProvider.NOT_REQUIRED}:
        return ["consent_cookie.js"]
    if provider in ConsentProvider.values:
        return ["consent_watch.js", f"consent_{provider}.js"]
    return []


def noscript_markup(site: SiteConfig, host: str) -> SafeString:
    """Return an image for each pixel that hears of a page view without a script, or nothing."""
    address, pixels = endpoint("noscript"), noscript_pixels(site, host)
    if not (address and pixels):
        return SafeString("")
    sources = [address]
    if len(pixels) > 1:
        sources = [f"{address}?pixel={pixel.pixel_id}" for pixel in pixels]
    images = format_html_join(
        "", '<img hidden alt="" width="1" height="1" src="{}">', ((each,) for each in sources)
    )
    return format_html("<noscript>{}</noscript>", images)


def noscript_pixels(site: SiteConfig, host: str) -> list[PixelConfig]:
    """Return the pixels that an image may tell of a page view: none where anybody is asked."""
    if not site.enabled or site.consent_provider != ConsentProvider.NOT_REQUIRED:
        return []
    if site.data_layer:  # the tag manager tells, and has an image of its own
        return []
    return [pixel for pixel in site.pixels_for(host, "PageView") if pixel.in_browser]


def declaration_markup(text: str, site: SiteConfig) -> SafeString:
    """Return the island of one declared page event with its signature."""
    # On every product page, so without format_html: a signature is base64url by Django's own
    # making, and the text was escaped by payloads.script_safe.
    signature = keys.sign_declaration(text, site.site_pk)
    return SafeString(
        f'<script type="application/json" data-metapixel-event="{signature}">{text}</script>'
    )


def ticket_markup(ticket: str) -> SafeString:
    """Return the island with which a thank-you page asks for its event."""
    return format_html(
        '<script type="application/json" data-metapixel-ticket>{}</script>', island(ticket)
    )


def island(value: Any) -> SafeString:
    """Return ``value`` as JSON that cannot end a ``<script>`` element."""
    text = payloads.script_safe(payloads.dump(value).decode())
    return mark_safe(text)  # noqa: S308 - escaped in the line above


def endpoint(name: str) -> str:
    """Return the path of one of our endpoints, ``""`` when the site did not include our URLs."""
    try:
        return reverse(f"wagtail_metapixel:{name}")
    except NoReverseMatch:
        return ""


# The echo


def echo_on_commit(
    held: Capture,
    event: Event,
    pixel_ids: Iterable[str],
    *,
    using: str,
    may_tell: Callable[[], bool] | None = None,
    take_back: Callable[[], object] | None = None,
) -> None:
    """Hand the browser copy of ``event`` to the response, once the row is committed.

    ``may_tell`` is asked then: what can happen only once is told to a browser only once.
    ``take_back`` is called where the response has no room for it.
    """
    copy = payloads.browser_event(event, pixel_ids)

    def hand_over() -> None:
        if may_tell is not None and not may_tell():
            return
        held.echo.append(copy)
        if take_back is not None:
            held.take_back[copy["i"]] = take_back

    transaction.on_commit(hand_over, using=using, robust=True)


def attach(response: HttpResponseBase, held: Capture) -> None:
    """Put the waiting echo on ``response`` and keep every cache away from it."""
    if held.echo:
        if travels_by_header(held, response):
            response[ECHO_HEADER], left = _header(held.echo)
        else:
            left = _set_cookies(response, held)
        _leave_out(left, held)
    if held.echo or held.no_store:
        patch_cache_control(response, private=True, no_store=True)


def travels_by_header(held: Capture, response: HttpResponseBase) -> bool:
    """Tell whether the code that asked will read a header of this very response.

    Not when the answer sends the browser elsewhere: a redirect is followed unseen by scripts, and
    the HX headers make the page navigate.
    """
    if 300 <= response.status_code < 400:
        return False
    if any(name in response for name in ("HX-Redirect", "HX-Refresh", "HX-Location")):
        return False
    return held.asked_by_script


def encode(value: Any) -> str:
    """Return base64url JSON without padding: safe in a cookie and in a header."""
    return base64.urlsafe_b64encode(payloads.dump(value)).decode().rstrip("=")


def _leave_out(copies: Iterable[dict[str, Any]], held: Capture) -> None:
    """Say that there was no room, and let a thank-you page tell what can happen only once."""
    for copy in copies:
        counters.add(counters.Item(counters.DIAGNOSTIC, NO_ROOM, copy["n"]))
        if take_back := held.take_back.get(copy["i"]):
            take_back()


def _header(echo: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    value = encode(echo)
    kept = len(echo)
    if len(value) > ECHO_BYTES:
        copies = [_by_id(copy) for copy in echo]
        while len(value := encode(copies)) > ECHO_BYTES:
            copies.pop()
        kept = len(copies)
    return value, echo[kept:]


def _set_cookies(response: HttpResponseBase, held: Capture) -> list[dict[str, Any]]:
    # Where the script is blocked, nobody takes the cookies away: they must not pile up until the
    # shop's server refuses the length of the headers.
    prefix = _echo_prefix(held.site() if cookie_domain(held.host) else None)
    waiting = (item for item in held.cookies.items() if item[0].startswith(prefix))
    used = sum(len(name) + len(value) for name, value in waiting)
    for number, copy in enumerate(held.echo):
        name = prefix + copy["i"][:8]
        value = encode(copy)
        if used + len(name) + len(value) > ECHO_BYTES:
            value = encode(_by_id(copy))
        used += len(name) + len(value)
        if used > ECHO_BYTES:
            return held.echo[number:]
        set_echo_cookie(response, held, name, value)
    return []


def _echo_prefix(sharing: SiteConfig | None) -> str:
    """Return how the names of echo cookies begin; ``sharing`` is a site on a shared domain.

    Other sites below that domain are to leave them alone: they are for pixels these may not have.
    """
    return f"{SHARED_ECHO_PREFIX}{sharing.site_pk}_" if sharing else ECHO_COOKIE_PREFIX


def set_echo_cookie(response: HttpResponseBase, held: Capture, name: str, value: str) -> None:
    """Set a cookie that the browser's script is to read and to delete."""
    set_cookie(response, held, name, value, max_age=ECHO_SECONDS)


# Cookies


def cookie_domain(host: str) -> str | None:
    """Return the domain of our cookies on ``host``; ``None``: the host keeps its own.

    ``COOKIE_DOMAIN`` holds where it covers the host: another site of the deployment may have
    another domain. One that cannot be used is no domain; checks and doctor say so.
    """
    try:
        domain = conf.cookie_domain()
    except ConfigurationError:
        return None
    return domain if domain and covers(domain, host) else None


def covers(domain: str, host: str) -> bool:
    """Tell whether a cookie of ``domain`` reaches ``host``; both lower case, without port."""
    return host == domain or host.endswith(f".{domain}")


def set_cookie(
    response: HttpResponseBase,
    held: Capture,
    name: str,
    value: str,
    *,
    max_age: int | None,
    domain: str | None = None,
) -> None:
    """Set a cookie of ours for ``max_age`` seconds; every one of them goes through here.

    ``None``: until the browser is closed. Scripts read it, so it is not ``HttpOnly``. ``domain`` is
    for where none is set for all.
    """
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        path="/",
        domain=cookie_domain(held.host) or domain,
        secure=held.scheme == "https",
        samesite="Lax",
    )


def delete_cookie(response: HttpResponseBase, held: Capture, name: str) -> None:
    """Delete a cookie that :func:`set_cookie` has set."""
    response.delete_cookie(name, path="/", domain=cookie_domain(held.host), samesite="Lax")


def _by_id(copy: Mapping[str, Any]) -> dict[str, Any]:
    return {"i": copy["i"]}
