"""One event as the linter reads it: any JSON at all, and never an exception."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, urlsplit

from wagtail_metapixel import catalogue, identifiers

PERSON_KEYS = ("external_id", "fbp", "em", "ph", "fbc")
"""Match keys that tell one person from another, the best first."""


@dataclass(frozen=True)
class Subject:
    """One event in Meta's wire form, and what it is held against."""

    raw: Mapping[str, Any]
    now: float
    """Unix seconds; when the event arrives, unless it says so itself in ``received_at``."""
    hosts: frozenset[str] = frozenset()
    content_ids: Collection[str] | None = None

    @cached_property
    def name(self) -> str:
        """The event's name, ``""`` when it has none."""
        name = self.raw.get("event_name")
        return name if isinstance(name, str) else ""

    @cached_property
    def event_id(self) -> str:
        """The id as text; Meta compares texts."""
        event_id = self.raw.get("event_id")
        return "" if event_id is None or isinstance(event_id, dict | list) else written(event_id)

    @cached_property
    def custom_data(self) -> Mapping[str, Any]:
        """The parameters; none when they are no object."""
        return _object(self.raw.get("custom_data"))

    @cached_property
    def user_data(self) -> Mapping[str, Any]:
        """The match keys; none when they are no object."""
        return _object(self.raw.get("user_data"))

    @cached_property
    def is_website(self) -> bool:
        """Does Meta ask for a page and a user agent?"""
        return self.raw.get("action_source") == "website"

    @cached_property
    def emptied(self) -> bool:
        """Was ``user_data`` given as null, because nothing is kept of the person?"""
        return "user_data" in self.raw and self.raw["user_data"] is None

    @cached_property
    def page(self) -> SplitResult | None:
        """The page's address, when it is one."""
        return split(self.text("event_source_url"))

    @cached_property
    def event_time(self) -> float | None:
        """Unix seconds, when it is a number."""
        return finite(self.raw.get("event_time"))

    @cached_property
    def age(self) -> float:
        """Seconds between the event and its arrival; 0 when unknown, less than 0 in the future."""
        if self.event_time is None:
            return 0
        received = finite(self.raw.get("received_at"))
        return (self.now if received is None else received) - self.event_time

    @cached_property
    def max_age(self) -> int:
        """Seconds for which Meta takes such an event."""
        source = self.raw.get("action_source")
        known = catalogue.ACTION_SOURCES.get(source) if isinstance(source, str) else None
        return known.max_age if known else catalogue.MAX_AGE

    @cached_property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The client's address, without the mark that Meta's parameter builder may append."""
        given = self.user_data.get("client_ip_address")
        text = given if isinstance(given, str) else ""
        for candidate in (text, text[:-9] if text[-9:-8] == "." else ""):
            try:
                return ipaddress.ip_address(candidate)
            except ValueError:
                continue
        return None

    @cached_property
    def is_public(self) -> bool:
        """Is the client's address one that visitors come from?"""
        address = self.address
        return address is not None and identifiers.public_ip(str(address)) is not None

    @cached_property
    def person(self) -> str:
        """What tells this person from another, ``""`` for nobody in particular."""
        key = next((key for key in PERSON_KEYS if self.user_data.get(key)), "")
        return f"{key} {written(self.user_data[key])}" if key else ""

    def text(self, key: str) -> str:
        """A key of the event itself, ``""`` when it is no text."""
        value = self.raw.get(key)
        return value if isinstance(value, str) else ""


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def written(value: Any) -> str:
    """Return ``value`` as Python writes it, ``""`` when it is too deep or too long for that."""
    try:
        return str(value)
    except (RecursionError, ValueError):
        return ""


def is_text(value: Any) -> bool:
    """Tell whether ``value`` is a JSON string."""
    return isinstance(value, str)


def is_whole(value: Any) -> bool:
    """Tell whether ``value`` is a whole JSON number; ``true`` is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def finite(value: Any) -> float | None:
    """Return a JSON number as a float, ``None`` for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def split(url: str) -> SplitResult | None:
    """Return the parts of an absolute http or https address with a host, else ``None``."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} and host else None


_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,10})?")


def amount(value: Any) -> float | None:
    """Return an amount that Meta can read, a number or the plain text of one, else ``None``."""
    if isinstance(value, str):
        return float(value) if _AMOUNT.fullmatch(value) else None
    return finite(value)


def currency(subject: Subject) -> str:
    """Return the currency in capitals, ``""`` when there is none."""
    given = subject.custom_data.get("currency")
    return given.upper() if isinstance(given, str) and given.isascii() else ""


def is_id(value: Any) -> bool:
    """Tell whether Meta takes ``value`` as the id of a product."""
    return bool(value.strip()) if isinstance(value, str) else is_whole(value)


def content_ids(subject: Subject) -> list[str]:
    """Return the ids of ``content_ids`` and ``contents``, as texts."""
    ids, contents = subject.custom_data.get("content_ids"), subject.custom_data.get("contents")
    found = ids if isinstance(ids, list) else []
    if isinstance(contents, list):
        found = found + [item.get("id") for item in contents if isinstance(item, Mapping)]
    return [written(value) for value in found if is_id(value)]
