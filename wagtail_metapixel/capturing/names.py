"""What a test may name of an event, and which names are probably slips of the pen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache
from itertools import takewhile

from wagtail_metapixel import event_options, match_keys
from wagtail_metapixel.catalogue import NEAR_MISS
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.parameters import ITEM_PARAMETERS, PARAMETERS

OF_THE_EVENT = frozenset(
    "event_id event_time action_source event_source_url pixel_id site_pk state keyed twin".split()
)
"""What is read from the event itself."""
_ASSERTED = frozenset("once count key email phone user_data match_keys".split())
_TRACKED = frozenset("event_time action_source user_data".split())

_WIRE_NAMES = {match.name: key for key, match in match_keys.USER_DATA.items()}
_OF_A_PERSON = match_keys.USER_DATA.keys() | _WIRE_NAMES.keys()
PLACES = frozenset("city state zip country ct st".split())
"""Of a person, or ordinary parameters of travel and property events."""
PERSONAL = frozenset(_OF_A_PERSON) - PLACES - {"page_id"}
"""Names that are a person's wherever they stand."""

NEVER_DECLARED = (event_options.NAMES | OF_THE_EVENT | _ASSERTED | PERSONAL) - PLACES
"""What track() is told of, and a page never says."""

_TOO_ORDINARY = frozenset({"state", "keyed", "count", "title", "brand"})
"""One letter away from words a shop may use: stage, county, band."""
ASSERTED = PARAMETERS.keys() | event_options.NAMES | OF_THE_EVENT | _ASSERTED | PERSONAL
TRACKED = PARAMETERS.keys() | event_options.NAMES | _TRACKED
"""What ``track()`` reads among its keywords."""


def check(names: Iterable[str], sent: Iterable[str] = ()) -> None:
    """Raise ``EventError`` for a misspelt name; one that was ``sent`` like that is none."""
    for name in set(names).difference(sent):
        if meant := near_miss(name, frozenset(ASSERTED)):
            raise EventError(name, f"is not known; did you mean {meant!r}?")


def check_items(items: object) -> None:
    """Raise ``EventError`` for a misspelt key in an item of ``contents``."""
    for item in items if isinstance(items, (list, tuple)) else ():
        for name in item if isinstance(item, dict) else ():
            if meant := near_miss(name, frozenset(ITEM_PARAMETERS)):
                raise EventError(f"contents.{name}", f"is not known; did you mean {meant!r}?")


def check_match_keys(names: Iterable[str]) -> None:
    """Raise ``EventError`` for what is no key of ``user_data``."""
    for name in names:
        if name not in _OF_A_PERSON:
            meant = near_miss(str(name), frozenset(_OF_A_PERSON))
            hint = f"; did you mean {meant!r}?" if meant else ""
            raise EventError("user_data", f"has a name that is no match key{hint}")


def wire_name(name: str) -> str:
    """Return Meta's name for a match key; a readable one, ``email``, will do."""
    return _WIRE_NAMES.get(name, name)


@lru_cache(maxsize=1024)
def near_miss(name: str, known: frozenset[str]) -> str:
    """Return the one of ``known`` that was probably meant, ``""`` for a name of its own."""
    if name in known:
        return ""
    for word in sorted(known):
        if _bare(word) == _bare(name) or (_is_long(word) and _is_one_slip(word, name)):
            return word
    near = difflib.get_close_matches(name, filter(_is_long, known), n=1, cutoff=NEAR_MISS)
    return near[0] if near else ""


def _is_long(word: str) -> bool:
    return len(word) > 4 and word not in _TOO_ORDINARY


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower().rstrip("s")


def _is_one_slip(word: str, name: str) -> bool:
    """Tell whether one letter is missing, too many, wrong, or changed places with the next."""
    word, name = _without_common_start(word, name)
    word, name = _without_common_start(word[::-1], name[::-1])
    is_swap = len(word) == 2 and word == name[::-1]
    return is_swap or max(len(word), len(name)) == 1


def _without_common_start(word: str, name: str) -> tuple[str, str]:
    same = sum(
        1 for _pair in takewhile(lambda pair: pair[0] == pair[1], zip(word, name, strict=False))
    )
    return word[same:], name[same:]
