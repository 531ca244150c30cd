"""The values of an event: its parameters, time and id, ready for JSON.

Nothing here raises for bad data: what cannot be sent is left out or marked fatal, and told as a
:class:`Problem`. The caller decides what to raise, log or store. Only :func:`check_event_id`
raises, because an id is always the developer's.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from django.utils.functional import Promise

from wagtail_metapixel import catalogue
from wagtail_metapixel.addresses import EMAIL
from wagtail_metapixel.catalogue import (
    CURRENCIES,
    LIST_MAX,
    PARAMETERS,
    STANDARD_EVENTS,
    TEXT_MAX,
    VALUE_MAX,
    Problem,
)
from wagtail_metapixel.exceptions import EventError


class Event(NamedTuple):
    """One event, checked. ``event_time`` in Unix seconds; empty addresses mean: not known."""

    event_name: str
    event_id: str
    event_time: int
    custom_data: Mapping[str, Any] = MappingProxyType({})
    action_source: str = "website"
    event_source_url: str = ""
    referrer_url: str = ""


class _RefusedError(Exception):
    """A value that cannot be used, with what :class:`Problem` has to say about it."""

    def __init__(self, rule: str, *, fatal: bool = False, mistake: bool = True) -> None:
        super().__init__(rule)
        self.rule = rule
        self.fatal = fatal
        self.mistake = mistake


# Parameters

_CODES = {"value": 2804009, "currency": 2804010}


def build_custom_data(
    event_name: str, params: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the JSON-ready parameters of an event, and what was wrong with them.

    Amounts become numbers, rounded half-even to the decimal places of the currency; a currency is
    never guessed. ``content_ids``, ``content_type`` and ``num_items`` follow from ``contents``
    where they are not given. ``None`` means: not given.
    """
    data: dict[str, Any] = {}
    problems: list[Problem] = []
    standard = STANDARD_EVENTS.get(event_name)
    required = standard.required if standard else ()
    # First: the amounts are rounded to its decimal places.
    currency = params.get("currency")
    if type(currency) is str and currency in CURRENCIES:
        data["currency"] = currency
    else:
        _read("currency", currency, _NO_CURRENCY, data, problems, required)
    exponent = CURRENCIES[data["currency"]] if "currency" in data else _NO_CURRENCY
    for key, raw in params.items():
        if key != "currency":
            _read(key, raw, exponent, data, problems, required)
    if "contents" in data:
        _derive(data)
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
    except _RefusedError as refused:
        code = _CODES[key] if key in required else None
        fatal = code is not None or (refused.fatal and key == "value")
        problems.append(Problem(key, refused.rule, code, fatal, refused.mistake))
    else:
        if value is not None:
            data[key] = value


def _derive(data: dict[str, Any]) -> None:
    contents = data["contents"]
    if "content_ids" not in data:
        data["content_ids"] = list(dict.fromkeys([item["id"] for item in contents]))
    if "content_type" not in data:
        data["content_type"] = "product"
    if "num_items" not in data:
        data["num_items"] = sum([item["quantity"] for item in contents])


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
    text = _unwrapped(raw)
    if isinstance(text, str) and text.isascii():
        code = text.strip().upper()
        if code in CURRENCIES:
            return code
    raise _RefusedError(PARAMETERS["currency"].rule, mistake=False)


def _ids(raw: Any, _exponent: int, problems: list[Problem]) -> list[str] | None:
    found: dict[str, None] = {}
    for item in _items("content_ids", raw, problems):
        try:
            identifier = _id(item, 0, problems) if item is not None else None
        except _RefusedError:
            rule = "every item has to be a text or a number"
            problems.append(Problem("content_ids", rule, mistake=True))
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
    identifier, quantity, price = item.get("id"), item.get("quantity"), item.get("item_price")
    if (
        type(identifier) is str
        and type(quantity) is int
        and type(price) is Decimal
        and 0 < quantity <= VALUE_MAX
        and 0 < len(identifier) <= _ID_MAX
        and identifier.isascii()
        and identifier.isprintable()
        and " " not in identifier
    ):
        amount = float(price.quantize(_QUANTA[exponent], None, _CONTEXT))
        if 0 <= amount <= VALUE_MAX:
            amount = int(amount) if amount.is_integer() else amount
            return {"id": identifier, "quantity": quantity, "item_price": amount}
    return None


