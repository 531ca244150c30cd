"""What to do in a test about an event that the gate withheld, by reason."""

from __future__ import annotations

from collections.abc import Mapping

from wagtail_metapixel import site_settings
from wagtail_metapixel.consent import Reason

REMEDIES: Mapping[str, str] = {
    Reason.NO_SITE: "is there a Wagtail site for this host? Call use_pixel()",
    Reason.DISABLED: "call use_pixel(enabled=True)",
    Reason.NO_PIXEL: "call use_pixel(), and look at its events=",
    Reason.UNSET: "call use_pixel()",
    Reason.HOST: "name the host in use_pixel(hosts=[...])",
    Reason.STAFF: "somebody with access to the admin logged in here: take another client",
    Reason.GPC: "the request says Sec-GPC: 1",
    Reason.NO_PROVIDER: "call use_pixel()",
    Reason.UNKNOWN: "no consent for this browser: call grant_consent(client)",
    Reason.DENIED: "this browser said no: call grant_consent(client)",
    Reason.NO_VISITOR: "no request, and nobody was kept: call remember(request, key) at the"
    " checkout, or give track() a consent=",
    Reason.NO_COOKIES: "a request without cookies, and nobody was kept: call"
    " grant_consent(client), or remember(request, key) at the checkout, or give track() a consent=",
    Reason.NO_MATCHING: "call use_pixel(advanced_matching=True)",
    Reason.CROWDED: "fewer rows may wait, or a higher PAGE_EVENTS_WAITING",
    Reason.NO_IDENTIFIER: "grant_consent(client) gives the browser an _fbp; user_data= helps, too",
}

NO_PIXEL = "No pixel is set up: call use_pixel(), or take the fixture metapixel."


def has_pixel() -> bool:
    """Tell whether any site has a pixel; without one, whatever is said not to happen is true."""
    return any(site.pixels for site in site_settings.current().sites)
