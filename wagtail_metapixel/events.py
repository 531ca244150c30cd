"""One event: its shape, its time and its id.

Nothing here raises for bad data: what cannot be sent is marked fatal and told as a
:class:`Problem`. Only :func:`check_event_id` raises, because an id is always the developer's.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from wagtail_metapixel import catalogue
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.exceptions import EventError, RefusedError


class Event(NamedTuple):
    """One event, checked. ``event_time`` in Unix seconds; empty addresses mean: not known."""

    event_name: str
    event_id: str
    event_time: int
    custom_data: Mapping[str, Any] = MappingProxyType({})
    action_source: str = "website"
    event_source_url: str = ""
    referrer_url: str = ""
    options: Mapping[str, Any] = MappingProxyType({})
    """Further keys beside ``event_name``, as the wire has them: ``opt_out`` and its like."""


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
    max_age = catalogue.MAX_AGE
    if refused := catalogue.action_source_problem(action_source):
        problems.append(refused)
    else:
        max_age = catalogue.ACTION_SOURCES[action_source].max_age
        if type(value) is int and now - max_age <= value <= now:
            return value, problems
    try:
        seconds = now if value is None else _seconds(value, problems)
    except RefusedError as refused:
        rule = refused.rule if refused.fatal else f"{refused.rule}; taken as now"
        problems.append(Problem("event_time", rule, None, refused.fatal, refused.mistake))
        seconds = now
    if seconds > now:
        seconds = _from_the_future(seconds, now, problems)
    elif now - seconds > max_age:
        rule = f"is older than the {max_age // catalogue.DAY} days Meta accepts"
        problems.append(Problem("event_time", rule, 2804003, True))
    return math.floor(seconds), problems


def unix_seconds(value: object) -> int:
    """Return a moment in Unix seconds, however old. Takes what :func:`check_event_time` takes.

    Raises :class:`RefusedError`; ``None`` is no moment.
    """
    return math.floor(_seconds(value, []))


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
            raise RefusedError("has to be an aware datetime")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefusedError("has to be Unix seconds or an aware datetime")
    if not abs(value) < _MILLISECONDS.stop:
        raise RefusedError("has to be Unix seconds", fatal=True, mistake=False)
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
        raise RefusedError(rule, fatal=True) from None


_EVENT_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{catalogue.EVENT_ID_MAX}}}")


def check_event_id(value: object) -> str:
    """Return an event id as text, or raise ``EventError``. ``0`` is an id like any other."""
    if isinstance(value, (int, uuid.UUID)) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and _EVENT_ID.fullmatch(value):
        return str(value)
    rule = f"has to be 1 to {catalogue.EVENT_ID_MAX} of A-Z a-z 0-9 . _ : -"
    raise EventError("event_id", rule)
