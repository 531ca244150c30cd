"""The parameters of an event, ready for JSON.

Nothing here raises for bad data: what cannot be sent is left out or marked fatal, and told as a
:class:`Problem`. The caller decides what to raise, log or store.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, time
from decimal import Decimal
from operator import itemgetter
from typing import Any

from wagtail_metapixel import amounts, catalogue, parameters, texts
from wagtail_metapixel.addresses import EMAIL
from wagtail_metapixel.amounts import CONTEXT, EXACT_BELOW, NO_CURRENCY, QUANTA
from wagtail_metapixel.catalogue import (
    LIST_MAX,
    MALFORMED,
    REFUND,
    STANDARD_EVENTS,
    TEXT_MAX,
    VALUE_MAX,
    Problem,
)
from wagtail_metapixel.currencies import CURRENCIES
from wagtail_metapixel.exceptions import RefusedError, TakenError
from wagtail_metapixel.parameters import PARAMETERS

UNREADABLE = "could not be read"

_CODES = {"value": 2804009, "currency": 2804010}


def build_custom_data(
    event_name: str, params: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the JSON-ready parameters of an event, and what was wrong with them.

    Amounts become numbers, rounded half-even to the decimal places of the currency; a currency is
    never guessed. ``content_ids``, ``content_type`` and ``num_items`` follow from ``contents``
    where they are not given, and ``contents`` and ``content_type`` from ``content_ids``. ``None``
    means: not given. No amount of a refund is negative.
    """
    data: dict[str, Any] = {}
    problems: list[Problem] = []
    standard = STANDARD_EVENTS.get(event_name)
    required = standard.required if standard else ()
    if event_name == REFUND.name:
        params = _without_sign(params)
    # First: the amounts are rounded to its decimal places.
    currency = params.get("currency")
    if type(currency) is str and currency in CURRENCIES:
        data["currency"] = currency
    else:
        _read("currency", currency, NO_CURRENCY, data, problems, required)
    exponent = CURRENCIES[data["currency"]] if "currency" in data else NO_CURRENCY
    for key, raw in params.items():
        if key != "currency":
            _read(key, raw, exponent, data, problems, required)
    if "contents" in data:
        _derive(data)
    elif "content_ids" in data:
        _derive_contents(data)
    _check_money(params, data, problems, required)
    return data, problems


def _read(
    key: str,
    raw: Any,
    exponent: int,
    data: dict[str, Any],
    problems: list[Problem],
    required: tuple[str, ...],
) -> None:
    if raw is None:
        return
    reader = _READERS.get(key) or _property_reader(key, data, problems)
    if reader is None:
        return
    try:
        value = reader(raw, exponent, problems)
    except RefusedError as refused:
        code = _CODES[key] if key in required else _malformed(refused, key in PARAMETERS)
        fatal = key in required or (refused.fatal and key == "value")
        field = key if key in PARAMETERS else texts.field_of(key)
        problems.append(Problem(field, refused.rule, code, fatal, refused.mistake))
    except Exception:  # noqa: BLE001 - a broken object costs its own parameter only
        code, field = _CODES.get(key), key if key in PARAMETERS else texts.field_of(key)
        problems.append(Problem(field, UNREADABLE, code, key in required, mistake=True))
    else:
        if value is not None:
            data[key] = value


def _malformed(refused: RefusedError, is_known: bool) -> int | None:
    """Return Meta's subcode for a wrong form, where Meta would have noticed."""
    return MALFORMED if is_known and not isinstance(refused, TakenError) else None


def _without_sign(params: Mapping[str, Any]) -> Mapping[str, Any]:
    positive = dict(params)
    for key in _MONEY & params.keys():
        # What is no amount is refused in its turn.
        with suppress(Exception):
            # Not abs(), which rounds in the caller's context.
            positive[key] = amounts.exact(texts.unwrapped(params[key])).copy_abs()
    return positive


def _derive(data: dict[str, Any]) -> None:
    contents = data["contents"]
    if "content_ids" not in data:
        data["content_ids"] = list(dict.fromkeys(map(_id_of, contents)))
    if "content_type" not in data:
        data["content_type"] = "product"
    if "num_items" not in data:
        data["num_items"] = sum(map(_quantity_of, contents))


_id_of = itemgetter("id")
_quantity_of = itemgetter("quantity")


def _derive_contents(data: dict[str, Any]) -> None:
    # Not for hotels, flights and their like, which are no products; nor the number of items,
    # which nobody told.
    if data.setdefault("content_type", "product") in ("product", "product_group"):
        data["contents"] = [{"id": known, "quantity": 1} for known in data["content_ids"]]


