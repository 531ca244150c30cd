"""A capture: what was recorded while it ran, and what was not, with the reasons."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, overload
from unittest import mock

from django.db import connections
from django.db.models.signals import post_init

from wagtail_metapixel import browser, catalogue, counters, keys, signals, site_settings
from wagtail_metapixel.addresses import EMAIL
from wagtail_metapixel.capturing.event import CapturedEvent
from wagtail_metapixel.capturing.expectation import Expectation, wire_names
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.linter import Finding, lint
from wagtail_metapixel.models import OutboxEvent

logger = logging.getLogger("wagtail_metapixel")


class Withheld(NamedTuple):
    """An event that was not recorded: the gate kept it back, or a call was wrong."""

    event_name: str
    reason: str


class EventCapture(Sequence[CapturedEvent]):
    """What was recorded, in order; one element for each pixel that gets the event.

    Holds recorded events and ``rejected`` ones; those of a transaction that was rolled back are
    gone. Reads the outbox anew at each look, so it says how things stand now.
    """

    def __init__(self, using: str) -> None:
        self._using = using
        self._rows: list[OutboxEvent] | None = []
        self._counted: list[counters.Item] = []
        self._waited_already = len(connections[using].run_on_commit)

    # Listening: neither costs a query, so that a shop may count its own

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of rows as they are made, and of what is counted instead of recorded."""
        add = counters.add

        def noted(item: counters.Item, count: int = 1) -> None:
            self._counted += [item] * count
            add(item, count)

        post_init.connect(self._keep, sender=OutboxEvent)
        try:
            with mock.patch.object(counters, "add", noted):
                yield
        finally:
            post_init.disconnect(self._keep, sender=OutboxEvent)

    def _keep(self, *, instance: Any, **_kwargs: Any) -> None:
        # One that was read from the table has its number already.
        if instance.pk is None and self._rows is not None:
            self._rows.append(instance)

    @classmethod
    def of_everything(cls, using: str) -> EventCapture:
        """Return a capture of all that is in the outbox, for asserts outside of any other."""
        capture = cls(using)
        capture._rows = None
        return capture

    # Looking

    def all(self) -> list[CapturedEvent]:
        """Return all events, in the order in which they were recorded."""
        rows = OutboxEvent.objects.using(self._using).order_by("pk")
        if self._rows is None:
            return [CapturedEvent.of(row, bytes(row.user_data)) for row in rows]
        # By id, too: SQLite gives the number of a row that was rolled back to the next one.
        made = {(row.pk, row.event_id): bytes(row.user_data) for row in self._rows if row.pk}
        rows = rows.filter(pk__in=[pk for pk, _event_id in made])
        return [
            CapturedEvent.of(row, made[key])
            for row in rows
            if (key := (row.pk, row.event_id)) in made
        ]

    @overload
    def __getitem__(self, index: int) -> CapturedEvent: ...

    @overload
    def __getitem__(self, index: slice) -> list[CapturedEvent]: ...

    def __getitem__(self, index: int | slice) -> CapturedEvent | list[CapturedEvent]:
        return self.all()[index]

    def __iter__(self) -> Iterator[CapturedEvent]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self.all())

    def __repr__(self) -> str:
        return f"<EventCapture {self.all()}>"

    def named(self, event_name: str) -> list[CapturedEvent]:
        """Return the recorded events of one name."""
        return [event for event in self if event.event_name == event_name and event.recorded]

    @property
    def rejected(self) -> list[CapturedEvent]:
        """Events that break Meta's rules: kept for people to see, never sent."""
        return [event for event in self if not event.recorded]

    @property
    def withheld(self) -> list[Withheld]:
        """What the gate kept back, with its reason."""
        return self._noted(counters.WITHHELD)

    @property
    def failed(self) -> list[Withheld]:
        """Calls that recorded nothing because they were wrong, with what was wrong.

        With ``DEBUG`` on they raise; tests run with it off.
        """
        found = self._noted(counters.DIAGNOSTIC) + self._noted(counters.FAILED)
        return [item for item in found if item.event_name]

    @property
    def diagnostics(self) -> list[str]:
        """What was odd about events that were recorded all the same, by field and rule."""
        found = self._noted(counters.DIAGNOSTIC)
        return [item.reason for item in found if not item.event_name]

    def _noted(self, kind: str) -> list[Withheld]:
        return [
            Withheld(item.event_name, item.reason) for item in self._counted if item.kind == kind
        ]

    # Waiting for a commit

    def run_on_commit(self) -> int:
        """Run what waits for a commit since the capture began; returns how many functions ran.

        A ``TestCase``, and pytest's ``db``, never commit. Each function runs once.
        """
        ran = 0
        while waiting := self._waiting():
            del connections[self._using].run_on_commit[self._waited_already :]
            for function, robust in waiting:
                ran += 1
                try:
                    function()
                except Exception as error:
                    if not robust:
                        raise
                    logger.error("%s on commit", type(error).__name__)
        return ran

    def _waiting(self) -> list[tuple[Any, bool]]:
        connection = connections[self._using]
        entries: list[Any] = connection.run_on_commit[self._waited_already :]
        return [(function, robust) for _savepoints, function, robust in entries]

    # Asserting

    def assert_tracked(
        self,
        event_name: str,
        *,
        once: bool = False,
        count: int | None = None,
        key: keys.Key | None = None,
        email: Any = None,
        phone: Any = None,
        user_data: Mapping[str, Any] | None = None,
        match_keys: Collection[str] = (),
        **expected: Any,
    ) -> CapturedEvent:
        """Assert that an event of this name and kind was recorded, and return the first of them.

        ``once``: and no other of that name; ``count``: so many of that kind. Rows that share an id
        are one event, as they are for Meta. ``key`` is the one given to ``track()``. ``email``,
        ``phone`` and ``user_data`` are compared by their hashes; ``match_keys`` have to be there.
        ``expected`` are parameters (``value=59``, ``contents=[{"id": "mug"}]``), or
        ``event_id``, ``event_time``, ``action_source``, ``event_source_url`` (a path will do),
        ``pixel_id``, ``site_pk``, ``state``, ``keyed`` and ``twin``. ``None`` means: not sent.
        """
        __tracebackhide__ = True
        catalogue.check_event_name(event_name)
        person = dict(user_data or {})
        person |= {k: v for k, v in (("email", email), ("phone", phone)) if v is not None}
        wanted = Expectation(expected, key, person, wire_names(match_keys))
        told = [(event, list(wanted.differences(event))) for event in self.named(event_name)]
        found = [event for event, differences in told if not differences]
        if not found:
            asked = " as expected" if told else ""
            self._fail(f"{event_name} was not tracked{asked}.", told)
        considered = [event for event, _differences in told] if once else found
        number = len({event.event_id for event in considered})
        if once and number != 1:
            self._fail(f"{event_name} was tracked {number} times, not once.")
        if count is not None and number != count:
            self._fail(f"{event_name} was tracked {number} times, not {count}.")
        return found[0]

    def assert_not_tracked(self, event_name: str) -> None:
        """Assert that no event of this name was recorded. A rejected one does not count."""
        __tracebackhide__ = True
        catalogue.check_event_name(event_name)
        if self.named(event_name):
            self._fail(f"{event_name} was tracked.")

    def assert_withheld(self, event_name: str, reason: str = "") -> None:
        """Assert that the gate kept such an event back; a part of the ``reason`` is enough."""
        __tracebackhide__ = True
        catalogue.check_event_name(event_name)
        if self._rows is None:
            raise RuntimeError("assert_withheld() works within capture_events() only.")
        held_back = [item.reason for item in self.withheld if item.event_name == event_name]
        if not any(reason.lower() in text.lower() for text in held_back):
            because = f" for {reason!r}" if reason else ""
            self._fail(f"{event_name} was not withheld{because}.")

    # Linting

    def lint(self, *, content_ids: Iterable[str] | None = None) -> list[Finding]:
        """Return what Meta's Events Manager would complain about, the worst first.

        ``content_ids`` are the catalogue's; without them nobody asks. An event for two pixels is
        looked at once. The browser's copies are made of the same bytes, so they cannot differ.
        """
        once = {(e.event_name, e.event_id): e for e in self.all() if e.recorded}
        sites = {event.site_pk for event in once.values()}
        own = (site.own_hosts for site in site_settings.current().sites if site.site_pk in sites)
        hosts = frozenset[str]().union(*own)
        return lint([e.wire() for e in once.values()], hosts=hosts, content_ids=content_ids)

    def assert_clean(
        self, *, ignore: Collection[str] = (), content_ids: Iterable[str] | None = None
    ) -> None:
        """Assert that nothing was rejected or failed, and that the linter finds nothing.

        Advice is not asked for; ``ignore`` holds codes of findings that may be.
        """
        __tracebackhide__ = True
        wrong = [
            f"{found.code}: {found.event_name} {found.field}: {found.message} {found.remedy}"
            for found in self.lint(content_ids=content_ids)
            if found.level != "advice" and found.code not in ignore
        ]
        wrong += [f"rejected: {event.described()}" for event in self.rejected]
        wrong += [f"not recorded: {item.event_name}, {item.reason}" for item in self.failed]
        if wrong:
            self._fail("\n  - ".join(["The events are not clean:", *wrong]))

    # Saying what there is instead

    def _fail(self, headline: str, told: Iterable[tuple[CapturedEvent, list[str]]] = ()) -> None:
        __tracebackhide__ = True
        notes = {(e.event_id, e.pixel_id): differences for e, differences in told}
        lines = [headline, *self._account(notes)]
        # Somebody's address may stand in a parameter, too.
        raise AssertionError(EMAIL.sub("<e-mail>", "\n".join(lines)))

    def _account(self, notes: Mapping[tuple[str, str], list[str]]) -> Iterator[str]:
        events = self.all()
        yield "Recorded:" if events else "Nothing was recorded."
        for event in events:
            yield f"  {event.described()}"
            for difference in notes.get((event.event_id, event.pixel_id), ()):
                yield f"    - {difference}"
        if self._rows is None:
            yield "Within capture_events() you would see here what was withheld."
        for item in dict.fromkeys(self.withheld):
            yield f"Withheld: {item.event_name}, {item.reason} ({REMEDIES.get(item.reason, '')})"
        for item in dict.fromkeys(self.failed):
            yield f"Not recorded: {item.event_name}, {item.reason}"
        for text in dict.fromkeys(self.diagnostics):
            yield f"Noticed: {text}"
        waiting = sum(not _is_ours(function) for function, _robust in self._waiting())
        if waiting:
            yield (
                f"{waiting} on_commit function(s) wait for a commit this test never makes:"
                " run_on_commit(), or capture_events(on_commit=True), runs them."
            )


