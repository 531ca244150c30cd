"""The linter: what Meta's Events Manager would complain about, predicted from the events.

``lint()`` reads events one by one and keeps only small numbers of each, so that it can be given
an iterator over as many as there are. A finding never holds a value of the event: it names the
code, the event, the field, and ids of examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from time import time
from typing import Any, NamedTuple

from wagtail_metapixel import catalogue, event_rules
from wagtail_metapixel.findings import LEVELS, TEXTS, Level
from wagtail_metapixel.halves import differing_fields
from wagtail_metapixel.redaction import shown_id, shown_word
from wagtail_metapixel.subjects import Subject, amount, currency, written

EXAMPLES = 5
"""Ids in one finding."""
MANY = 5
"""So many events have to agree before it is no chance."""
CROWD = 20
"""So many different people at one address are no family and hardly an office."""
CROWD_SHARE = 0.1
"""The part of all events that has to come from one address to be worth a word."""
COVERAGE = 0.75
"""The part of events that Meta wants to see from both sides."""
_MONEY_EVENT = "Purchase"


class Finding(NamedTuple):
    """One thing that is wrong with one or more events of a name."""

    code: str
    level: Level
    event_name: str
    """``"?"`` when the name may be personal, ``""`` when the finding is about several names."""
    field: str
    message: str
    remedy: str
    event_ids: tuple[str, ...]
    """At most :data:`EXAMPLES`; none that may be somebody's number or address."""
    occurrences: int = 1
    """How many events; more than the ids where there are many."""


def lint(
    events: Iterable[Mapping[str, Any]],
    *,
    browser_events: Iterable[Mapping[str, Any]] = (),
    hosts: Iterable[str] = (),
    content_ids: Iterable[str] | None = None,
    now: float | None = None,
) -> list[Finding]:
    """Return what is wrong with ``events``, the worst first. Never raises on bad events.

    ``events`` are server events in Meta's wire form, ``user_data`` hashed, or null where nothing
    is kept of the person; ``received_at`` (Unix seconds) beside them says when Meta got them,
    otherwise it is ``now``. ``browser_events`` are the other side's copies, of the same form.
    ``hosts`` are the site's own and ``content_ids`` the catalogue's; without them nobody asks.
    """
    linter = Linter(browser_events=browser_events, hosts=hosts, content_ids=content_ids, now=now)
    for event in events:
        linter.read(event)
    return linter.findings()


def faults(event: Mapping[str, Any], *, now: float, browser: bool = False) -> set[str]:
    """Return the codes of what is wrong with one event alone, arriving at ``now``."""
    return {code for code, _ in event_rules.faults(Subject(event, now=now), browser=browser)}


class Linter:
    """Reads events one after the other; :meth:`findings` may be asked at any time."""

    def __init__(
        self,
        *,
        browser_events: Iterable[Mapping[str, Any]] = (),
        hosts: Iterable[str] = (),
        content_ids: Iterable[str] | None = None,
        now: float | None = None,
    ) -> None:
        self._now = time() if now is None else now
        self._hosts = frozenset(host.lower().partition(":")[0] for host in hosts)
        self._known_ids = None if content_ids is None else frozenset(map(str, content_ids))
        self._found = _Findings()
        self._ids = _Ids(self._found)
        self._money = _Money()
        self._addresses = _Addresses()
        self._halves = _Halves(self._found)
        for event in browser_events:
            self._read_browser(event)

    def read(self, event: Any) -> None:
        """Look at one server event: a dict, and whatever else may have come as JSON."""
        if not isinstance(event, Mapping):
            self._found.add("event_malformed", "", "")
            return
        subject = self._subject(event)
        self._judge(subject)
        if self._ids.is_new(subject):
            self._money.read(subject)
        self._addresses.read(subject)
        self._halves.read_server(subject)

    def findings(self) -> list[Finding]:
        """Return what was found until now, the worst first."""
        found = [*self._found]
        for part in (self._ids, self._money, self._addresses, self._halves):
            found += part.findings()
        order = list(LEVELS)
        return sorted(found, key=lambda f: (order.index(f.level), f.code, f.event_name, f.field))

    def _read_browser(self, event: Any) -> None:
        if not isinstance(event, Mapping):
            self._found.add("event_malformed", "", "")
            return
        subject = self._subject(event)
        self._judge(subject, browser=True)
        self._halves.read_browser(subject)

    def _judge(self, subject: Subject, *, browser: bool = False) -> None:
        for code, field in event_rules.faults(subject, browser=browser):
            self._found.add(code, subject.name, subject.event_id, field)

    def _subject(self, event: Mapping[str, Any]) -> Subject:
        return Subject(event, now=self._now, hosts=self._hosts, content_ids=self._known_ids)


