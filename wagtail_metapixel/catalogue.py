"""Meta's words as data: events, parameters, match keys, limits and errors.

The same tables decide what may be sent and write the text that says why something may not.
Source: Meta's reference of the Pixel and of the Conversions API, Graph v26.0.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple

from wagtail_metapixel.exceptions import EventError

HOUR = 3600
DAY = 24 * HOUR

# Limits. Seconds and characters unless said otherwise; "ours" where Meta publishes none.

MAX_EVENTS_PER_REQUEST = 1000
MAX_AGE = 7 * DAY
MAX_AGE_PHYSICAL_STORE = 62 * DAY
DEDUPLICATION_WINDOW = 48 * HOUR
OFFLINE_DEDUPLICATION_WINDOW = 7 * DAY
BROWSER_PREFERRED_WINDOW = 300
COOKIE_LIFETIME = 90 * DAY
CUSTOM_NAME_MAX = 50
PARTNER_AGENT_MAX = 22
PARTNER_AGENT_MIN_LETTERS = 2
FUTURE_TOLERANCE = 300
"""Ours: a clock this far ahead is set to now without a word."""
FUTURE_MAX = DAY
"""Ours: a clock further ahead, or a wrong time zone, is set to now and reported up to here."""
EVENT_ID_MAX = 64
"""Ours."""
URL_MAX = 2048
"""Ours."""
TEXT_MAX = 500
"""Ours: characters of one text parameter."""
LIST_MAX = 500
"""Ours: items of ``contents``, ``content_ids`` or a list of a custom property."""
PROPERTIES_MAX = 100
"""Ours: keys of ``custom_data``."""
PROPERTY_NAME_MAX = 50
"""Ours."""
VALUE_CAP = 10**12
"""Ours: a larger amount is sent, and reported as improbable."""
VALUE_MAX = 2**53 - 1
"""The largest number that JavaScript, and so the browser's copy, holds exactly."""


class Limit(NamedTuple):
    """A limit, for people."""

    meaning: str
    amount: int
    unit: str
    ours: bool = False
    """Meta publishes none, or a wider one."""


LIMITS = (
    Limit("events in one request", MAX_EVENTS_PER_REQUEST, "events"),
    Limit("age of an event", MAX_AGE, "seconds"),
    Limit("age of an event of a physical store", MAX_AGE_PHYSICAL_STORE, "seconds"),
    Limit("two copies with the same id count once", DEDUPLICATION_WINDOW, "seconds"),
    Limit("the same, for a physical store", OFFLINE_DEDUPLICATION_WINDOW, "seconds"),
    Limit("the browser's copy wins if both arrive", BROWSER_PREFERRED_WINDOW, "seconds"),
    Limit("life of the cookies _fbp and _fbc", COOKIE_LIFETIME, "seconds"),
    Limit("name of a custom event", CUSTOM_NAME_MAX, "characters"),
    Limit("a clock ahead, without a word", FUTURE_TOLERANCE, "seconds", ours=True),
    Limit("a clock ahead, reported", FUTURE_MAX, "seconds", ours=True),
    Limit("an event id", EVENT_ID_MAX, "characters", ours=True),
    Limit("an address", URL_MAX, "characters", ours=True),
    Limit("a text parameter", TEXT_MAX, "characters", ours=True),
    Limit("contents, content_ids or a list of your own", LIST_MAX, "items", ours=True),
    Limit("parameters of one event", PROPERTIES_MAX, "keys", ours=True),
    Limit("the key of a property of your own", PROPERTY_NAME_MAX, "characters", ours=True),
    Limit("an amount that is not called improbable", VALUE_CAP, "", ours=True),
    Limit("the largest number", VALUE_MAX, "", ours=True),
)


class Problem(NamedTuple):
    """Something that is wrong with an event. ``rule`` says what is expected, never a value."""

    field: str
    rule: str
    code: int | None = None
    """Meta's error subcode, where Meta would answer with one."""
    fatal: bool = False
    """Meta would refuse the event: store it as rejected."""
    mistake: bool = False
    """The developer's mistake, not bad data: raise it while ``DEBUG`` is on."""


class StandardEvent(NamedTuple):
    """An event Meta knows by name."""

    name: str
    description: str
    born: Literal["browser", "server"]
    """``browser``: belongs to a page and may be declared in it. ``server``: an action."""
    required: tuple[str, ...] = ()
    recommended: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    catalogue_ads: tuple[tuple[str, ...], ...] = ()
    """Catalogue ads need one parameter of each group. A wish, not a reason to refuse."""


_MONEY = ("value", "currency")
_PRODUCT = (*_MONEY, "content_type", "content_ids")
_PRODUCTS = (("contents", "content_ids"),)

