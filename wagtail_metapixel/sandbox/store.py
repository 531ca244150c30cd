"""What was received, in memory, and which of it Meta would count once.

Three rules join a copy to a record; the first that fits decides:

* the same pixel, event name and event id, within 48 hours of the record's first copy;
* for ``physical_store`` instead: pixel, event name, order id, event time and item number, within
  7 days. Offline events never join others;
* the fallback, where one of both copies has no event id: a *server* copy joins the latest browser
  record of the same pixel and name with the same ``fbp`` or ``external_id`` and no other value in
  either, within 48 hours. A browser copy never joins a server record this way, nor does a copy
  join one of its own channel.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from threading import Condition
from typing import TYPE_CHECKING, Any, Final

from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.comparison import values
from wagtail_metapixel.sandbox.records import Copy, Record
from wagtail_metapixel.sandbox.reports import record_json

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    Key = tuple[Hashable, ...]

MAX_RECORDS: Final = 10_000
MAX_REJECTIONS: Final = 200
_IDENTIFIERS: Final = ("fbp", "external_id")
_SAME_VALUES: Final = 10


class Store:
    """Records and refused requests, newest kept. Every method may be called from any thread.

    ``max_records`` bounds the memory: the record that changed longest ago is forgotten first, and
    with it its event id. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        max_records: int = MAX_RECORDS,
        clock: Callable[[], float] = time.time,
        on_rejection: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.clock = clock
        self.capacity = max_records
        self._on_rejection = on_rejection
        self._changed = Condition()
        self._sequence = 0
        self._next_id = 1
        self._generation = 0
        self._forget_everything()

    def _forget_everything(self) -> None:
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._by_key: dict[Key, int] = {}
        self._keys: dict[int, list[Key]] = {}
        self._rejections: deque[dict[str, Any]] = deque(maxlen=MAX_REJECTIONS)
        self._values: dict[Key, deque[Any]] = {}
        self._totals = {"browser": 0, "server": 0, "events": 0, "rejected": 0}
        self._last_fired: dict[str, float] = {}

    # Writing

    def add(self, copies: Iterable[Copy]) -> list[int]:
        """Keep ``copies``; the ids of the records they became part of."""
        with self._changed:
            ids = [self._add(copy) for copy in copies]
            self._changed.notify_all()
        return ids

    def reject(self, rejection: dict[str, Any]) -> None:
        """Keep a refused request: a JSON object that describes it."""
        with self._changed:
            self._sequence += 1
            self._totals["rejected"] += 1
            self._rejections.append({"sequence": self._sequence, **rejection})
            self._changed.notify_all()
        if self._on_rejection is not None:
            self._on_rejection(rejection)

    def clear(self) -> None:
        """Forget everything, as if the sandbox had just started."""
        with self._changed:
            self._forget_everything()
            self._generation += 1
            self._changed.notify_all()

    def wake(self) -> None:
        """Let everyone return from :meth:`wait`, also who is only on the way to it."""
        with self._changed:
            self._sequence += 1
            self._changed.notify_all()

    # Reading

    def events(self) -> list[dict[str, Any]]:
        """Every record as JSON, in the order in which the first copies came."""
        with self._changed:
            return [record_json(record) for _, record in sorted(self._records.items())]

    def event(self, record_id: int) -> dict[str, Any] | None:
        with self._changed:
            record = self._records.get(record_id)
            return record_json(record) if record else None

    def rejections(self) -> list[dict[str, Any]]:
        """The refused requests, oldest first."""
        with self._changed:
            return list(self._rejections)

    def totals(self) -> dict[str, int]:
        """Copies per channel, logical events and refused requests since the last clearing."""
        with self._changed:
            return dict(self._totals)

    def last_fired(self, pixel: str) -> float | None:
        """When the last copy for ``pixel`` came, in Unix seconds."""
        with self._changed:
            return self._last_fired.get(pixel)

    def changes(self, since: int, limit: int = MAX_RECORDS) -> dict[str, Any]:
        """What is newer than the sequence number ``since``: at most ``limit`` records, the newest.

        ``generation`` changes when the store was cleared.
        """
        with self._changed:
            newer: list[dict[str, Any]] = []
            for record in reversed(self._records.values()):
                if record.sequence <= since or len(newer) == limit:
                    break
                newer.append(record_json(record))
            return {
                "generation": self._generation,
                "sequence": self._sequence,
                "events": newer[::-1],
                "rejections": [r for r in self._rejections if r["sequence"] > since],
                "totals": dict(self._totals),
            }

    def wait(self, generation: int, since: int, timeout: float) -> bool:
        """Wait until there is something newer; False after ``timeout`` seconds."""
        with self._changed:
            if self._generation == generation and self._sequence <= since:
                return self._changed.wait(timeout)
            return True

    # Deduplication

    def _add(self, copy: Copy) -> int:
        record, matched_by = self._find(copy)
        if record is None:
            record = self._new_record(copy)
        elif not record.matched_by:
            record.matched_by = matched_by
        if record.add(copy):
            self._index(record, copy)
        self._sequence += 1
        record.sequence = self._sequence
        self._records.move_to_end(record.id)
        self._totals[copy.channel] += 1
        self._last_fired[copy.pixel] = copy.received
        return record.id

    def _find(self, copy: Copy) -> tuple[Record | None, str]:
        key, window = _identity(copy)
        record = self._records.get(self._by_key.get(key, 0)) if key else None
        if record is not None and copy.received - record.received <= window:
            return record, str(key[0])
        if copy.channel == "server" and copy.action_source != "physical_store":
            return self._find_browser(copy), "fallback"
        return None, ""

    def _find_browser(self, copy: Copy) -> Record | None:
        found = [
            record
            for key in _fallback_keys(copy, with_id=(False,) if copy.event_id else (False, True))
            if (record := self._records.get(self._by_key.get(key, 0))) is not None
            and copy.received - record.received <= rules.DEDUPLICATION_WINDOW
            and not _contradicts(record, copy)
        ]
        return max(found, key=lambda record: record.received, default=None)

    def _new_record(self, copy: Copy) -> Record:
        record = Record(self._next_id)
        self._next_id += 1
        key, _ = _identity(copy)
        if key in self._by_key:
            record.notes.add("counted_again")
        if self._same_value_again(copy):
            record.notes.add("identical_values")
        self._records[record.id] = record
        self._keys[record.id] = []
        self._totals["events"] += 1
        if len(self._records) > self.capacity:
            self._forget(next(iter(self._records)))
        return record

    def _same_value_again(self, copy: Copy) -> bool:
        if copy.event_name not in rules.VALUE_EVENTS:
            return False
        recent = self._values.setdefault((copy.pixel, copy.event_name), deque(maxlen=_SAME_VALUES))
        recent.append(str(copy.custom_data.get("value")))
        return len(recent) == _SAME_VALUES and len(set(recent)) == 1

    def _index(self, record: Record, copy: Copy) -> None:
        key, _ = _identity(copy)
        keys = [key] if key else []
        if copy.channel == "browser":
            keys += _fallback_keys(copy, with_id=(bool(copy.event_id),))
        for key in keys:
            if self._by_key.get(key) != record.id:
                self._by_key[key] = record.id
                self._keys[record.id].append(key)

    def _forget(self, record_id: int) -> None:
        del self._records[record_id]
        for key in self._keys.pop(record_id):
            if self._by_key.get(key) == record_id:
                del self._by_key[key]