def _finding(
    code: str, name: str, *, ids: Iterable[str] = (), count: int, field: str = ""
) -> Finding:
    text = TEXTS[code]
    shown = tuple(filter(None, map(shown_id, ids)))[:EXAMPLES]
    name = shown_word(name) if name else ""
    field = field or text.field
    return Finding(code, text.level, name, field, text.message, text.remedy, shown, count)


class _Findings:
    """Counts faults of one code, name and field together, with the first ids."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._ids: dict[tuple[str, str, str], list[str]] = {}

    def add(self, code: str, name: str, event_id: str, field: str = "") -> None:
        key = code, shown_word(name) if name else "", field
        self._counts[key] += 1
        ids = self._ids.setdefault(key, [])
        if len(ids) < EXAMPLES and event_id not in ids and shown_id(event_id):
            ids.append(event_id)

    def __iter__(self) -> Iterator[Finding]:
        for (code, name, field), count in self._counts.items():
            ids = self._ids[code, name, field]
            yield _finding(code, name, ids=ids, count=count, field=field)


class _Ids:
    """One id for many events. Keeps three numbers of each id."""

    def __init__(self, found: _Findings) -> None:
        self._found = found
        self._contents: dict[int, int] = {}
        self._uses: dict[int, tuple[int, ...]] = {}
        self._constant: dict[str, set[int]] = {}

    def is_new(self, subject: Subject) -> bool:
        """Count an event, and tell it from one that is tried again."""
        event_id = subject.event_id
        if not event_id:
            return True
        content = hash(_content(subject))
        if self._contents.setdefault(hash((subject.name, event_id)), content) != content:
            self._found.add("event_id_repeated", subject.name, event_id)
        return self._is_another(event_id, hash((subject.name, content)))

    def _is_another(self, event_id: str, use: int) -> bool:
        key = hash(event_id)
        uses = self._uses.get(key, ())
        if use in uses:
            return False
        if len(uses) < MANY:
            uses = self._uses[key] = (*uses, use)
        if len(uses) == MANY and (event_id in self._constant or len(self._constant) < MANY):
            self._constant.setdefault(event_id, set(uses)).add(use)
        return True

    def findings(self) -> Iterator[Finding]:
        if self._constant:
            count = sum(map(len, self._constant.values()))
            yield _finding("event_id_constant", "", ids=self._constant, count=count)


def _content(subject: Subject) -> str:
    # A retry repeats all of this; another event, person or page does not.
    return written((subject.custom_data, subject.text("event_source_url"), subject.person))


class _Money:
    """Values that are always the same, or never there."""

    def __init__(self) -> None:
        self._purchases = 0
        self._values: set[float | None] = set()
        self._currencies: set[str] = set()
        self._examples: list[str] = []
        self._without: Counter[str] = Counter()
        self._with: set[str] = set()

    def read(self, subject: Subject) -> None:
        event = catalogue.STANDARD_EVENTS.get(subject.name)
        if event is None:
            return
        value = amount(subject.custom_data.get("value"))
        if "value" in event.recommended:
            self._with |= set() if value is None else {event.name}
            self._without[event.name] += value is None
        if event.name == _MONEY_EVENT and value is not None:
            self._read_purchase(subject, value)

    def _read_purchase(self, subject: Subject, value: float) -> None:
        self._purchases += 1
        if len(self._values) < 2:
            self._values.add(value)
        if len(self._currencies) < 2:
            self._currencies.add(currency(subject))
        if len(self._examples) < EXAMPLES:
            self._examples.append(subject.event_id)

    def findings(self) -> Iterator[Finding]:
        if self._purchases >= MANY:
            for code, seen in (
                ("value_constant", len(self._values)),
                ("currency_constant", len(self._currencies - {""})),
            ):
                if seen == 1:
                    yield _finding(
                        code, _MONEY_EVENT, ids=self._examples, count=self._purchases, field=""
                    )
        for name, count in self._without.items():
            if count >= MANY and name not in self._with:
                yield _finding("value_recommended", name, count=count)


class _Place:
    __slots__ = ("count", "event_ids", "people")

    def __init__(self) -> None:
        self.count = 0
        self.people: set[int] = set()
        self.event_ids: list[str] = []

    def add(self, subject: Subject) -> None:
        self.count += 1
        if len(self.people) < CROWD and subject.person:
            self.people.add(hash(subject.person))
        if len(self.event_ids) < EXAMPLES:
            self.event_ids.append(subject.event_id)


class _Addresses:
    """Addresses that stand for too many people, and the kind of all of them.

    Keeps a hundred addresses whatever comes: when one too many arrives, each loses one event, and
    who has none left goes. What makes up a tenth of all events cannot be lost that way.
    """

    _ROOM = 100

    def __init__(self) -> None:
        self._total = 0
        self._ipv4 = 0
        self._places: dict[int, _Place] = {}

    def read(self, subject: Subject) -> None:
        address = subject.address
        if address is None or not subject.is_public:
            return
        self._total += 1
        self._ipv4 += address.version == 4
        key = int(address)
        if key not in self._places and len(self._places) >= self._ROOM:
            self._make_room()
        else:
            self._places.setdefault(key, _Place()).add(subject)

    def _make_room(self) -> None:
        for key, place in list(self._places.items()):
            place.count -= 1
            if not place.count:
                del self._places[key]

    def findings(self) -> Iterator[Finding]:
        crowded = [
            place
            for place in self._places.values()
            if len(place.people) >= CROWD and place.count >= CROWD_SHARE * self._total
        ]
        if crowded:
            ids = [event_id for place in crowded for event_id in place.event_ids]
            count = sum(place.count for place in crowded)
            yield _finding("ip_shared", "", ids=ids, count=count)
        if self._total >= MANY and self._ipv4 == self._total:
            yield _finding("ipv4_only", "", count=self._total)


class _Half(NamedTuple):
    """The browser's copy of an event."""

    custom_data: Mapping[str, Any]
    user_data: Mapping[str, Any]


