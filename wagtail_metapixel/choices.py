"""What the owner of a site chooses among, where it is no table's own matter."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models
from django.utils.translation import gettext_lazy as _


class ConsentProvider(models.TextChoices):
    """Where the visitor's answer comes from."""

    #: Nothing was chosen yet: nothing is sent.
    NOT_CHOSEN = "", _("Not chosen yet: nothing is sent")
    #: The cookie ``metapixel_consent``, set by our own endpoint.
    COOKIE = "cookie", _("A banner of this site, through our own cookie")
    #: Its cookie, on the server; its status by way of our endpoint in the browser.
    DJANGO_COOKIE_CONSENT = "django_cookie_consent", "django-cookie-consent"
    #: Its cookie ``wtm``.
    WAGTAIL_TAG_MANAGER = "wagtail_tag_manager", "wagtail-tag-manager"
    #: Its cookie ``CookieConsent``.
    COOKIEBOT = "cookiebot", "Cookiebot"
    #: Its cookies ``OptanonConsent`` and ``OptanonAlertBoxClosed``.
    ONETRUST = "onetrust", "OneTrust"
    #: Its cookie ``cookieyes-consent``.
    COOKIEYES = "cookieyes", "CookieYes"
    #: Any tool that speaks IAB TCF v2, through ``__tcfapi`` in the browser and our mirror cookie.
    TCF = "tcf", _("Another tool that speaks IAB TCF v2")
    #: A function of the site's own: in the browser, on the server, or both.
    FUNCTION = "function", _("A function of this site (named by the developer)")
    #: The owner states that no opt-in is needed, and why.
    NOT_REQUIRED = "not_required", _("Not required here (state why below)")


#: What each tool calls advertising when nobody renamed it. Of TCF: the purposes Meta needs, storing
#: on the device, an advertising profile, advertising by it, and measuring it.
USUAL_CATEGORIES: Mapping[str, str] = {
    ConsentProvider.DJANGO_COOKIE_CONSENT: "marketing",
    ConsentProvider.WAGTAIL_TAG_MANAGER: "marketing",
    ConsentProvider.COOKIEBOT: "marketing",
    ConsentProvider.ONETRUST: "C0004",
    ConsentProvider.COOKIEYES: "advertisement",
    ConsentProvider.TCF: "1,3,4,7",
}


class PageViewMirror(models.TextChoices):
    """What the server reports of page views."""

    ALL = "all", _("Every page view")
    SAMPLED = "sampled", _("One page view in ten")
    NONE = "none", _("No page views (the browser still reports them)")


class MatchingField(models.TextChoices):
    """What may be told of a signed-in visitor, by Meta's keys."""

    EMAIL = "em", _("E-mail address")
    PHONE = "ph", _("Phone number")
    FIRST_NAME = "fn", _("First name")
    LAST_NAME = "ln", _("Last name")
    GENDER = "ge", _("Gender")
    DATE_OF_BIRTH = "db", _("Date of birth")
    CITY = "ct", _("City")
    STATE = "st", _("State or province")
    ZIP = "zp", _("Postcode")
    COUNTRY = "country", _("Country")
    #: An HMAC of the account's key, made by us.
    EXTERNAL_ID = "external_id", _("Number of the account, made unreadable")


class PixelMode(models.TextChoices):
    """Who tells Meta of a pixel's events."""

    #: Both, under one id.
    BOTH = "both", _("Browser and server")
    #: No script of Meta's on a page.
    SERVER = "server", _("Server only (no script of Meta's)")
    #: No access token.
    BROWSER = "browser", _("Browser only (no access token needed)")
