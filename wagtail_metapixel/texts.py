"""Texts and ids: NFC, without control characters, cut to a length; and the keys of parameters."""

from __future__ import annotations

import difflib
import re
import unicodedata
import uuid
from collections.abc import Iterable
from datetime import date, time
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from django.utils.functional import Promise

from wagtail_metapixel import catalogue, match_keys, parameters
from wagtail_metapixel.catalogue import TEXT_MAX, Problem
from wagtail_metapixel.exceptions import RefusedError

ID_MAX = 100
"""Ours: characters of a product id."""

_BREAKS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")
_INVISIBLE = re.compile(
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
    """Return the id of a product as text; ``None`` when nothing is left."""
    text = raw if type(raw) is str else _text_of(raw)
    if not text.isascii() or not text.isprintable():
        text = _visible(text[:TEXT_MAX])
    return text.strip()[:ID_MAX].strip() or None


def _visible(text: str) -> str:
    if not text.isprintable():
        text = _INVISIBLE.sub("", _BREAKS.sub(" ", text))
    return unicodedata.normalize("NFC", text)


def _text_of(raw: Any) -> str:
    raw = unwrapped(raw)
    if isinstance(raw, str):
        return str(raw)
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
        field = f"contents.{key}" if of_item else key
        problems.append(Problem(field, complaint.rule, mistake=complaint.mistake))
    return not complaint or complaint.may_stay


class _Complaint(NamedTuple):
    may_stay: bool
    mistake: bool
    rule: str


@lru_cache(maxsize=1024)
def _complaint(key: str, of_item: bool) -> _Complaint | None:
    if key in _EVENT_WORDS:
        return _Complaint(False, True, "is no parameter: it belongs to the event itself")
    if key in _PERSONAL_WORDS:
        return _Complaint(False, True, "is no parameter: it belongs to user_data")
    known = parameters.ITEM_PARAMETERS if of_item else parameters.PARAMETERS
    synonyms = parameters.ITEM_SYNONYMS if of_item else parameters.SYNONYMS
    if meant := synonyms.get(key.lower()):
        return _Complaint(True, False, f"is not known to Meta, which says {meant!r}")
    meant = _bare(known).get(_bare_name(key)) or _alike(key, known)
    return (
        _Complaint(True, True, f"is not known to Meta; did you mean {meant!r}?") if meant else None
    )


def _bare(known: Iterable[str]) -> dict[str, str]:
    return {_bare_name(name): name for name in known}


def _bare_name(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower().rstrip("s")


def _alike(key: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(key, known, n=1, cutoff=catalogue.NEAR_MISS)), "")
