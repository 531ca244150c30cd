"""What Meta accepts, as data.

The package's own catalogue holds the same facts a second time. That is on purpose: the sandbox
judges what the catalogue produced, so the two must not share a mistake. ``tests/data`` is the
third witness, and both are tested against it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

STANDARD_EVENTS: Final = frozenset(
    {
        "AddPaymentInfo",
        "AddToCart",
        "AddToWishlist",
        "CompleteRegistration",
        "Contact",
        "CustomizeProduct",
        "Donate",
        "FindLocation",
        "InitiateCheckout",
        "Lead",
        "PageView",
        "Purchase",
        "Schedule",
        "Search",
        "StartTrial",
        "SubmitApplication",
        "Subscribe",
        "ViewContent",
    }
)
VALUE_EVENTS: Final = frozenset({"Purchase"})
#: The names documented for business messaging; every other one is refused.
MESSAGING_EVENTS: Final = frozenset(
    {"AddToCart", "InitiateCheckout", "LeadSubmitted", "Purchase", "ViewContent"}
)
MAX_EVENT_NAME: Final = 50

REQUIRED_EVENT_KEYS: Final = ("event_name", "event_time", "user_data", "action_source")
EVENT_KEYS: Final = frozenset(
    {
        *REQUIRED_EVENT_KEYS,
        "event_source_url",
        "event_id",
        "custom_data",
        "opt_out",
        "data_processing_options",
        "data_processing_options_country",
        "data_processing_options_state",
        "referrer_url",
        "original_event_data",
        "customer_segmentation",
        "app_data",
        "attribution_data",
        "messaging_channel",
        "advanced_measurement_table",
    }
)

DAY: Final = 86_400
#: Oldest ``event_time`` in days, by ``action_source``.
ACTION_SOURCES: Final = {
    "website": 7,
    "app": 7,
    "email": 7,
    "phone_call": 7,
    "chat": 7,
    "physical_store": 62,
    "system_generated": 7,
    "business_messaging": 7,
    "other": 7,
}
#: Meta publishes no tolerance for clocks that run ahead. A minute forgives a clock that drifts,
#: and shows milliseconds or a wrong time zone at once.
FUTURE_TOLERANCE: Final = 60

MAX_EVENTS: Final = 1000
#: Ours, not Meta's: a record is walked by recursion.
MAX_DEPTH: Final = 12
DEDUPLICATION_WINDOW: Final = 2 * DAY
BROWSER_PREFERRED_WITHIN: Final = 300
OFFLINE_DEDUPLICATION_WINDOW: Final = 7 * DAY


class MatchKey(NamedTuple):
    """One key of ``user_data``. ``hashed`` is ``required``, ``recommended`` or ``forbidden``."""

    hashed: str
    multiple: bool = False
    type: str = "string"


_HASHED_LIST: Final = MatchKey("required", multiple=True)
_HASHED: Final = MatchKey("required")
_PLAIN: Final = MatchKey("forbidden")
MATCH_KEYS: Final = {
    **dict.fromkeys(
        ("em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country"), _HASHED_LIST
    ),
    "external_id": MatchKey("recommended", multiple=True),
    "client_ip_address": _PLAIN,
    "client_user_agent": _PLAIN,
    "fbc": _PLAIN,
    "fbp": _PLAIN,
    "subscription_id": _PLAIN,
    "fb_login_id": MatchKey("forbidden", type="integer"),
    "lead_id": MatchKey("forbidden", type="integer"),
    **dict.fromkeys(
        (
            "anon_id",
            "madid",
            "page_id",
            "page_scoped_user_id",
            "ctwa_clid",
            "whatsapp_business_account_id",
            "ig_account_id",
            "ig_sid",
        ),
        _PLAIN,
    ),
    **dict.fromkeys(("f5first", "f5last", "fi", "dobd", "dobm", "doby"), _HASHED),
}
#: An event that carries nothing beyond one of these says too little about the person.
TOO_BROAD: Final = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

#: Type of each standard key of ``custom_data``; any other key may hold anything.
CUSTOM_DATA_TYPES: Final = {
    "content_type": "string",
    "content_name": "string",
    "content_category": "string",
    "num_items": "integer",
    "order_id": "string",
    "predicted_ltv": "number",
    "search_string": "string",
    "status": "boolean|string",
    "delivery_category": "string",
    "net_revenue": "number",
    "item_number": "string",
    "lead_event_source": "string",
    "event_source": "string",
    "customer_segmentation": "string",
}
CONTENT_TYPES: Final = {
    "item_price": "number",
    "delivery_category": "string",
    "title": "string",
    "description": "string",
    "brand": "string",
    "category": "string",
}
_SEGMENTS: Final = ("business", "business_line", "product_area", "medium")
CHOICES: Final = {
    "delivery_category": frozenset({"in_store", "curbside", "home_delivery"}),
    "event_source": frozenset({"crm"}),
    "customer_segmentation": frozenset(
        {
            *(f"new_customer_to_{segment}" for segment in _SEGMENTS),
            *(f"existing_customer_to_{segment}" for segment in _SEGMENTS),
            "customer_in_loyalty_program",
        }
    ),
    "messaging_channel": frozenset({"messenger", "whatsapp", "instagram"}),
}

#: Limited Data Use: 0 lets Meta find the place, 1 is the United States.
LDU_COUNTRIES: Final = frozenset({0, 1})
LDU_STATES: Final = frozenset({0, *range(1000, 1014)})

EXTINFO_ITEMS: Final = 16
EXTINFO_VERSIONS: Final = frozenset({"a2", "i2"})
EXTINFO_OS_VERSION: Final = 4

MAX_PARTNER_AGENT: Final = 22
MIN_PARTNER_AGENT_LETTERS: Final = 2
LEAD_ID_DIGITS: Final = range(15, 18)

_CURRENCY_CODES: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD
CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD
KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO
NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE
SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND
VUV WST XAF XAD XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
#: Units of account in which people are billed, though nobody carries them in a purse.
_FUND_CODES: Final = "BOV CHE CHW CLF COU MXV USN UYI UYW"
#: Withdrawn in 2025 and 2026. Meta refers to ISO 4217 and not to an edition of it, and the shops
#: that still price in one are not to be told apart from those that are late with their records.
_WITHDRAWN_CODES: Final = "ANG BGN"
#: ISO 4217, in the widest reading that Meta's documents allow: without metals and test codes.
CURRENCIES: Final = frozenset(f"{_CURRENCY_CODES} {_FUND_CODES} {_WITHDRAWN_CODES}".split())
