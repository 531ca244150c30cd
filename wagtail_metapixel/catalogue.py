"""Meta's words as data: events, parameters, match keys, limits and errors.

The same tables decide what may be sent and write the text that says why something may not.
Source: Meta's reference of the Pixel and of the Conversions API, Graph v26.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
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
BROWSER_PREFERRED_WINDOW = 300
COOKIE_LIFETIME = 90 * DAY
CUSTOM_NAME_MAX = 50
PARTNER_AGENT_MAX = 22
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


@dataclass(frozen=True, slots=True)
class StandardEvent:
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

RESERVED_NAMES = frozenset(
    {"AppendAttribution", "AppendValue", "Microdata", "PixelInitialized", "SubscribedButtonClick"}
)
"""Names Meta's own script and features use."""

_CUSTOM_NAME = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_ -]*[A-Za-z0-9_-])?")
_SEPARATORS = str.maketrans("", "", " _-")
_BARE_NAMES = {name.lower(): name for name in STANDARD_EVENTS}


def check_event_name(name: object) -> str:
    """Return the name of a standard or custom event, or raise ``EventError``.

    Meta compares names letter by letter, so ``purchase`` would be a custom event that no
    campaign can be optimised for.
    """
    if not isinstance(name, str):
        raise EventError("event_name", "has to be a text, such as Purchase")
    name = str.__str__(name)
    if name in STANDARD_EVENTS:
        return name
    if name in RESERVED_NAMES:
        raise EventError("event_name", "is a name Meta's own script uses; choose another one")
    if standard := _BARE_NAMES.get(name.translate(_SEPARATORS).lower()):
        raise EventError("event_name", f"is not known to Meta; did you mean {standard!r}?")
    if len(name) > CUSTOM_NAME_MAX or not _CUSTOM_NAME.fullmatch(name):
        raise EventError(
            "event_name",
            f"has to be a standard event, or 1 to {CUSTOM_NAME_MAX} of A-Z a-z 0-9 _ - and inner"
            " spaces",
        )
    return name


def is_standard(name: str) -> bool:
    """Tell whether Meta knows ``name``; custom events go through ``trackCustom``."""
    return name in STANDARD_EVENTS