_EVENTS = (
    StandardEvent("PageView", "A page was shown.", "browser"),
    StandardEvent(
        "AddPaymentInfo", "The customer gave payment details at the checkout.", "server",
        recommended=_MONEY, optional=("content_ids", "contents"),
    ),
    StandardEvent(
        "AddToCart", "A product went into the cart.", "server",
        recommended=_PRODUCT, optional=("contents",), catalogue_ads=_PRODUCTS,
    ),
    StandardEvent(
        "AddToWishlist", "A product was put on a wish list.", "server",
        recommended=_MONEY, optional=("content_ids", "contents"),
    ),
    StandardEvent(
        "CompleteRegistration", "An account was created, or a registration completed.", "server",
        recommended=_MONEY, optional=("status", "content_name"),
    ),
    StandardEvent("Contact", "Somebody called, wrote or opened a chat.", "browser"),
    StandardEvent("CustomizeProduct", "A product was put together to taste.", "browser"),
    StandardEvent("Donate", "Money was donated.", "server", recommended=_MONEY),
    StandardEvent("FindLocation", "Somebody looked for a branch to visit.", "browser"),
    StandardEvent(
        "InitiateCheckout", "The customer began the checkout.", "server",
        recommended=(*_MONEY, "num_items"), optional=("content_ids", "contents"),
    ),
    StandardEvent(
        "Lead", "Somebody left details to be contacted.", "server",
        recommended=_MONEY, optional=("content_name", "content_category"),
    ),
    StandardEvent(
        "Purchase", "An order was placed and paid, or will be.", "server",
        required=("currency", "value"),
        recommended=("content_type", "content_ids", "contents", "num_items", "order_id"),
        optional=("delivery_category", "net_revenue"), catalogue_ads=_PRODUCTS,
    ),
    StandardEvent("Schedule", "An appointment was made.", "server"),
    StandardEvent(
        "Search", "Somebody searched the site.", "browser",
        recommended=("search_string",),
        optional=("content_ids", "content_type", "contents", "currency", "value"),
        catalogue_ads=_PRODUCTS,
    ),
    StandardEvent(
        "StartTrial", "A free trial began.", "server", recommended=(*_MONEY, "predicted_ltv"),
    ),
    StandardEvent("SubmitApplication", "Somebody applied for something offered.", "server"),
    StandardEvent(
        "Subscribe", "A paid subscription began.", "server",
        recommended=(*_MONEY, "predicted_ltv"),
    ),
    StandardEvent(
        "ViewContent", "A page that matters, such as a product, was seen.", "browser",
        recommended=_PRODUCT, optional=("contents",), catalogue_ads=_PRODUCTS,
    ),
)  # fmt: skip
STANDARD_EVENTS: Mapping[str, StandardEvent] = MappingProxyType({e.name: e for e in _EVENTS})


class CustomEvent(NamedTuple):
    """An event Meta does not know, to which this package gives a meaning."""

    name: str
    description: str
    parameters: Mapping[str, str]
    """What each parameter says here."""


REFUND = CustomEvent(
    "Refund",
    "Money was given back. For audiences, such as people to leave out; changes no number at Meta,"
    " which knows no refunds. Born on the server.",
    MappingProxyType(
        {
            "value": "the amount given back, as a positive number; the sign of another is dropped",
            "currency": "its currency",
            "order_id": "the order it belongs to",
            "contents": "what came back",
        }
    ),
)
CUSTOM_EVENTS: Mapping[str, CustomEvent] = MappingProxyType({REFUND.name: REFUND})

RESERVED_NAMES = frozenset(
    {"AppendAttribution", "AppendValue", "Microdata", "PixelInitialized", "SubscribedButtonClick"}
)
"""Names Meta's own script and features use."""

_CUSTOM_NAME = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_ -]*[A-Za-z0-9_-])?")
_SEPARATORS = str.maketrans("", "", " _-")
NEAR_MISS = 0.9
"""How alike two names have to be, from 0 to 1, before one is taken for a slip of the other."""
SERIOUS_NEAR_MISS = 0.85
"""The same, where a slip costs the event its meaning or its protection."""


def folded(name: str) -> str:
    """Return ``name`` without case, blanks, ``_``, ``-`` and the ``s`` of a plural."""
    return name.translate(_SEPARATORS).lower().rstrip("s")


def nearest(name: str, known: Iterable[str], *, likeness: float = NEAR_MISS) -> str:
    """Return the one of ``known`` that ``name`` is another spelling or a slip of, else ``""``."""
    by_fold = {folded(each): each for each in known}
    bare = folded(name)
    close = [bare] if bare in by_fold else difflib.get_close_matches(bare, by_fold, 1, likeness)
    return by_fold[close[0]] if close else ""


_EVENT_NAMES = {folded(name): name for name in (*STANDARD_EVENTS, *CUSTOM_EVENTS)}
_RESERVED = frozenset(map(folded, RESERVED_NAMES))


def check_event_name(name: object) -> str:
    """Return the name of a standard or custom event, or raise ``EventError``.

    Meta compares names letter by letter, so ``purchase`` would be a custom event that no
    campaign can be optimised for. A name that is only like one of Meta's is accepted; see
    :func:`event_name_problem`.
    """
    if not isinstance(name, str):
        raise EventError("event_name", "has to be a text, such as Purchase")
    name = str.__str__(name)
    if name in STANDARD_EVENTS or name in CUSTOM_EVENTS:
        return name
    if complaint := _complaint(name[: CUSTOM_NAME_MAX + 1]):
        raise EventError("event_name", complaint)
    return name


