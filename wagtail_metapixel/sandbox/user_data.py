"""The rules for ``user_data``: who the event is about."""

from __future__ import annotations

import re
from typing import Any, Final

from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.checking import is_integer
from wagtail_metapixel.sandbox.graph_errors import invalid_event, invalid_parameter

#: A SHA-256 digest, with or without the mark that Meta's parameter builder appends.
_DIGEST: Final = re.compile(r"[0-9a-f]{64}(\.([A-Za-z0-9_-]{8}|AQ|Ag|Aw|BA|BQ|Bg))?", re.ASCII)
_ANY_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_DIGITS: Final = re.compile(r"\d+", re.ASCII)


def is_digest(value: object) -> bool:
    """64 lower-case hex digits, optionally followed by a mark of Meta's parameter builder."""
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def check_user_data(user_data: Any, path: str) -> None:
    """Raise :class:`GraphError` unless Meta can and may match a person by ``user_data``."""
    if not isinstance(user_data, dict):
        raise invalid_parameter(path, "Expected an object")
    for key, value in user_data.items():
        fact = rules.MATCH_KEYS.get(key)
        if fact is not None and value is not None:
            _check_match_key(key, fact, value, f"{path}['{key}']")
    check_customer_information(without_empty(user_data).keys() & rules.MATCH_KEYS.keys())


def without_empty(user_data: dict[str, Any]) -> dict[str, Any]:
    """``user_data`` without the keys that hold ``null``, ``""`` or ``[]``, and so say nothing."""
    return {key: value for key, value in user_data.items() if value not in (None, "", [])}


def check_customer_information(keys: set[str]) -> None:
    """Refuse with 2804050 what Meta calls too little, or too broad, to match anybody: no key, too."""
    if any(keys <= broad for broad in rules.TOO_BROAD):
        raise invalid_event(
            2804050,
            "You Haven't Added Sufficient Customer Information Parameter Data For This Event",
            "The customer information of this event fits too many people. Add an e-mail address,"
            " a phone number, the client IP address with the user agent, fbp, fbc or an"
            " external_id.",
        )


def _check_match_key(key: str, fact: rules.MatchKey, value: Any, path: str) -> None:
    if isinstance(value, list) and not fact.multiple:
        raise invalid_parameter(path, "Expected a single value")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(key, fact, item, f"{path}[{index}]")
    else:
        _check_value(key, fact, value, path)


def _check_value(key: str, fact: rules.MatchKey, value: Any, path: str) -> None:
    if fact.type == "integer":
        _check_id(key, value, path)
    elif not isinstance(value, str):
        raise invalid_parameter(path, "Expected a string")
    elif fact.hashed == "required" and not is_digest(value):
        raise invalid_parameter(path, "Expected a SHA-256 hash of 64 lower-case hex digits")
    elif fact.hashed == "forbidden" and _ANY_DIGEST.fullmatch(value):
        raise invalid_parameter(path, "Must not be hashed")


def _check_id(key: str, value: Any, path: str) -> None:
    digits = str(value) if is_integer(value) else value
    number = isinstance(digits, str) and bool(_DIGITS.fullmatch(digits))
    if key == "lead_id" and not (number and len(digits) in rules.LEAD_ID_DIGITS):
        raise invalid_event(
            2804036,
            "Invalid Lead ID",
            "A lead_id is a number of 15 to 17 digits and belongs to a lead that still exists.",
        )
    if not number:
        raise invalid_parameter(path, "Expected an integer")