def is_page_event(name: str) -> bool:
    """Tell whether a page may declare ``name``. Custom events may; standard actions never."""
    event = STANDARD_EVENTS.get(name)
    return event is None or event.born == "browser"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A key of ``custom_data`` that Meta gives a meaning."""

    name: str
    kind: Literal["money", "currency", "ids", "contents", "type", "choice", "text", "count", "flag"]
    rule: str
    choices: frozenset[str] = frozenset()


CONTENT_TYPES = frozenset(
    "product product_group hotel flight destination vehicle home_listing media_title"
    " local_service_business".split()
)
DELIVERY_CATEGORIES = frozenset({"in_store", "curbside", "home_delivery"})
_SEGMENTS = ("business", "business_line", "product_area", "medium")
CUSTOMER_SEGMENTS = frozenset(
    {"customer_in_loyalty_program"}
    | {f"{known}_customer_to_{part}" for known in ("new", "existing") for part in _SEGMENTS}
)
_AMOUNT = "has to be an amount of 0 or more: a Decimal, an int, a float, or a text such as '12.30'"
_TEXT = f"has to be a text; {TEXT_MAX} characters are kept"

_PARAMETERS = (
    Parameter("value", "money", _AMOUNT),
    Parameter("currency", "currency", "has to be an ISO 4217 code of three letters, such as EUR"),
    Parameter("content_ids", "ids", "has to be a list of product ids"),
    Parameter("contents", "contents", "has to be a list of {'id', 'quantity', 'item_price'}"),
    Parameter("content_type", "type", "has to be product or product_group", CONTENT_TYPES),
    Parameter("content_name", "text", _TEXT),
    Parameter("content_category", "text", _TEXT),
    Parameter("num_items", "count", "has to be a whole number of 0 or more"),
    Parameter("order_id", "text", _TEXT),
    Parameter("predicted_ltv", "money", _AMOUNT),
    Parameter("search_string", "text", _TEXT),
    Parameter("status", "flag", "has to be True, False or a text"),
    Parameter("delivery_category", "choice", "has to be one of the choices", DELIVERY_CATEGORIES),
    Parameter("net_revenue", "money", "has to be an amount; it may be negative"),
    Parameter("item_number", "text", _TEXT),
    Parameter("lead_event_source", "text", _TEXT),
    Parameter("event_source", "choice", "has to be one of the choices", frozenset({"crm"})),
    Parameter("customer_segmentation", "choice", "has to be one of the choices", CUSTOMER_SEGMENTS),
)
PARAMETERS: Mapping[str, Parameter] = MappingProxyType({p.name: p for p in _PARAMETERS})


@dataclass(frozen=True, slots=True)
class MatchKey:
    """A key of ``user_data``."""

    key: str
    """As Meta writes it."""
    name: str
    """As people write it; both are accepted."""
    hashed: Literal["required", "recommended", "forbidden"]
    many: bool
    rule: str


_SHORT = "has to be a text of at most 500 characters"
_MATCH_KEYS = (
    MatchKey("em", "email", "required", True, "has to be one e-mail address"),
    MatchKey(
        "ph", "phone", "required", True,
        "has to be a phone number of 7 to 15 digits with its country code, such as +48 601 234 567",
    ),
    MatchKey("fn", "first_name", "required", True, "has to be a name"),
    MatchKey("ln", "last_name", "required", True, "has to be a name"),
    MatchKey(
        "db", "date_of_birth", "required", True,
        "has to be a date in the past: a date object or YYYY-MM-DD",
    ),
    MatchKey("ge", "gender", "required", True, "has to be f or m"),
    MatchKey("ct", "city", "required", True, "has to be a name with letters in it"),
    MatchKey("st", "state", "required", True, "has to be a name with letters in it"),
    MatchKey("zp", "zip", "required", True, "has to be a postcode of 2 to 20 letters and digits"),
    MatchKey("country", "country", "required", True, "has to be a two-letter ISO 3166-1 code"),
    MatchKey("external_id", "external_id", "recommended", True, _SHORT),
    MatchKey(
        "client_ip_address", "client_ip_address", "forbidden", False,
        "has to be a public IPv4 or IPv6 address",
    ),
    MatchKey("client_user_agent", "client_user_agent", "forbidden", False, "has to be a text"),
    MatchKey(
        "fbc", "fbc", "forbidden", False,
        "has to be fb.<index>.<milliseconds>.<click id>, as the cookie _fbc holds it",
    ),
    MatchKey(
        "fbp", "fbp", "forbidden", False,
        "has to be fb.<index>.<milliseconds>.<digits>, as the cookie _fbp holds it",
    ),
    MatchKey("subscription_id", "subscription_id", "forbidden", False, _SHORT),
    MatchKey("fb_login_id", "fb_login_id", "forbidden", False, "has to be a number"),
    MatchKey("lead_id", "lead_id", "forbidden", False, "has to be a number of 15 to 17 digits"),
    *(
        MatchKey(key, key, "forbidden", False, _SHORT)
        for key in (
            "anon_id", "madid", "page_id", "page_scoped_user_id", "ctwa_clid",
            "whatsapp_business_account_id", "ig_account_id", "ig_sid",
        )
    ),
    # Only old offline events use these.
    MatchKey("f5first", "f5first", "required", False, "has to be a name"),
    MatchKey("f5last", "f5last", "required", False, "has to be a name"),
    MatchKey("fi", "fi", "required", False, "has to be a name"),
    MatchKey("dobd", "dobd", "required", False, "has to be a day, 1 to 31"),
    MatchKey("dobm", "dobm", "required", False, "has to be a month, 1 to 12"),
    MatchKey("doby", "doby", "required", False, "has to be a year, 1900 or later"),
)  # fmt: skip
USER_DATA: Mapping[str, MatchKey] = MappingProxyType({k.key: k for k in _MATCH_KEYS})

INVALID_USER_DATA_SETS: tuple[frozenset[str], ...] = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
"""An event that holds no key beyond one of these sets is refused with 2804050."""


@dataclass(frozen=True, slots=True)
class ActionSource:
    """Where an event happened."""

    name: str
    max_age: int = MAX_AGE
    """Seconds between the event and its arrival at Meta."""
    needs: tuple[str, ...] = ()
    """What Meta's documents ask for, as paths below the event."""


