"""What may be shown of an event: names and ids, unless they may be somebody's."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]{0,49}")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NUMBER = re.compile(r"[0-9.:-]{7,20}")


def shown_word(word: object) -> str:
    """Return the name of an event or a key, ``"?"`` when it may be somebody's number or address."""
    harmless = isinstance(word, str) and _WORD.fullmatch(word)
    return str(word) if harmless and sum(map(str.isdigit, str(word))) < 7 else "?"


def shown_id(event_id: str) -> str:
    """Return an opaque event id, ``""`` when it may be somebody's number or address."""
    return event_id if _ID.fullmatch(event_id) and not _NUMBER.fullmatch(event_id) else ""
