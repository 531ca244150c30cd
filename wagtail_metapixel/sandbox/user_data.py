"""The rules for ``user_data``: who the event is about.

Meta refuses a value of the wrong type, and an event that is left with too little. A value of the
right type in the wrong form - plain text where a hash belongs, a hash where plain text belongs, an
address that is none - it takes, warns of, and cannot match anybody by.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any, Final

from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.checking import is_integer
from wagtail_metapixel.sandbox.graph_errors import invalid_event, invalid_parameter

_APPENDIX: Final = r"(\.([A-Za-z0-9_-]{8}|AQ|Ag|Aw|BA|BQ|Bg))?"
#: A SHA-256 digest, with or without the mark that Meta's parameter builder appends.
_DIGEST: Final = re.compile(r"[0-9a-f]{64}" + _APPENDIX, re.ASCII)
_ANY_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_DIGITS: Final = re.compile(r"\d+", re.ASCII)
_BROWSER_ID: Final = re.compile(r"fb\.\d\.\d{13}\.\d+" + _APPENDIX, re.ASCII)
_CLICK_ID: Final = re.compile(r"fb\.\d\.\d{13}\.[^.\s]+" + _APPENDIX)
_MARK: Final = re.compile(_APPENDIX + r"$")
_NOTHING: Final[tuple[object, ...]] = (None, "", [])


def is_digest(value: object) -> bool:
    """64 lower-case hex digits, optionally followed by a mark of Meta's parameter builder."""
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def check_user_data(user_data: Any, path: str) -> None:
    """Raise :class:`GraphError` unless Meta can and may match a person by ``user_data``."""
    if not isinstance(user_data, dict):
        raise invalid_parameter(path, "must be an object")
    for key, value in user_data.items():
        fact = rules.MATCH_KEYS.get(key)
        if fact is not None and value is not None:
            _check_match_key(key, fact, value, f"{path}['{key}']")
    check_customer_information(usable_keys(user_data))


def without_empty(user_data: dict[str, Any]) -> dict[str, Any]:
    """``user_data`` without ``null``, ``""`` and ``[]``, alone or in a list: they say nothing."""
    kept = {key: list(_items(value)) for key, value in user_data.items()}
    return {
        key: items if isinstance(user_data[key], list) else user_data[key]
        for key, items in kept.items()
        if items
    }


def usable_keys(user_data: dict[str, Any]) -> set[str]:
    """The match keys of ``user_data`` that hold at least one value in its documented form."""
    return {
        key
        for key, value in user_data.items()
        if key in rules.MATCH_KEYS and any(has_form(key, item) for item in _items(value))
    }


def has_form(key: str, value: object) -> bool:
    """Whether Meta could match a person by this one ``value`` of ``key``."""
    hashed = rules.MATCH_KEYS[key].hashed
    if hashed == "required":
        return is_digest(value)
    if hashed == "forbidden" and _ANY_DIGEST.fullmatch(str(value)):
        return False
    if key == "client_ip_address":
        return _is_address(str(value))
    pattern = {"fbp": _BROWSER_ID, "fbc": _CLICK_ID}.get(key)
    return pattern is None or bool(pattern.fullmatch(str(value)))


def without_plain_text(user_data: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What may be kept of checked ``user_data``, and the keys that came in plain text."""
    kept, unhashed = without_empty(user_data), []
    for key in [key for key in kept if _is_hashed(key)]:
        items = list(_items(kept[key]))
        digests = [item for item in items if is_digest(item)]
        if digests != items:
            unhashed.append(key)
            del kept[key]
            kept |= {key: digests} if digests else {}
    return kept, tuple(sorted(unhashed))


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


def _is_hashed(key: str) -> bool:
    return key in rules.MATCH_KEYS and rules.MATCH_KEYS[key].hashed == "required"


def _items(value: Any) -> Iterator[Any]:
    """The values of one key, alone or in a list; ``null`` and ``""`` are none."""
    for item in value if isinstance(value, list) else [value]:
        if item not in _NOTHING:
            yield item


def _check_match_key(key: str, fact: rules.MatchKey, value: Any, path: str) -> None:
    if isinstance(value, list) and not fact.multiple:
        raise invalid_parameter(path, "must be a single value")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(key, fact, item, f"{path}[{index}]")
    else:
        _check_value(key, fact, value, path)


def _check_value(key: str, fact: rules.MatchKey, value: Any, path: str) -> None:
    if value is None:
        return
    if fact.type == "integer":
        _check_id(key, value, path)
    elif not isinstance(value, str):
        raise invalid_parameter(path, "must be a string")


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
        raise invalid_parameter(path, "must be an integer")


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(_MARK.sub("", value))
    except ValueError:
        return False
    return True