_ACTION_SOURCES = (
    ActionSource("website", needs=("event_source_url", "user_data.client_user_agent")),
    ActionSource("app", needs=("app_data", "app_data.extinfo")),
    ActionSource("email"),
    ActionSource("phone_call"),
    ActionSource("chat"),
    ActionSource("physical_store", max_age=MAX_AGE_PHYSICAL_STORE),
    ActionSource("system_generated"),
    ActionSource("business_messaging", needs=("messaging_channel",)),
    ActionSource("other"),
)
ACTION_SOURCES: Mapping[str, ActionSource] = MappingProxyType({a.name: a for a in _ACTION_SOURCES})

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

# ISO 4217, every active code that has a minor unit: no metals, no XDR, XTS or XXX.
_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD
        CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS
        GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD
        LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB
        PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
        SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW
        ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
CURRENCIES: Mapping[str, int] = MappingProxyType(
    {code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()}
)
"""Decimal places of each currency."""


@dataclass(frozen=True, slots=True)
class MetaError:
    """An answer of Meta's, for people."""

    meaning: str
    remedy: str


_TOKEN = "Make a new token in the Events Manager and save it."
_WAIT = "Nothing to do: sending goes on by itself."
_EVENT = "Mend the event where it is made; this one will not be sent again."
ERRORS: Mapping[tuple[int, int | None], MetaError] = MappingProxyType(
    {
        (1, None): MetaError("Meta has a fault.", _WAIT),
        (2, None): MetaError("Meta is down for the moment.", _WAIT),
        (4, None): MetaError("The app behind the token makes too many calls.", _WAIT),
        (10, None): MetaError("The token may not do this.", "Give its user access to the pixel."),
        (17, None): MetaError("The token's user makes too many calls.", _WAIT),
        (100, None): MetaError("Meta did not understand the request.", _EVENT),
        (100, 33): MetaError(
            "No such pixel, or the token has no right to it.",
            "Compare the pixel id, and give the token's user access to the pixel.",
        ),
        (100, 2804003): MetaError("The event is too old.", "See why it waited so long."),
        (100, 2804004): MetaError("The event lies in the future.", "Check the server's clock."),
        (100, 2804008): MetaError("An item of contents has no id.", _EVENT),
        (100, 2804009): MetaError("A Purchase has no value.", _EVENT),
        (100, 2804010): MetaError("A Purchase has no currency.", _EVENT),
        (100, 2804019): MetaError("A parameter has the wrong form.", _EVENT),
        (100, 2804023): MetaError("A value came without its currency.", _EVENT),
        (100, 2804036): MetaError("A lead_id is not, or no longer, known.", _EVENT),
        (100, 2804050): MetaError(
            "Too little is known about the person.",
            "Send an e-mail address, a phone number, fbp or an external_id along.",
        ),
        (102, None): MetaError("The token has expired.", _TOKEN),
        (190, None): MetaError("The token cannot be read, or was withdrawn.", _TOKEN),
        (190, 460): MetaError("The token ended with a change of password.", _TOKEN),
        (190, 463): MetaError("The token has expired.", _TOKEN),
        (200, None): MetaError("The token may not do this.", "Give its user access to the pixel."),
        (368, None): MetaError("Meta has blocked this for a breach of policy.", "Ask Meta."),
        (613, None): MetaError("Too many calls.", _WAIT),
        (803, None): MetaError("There is no such pixel.", "Compare the pixel id."),
        (80004, None): MetaError("The ad account makes too many calls.", _WAIT),
    }
)
"""By ``(code, subcode)``; look up ``(code, None)`` when a subcode is not listed."""
