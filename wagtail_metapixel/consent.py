"""The gate: the one place that decides whether anything may be recorded or sent at all.

It is asked before anything personal is parsed, and it is closed unless every question is answered
with yes: a site, switched on, a pixel that sends for this host, no staff browser, no opt-out
signal, and a consent choice. Unknown is no.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from wagtail_metapixel import conf, consent_cookies
from wagtail_metapixel.choices import ConsentProvider
from wagtail_metapixel.site_settings import PixelConfig, SiteConfig
from wagtail_metapixel.visitor import CONSENT_COOKIE, OFF_COOKIE, Capture, Visitor

logger = logging.getLogger("wagtail_metapixel")


class Choice(StrEnum):
    """The visitor's answer."""

    GRANTED = "granted"
    DENIED = "denied"
    #: Not asked, not answered, or not readable. Counts as no.
    UNKNOWN = "unknown"
    #: The owner states that none is needed.
    NOT_REQUIRED = "not_required"


class Reason(StrEnum):
    """Why an event was held back, in words that counters and the doctor show."""

    NO_SITE = "no Wagtail site for this host"
    DISABLED = "switched off for this site"
    NO_PIXEL = "no pixel chose this event"
    UNSET = "no pixel is set for this site"
    HOST = "no pixel sends for this host"
    STAFF = "staff browser"
    GPC = "Global Privacy Control"
    NO_PROVIDER = "no consent choice made in the settings"
    UNKNOWN = "consent unknown"
    DENIED = "consent denied"
    NO_VISITOR = "no visitor known and no consent stated"
    NO_COOKIES = "the request carries no cookie of this site, and nobody was kept"
    NO_IDENTIFIER = "nothing to recognise the person by"
    CROWDED = "too many events wait for Meta already"
    NO_MATCHING = "advanced matching is off, and nothing else tells who it was"


