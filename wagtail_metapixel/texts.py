"""Texts and ids: NFC, without control characters, cut to a length; and the keys of parameters."""

from __future__ import annotations

import re
import unicodedata
import uuid
from datetime import date, time
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from django.utils.functional import Promise

from wagtail_metapixel import catalogue, match_keys, parameters
from wagtail_metapixel.catalogue import TEXT_MAX, Problem, folded, nearest
from wagtail_metapixel.exceptions import RefusedError, TakenError

ID_MAX = 100
"""Characters of a product id; Meta's catalogue has no longer ones."""

# Compiled at their first use, for the rare text that holds something unprintable.
_BREAKS = "[\t-\r\x1c-\x1f\x85\u2028\u2029]+"
_INVISIBLE = (
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]+"
)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def unwrapped(raw: Any) -> Any:
    """Return what a lazy text or a member of an enumeration stands for."""
    if isinstance(raw, Enum):
        raw = raw.value
    return str(raw) if isinstance(raw, Promise) else raw


def readable(raw: Any) -> str:
    """Return a text in NFC without control characters, longer ones cut to twice ``TEXT_MAX``."""
    text = raw if type(raw) is str else _text_of(raw)
    return text if text.isascii() and text.isprintable() else _visible(text[: 2 * TEXT_MAX])


def cut(text: str) -> str | None:
    """Return a text trimmed and cut to ``TEXT_MAX``; ``None`` when nothing is left."""
    text = text.strip()
    return text[:TEXT_MAX].rstrip() if len(text) > TEXT_MAX else text or None


def identifier(raw: Any) -> str | None:
    """Return the id of a product as text; ``None`` when nothing is left.

    One that is too long is refused: cut, two ids might become one.
    """
    text = (raw if type(raw) is str else _text_of(raw)).strip()
    if len(text) <= TEXT_MAX and not (text.isascii() and text.isprintable()):
        text = _visible(text).strip()
    if len(text) > ID_MAX:
        raise TakenError(f"is longer than {ID_MAX} characters", mistake=False)
    return text or None


def _visible(text: str) -> str:
    if not text.isprintable():
        text = re.sub(_INVISIBLE, "", re.sub(_BREAKS, " ", text))
    return unicodedata.normalize("NFC", text)


def _text_of(raw: Any) -> str:
    raw = unwrapped(raw)
    if isinstance(raw, str):
        return str.__str__(raw)
    if isinstance(raw, (int, uuid.UUID)) and not isinstance(raw, bool):
        return str(raw)
    if isinstance(raw, (date, time)):
        return raw.isoformat()
    raise RefusedError("has to be a text")


# Keys

_EVENT_WORDS = catalogue.EVENT_KEYS | {"eventID", "event_key"}
_PERSONAL_WORDS = (
    {key for key, match in match_keys.USER_DATA.items() if match.hashed == "required"}
    | {match.name for match in match_keys.USER_DATA.values()}
) - {"city", "state", "zip", "country", "ct", "st", "page_id"}
"""Places are ordinary parameters of travel and property events."""


def is_property_key(key: object, problems: list[Problem], *, of_item: bool = False) -> bool:
    """Tell whether ``key`` may stand among the parameters, though Meta gives it no meaning.

    ``of_item``: among those of one item of ``contents``.
    """
    if (
        not isinstance(key, str)
        or len(key) > catalogue.PROPERTY_NAME_MAX
        or not _KEY.fullmatch(key)
    ):
        rule = f"a key has to be 1 to {catalogue.PROPERTY_NAME_MAX} of A-Z a-z 0-9 _ -"
        problems.append(Problem("custom_data", rule))
        return False
    complaint = _complaint(key, of_item)
    if complaint:
        field = field_of(key, of_item=of_item)
        problems.append(Problem(field, complaint.rule, mistake=complaint.mistake))
    return not complaint or complaint.may_stay


def field_of(key: str, *, of_item: bool = False) -> str:
    """Return how a problem names the key of a property: a number in it may be somebody's."""
    if sum(map(str.isdecimal, key)) >= _DIGITS_OF_DATA:
        return "contents" if of_item else "custom_data"
    return f"contents.{key}" if of_item else key


_DIGITS_OF_DATA = 7
"""Of the shortest telephone numbers."""


_LIMITS = tuple(name for name in catalogue.EVENT_OPTIONS if name.startswith(("opt", "data")))
"""Options whose slip would cost more than the option: the event would go out without its limit."""
_OPTIONS = {folded(name): name for name in catalogue.EVENT_OPTIONS} | {
    folded(name): option
    for option, names in {
        "data_processing_options": "dpo ldu limited_data_use limit_data_use data_processing",
        "data_processing_options_country": "dpo_country ldu_country data_processing_country",
        "data_processing_options_state": "dpo_state ldu_state data_processing_state",
    }.items()
    for name in names.split()
}
_PARAMETERS = frozenset(map(folded, parameters.PARAMETERS))


@lru_cache(maxsize=1024)
def option_meant(key: str) -> str:
    """Return the one of ``catalogue.EVENT_OPTIONS`` that ``key`` is a slip of, else ``""``.

    Another spelling of a parameter is that one, however much an option is like it.
    """
    bare = folded(key)
    if key in catalogue.EVENT_OPTIONS or bare in _PARAMETERS:
        return ""
    return _OPTIONS.get(bare) or nearest(key, _LIMITS, likeness=catalogue.NEAR_MISS)


class _Complaint(NamedTuple):
    may_stay: bool
    mistake: bool
    rule: str


@lru_cache(maxsize=1024)
def _complaint(key: str, of_item: bool) -> _Complaint | None:
    if key in ("event_id", "eventID", "event_key"):
        rule = "is made by this package; name what can happen only once by key="
        return _Complaint(False, True, rule)
    if key in _EVENT_WORDS:
        return _Complaint(False, True, "is no parameter: it belongs to the event itself")
    # A product may be made for women.
    if key in _PERSONAL_WORDS and not (of_item and key == "gender"):
        return _Complaint(False, True, "is no parameter: it belongs to user_data")
    known = parameters.ITEM_PARAMETERS if of_item else parameters.PARAMETERS
    synonyms = parameters.ITEM_SYNONYMS if of_item else parameters.SYNONYMS
    if meant := synonyms.get(key.lower()):
        return _Complaint(True, False, f"is not known to Meta, which says {meant!r}")
    if option := option_meant(key):
        return _Complaint(False, True, f"is no parameter; did you mean {option!r}?")
    meant = nearest(key, known)
    return (
        _Complaint(True, True, f"is not known to Meta; did you mean {meant!r}?") if meant else None
    )
