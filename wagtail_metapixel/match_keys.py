"""The keys of ``user_data`` as data: hashed or plain, one or many, and the rule of each.

Source: Meta's reference of customer information parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple


class MatchKey(NamedTuple):
    """A key of ``user_data``."""

    key: str
    """As Meta writes it."""
    name: str
    """As people write it; both are accepted."""
    hashed: Literal["required", "recommended", "forbidden"]
    many: bool
    rule: str
    scope: str = "all"
    """Which events may use it."""


_SHORT = "has to be a text of at most 500 characters"
_OLD = "legacy offline"
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
    MatchKey("country", "country", "required", True, "has to be a country: its ISO 3166-1 code, or its name in English"),
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
    MatchKey("anon_id", "anon_id", "forbidden", False, _SHORT, "app"),
    MatchKey("madid", "madid", "forbidden", False, _SHORT, "app/offline"),
    *(
        MatchKey(key, key, "forbidden", False, _SHORT, "business_messaging")
        for key in (
            "page_id", "page_scoped_user_id", "ctwa_clid", "whatsapp_business_account_id",
            "ig_account_id", "ig_sid",
        )
    ),
    MatchKey("f5first", "f5first", "required", False, "has to be a name", _OLD),
    MatchKey("f5last", "f5last", "required", False, "has to be a name", _OLD),
    MatchKey("fi", "fi", "required", False, "has to be a name", _OLD),
    MatchKey("dobd", "dobd", "required", False, "has to be a day, 1 to 31", _OLD),
    MatchKey("dobm", "dobm", "required", False, "has to be a month, 1 to 12", _OLD),
    MatchKey("doby", "doby", "required", False, "has to be a year, 1900 or later", _OLD),
)  # fmt: skip
USER_DATA: Mapping[str, MatchKey] = MappingProxyType({k.key: k for k in _MATCH_KEYS})

INVALID_USER_DATA_SETS: tuple[frozenset[str], ...] = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
"""An event that holds no key beyond one of these sets is refused with 2804050."""
