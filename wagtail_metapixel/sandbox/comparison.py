"""How two copies of one event differ."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from wagtail_metapixel.sandbox.checking import is_number

#: Only the server may tell the margin; the browser copy never has it.
_SERVER_ONLY: Final = frozenset({"net_revenue"})
#: Match keys whose values must be the same on both channels.
_SHARED_KEYS: Final = ("external_id", "fbc", "fbp")


def lacking(kept: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The match keys that only the copy which Meta does not keep has."""
    return sorted(other.keys() - kept.keys())


def differences(
    browser_custom_data: dict[str, Any],
    server_custom_data: dict[str, Any],
    browser_user_data: dict[str, Any],
    server_user_data: dict[str, Any],
) -> list[dict[str, Any]]:
    """What the two copies say differently, as ``{"field", "browser", "server"}``.

    A parameter that one copy does not have is a difference, a match key that it does not have is
    not: see :func:`lacking`.
    """
    fields = (browser_custom_data.keys() | server_custom_data.keys()) - _SERVER_ONLY
    found = [
        _difference(f"custom_data.{name}", browser_custom_data, server_custom_data, name)
        for name in sorted(fields)
        if not _same_parameter(name, browser_custom_data.get(name), server_custom_data.get(name))
    ]
    both = browser_user_data.keys() & server_user_data.keys()
    return found + [
        _difference(f"user_data.{key}", browser_user_data, server_user_data, key)
        for key in _SHARED_KEYS
        if key in both and not _overlap(browser_user_data[key], server_user_data[key])
    ]


def _difference(
    field: str, browser: dict[str, Any], server: dict[str, Any], key: str
) -> dict[str, Any]:
    return {"field": field, "browser": browser.get(key), "server": server.get(key)}


def _same_parameter(name: str, one: Any, other: Any) -> bool:
    if name == "currency" and isinstance(one, str) and isinstance(other, str):
        return one.upper() == other.upper()
    return _same(one, other)


def _same(one: Any, other: Any) -> bool:
    """Equal as Meta reads them: ``20``, ``20.0`` and ``"20.00"`` are one price."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if is_number(one) or is_number(other):
        return _number(one) == _number(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return str(one).lower() == str(other).lower()
    return bool(one == other)


def _number(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _overlap(one: Any, other: Any) -> bool:
    return bool(values(one) & values(other))


def values(value: Any) -> set[str]:
    """A match key's value or values; Meta takes both a string and a list."""
    return {str(item) for item in (value if isinstance(value, list) else [value])}
