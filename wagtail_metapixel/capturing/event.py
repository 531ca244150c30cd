"""One captured event, read from the outbox for a test to look at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from wagtail_metapixel import payloads
from wagtail_metapixel.models import OutboxEvent, State, Twin

_FORGOTTEN = frozenset({State.WITHDRAWN, State.ERASED})


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedEvent:
    """One event for one pixel, as the outbox holds it."""

    pixel_id: str
    site_pk: int
    state: str
    """``pending``, or what became of it: a value of :class:`~wagtail_metapixel.models.State`."""
    reason: str
    """Why it was rejected."""
    keyed: bool
    twin: bool
    """Whether the browser may tell Meta of it, too."""
    recorded_at: datetime
    body: Mapping[str, Any]
    """The server event as Meta reads it, without ``user_data``."""
    user_data: Mapping[str, Any]
    """What is said about the person, hashed. Known also after delivery, when the row forgets it.
    Nothing for a pixel that the server tells nothing."""

    @classmethod
    def of(cls, row: OutboxEvent, user_data: bytes) -> CapturedEvent:
        """Return the event of ``row``, with the ``user_data`` it was recorded with."""
        # Delivery empties the row; what a person took back is gone here, too.
        told = bytes(row.user_data) if row.state in _FORGOTTEN else user_data
        return cls(
            pixel_id=row.pixel_id,
            site_pk=row.site_pk,
            state=str(row.state),
            reason=row.reason,
            keyed=row.keyed,
            twin=row.twin == Twin.MAYBE,
            recorded_at=row.recorded_at,
            body=MappingProxyType(json.loads(bytes(row.event))),
            user_data=MappingProxyType(json.loads(told)),
        )

    @property
    def event_name(self) -> str:
        """The name, ``"Purchase"``."""
        return str(self.body["event_name"])

    @property
    def event_id(self) -> str:
        """The id both channels share."""
        return str(self.body["event_id"])

    @property
    def event_time(self) -> int:
        """When it happened, in Unix seconds."""
        return int(self.body["event_time"])

    @property
    def action_source(self) -> str:
        """Where it happened, ``"website"``."""
        return str(self.body["action_source"])

    @property
    def event_source_url(self) -> str:
        """The page it happened on, ``""`` when not known."""
        return str(self.body.get("event_source_url", ""))

    @property
    def custom_data(self) -> Mapping[str, Any]:
        """The parameters, as JSON numbers, texts and lists."""
        data: Mapping[str, Any] = self.body.get("custom_data", {})
        return data

    @property
    def value(self) -> Decimal | None:
        """The value, exact, in major units."""
        value = self.custom_data.get("value")
        return None if value is None else Decimal(str(value))

    @property
    def currency(self) -> str | None:
        """The currency by ISO 4217."""
        return self.custom_data.get("currency")

    @property
    def contents(self) -> list[dict[str, Any]]:
        """The products: ``id``, ``quantity``, ``item_price``."""
        contents: list[dict[str, Any]] = self.custom_data.get("contents", [])
        return contents

    @property
    def match_keys(self) -> frozenset[str]:
        """Meta's names of what is said about the person: ``em``, ``ph``, ``fbp``."""
        return frozenset(self.user_data)

    @property
    def recorded(self) -> bool:
        """Whether it waits to be sent, or was, or a browser tells it; not what is rejected."""
        return self.state != State.REJECTED

    @property
    def browser(self) -> dict[str, Any] | None:
        """The copy a browser is given: ``i``, ``n``, ``p``, ``t``, ``x``; ``None`` for none."""
        if not (self.twin and self.recorded):
            return None
        return payloads.stored_browser_event(payloads.dump(dict(self.body)), [self.pixel_id])

    def wire(self) -> dict[str, Any]:
        """Return the whole server event, and when it was ``received_at`` (Unix seconds).

        ``user_data`` is ``None`` where nothing is known of the person any more.
        """
        received_at = int(self.recorded_at.timestamp())
        return {**self.body, "user_data": dict(self.user_data) or None, "received_at": received_at}

    def __repr__(self) -> str:
        money = f" {self.value} {self.currency}" if self.value is not None else ""
        return f"<{self.event_name} {self.event_id[:8]}{money} to {self.pixel_id}: {self.state}>"

    def described(self) -> str:
        """Return a line for people: what, how much, of what, for whom."""
        words = [self.event_name]
        if self.value is not None:
            words.append(f"{self.value} {self.currency or '(no currency)'}")
        ids = [item.get("id") for item in self.contents] or self.custom_data.get("content_ids")
        if ids:
            words[-1] += ","
            words.append(f"content_ids {', '.join(map(str, ids))[:60]}")
        words.append(f"(event_id {self.event_id[:8]}…, pixel {self.pixel_id})")
        if not self.recorded:
            words.append(f"rejected, it will never be sent: {self.reason}")
        elif self.state == State.BROWSER:
            words.append("told by the browser alone")
        return " ".join(words)


def first_of_each(events: Iterable[CapturedEvent]) -> list[CapturedEvent]:
    """Return the recorded events that Meta hears: of one id, the first for each pixel."""
    first: dict[tuple[str, str, str], CapturedEvent] = {}
    for event in events:
        if event.recorded:
            known = first.setdefault(_identity(event), event)
            # Delivery knows better: a telling that was withdrawn took no key.
            if known.state == State.DUPLICATE != event.state:
                first[_identity(event)] = event
    return list(first.values())


def contradictions(event: CapturedEvent, events: Iterable[CapturedEvent]) -> list[str]:
    """Return the parameters of which ``event`` says something else than the first of its id."""
    if not event.recorded:
        return []
    same = [other for other in events if _identity(other) == _identity(event)]
    ours = event.custom_data
    theirs = next((first.custom_data for first in first_of_each(same)), ours)
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def _identity(event: CapturedEvent) -> tuple[str, str, str]:
    return event.pixel_id, event.event_name, event.event_id