class Decision(NamedTuple):
    """The gate's answer. ``reason`` is ``None`` when the way is open."""

    reason: Reason | None
    choice: Choice = Choice.UNKNOWN
    proof: str = ""
    pixels: tuple[PixelConfig, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the event may go on."""
        return self.reason is None


Provider = Callable[[Capture, SiteConfig], tuple[Choice, str]]
"""Reads the visitor's answer from a request's raw copy: the choice, and the id of its proof."""


def decide(
    site: SiteConfig | None,
    event_name: str | None,
    *,
    held: Capture | None = None,
    visitor: Visitor | None = None,
    stated: str | None = None,
) -> Decision:
    """Decide about one event of ``site``, or about any when ``event_name`` is ``None``.

    The person is ``visitor``, else whoever made the request behind ``held``. ``stated`` is a
    decision that the caller kept from earlier (``"granted"``), for work without a request.
    """
    if site is None:
        return Decision(Reason.NO_SITE)
    if not site.enabled:
        return Decision(Reason.DISABLED)
    host = visitor.host if visitor else held.host if held else site.hostname
    if not site.pixels_for(host):
        return Decision(Reason.HOST if site.pixels else Reason.UNSET)
    pixels = site.pixels_for(host, event_name)
    if not pixels:
        return Decision(Reason.NO_PIXEL)
    choice, proof, reason = _answer(site, held, visitor, stated)
    return Decision(reason, choice, proof, pixels)


def _answer(
    site: SiteConfig, held: Capture | None, visitor: Visitor | None, stated: str | None
) -> tuple[Choice, str, Reason | None]:
    if held is not None:
        if OFF_COOKIE in held.cookies:
            return Choice.UNKNOWN, "", Reason.STAFF
        if site.respect_gpc and held.header("Sec-GPC") == "1":
            return Choice.DENIED, "", Reason.GPC
        if stated is not None and ask(held, site)[0] is Choice.DENIED:
            # Kept from earlier, or a visitor's own word of now: the later one counts.
            return Choice.DENIED, "", Reason.DENIED
    if stated is not None:
        choice, proof = _choice(stated), ""
    elif visitor is not None:
        choice, proof = _choice(visitor.consent), visitor.consent_proof
    elif held is not None:
        choice, proof = ask(held, site)
    else:
        return Choice.UNKNOWN, "", Reason.NO_VISITOR
    return choice, proof, _reason(site, choice)


def ask(held: Capture, site: SiteConfig) -> tuple[Choice, str]:
    """Ask the site's provider. A provider that raises is a no."""
    provider = _PROVIDERS.get(site.consent_provider)
    if provider is None:
        return Choice.UNKNOWN, ""
    try:
        return provider(held, site)
    except Exception as error:  # noqa: BLE001 - a site's own function must not break its pages
        logger.error("The consent provider raised %s: taken as no.", type(error).__name__)
        return Choice.UNKNOWN, ""


def ask_tool(held: Capture, site: SiteConfig) -> Choice:
    """Return what the cookie of the site's consent tool says, whatever was told to us beside it.

    ``unknown`` for providers that have no such cookie. For the endpoint that tells a browser what
    stands in a cookie no script may read.
    """
    reader = _READERS.get(site.consent_provider)
    return _read(reader, held, site) if reader else Choice.UNKNOWN


def _reason(site: SiteConfig, choice: Choice) -> Reason | None:
    if site.consent_provider == ConsentProvider.NOT_CHOSEN:
        return Reason.NO_PROVIDER
    if choice is Choice.NOT_REQUIRED and site.consent_provider != ConsentProvider.NOT_REQUIRED:
        return Reason.UNKNOWN
    return {Choice.UNKNOWN: Reason.UNKNOWN, Choice.DENIED: Reason.DENIED}.get(choice)


def _choice(text: str) -> Choice:
    try:
        return Choice(text)
    except ValueError:
        return Choice.UNKNOWN


# Providers


def _from_cookie(held: Capture, _site: SiteConfig) -> tuple[Choice, str]:
    told = [cookies.get(CONSENT_COOKIE, "") for cookies in held.cookie_readings()]
    choice = _agreed(map(_word, told))
    proof = told[0].partition(".")[2]
    return choice, proof[:32] if choice is Choice.GRANTED and proof.isalnum() else ""


def _word(value: str) -> Choice:
    word = value.partition(".")[0]
    return Choice(word) if word in (Choice.GRANTED, Choice.DENIED) else Choice.UNKNOWN


def _agreed(choices: Iterable[Choice]) -> Choice:
    """Return what several values of one cookie say together: a no, wherever it stands, is a no."""
    found = set(choices)
    if Choice.DENIED in found:
        return Choice.DENIED
    return found.pop() if len(found) == 1 else Choice.UNKNOWN


def _not_required(held: Capture, site: SiteConfig) -> tuple[Choice, str]:
    # Who need not be asked may still object.
    objected = _from_cookie(held, site)[0] is Choice.DENIED
    return (Choice.DENIED if objected else Choice.NOT_REQUIRED), ""


def _from_tool(held: Capture, site: SiteConfig) -> tuple[Choice, str]:
    choice = _read(_READERS[site.consent_provider], held, site)
    return _unless_objected(choice, held, site), ""


def _from_function(held: Capture, site: SiteConfig) -> tuple[Choice, str]:
    function = conf.function("CONSENT_PROVIDER")
    if function is None:
        # The site's function is one of the browser, and our file wrote down what it said.
        mirrored = _read(consent_cookies.mirror, held, site)
        return _unless_objected(mirrored, held, site), ""
    answer = function(held)
    choice = _choice(answer) if isinstance(answer, str) else Choice.UNKNOWN
    return _unless_objected(choice, held, site), ""


def _unless_objected(choice: Choice, held: Capture, site: SiteConfig) -> Choice:
    # metapixel.revoke() reaches us and not the tool. Our consent file takes the cookie of it away
    # once the tool itself says no, so that a later yes counts again.
    objected = _from_cookie(held, site)[0] is Choice.DENIED
    yes = choice in (Choice.GRANTED, Choice.NOT_REQUIRED)
    return Choice.DENIED if objected and yes else choice


def _read(reader: consent_cookies.Reader, held: Capture, site: SiteConfig) -> Choice:
    # The mirror belongs to one tool and its names; the tools' own cookies are read by the category.
    name = site.consent_mirror if reader is consent_cookies.mirror else site.consent_category
    words = {True: Choice.GRANTED, False: Choice.DENIED, None: Choice.UNKNOWN}
    return _agreed(words[reader(cookies, name)] for cookies in held.cookie_readings())


def _from_tcf(held: Capture, site: SiteConfig) -> tuple[Choice, str]:
    if site.consent_vendor_id is None and site.consent_ac_provider_id is None:
        return Choice.UNKNOWN, ""
    return _from_tool(held, site)


_READERS: dict[str, consent_cookies.Reader] = {
    ConsentProvider.DJANGO_COOKIE_CONSENT: consent_cookies.django_cookie_consent,
    ConsentProvider.WAGTAIL_TAG_MANAGER: consent_cookies.wagtail_tag_manager,
    ConsentProvider.COOKIEBOT: consent_cookies.cookiebot,
    ConsentProvider.ONETRUST: consent_cookies.onetrust,
    ConsentProvider.COOKIEYES: consent_cookies.cookieyes,
    ConsentProvider.TCF: consent_cookies.mirror,
}
_PROVIDERS: dict[str, Provider] = {
    **dict.fromkeys(_READERS, _from_tool),
    ConsentProvider.TCF: _from_tcf,
    ConsentProvider.COOKIE: _from_cookie,
    ConsentProvider.FUNCTION: _from_function,
    ConsentProvider.NOT_REQUIRED: _not_required,
}