def _content(item: Any, exponent: int, problems: list[Problem]) -> dict[str, Any] | None:
    if not isinstance(item, Mapping):
        problems.append(Problem("contents", PARAMETERS["contents"].rule, mistake=True))
        return None
    content: dict[str, Any] = {}
    for key, raw in item.items():
        if raw is None:
            continue
        reader = _ITEM_READERS.get(key) or _property_reader(key, content, problems)
        if reader is None:
            continue
        try:
            value = reader(raw, exponent, problems)
        except _RefusedError as refused:
            name = f"contents.{key}" if key in _ITEM_READERS else "contents"
            problems.append(Problem(name, refused.rule, None, False, refused.mistake))
            if key == "quantity":
                return None
        else:
            if value is not None:
                content[key] = value
    return _completed(content, item, problems)


def _completed(
    content: dict[str, Any], item: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any] | None:
    if "id" not in content:
        rule = "every item needs an id"
        problems.append(Problem("contents.id", rule, 2804008, True, "id" not in item))
        return None
    if "quantity" not in content:
        rule = "every item needs a quantity; taken as 1"
        problems.append(Problem("contents.quantity", rule, mistake="quantity" not in item))
        content["quantity"] = 1
    return content


def _type(raw: Any, _exponent: int, problems: list[Problem]) -> str | None:
    name = _cleaned(raw)
    if name is not None and name not in catalogue.CONTENT_TYPES:
        name = name.lower()
        if name not in catalogue.CONTENT_TYPES:
            problems.append(Problem("content_type", PARAMETERS["content_type"].rule))
    return name


def _choice(choices: frozenset[str]) -> Reader:
    def choice(raw: Any, _exponent: int, _problems: list[Problem]) -> str | None:
        name = _cleaned(raw)
        if name is None or name in choices:
            return name
        raise _RefusedError(f"has to be one of {', '.join(sorted(choices))}")

    return choice


def _text(raw: Any, _exponent: int, _problems: list[Problem]) -> str | None:
    return _cleaned(raw)


def _count(raw: Any, _exponent: int, _problems: list[Problem]) -> int:
    return _whole(raw, at_least=0)


def _quantity(raw: Any, _exponent: int, _problems: list[Problem]) -> int:
    return raw if type(raw) is int and 0 < raw < VALUE_MAX else _whole(raw, at_least=1)


def _flag(raw: Any, _exponent: int, _problems: list[Problem]) -> Any:
    return raw if isinstance(raw, bool) else _cleaned(raw)


def _property(raw: Any, _exponent: int, problems: list[Problem]) -> Any:
    if isinstance(raw, (list, tuple, set, frozenset)):
        plain = [_plain(item) for item in _items("custom_data", raw, problems)]
        plain = [item for item in plain if item is not None]
        return sorted(plain, key=str) if isinstance(raw, (set, frozenset)) else plain
    return _plain(raw)


def _property_reader(key: object, data: dict[str, Any], problems: list[Problem]) -> Reader | None:
    if len(data) >= catalogue.PROPERTIES_MAX:
        rule = f"has more than {catalogue.PROPERTIES_MAX} keys; the rest was left out"
        problems.append(Problem("custom_data", rule))
        return None
    return _property if _is_property(key, problems) else None


def _wrong_price(_raw: Any, _exponent: int, _problems: list[Problem]) -> None:
    raise _RefusedError("is called item_price")


# Amounts and numbers

_NO_CURRENCY = 4
"""No currency has more decimal places; for an ``item_price`` that came without one."""
_QUANTA = [Decimal(1).scaleb(-places) for places in range(5)]
# A context of our own: the caller's may round otherwise, or trap. What cannot be rounded is NaN.
_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN, traps=[])
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,30})?")
_NOT_FINITE = re.compile(r"[+-]?(?:s?nan|inf(?:inity)?)", re.IGNORECASE)


def _amount(raw: Any, exponent: int, _problems: list[Problem]) -> float:
    """Return an amount rounded half-even: an ``int`` where it is whole, else a ``float``."""
    if type(raw) is Decimal:
        amount = float(raw.quantize(_QUANTA[exponent], None, _CONTEXT))
    else:
        amount = _rounded(raw, exponent)
    if 0 <= amount <= VALUE_MAX:
        return int(amount) if amount.is_integer() else amount
    # What is not a number, or infinite, is a complaint of its own.
    rule = "has to be 0 or more" if _decimal(raw) < 0 else "is too large for a number"
    raise _RefusedError(rule, mistake=False)


def _signed_amount(raw: Any, exponent: int, problems: list[Problem]) -> float:
    if (negative := _decimal(raw)) < 0:
        return -_amount(-negative, exponent, problems)
    return _amount(raw, exponent, problems)


def _rounded(raw: Any, exponent: int) -> float:
    if type(raw) is float and raw == round(raw, exponent):
        return raw
    return float(_decimal(raw).quantize(_QUANTA[exponent], None, _CONTEXT))


