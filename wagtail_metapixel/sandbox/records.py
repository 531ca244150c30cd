"""What the sandbox received: copies of an event, and the event they are copies of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from wagtail_metapixel.sandbox import rules

Channel = Literal["browser", "server"]
#: A record remembers this many copies, and only counts the rest.
MAX_COPIES: Final = 20


@dataclass(frozen=True)
class Copy:
    """One event as it came in through one channel. Times are Unix seconds."""

    channel: Channel
    pixel: str
    event_name: str
    event_id: str
    received: float
    event_time: float | None = None
    #: ``image``, ``post``, ``noscript`` or ``graph``.
    method: str = "graph"
    action_source: str = "website"
    event_source_url: str = ""
    referrer_url: str = ""
    custom_data: dict[str, Any] = field(default_factory=dict)
    #: Only keys that hold something; a browser copy has what Meta reads from the hit itself.
    user_data: dict[str, Any] = field(default_factory=dict)
    #: Keys whose value arrived in plain text. The value itself is not kept.
    unhashed: tuple[str, ...] = ()
    data_processing_options: tuple[str, ...] = ()
    test_event_code: str = ""
    agent: str = ""


@dataclass
class Record:
    """One logical event: what Meta would count once."""

    id: int
    #: How the copies found each other: ``event_id``, ``fallback``, ``order_id`` or empty.
    matched_by: str = ""
    copies: list[Copy] = field(default_factory=list)
    counts: dict[Channel, int] = field(default_factory=lambda: {"browser": 0, "server": 0})
    #: Codes of diagnostics that only the store can know, because they compare records.
    notes: set[str] = field(default_factory=set)
    #: Grows with every change in the store, so that a reader can ask for what is new.
    sequence: int = 0

    def add(self, copy: Copy) -> bool:
        """Count ``copy``, and remember it if there is room. Says whether there was."""
        remember = len(self.copies) < MAX_COPIES or not self.counts[copy.channel]
        self.counts[copy.channel] += 1
        if remember:
            self.copies.append(copy)
        return remember

    @property
    def received(self) -> float:
        return self.copies[0].received

    @property
    def status(self) -> str:
        """``browser``, ``server`` or ``deduplicated``: the channels the event came through."""
        channels = [channel for channel, count in self.counts.items() if count]
        return channels[0] if len(channels) == 1 else "deduplicated"

    def kept(self) -> Copy:
        """The copy Meta counts: the first, but the browser's if it came within five minutes."""
        first = self.copies[0]
        deadline = first.received + rules.BROWSER_PREFERRED_WITHIN
        browser = self.first("browser")
        return browser if browser and browser.received <= deadline else first

    def first(self, channel: Channel) -> Copy | None:
        return next((copy for copy in self.copies if copy.channel == channel), None)