def _is_ours(function: Any) -> bool:
    """Tell whether a function hands a copy to a response or wakes a driver, and records nothing."""
    inner = getattr(function, "func", function)
    if getattr(inner, "__self__", None) is signals.recorded:
        return True
    return getattr(inner, "__module__", "") == browser.__name__


REMEDIES: Mapping[str, str] = {
    Reason.NO_SITE: "is there a Wagtail site for this host? Call use_pixel()",
    Reason.DISABLED: "call use_pixel(enabled=True)",
    Reason.NO_PIXEL: "call use_pixel(), and look at its events=",
    Reason.HOST: "name the host in use_pixel(hosts=[...])",
    Reason.STAFF: "somebody with access to the admin logged in here: take another client",
    Reason.GPC: "the request says Sec-GPC: 1",
    Reason.NO_PROVIDER: "call use_pixel()",
    Reason.UNKNOWN: "no consent for this browser: call grant_consent(client)",
    Reason.DENIED: "this browser said no: call grant_consent(client)",
    Reason.NO_VISITOR: "no request, or one without cookies, and nobody was kept: call"
    " grant_consent(client), or remember(request, key) at the checkout, or give track() a consent=",
    Reason.NO_IDENTIFIER: "grant_consent(client) gives the browser an _fbp; user_data= helps, too",
}
"""What to do about it in a test, by reason."""