@lru_cache(maxsize=256)
def _complaint(name: str) -> str:
    if folded(name) in _RESERVED:
        return "is a name Meta's own script uses; choose another one"
    if meant := _EVENT_NAMES.get(folded(name)):
        return f"is not known to Meta; did you mean {meant!r}?"
    if len(name) > CUSTOM_NAME_MAX or not _CUSTOM_NAME.fullmatch(name):
        return (
            f"has to be a standard event, or 1 to {CUSTOM_NAME_MAX} of A-Z a-z 0-9 _ - and inner"
            " spaces"
        )
    return ""


@lru_cache(maxsize=256)
def event_name_problem(name: str) -> Problem | None:
    """Return a doubt about a name that was checked: it may be a slip. The event is sent.

    A longer word that holds one of Meta's, such as ``Unsubscribe``, means something else, save
    for its past tense.
    """
    if name in STANDARD_EVENTS or name in CUSTOM_EVENTS:
        return None
    meant = nearest(name, _EVENT_NAMES.values(), likeness=SERIOUS_NEAR_MISS)
    bare, near = folded(name), folded(meant)
    if not meant or (near in bare and bare not in (f"{near}d", f"{near}ed")):
        return None
    return Problem("event_name", f"is not known to Meta; did you mean {meant!r}?")


def is_standard(name: str) -> bool:
    """Tell whether Meta knows ``name``; custom events go through ``trackCustom``."""
    return name in STANDARD_EVENTS


def is_page_event(name: str) -> bool:
    """Tell whether a page may declare ``name``. Actions, and a refund, never; others may."""
    event = STANDARD_EVENTS.get(name)
    return event.born == "browser" if event else name not in CUSTOM_EVENTS


class ActionSource(NamedTuple):
    """Where an event happened."""

    name: str
    description: str
    max_age: int = MAX_AGE
    """Seconds between the event and its arrival at Meta."""
    needs: tuple[str, ...] = ()
    """What Meta's documents ask for, as paths below the event."""
    refusal: str = ""
    """Why this package does not send such events, though Meta takes them."""

    @property
    def supported(self) -> bool:
        """Whether this package sends such events."""
        return not self.refusal


_ACTION_SOURCES = (
    ActionSource(
        "website", "On the web site.", needs=("event_source_url", "user_data.client_user_agent"),
    ),
    ActionSource(
        "app", "In a mobile app.", needs=("app_data", "app_data.extinfo"),
        refusal="is not sent by this package: Meta wants the device's own data with it, which the"
        " app has to send",
    ),
    ActionSource("email", "By e-mail."),
    ActionSource("phone_call", "On the telephone."),
    ActionSource("chat", "In a chat."),
    ActionSource("physical_store", "In a shop, in person.", max_age=MAX_AGE_PHYSICAL_STORE),
    ActionSource("system_generated", "By itself, such as a renewal, or a lead's next stage."),
    ActionSource(
        "business_messaging", "In Messenger, Instagram or WhatsApp, from an advertisement.",
        needs=("messaging_channel",),
        refusal="is not sent by this package: Meta wants the channel's own ids and event names"
        " with it; for a chat on the site use chat",
    ),
    ActionSource("other", "Somewhere else."),
)  # fmt: skip
ACTION_SOURCES: Mapping[str, ActionSource] = MappingProxyType({a.name: a for a in _ACTION_SOURCES})

MALFORMED = 2804019
"""Meta's subcode for a parameter of the wrong form."""


def action_source_problem(name: object) -> Problem | None:
    """Return what is wrong with an ``action_source``, or ``None``."""
    source = ACTION_SOURCES.get(name) if isinstance(name, str) else None
    if source is None:
        sent = ", ".join(known.name for known in _ACTION_SOURCES if known.supported)
        return Problem("action_source", f"has to be one of {sent}", MALFORMED, True, True)
    if source.refusal:
        return Problem("action_source", source.refusal, None, True, True)
    return None


REQUIRED_EVENT_KEYS = ("event_name", "event_time", "user_data", "action_source")
EVENT_KEYS = frozenset(
    (
        *REQUIRED_EVENT_KEYS, "event_source_url", "event_id", "custom_data", "opt_out",
        "data_processing_options", "data_processing_options_country",
        "data_processing_options_state", "referrer_url", "original_event_data",
        "customer_segmentation", "app_data", "attribution_data", "messaging_channel",
        "advanced_measurement_table",
    )
)  # fmt: skip
"""Meta refuses an event with any other key at its top level."""

EVENT_OPTIONS = (
    "event_source_url", "referrer_url", "opt_out", "data_processing_options",
    "data_processing_options_country", "data_processing_options_state", "original_event_data",
)  # fmt: skip
"""Keys of an event that ``track()`` takes among its parameters."""
LDU_STATES: Mapping[str, int] = MappingProxyType(
    {
        state: number
        for number, state in enumerate("CA CO CT FL OR TX MT DE NE NH NJ MN MD RI".split(), 1000)
    }
)
"""States of the US whose law ``LDU`` answers to, as ``data_processing_options_state``."""
