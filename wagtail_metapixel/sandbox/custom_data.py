"""The rules for ``custom_data``: what was bought, seen or asked for."""

from __future__ import annotations

from typing import Any

from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.checking import check_choice, check_type, is_amount, is_integer
from wagtail_metapixel.sandbox.graph_errors import invalid_event, invalid_parameter


def check_custom_data(event_name: str, custom_data: dict[str, Any], path: str) -> None:
    """Raise :class:`GraphError` for the first thing that Meta would not take."""
    _check_money(event_name, custom_data, path)
    _check_members(custom_data, rules.CUSTOM_DATA_TYPES, path)
    _check_content_ids(custom_data.get("content_ids"), f"{path}['content_ids']")
    _check_contents(custom_data.get("contents"), f"{path}['contents']")


def is_currency(value: object) -> bool:
    """An ISO 4217 code in upper or lower case; Meta's examples use both."""
    return isinstance(value, str) and value.upper() in rules.CURRENCIES and value.isascii()


def _check_money(event_name: str, custom_data: dict[str, Any], path: str) -> None:
    """A Purchase, and a value, need the right money; of wrong money elsewhere Meta only warns."""
    value, currency = custom_data.get("value"), custom_data.get("currency")
    if event_name in rules.VALUE_EVENTS:
        _check_required_money(event_name, value, currency)
    if value is not None:
        check_type(value, "number", f"{path}['value']")
    if value is not None and not is_currency(currency):
        raise invalid_event(
            2804023,
            "Invalid Value Parameter",
            "A value needs a currency: a code of ISO 4217 with three letters, such as EUR.",
        )
    if currency is not None:
        check_type(currency, "string", f"{path}['currency']")


def _check_required_money(event_name: str, value: object, currency: object) -> None:
    if not _is_price(value):
        raise invalid_event(
            2804009,
            f"Missing Value for {event_name} Event",
            f"A {event_name} event needs a value: a number of 0 or more.",
        )
    if not is_currency(currency):
        raise invalid_event(
            2804010,
            f"Missing Currency for {event_name} Event",
            f"A {event_name} event needs a currency: a code of ISO 4217 with three letters.",
        )


def _is_price(value: object) -> bool:
    return is_amount(value) and float(value) >= 0  # type: ignore[arg-type]  # a number or its text


def _check_content_ids(value: Any, path: str) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise invalid_parameter(path, "must be an array")
    for index, item in enumerate(value):
        if not isinstance(item, str) and not is_integer(item):
            raise invalid_parameter(f"{path}[{index}]", "must be a string or an integer")


def _check_contents(value: Any, path: str) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise invalid_parameter(path, "must be an array")
    for index, item in enumerate(value):
        _check_content(item, f"{path}[{index}]")


def _check_content(item: Any, path: str) -> None:
    if not isinstance(item, dict):
        raise invalid_parameter(path, "must be an object")
    if item.get("id") in (None, ""):
        raise invalid_event(
            2804008,
            "Missing Content ID",
            f'Every item of contents needs an id; one is missing on param "{path}".',
        )
    check_type(item["id"], "string|integer", f"{path}['id']")
    check_type(item.get("quantity"), "integer", f"{path}['quantity']")
    _check_members(item, rules.CONTENT_TYPES, path)


def _check_members(values: dict[str, Any], types: dict[str, str], path: str) -> None:
    """Refuse a member that has not the type, or is not one of the choices, of its key."""
    for key, value in values.items():
        if value is None or key not in types:
            continue
        check_type(value, types[key], f"{path}['{key}']")
        if key in rules.CHOICES:
            check_choice(value, rules.CHOICES[key], f"{path}['{key}']")
