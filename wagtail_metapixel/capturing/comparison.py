"""Whether what a test says of a parameter is what was sent. Types count: a list is no text."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from numbers import Number
from typing import Any
from urllib.parse import urlsplit

from wagtail_metapixel import event_options, texts
from wagtail_metapixel.catalogue import LDU_STATES
from wagtail_metapixel.exceptions import RefusedError
from wagtail_metapixel.parameters import ITEM_PARAMETERS, PARAMETERS

_LISTS = (list, tuple, set, frozenset)
_KINDS: Mapping[str, str] = {
    **{known.name: known.kind for known in (*PARAMETERS.values(), *ITEM_PARAMETERS.values())},
    **dict.fromkeys(("event_id", "pixel_id", "action_source", "state"), "text"),
}
_NUMBERS = frozenset({"money", "count"})
_LIMITS = frozenset({"opt_out", event_options.LDU})


def is_same(name: str, wanted: Any, actual: Any) -> bool:
    """Tell whether ``wanted`` is what was sent as ``name``; ``None`` is what was not sent."""
    if name in _LIMITS and actual is None:
        return not wanted  # False and [] limit nothing, and are never sent
    if name == "event_source_url" and isinstance(wanted, str) and wanted.startswith("/"):
        return str(urlsplit(actual).path) == wanted
    return _is_same(_as_sent(name, wanted), actual, _KINDS.get(name, ""))


def _as_sent(name: str, wanted: Any) -> Any:
    """Return an option as it is sent, which may be given in other words."""
    if name == event_options.STATE and isinstance(wanted, str):
        return LDU_STATES.get(wanted.strip().upper(), wanted)
    return ["LDU"] if name == event_options.LDU and wanted == "LDU" else wanted


def _is_same(wanted: Any, actual: Any, kind: str) -> bool:
    wanted = texts.unwrapped(wanted)
    if wanted is None:
        return actual in (None, "")
    if isinstance(actual, list):
        return isinstance(wanted, _LISTS) and _are_same(list(wanted), actual, kind)
    if isinstance(actual, Mapping):
        return isinstance(wanted, Mapping) and all(
            _is_same(value, actual.get(name), _KINDS.get(name, ""))
            for name, value in wanted.items()
        )
    if actual is None or isinstance(actual, bool) or isinstance(wanted, bool):
        return wanted is actual
    if isinstance(actual, (int, float, Decimal)):
        return _is_same_number(wanted, actual, kind)
    return _is_same_text(wanted, actual, kind)


def _is_same_number(wanted: Any, actual: float | Decimal, kind: str) -> bool:
    if not isinstance(wanted, Number) and not (isinstance(wanted, str) and kind in _NUMBERS):
        return False
    try:
        return Decimal(str(wanted)) == Decimal(str(actual))
    except InvalidOperation:
        return False


def _is_same_text(wanted: Any, actual: Any, kind: str) -> bool:
    # An id may be given as a number, and is sent as a text. A shop's own number stays a number.
    if isinstance(wanted, Number) and not kind:
        return False
    try:
        return actual in (wanted, texts.cut(texts.readable(wanted)))
    except RefusedError:
        return False


def _are_same(wanted: list[Any], actual: list[Any], kind: str) -> bool:
    """Tell whether each wanted item has one of its own, in any order, and none is left.

    An item that says little may fit several, so who took one has to step aside for who needs it.
    """
    if len(wanted) != len(actual):
        return False
    fits = [[i for i, item in enumerate(actual) if _is_same(one, item, kind)] for one in wanted]
    taken: dict[int, int] = {}
    return all(_finds_place(one, fits, taken, set()) for one in range(len(wanted)))


def _finds_place(one: int, fits: list[list[int]], taken: dict[int, int], tried: set[int]) -> bool:
    for place in fits[one]:
        if place not in taken:
            taken[place] = one
            return True
    for place in fits[one]:
        if place not in tried:
            tried.add(place)
            if _finds_place(taken[place], fits, taken, tried):
                taken[place] = one
                return True
    return False
