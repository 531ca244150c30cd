"""What a test expects of an event, and in which ways an event is another one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from wagtail_metapixel import keys, match_keys, matching, site_settings
from wagtail_metapixel.capturing.event import CapturedEvent


@dataclass(frozen=True, slots=True)
class Expectation:
    """What somebody asserts. Differences name fields, and never say who the person is."""

    expected: Mapping[str, Any]
    key: keys.Key | None
    person: Mapping[str, Any] = field(repr=False)
    match_keys: frozenset[str]

    def differences(self, event: CapturedEvent) -> Iterator[str]:
        """Say what about ``event`` is not as expected."""
        for name, wanted in self.expected.items():
            actual = _actual(event, name)
            if not _is_same_field(name, wanted, actual):
                yield _difference(name, wanted, actual)
        if self.key is not None:
            yield from _other_key(event, self.key)
        missing = self.match_keys - event.match_keys
        if missing:
            sent = ", ".join(sorted(event.match_keys)) or "none"
            yield f"match_keys lack {', '.join(sorted(missing))} (sent: {sent})"
        if self.person:
            yield from _other_person(event, self.person)


_OF_THE_EVENT = frozenset(
    "event_id event_time action_source event_source_url pixel_id site_pk state keyed twin".split()
)


def _actual(event: CapturedEvent, name: str) -> Any:
    if name in _OF_THE_EVENT:
        return getattr(event, name)
    return event.custom_data.get(name, event.body.get(name))


def _difference(name: str, wanted: Any, actual: Any) -> str:
    if actual in (None, ""):
        return f"{name} was not sent, {_shown(wanted)} was expected"
    if wanted is None:
        return f"{name} is {_shown(actual)}, none was expected"
    return f"{name} is {_shown(actual)}, not {_shown(wanted)}"


def _is_same_field(name: str, wanted: Any, actual: Any) -> bool:
    if name == "event_source_url" and isinstance(wanted, str) and wanted.startswith("/"):
        return str(urlsplit(actual).path) == wanted
    return _is_same(wanted, actual)


def _is_same(wanted: Any, actual: Any) -> bool:
    if wanted is None:
        return actual in (None, "")
    if actual is None or isinstance(actual, bool):
        return wanted is actual
    if isinstance(actual, (int, float, Decimal)):
        return _is_same_number(wanted, actual)
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(
            _is_same(value, actual.get(name)) for name, value in wanted.items()
        )
    if isinstance(wanted, (list, tuple, set, frozenset)):
        return isinstance(actual, list) and _are_same(list(wanted), list(actual))
    return str(wanted) == str(actual)


def _is_same_number(wanted: Any, actual: float | Decimal) -> bool:
    try:
        return Decimal(str(wanted)) == Decimal(str(actual))
    except InvalidOperation:
        return False


def _are_same(wanted: list[Any], actual: list[Any]) -> bool:
    """Tell whether each wanted item has one of its own, in any order, and none is left."""
    for item in wanted:
        found = next((i for i, other in enumerate(actual) if _is_same(item, other)), None)
        if found is None:
            return False
        del actual[found]
    return not actual


def _other_key(event: CapturedEvent, key: keys.Key) -> Iterator[str]:
    secret = site_settings.current().installation_key
    if not event.keyed:
        yield "key was not given"
    elif event.event_id != keys.event_id(secret, event.site_pk, key, event.event_name):
        yield "key is another one"


def _other_person(event: CapturedEvent, person: Mapping[str, Any]) -> Iterator[str]:
    site = site_settings.current().site(event.site_pk)
    wanted, problems = matching.match(person, region=(site and site.phone_region) or None)
    if len(wanted) < len(person):
        raise ValueError("; ".join(f"{problem.field}: {problem.rule}" for problem in problems))
    for name, values in wanted.items():
        actual = event.user_data.get(name)
        if actual is None:
            off = site is not None and not site.advanced_matching
            yield f"{name} was not sent{' (advanced matching is off)' if off else ''}"
        elif not set(_listed(values)) <= set(_listed(actual)):
            yield f"{name} is somebody else's"


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def wire_names(names: Collection[str]) -> frozenset[str]:
    """Return Meta's names for match keys; a readable one, ``email``, will do."""
    known = {match.name: key for key, match in match_keys.USER_DATA.items()}
    given = [names] if isinstance(names, str) else names
    return frozenset(known.get(name, name) for name in given)


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, (Decimal, int, float)) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