def _identity(copy: Copy) -> tuple[Key, int]:
    """What makes ``copy`` the same event as another, and for how many seconds."""
    if copy.action_source == "physical_store":
        return _offline_identity(copy), rules.OFFLINE_DEDUPLICATION_WINDOW
    if not copy.event_id:
        return (), 0
    return ("event_id", copy.pixel, copy.event_name, copy.event_id), rules.DEDUPLICATION_WINDOW


def _offline_identity(copy: Copy) -> Key:
    order_id, item = copy.custom_data.get("order_id"), copy.custom_data.get("item_number")
    if not order_id:
        return ()
    return ("order_id", copy.pixel, copy.event_name, order_id, copy.event_time, item)


def _fallback_keys(copy: Copy, with_id: tuple[bool, ...]) -> Iterator[Key]:
    for name in _IDENTIFIERS:
        for value in sorted(values(copy.user_data[name])) if name in copy.user_data else ():
            for flag in with_id:
                yield ("fallback", copy.pixel, copy.event_name, flag, name, value)


def _contradicts(record: Record, copy: Copy) -> bool:
    browser = record.first("browser")
    return browser is not None and any(
        name in browser.user_data
        and name in copy.user_data
        and not values(browser.user_data[name]) & values(copy.user_data[name])
        for name in _IDENTIFIERS
    )