def _decimal(raw: Any) -> Decimal:
    raw = _unwrapped(raw)
    if isinstance(raw, str):
        number = _decimal_of_text(raw.strip())
    elif isinstance(raw, bool) or not isinstance(raw, (int, float, Decimal)):
        hint = "; pass .amount and .currency apart" if hasattr(raw, "amount") else ""
        raise _RefusedError(PARAMETERS["value"].rule + hint)
    else:
        # repr: 0.1 means 0.1, not the binary number next to it.
        number = Decimal(repr(float(raw))) if isinstance(raw, float) else Decimal(raw)
    if not number.is_finite():
        raise _RefusedError("has to be a finite number", fatal=True, mistake=False)
    return number


def _decimal_of_text(text: str) -> Decimal:
    if _PLAIN_NUMBER.fullmatch(text):
        return Decimal(text)
    if _NOT_FINITE.fullmatch(text):
        raise _RefusedError("has to be a finite number", fatal=True, mistake=False)
    raise _RefusedError(
        "is a text that cannot be read safely: write 1234.50, in ASCII digits, with a point and"
        " without thousands separators, whatever the locale"
    )


def _whole(raw: Any, *, at_least: int) -> int:
    if type(raw) is not int:
        number = _decimal(raw)
        if number.adjusted() > 17 or number != number.to_integral_value():
            raise _RefusedError(f"has to be a whole number of {at_least} or more", mistake=False)
        raw = int(number)
    if at_least <= raw <= VALUE_MAX:
        return int(raw)
    raise _RefusedError(f"has to be a whole number of {at_least} or more", mistake=False)


# Texts, ids and custom properties

_BREAKS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]+"
)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ID_MAX = 100


def _unwrapped(raw: Any) -> Any:
    """Return what a lazy text or a member of an enumeration stands for."""
    if isinstance(raw, Enum):
        raw = raw.value
    return str(raw) if isinstance(raw, Promise) else raw


def _cleaned(raw: Any) -> str | None:
    """Return a text in NFC without control characters, cut; ``None`` when nothing is left."""
    text = raw if type(raw) is str else _text_of(raw)
    if not text.isascii() or not text.isprintable():
        text = _visible(text[: 2 * TEXT_MAX])
    if "@" in text and EMAIL.search(text[: 2 * TEXT_MAX]):
        raise _RefusedError("holds an e-mail address, which belongs to user_data", mistake=False)
    text = text.strip()
    return text[:TEXT_MAX].rstrip() if len(text) > TEXT_MAX else text or None


def _visible(text: str) -> str:
    if not text.isprintable():
        text = _INVISIBLE.sub("", _BREAKS.sub(" ", text))
    return unicodedata.normalize("NFC", text)


def _text_of(raw: Any) -> str:
    raw = _unwrapped(raw)
    if isinstance(raw, str):
        return str(raw)
    if isinstance(raw, (int, uuid.UUID)) and not isinstance(raw, bool):
        return str(raw)
    if isinstance(raw, (date, time)):
        return raw.isoformat()
    raise _RefusedError("has to be a text")


def _id(raw: Any, _exponent: int, _problems: list[Problem]) -> str | None:
    if type(raw) is int:
        return str(raw)
    if isinstance(raw, (float, Decimal)):
        return str(_whole(raw, at_least=0))
    text = raw if type(raw) is str else _text_of(raw)
    if not text.isascii() or not text.isprintable():
        text = _visible(text[:TEXT_MAX])
    return text.strip()[:_ID_MAX].strip() or None


def _items(key: str, raw: Any, problems: list[Problem]) -> list[Any]:
    """Return the items of a list, at most ``LIST_MAX``."""
    if not isinstance(raw, (list, tuple, set, frozenset)):
        raise _RefusedError(PARAMETERS[key].rule)
    if len(raw) > LIST_MAX:
        problems.append(Problem(key, f"has more than {LIST_MAX} items; the rest was left out"))
    return list(raw)[:LIST_MAX]


def _plain(raw: Any) -> Any:
    """Return a scalar that JSON knows."""
    raw = _unwrapped(raw)
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, (int, float, Decimal)):
        return _number(raw)
    if isinstance(raw, (str, uuid.UUID, date, time)):
        return _cleaned(raw)
    raise _RefusedError("has to be a text, a number, True, False, or a list of these")


def _number(raw: float | Decimal) -> float:
    if not abs(_decimal(raw)) <= VALUE_MAX:
        raise _RefusedError("is too large for a number", mistake=False)
    if not isinstance(raw, Decimal):
        return raw
    return int(raw) if raw == raw.to_integral_value() else float(raw)


_EVENT_WORDS = catalogue.EVENT_KEYS | {"eventID", "event_key"}
_PERSONAL_WORDS = (
    {key for key, match in catalogue.USER_DATA.items() if match.hashed == "required"}
    | {match.name for match in catalogue.USER_DATA.values()}
) - {"city", "state", "zip", "country", "ct", "st", "page_id"}
"""Places are ordinary parameters of travel and property events."""