class _Halves:
    """Compares both sides, when the browser's is known. Keeps the browser's events."""

    def __init__(self, found: _Findings) -> None:
        self._found = found
        self._browser: dict[tuple[str, str], _Half] = {}
        self._names: dict[str, str] = {}
        self._met: set[tuple[str, str]] = set()
        self._alone: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self._servers: Counter[str] = Counter()

    def read_browser(self, subject: Subject) -> None:
        if subject.event_id:
            half = _Half(subject.custom_data, subject.user_data)
            self._browser.setdefault((subject.name, subject.event_id), half)
            self._names.setdefault(subject.event_id, subject.name)

    def read_server(self, subject: Subject) -> None:
        if not self._browser or not subject.is_website or not subject.event_id:
            return
        key = subject.name, subject.event_id
        self._servers[subject.name] += 1
        other = self._browser.get(key)
        if other is not None:
            self._met.add(key)
            self._compare(subject, other)
        elif subject.event_id in self._names:
            self._found.add("halves_names_differ", *key)
        else:
            self._alone[subject.name] += 1
            self._examples.setdefault(subject.name, []).append(subject.event_id)
            del self._examples[subject.name][EXAMPLES:]

    def _compare(self, subject: Subject, browser: _Half) -> None:
        fields = differing_fields(
            browser.custom_data, subject.custom_data, browser.user_data, subject.user_data
        )
        for field in fields:
            self._found.add("halves_differ", subject.name, subject.event_id, field)

    def findings(self) -> Iterator[Finding]:
        for name, count in self._alone.items():
            if count > (1 - COVERAGE) * self._servers[name]:
                ids = self._examples[name]
                yield _finding("halves_browser_missing", name, ids=ids, count=count)
        totals = Counter(name for name, _event_id in self._browser)
        for name, total in totals.items():
            unmet = [key[1] for key in self._browser if key[0] == name and key not in self._met]
            if len(unmet) > (1 - COVERAGE) * total:
                yield _finding("halves_server_missing", name, ids=unmet, count=len(unmet))
