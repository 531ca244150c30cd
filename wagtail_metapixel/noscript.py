"""The image that tells Meta of a page view where the browser runs no script.

It stands in ``<noscript>`` on pages that a cache may keep, so its address is our own: the gate is
asked when a browser asks for it, and then the answer leads to Meta's image, or nowhere.
"""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from wagtail_metapixel import browser, conf, consent, recording, visitor
from wagtail_metapixel.consent import Choice
from wagtail_metapixel.door import RefusedRequestError, public, within_limits
from wagtail_metapixel.site_settings import SiteConfig
from wagtail_metapixel.visitor import Capture

META_IMAGE = "https://www.facebook.com/tr"
EVENT = "PageView"

_METHODS = ("GET", "HEAD")
# Said by browsers of today, where the page is encrypted or of this machine.
_ACCEPTED = {"Sec-Fetch-Site": ("", "same-origin"), "Sec-Fetch-Dest": ("", "image")}


@public
def image(request: HttpRequest) -> HttpResponse:
    """Answer 302 to Meta's image where the gate says yes, else 204.

    Never a cookie, never stored, never a 500, and never a way to another host than Meta's.
    """
    held = visitor.capture(request)
    if held.method not in _METHODS:
        raise RefusedRequestError(405, "not a GET", Allow=", ".join(_METHODS))
    site = held.site()
    pixel_id = _pixel_id(request, held, site) if site and _is_for_a_page(held) else ""
    if site is None or not pixel_id:
        return HttpResponse(status=204)
    response = HttpResponseRedirect(_address(pixel_id, site))
    # Django's default would keep the shop's own name from Meta. The page stays unsaid.
    response["Referrer-Policy"] = "strict-origin-when-cross-origin"
    return response


def _is_for_a_page(held: Capture) -> bool:
    if any(held.header(name) not in accepted for name, accepted in _ACCEPTED.items()):
        raise RefusedRequestError(204, "another origin")
    # Nobody has looked at a page that the browser only fetched in case.
    return "prefetch" not in held.header("Sec-Purpose")


def _pixel_id(request: HttpRequest, held: Capture, site: SiteConfig) -> str:
    """Return the pixel that hears of this view, ``""`` when none does."""
    within_limits(held, site, status=204)
    decision = consent.decide(site, EVENT, held=held)
    if decision.reason:
        recording.withheld(EVENT, site, decision.reason)
        return ""
    if decision.choice is not Choice.NOT_REQUIRED:
        return ""
    ours = [pixel.pixel_id for pixel in browser.noscript_pixels(site, held.host)]
    asked = request.GET.get("pixel", ours[0] if len(ours) == 1 else "")
    return asked if asked in ours else ""


def _address(pixel_id: str, site: SiteConfig) -> str:
    # The sandbox's script reports to where it came from.
    script = conf.script_url()
    parts = urlsplit(script)
    base = f"{parts.scheme}://{parts.netloc}/tr" if conf.is_loopback(script) else META_IMAGE
    told = {"id": pixel_id, "ev": EVENT, "noscript": "1"}
    if site.limited_data_use:
        told |= {"dpo": "LDU", "dpoco": "0", "dpost": "0"}
    return f"{base}?{urlencode(told)}"