def _check_money(
    params: Mapping[str, Any],
    data: dict[str, Any],
    problems: list[Problem],
    required: tuple[str, ...],
) -> None:
    for key in required:
        if key not in data and not any(problem.field == key for problem in problems):
            rule = "is required for this event"
            problems.append(Problem(key, rule, _CODES[key], True, key not in params))
    value = data.get("value")
    if value == 0 and required:
        problems.append(Problem("value", "is 0: Meta learns that such orders are worth nothing"))
    elif value is not None and value > catalogue.VALUE_CAP:
        problems.append(Problem("value", "is improbably large"))
    if "currency" not in data and not required:
        for key in _MONEY & data.keys():
            del data[key]
            code = 2804023 if key == "value" else None
            rule = "needs a currency beside it"
            problems.append(Problem(key, rule, code, False, "currency" not in params))


# Readers: (raw, decimal places of the currency, problems) -> the value to send, None for nothing

Reader = Callable[[Any, int, list[Problem]], Any]


def _currency(raw: Any, _exponent: int, _problems: list[Problem]) -> str:
    text = texts.unwrapped(raw)
    if isinstance(text, str) and text.isascii():
        code = text.strip().upper()
        if code in CURRENCIES:
            return code
    raise RefusedError(PARAMETERS["currency"].rule, mistake=False)


def _ids(raw: Any, _exponent: int, problems: list[Problem]) -> list[str] | None:
    found: dict[str, None] = {}
    for item in _items("content_ids", raw, problems):
        try:
            identifier = _id(item, 0, problems) if item is not None else None
        except TakenError as refused:
            problems.append(Problem("content_ids", refused.rule))
        except RefusedError:
            rule = "every item has to be a text or a number"
            problems.append(Problem("content_ids", rule, MALFORMED, mistake=True))
        else:
            if identifier:
                found[identifier] = None
    # The order of a set differs from process to process.
    return (sorted(found) if isinstance(raw, (set, frozenset)) else list(found)) or None


def _contents(raw: Any, exponent: int, problems: list[Problem]) -> list[dict[str, Any]] | None:
    contents = []
    for item in _items("contents", raw, problems):
        content = _ordinary_content(item, exponent) or _content(item, exponent, problems)
        if content:
            contents.append(content)
    return contents or None


def _ordinary_content(item: Any, exponent: int) -> dict[str, Any] | None:
    """Return, in one go, an item as most of them are; ``None`` means: look closer."""
    if type(item) is not dict or len(item) != 3:
        return None
    try:
        identifier, quantity, price = item["id"], item["quantity"], item["item_price"]
    except KeyError:
        return None
    if (
        type(identifier) is str
        and type(quantity) is int
        and type(price) is Decimal
        and 0 < quantity <= VALUE_MAX
        and 0 < len(identifier) <= texts.ID_MAX
        and identifier.isascii()
        and identifier.isprintable()
        and " " not in identifier
        and "@" not in identifier
    ):
        amount = float(price.quantize(QUANTA[exponent], None, CONTEXT))
        if 0 <= amount < EXACT_BELOW:
            amount = int(amount) if amount.is_integer() else amount
            return {"id": identifier, "quantity": quantity, "item_price": amount}
    return None


def _content(item: Any, exponent: int, problems: list[Problem]) -> dict[str, Any] | None:
    if not isinstance(item, Mapping):
        problems.append(Problem("contents", PARAMETERS["contents"].rule, MALFORMED, mistake=True))
        return None
    content: dict[str, Any] = {}
    for given, raw in item.items():
        if raw is None:
            continue
        key = _item_key(given, item, problems) if given in _PRICES else given
        reader = _ITEM_READERS.get(key) or _property_reader(key, content, problems, of_item=True)
        if reader is None:
            continue
        try:
            value = reader(raw, exponent, problems)
        except RefusedError as refused:
            code = _malformed(refused, key in _ITEM_READERS)
            problems.append(
                Problem(_item_field(given, key), refused.rule, code, False, refused.mistake)
            )
            if key == "quantity" or (isinstance(refused, TakenError) and key == "id"):
                return None
        except Exception:  # noqa: BLE001 - a broken object costs its own parameter only
            problems.append(Problem(_item_field(given, key), UNREADABLE, mistake=True))
        else:
            if value is not None:
                content[key] = value
    return _completed(content, item, problems)


def _item_key(price: str, item: Mapping[str, Any], problems: list[Problem]) -> str:
    """Return Meta's word for the one word of other tools that is always meant alike."""
    if item.get("item_price") is not None:
        return price
    problems.append(Problem(f"contents.{price}", "is not known to Meta; sent as 'item_price'"))
    return "item_price"


def _item_field(given: str, key: str) -> str:
    return f"contents.{given}" if key in _ITEM_READERS else "contents"


def _completed(
    content: dict[str, Any], item: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any] | None:
    if "id" not in content:
        rule = "every item needs an id"
        problems.append(Problem("contents.id", rule, 2804008, True, "id" not in item))
        return None
    if "quantity" not in content:
        rule, forgotten = "every item needs a quantity; taken as 1", "quantity" not in item
        problems.append(Problem("contents.quantity", rule, MALFORMED, mistake=forgotten))
        content["quantity"] = 1
    return content


