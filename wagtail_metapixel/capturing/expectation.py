"""What a test expects of an event, and in which ways an event is another one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from wagtail_metapixel import keys, matching, personal_data, site_settings
from wagtail_metapixel.capturing import names
from wagtail_metapixel.capturing.comparison import is_same
from wagtail_metapixel.capturing.event import CapturedEvent
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.match_keys import USER_DATA


@dataclass(frozen=True, slots=True)
class Expectation:
    """What somebody asserts. Differences name fields, and never say who the person is."""

    expected: Mapping[str, Any] = field(repr=False)
    key: keys.Key | None
    person: Mapping[str, Any] = field(repr=False)
    """Match keys, readable or Meta's; ``None`` for what should not be sent."""
    match_keys: frozenset[str]

    @classmethod
    def of(
        cls,
        expected: Mapping[str, Any],
        key: keys.Key | None,
        person: Mapping[str, Any],
        match_keys: Collection[str],
    ) -> Self:
        """Return what is expected; a person's data among the parameters is the person's."""
        wanted = [match_keys] if isinstance(match_keys, str) else match_keys
        names.check_match_keys([*person, *wanted])
        names.check_items(expected.get("contents"))
        told = {name: expected[name] for name in names.PERSONAL & expected.keys()}
        rest = {name: value for name, value in expected.items() if name not in told}
        return cls(rest, key, {**person, **told}, frozenset(map(names.wire_name, wanted)))

    def differences(self, event: CapturedEvent) -> Iterator[str]:
        """Say what about ``event`` is not as expected."""
        yield from differences(self.expected, lambda name: _actual(event, name))
        if self.key is not None:
            yield from _other_key(event, self.key)
        missing = self.match_keys - event.match_keys
        if missing:
            sent = ", ".join(sorted(event.match_keys)) or "none"
            yield f"match_keys lack {', '.join(sorted(missing))} (sent: {sent})"
        if self.person:
            yield from _other_person(event, self.person)


def differences(expected: Mapping[str, Any], actual: Callable[[str], Any]) -> Iterator[str]:
    """Say in what the ``expected`` parameters differ from the ``actual`` ones."""
    for name, wanted in expected.items():
        if not is_same(name, wanted, actual(name)):
            yield _difference(name, wanted, actual(name))


def _actual(event: CapturedEvent, name: str) -> Any:
    if name in names.OF_THE_EVENT:
        return getattr(event, name)
    return event.custom_data.get(name, event.body.get(name))


def _difference(name: str, wanted: Any, actual: Any) -> str:
    if personal_data.is_personal_name(name) or name in names.PLACES - names.OF_THE_EVENT:
        # Possibly somebody's, so it is not shown.
        what = "was not sent" if actual is None else "is another one"
        return f"{name} {what} among the parameters; a person's belongs to user_data="
    if actual in (None, ""):
        return f"{name} was not sent, {shown(wanted)} was expected"
    if wanted is None:
        return f"{name} is {shown(actual)}, none was expected"
    return f"{name} is {shown(actual)}, not {shown(wanted)}"


def _other_key(event: CapturedEvent, key: keys.Key) -> Iterator[str]:
    secret = site_settings.current().installation_key
    if not event.keyed:
        yield "key was not given"
    elif event.event_id != keys.event_id(secret, event.site_pk, key, event.event_name):
        yield "key is another one"


# The person


def _other_person(event: CapturedEvent, person: Mapping[str, Any]) -> Iterator[str]:
    site = site_settings.current().site(event.site_pk)
    for given, values in person.items():
        name = names.wire_name(given)
        actual = event.user_data.get(name)
        if values is None:
            if actual is not None:
                yield f"{name} was sent, none was expected"
            continue
        wanted = _wire_values(given, person, (site and site.phone_region) or None)
        if actual is None:
            off = site is not None and not site.advanced_matching
            yield f"{name} was not sent{' (advanced matching is off)' if off else ''}"
        elif not wanted <= _listed(actual):
            yield f"{name} is somebody else's"


def _wire_values(name: str, person: Mapping[str, Any], region: str | None) -> set[str]:
    """Return the values of ``name`` as they are sent; ``ValueError`` for one that never is."""
    several = person[name] if isinstance(person[name], (list, tuple, set, frozenset)) else None
    found: set[str] = set()
    for value in [person[name]] if several is None else several or [""]:
        # States and postcodes look different from country to country.
        told = {"country": person.get("country"), name: value}
        wire, problems = matching.match(told, region=region)
        if names.wire_name(name) not in wire:
            readable = USER_DATA[names.wire_name(name)].name
            rules = [str(problem.rule) for problem in problems if problem.field == readable]
            rule = "; ".join(rules) or "is empty; None stands for what was not sent"
            raise EventError(name, rule)
        found |= _listed(wire[names.wire_name(name)])
    return found


def _listed(value: str | list[str]) -> set[str]:
    return set(value) if isinstance(value, list) else {value}


def shown(value: Any) -> str:
    """Return ``value`` as a message has it, cut where it is long."""
    text = str(value) if isinstance(value, (Decimal, int, float)) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
