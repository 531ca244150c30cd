"""What the browser's and the server's copy of one event say differently."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from wagtail_metapixel import digests
from wagtail_metapixel.parameters import SERVER_ONLY
from wagtail_metapixel.redaction import shown_word
from wagtail_metapixel.subjects import amount, written

_SHARED_KEYS = ("external_id", "fbc", "fbp")
"""Match keys that say the same on both sides, where both sides have them."""


def differing_fields(
    browser_custom: Mapping[str, Any],
    server_custom: Mapping[str, Any],
    browser_user: Mapping[str, Any],
    server_user: Mapping[str, Any],
) -> Iterator[str]:
    """Yield the paths of what differs, such as ``custom_data.value``; never raises.

    A parameter that one copy does not have is a difference, a match key that it does not have is
    not.
    """
    names = (browser_custom.keys() | server_custom.keys()) - SERVER_ONLY
    for name in sorted(names, key=str):
        if not _agree(name, browser_custom.get(name), server_custom.get(name)):
            yield f"custom_data.{shown_word(name)}"
    for key in _SHARED_KEYS:
        one, other = _values(browser_user.get(key)), _values(server_user.get(key))
        if one and other and not one & other:
            yield f"user_data.{key}"


def _agree(name: str, one: Any, other: Any) -> bool:
    try:
        if name == "currency" and isinstance(one, str) and isinstance(other, str):
            return one.upper() == other.upper()
        if name == "content_ids" and isinstance(one, list) and isinstance(other, list):
            return sorted(map(written, one)) == sorted(map(written, other))
        return _is_same(one, other)
    except RecursionError:
        return True  # too deep to tell


def _is_same(one: Any, other: Any) -> bool:
    """Compare as Meta reads: ``20``, ``20.0`` and ``"20.00"`` are one price."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_is_same(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return written(one).lower() == written(other).lower()
    if isinstance(one, int | float) or isinstance(other, int | float):
        numbers = amount(one), amount(other)
        return numbers[0] == numbers[1] and (None not in numbers or written(one) == written(other))
    return bool(one == other)


def _values(given: Any) -> set[str]:
    """Return the values of a match key. An id and its hash are one: Meta's script hashes ids."""
    values = given if isinstance(given, list) else [given]
    return {_hashed(written(value)) for value in values if value not in (None, "", [])}


def _hashed(value: str) -> str:
    if digests.DIGEST.fullmatch(value):
        return value
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