def _is_property(key: object, problems: list[Problem]) -> bool:
    """Tell whether ``key`` may stand among the parameters, though Meta gives it no meaning."""
    if (
        not isinstance(key, str)
        or len(key) > catalogue.PROPERTY_NAME_MAX
        or not _KEY.fullmatch(key)
    ):
        rule = f"a key has to be 1 to {catalogue.PROPERTY_NAME_MAX} of A-Z a-z 0-9 _ -"
        problems.append(Problem("custom_data", rule))
        return False
    complaint = _complaint(key)
    if complaint:
        problems.append(Problem(key, complaint[1], mistake=True))
    return not complaint or complaint[0]


@lru_cache(maxsize=1024)
def _complaint(key: str) -> tuple[bool, str] | None:
    """Return whether ``key`` may stay, and what is odd about it."""
    if key in _EVENT_WORDS:
        return False, "is no parameter: it belongs to the event itself"
    if key in _PERSONAL_WORDS:
        return False, "is no parameter: it belongs to user_data"
    bare = key.replace("_", "").replace("-", "").lower()
    for name in PARAMETERS:
        if bare.rstrip("s") == name.replace("_", "").rstrip("s"):
            return True, f"is not known to Meta; did you mean {name!r}?"
    near = difflib.get_close_matches(key, PARAMETERS, n=1, cutoff=0.9)
    return (True, f"is not known to Meta; did you mean {near[0]!r}?") if near else None


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
_ITEM_READERS: Mapping[str, Reader] = {
    "id": _id,
    "quantity": _quantity,
    "item_price": _amount,
    "price": _wrong_price,
    "delivery_category": _READERS["delivery_category"],
    **dict.fromkeys(("title", "description", "brand", "category"), _text),
}


# Time and id

_MILLISECONDS = range(10**12, 10**13)


def check_event_time(
    value: object, *, now: float, action_source: str = "website"
) -> tuple[int, list[Problem]]:
    """Return when the event happened, in Unix seconds, and what was wrong with it.

    ``value`` is ``None`` (now), Unix seconds, an aware datetime, or an ISO 8601 text with its
    offset. What was refused without being fatal counts as now.
    """
    problems: list[Problem] = []
    source = catalogue.ACTION_SOURCES.get(action_source)
    if source is None:
        rule = f"has to be one of {', '.join(catalogue.ACTION_SOURCES)}"
        problems.append(Problem("action_source", rule, None, True, True))
    max_age = source.max_age if source else catalogue.MAX_AGE
    try:
        seconds = now if value is None else _seconds(value, problems)
    except _RefusedError as refused:
        problems.append(Problem("event_time", refused.rule, None, refused.fatal, refused.mistake))
        seconds = now
    if seconds > now:
        seconds = _from_the_future(seconds, now, problems)
    elif now - seconds > max_age:
        rule = f"is older than the {max_age // catalogue.DAY} days Meta accepts"
        problems.append(Problem("event_time", rule, 2804003, True))
    return math.floor(seconds), problems


def _from_the_future(seconds: float, now: float, problems: list[Problem]) -> float:
    if seconds - now > catalogue.FUTURE_MAX:
        problems.append(Problem("event_time", "lies in the future", 2804004, True))
    elif seconds - now > catalogue.FUTURE_TOLERANCE:
        problems.append(Problem("event_time", "lies in the future; taken as now", 2804004))
    return now


def _seconds(value: object, problems: list[Problem]) -> float:
    if isinstance(value, str):
        value = _datetime(value)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise _RefusedError("has to be an aware datetime; taken as now")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _RefusedError("has to be Unix seconds or an aware datetime; taken as now")
    if not abs(value) < _MILLISECONDS.stop:
        raise _RefusedError("has to be Unix seconds", fatal=True, mistake=False)
    if value >= _MILLISECONDS.start:
        rule = "is in milliseconds, Meta counts seconds; divided by 1000"
        problems.append(Problem("event_time", rule, mistake=True))
        return value / 1000
    return value


def _datetime(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        rule = "has to be Unix seconds, an aware datetime or ISO 8601 with its offset"
        raise _RefusedError(rule, fatal=True) from None


_EVENT_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{catalogue.EVENT_ID_MAX}}}")


def check_event_id(value: object) -> str:
    """Return an event id as text, or raise ``EventError``. ``0`` is an id like any other."""
    if isinstance(value, (int, uuid.UUID)) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and _EVENT_ID.fullmatch(value):
        return str(value)
    rule = f"has to be 1 to {catalogue.EVENT_ID_MAX} of A-Z a-z 0-9 . _ : -"
    raise EventError("event_id", rule)