def _type(raw: Any, _exponent: int, problems: list[Problem]) -> str | None:
    name = _cleaned(raw)
    if name is not None and name not in parameters.CONTENT_TYPES:
        name = name.lower()
        if name not in parameters.CONTENT_TYPES:
            problems.append(Problem("content_type", PARAMETERS["content_type"].rule))
    return name


def _choice(choices: frozenset[str]) -> Reader:
    def choice(raw: Any, _exponent: int, _problems: list[Problem]) -> str | None:
        name = _cleaned(raw)
        if name is None or name in choices:
            return name
        raise RefusedError(f"has to be one of {', '.join(sorted(choices))}")

    return choice


def _text(raw: Any, _exponent: int, _problems: list[Problem]) -> str | None:
    return _cleaned(raw)


def _count(raw: Any, _exponent: int, _problems: list[Problem]) -> int:
    return amounts.whole(texts.unwrapped(raw), at_least=0)


def _quantity(raw: Any, _exponent: int, _problems: list[Problem]) -> int:
    return (
        raw
        if type(raw) is int and 0 < raw < VALUE_MAX
        else amounts.whole(texts.unwrapped(raw), at_least=1)
    )


def _flag(raw: Any, _exponent: int, _problems: list[Problem]) -> Any:
    return raw if isinstance(raw, bool) else _cleaned(raw)


def _property(raw: Any, _exponent: int, problems: list[Problem]) -> Any:
    if isinstance(raw, (list, tuple, set, frozenset)):
        plain = [_plain(item) for item in _items("custom_data", raw, problems)]
        plain = [item for item in plain if item is not None]
        return sorted(plain, key=str) if isinstance(raw, (set, frozenset)) else plain
    return _plain(raw)


def _property_reader(
    key: object, data: dict[str, Any], problems: list[Problem], *, of_item: bool = False
) -> Reader | None:
    if len(data) >= catalogue.PROPERTIES_MAX:
        rule = f"has more than {catalogue.PROPERTIES_MAX} keys; the rest was left out"
        problems.append(Problem("custom_data", rule))
        return None
    return _property if texts.is_property_key(key, problems, of_item=of_item) else None


def _amount(raw: Any, exponent: int, _problems: list[Problem]) -> float:
    return amounts.amount(raw if type(raw) is Decimal else texts.unwrapped(raw), exponent)


def _signed_amount(raw: Any, exponent: int, _problems: list[Problem]) -> float:
    return amounts.signed_amount(texts.unwrapped(raw), exponent)


def _cleaned(raw: Any) -> str | None:
    text = texts.readable(raw)
    if "@" in text:
        _refuse_email(text)
    return texts.cut(text)


def _id(raw: Any, _exponent: int, _problems: list[Problem]) -> str | None:
    if isinstance(raw, (float, Decimal)):
        return str(amounts.whole(raw, at_least=0))
    identifier = texts.identifier(raw)
    if identifier and "@" in identifier:
        _refuse_email(identifier)
    return identifier


def _refuse_email(text: str) -> None:
    if EMAIL.search(text[: 2 * TEXT_MAX]):
        raise TakenError("holds an e-mail address, which belongs to user_data", mistake=False)


def _items(key: str, raw: Any, problems: list[Problem]) -> list[Any]:
    """Return the items of a list, at most ``LIST_MAX``."""
    if type(raw) is list and len(raw) <= LIST_MAX:
        return raw
    if not isinstance(raw, (list, tuple, set, frozenset)):
        raise RefusedError(PARAMETERS[key].rule)
    if len(raw) > LIST_MAX:
        problems.append(Problem(key, f"has more than {LIST_MAX} items; the rest was left out"))
    return list(raw)[:LIST_MAX]


def _plain(raw: Any) -> Any:
    """Return a scalar that JSON knows."""
    raw = texts.unwrapped(raw)
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, (int, float, Decimal)):
        return amounts.json_number(raw)
    if isinstance(raw, (str, uuid.UUID, date, time)):
        return _cleaned(raw)
    raise RefusedError("has to be a text, a number, True, False, or a list of these")


# The tables

_BY_KIND: Mapping[str, Reader] = {
    "money": _amount,
    "currency": _currency,
    "ids": _ids,
    "contents": _contents,
    "type": _type,
    "text": _text,
    "count": _count,
    "flag": _flag,
}
_READERS = {
    name: _choice(parameter.choices) if parameter.kind == "choice" else _BY_KIND[parameter.kind]
    for name, parameter in PARAMETERS.items()
} | {"net_revenue": _signed_amount}
_MONEY = {name for name, parameter in PARAMETERS.items() if parameter.kind == "money"}
_PRICES = frozenset({"price", "Price", "PRICE"})
_ITEM_READERS: Mapping[str, Reader] = {
    "id": _id,
    "quantity": _quantity,
    "item_price": _amount,
    "delivery_category": _READERS["delivery_category"],
    **dict.fromkeys(("title", "description", "brand", "category"), _text),
}
