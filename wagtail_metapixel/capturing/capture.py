"""A capture: what was recorded while it ran, and what was not, with the reasons."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, overload
from unittest import mock

from django.db.models.signals import post_init

from wagtail_metapixel import catalogue, counters, keys, recording, site_settings
from wagtail_metapixel.addresses import EMAIL
from wagtail_metapixel.capturing import names, page, remedies, waiting
from wagtail_metapixel.capturing.event import CapturedEvent, contradictions, first_of_each
from wagtail_metapixel.capturing.expectation import Expectation
from wagtail_metapixel.capturing.tracebacks import ends_here
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.linter import Finding, lint
from wagtail_metapixel.models import OutboxEvent, State

_NOT_SAID: Any = object()
"""``None`` says something: that it was not sent."""


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
        self._failed: list[Withheld] = []
        self._listens = False
        self._waiting = waiting.Waiting(using)

    # Listening: neither costs a query, so that a shop may count its own

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of rows as they are made, and of what is counted instead of recorded."""
        add, failed = counters.add, recording.failed

        def noted(item: counters.Item, count: int = 1) -> None:
            self._counted += [item] * count
            add(item, count)

        def noted_failure(name: object, kind: str, reason: str) -> recording.Tracked:
            tracked = failed(name, kind, reason)
            self._failed.append(Withheld(tracked.event_name, tracked.reason))
            return tracked

        post_init.connect(self._keep, sender=OutboxEvent)
        self._listens = True
        try:
            with (
                mock.patch.object(counters, "add", noted),
                mock.patch.object(recording, "failed", noted_failure),
            ):
                yield
        finally:
            self._listens = False
            self._waiting.close()
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
        capture._waiting = waiting.Waiting(using, since=0)
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
    def contradictions(self) -> list[CapturedEvent]:
        """Later tellings of an event with other parameters. Meta hears the first one alone."""
        events = self.all()
        return [event for event in events if contradictions(event, events)]

    @property
    def withheld(self) -> list[Withheld]:
        """What the gate kept back, with its reason."""
        return [
            Withheld(item.event_name, item.reason)
            for item in self._counted
            if item.kind == counters.WITHHELD
        ]

    @property
    def failed(self) -> list[Withheld]:
        """Calls that recorded nothing because they were wrong, with what was wrong.

        With ``DEBUG`` on they raise; tests run with it off.
        """
        return list(self._failed)

    @property
    def diagnostics(self) -> list[str]:
        """What was odd about what was recorded all the same, by field and rule.

        Fields that were lost, words Meta does not know, tags that could not be rendered.
        """
        kinds = {counters.DIAGNOSTIC, counters.FAILED}
        return [item.reason for item in self._counted if item.kind in kinds and not item.event_name]

    # Waiting for a commit

    def run_on_commit(self) -> int:
        """Run what waits for a commit since the capture began; returns how many functions ran.

        A ``TestCase``, and pytest's ``db``, never commit. Each function runs once, and what it
        tracks is captured.
        """
        with nullcontext() if self._listens or self._rows is None else self.listening():
            return self._waiting.run()

    # Asserting

    assert_declared = staticmethod(page.assert_declared)
    assert_not_declared = staticmethod(page.assert_not_declared)

    @ends_here
    def assert_tracked(
        self,
        event_name: str,
        *,
        once: bool = False,
        count: int | None = None,
        key: keys.Key | None = None,
        email: Any = _NOT_SAID,
        phone: Any = _NOT_SAID,
        user_data: Mapping[str, Any] | None = None,
        match_keys: Collection[str] = (),
        **expected: Any,
    ) -> CapturedEvent:
        """Assert that an event of this name and kind was recorded, and return the first of them.

        ``once``: and no other of that name; ``count``: so many of that kind. Rows that share an id
        are one event, as they are for Meta, and the first of them says what it is. ``key`` is the
        one given to ``track()``. ``email``, ``phone``, ``user_data``, and any match key among the
        parameters, are compared by their hashes; ``match_keys`` have to be there.
        ``expected`` are parameters (``value=59``, ``contents=[{"id": "mug"}]``), options
        (``opt_out=True``), or ``event_id``, ``event_time``, ``action_source``,
        ``event_source_url`` (a path will do), ``pixel_id``, ``site_pk``, ``state``, ``keyed`` and
        ``twin``. ``None`` means: not sent. ``EventError`` for a name that is misspelt.
        """
        catalogue.check_event_name(event_name)
        page.check_number(once, count)
        person = dict(user_data or {})
        person |= {k: v for k, v in (("email", email), ("phone", phone)) if v is not _NOT_SAID}
        wanted = Expectation.of(expected, key, person, match_keys)
        events = self.all()
        told = [e for e in first_of_each(events) if e.event_name == event_name]
        names.check(wanted.expected, {name for event in told for name in event.custom_data})
        differences = {id(event): list(wanted.differences(event)) for event in told}
        found = [event for event in told if not differences[id(event)]]
        if not found:
            asked = " as expected." if told else f".{_elsewhere(event_name)}"
            self._fail(f"{event_name} was not tracked{asked}", events, differences)
        number = len({event.event_id for event in (told if once else found)})
        if once and number != 1:
            self._fail(f"{event_name} was tracked {number} times, not once.")
        if count is not None and number != count:
            self._fail(f"{event_name} was tracked {number} times, not {count}.")
        return found[0]

    @ends_here
    def assert_not_tracked(self, event_name: str, *, before_commit: bool = False) -> None:
        """Assert that no event of this name was recorded, nor meant to be.

        Fails, too, where such a call went wrong, with this name or one like it, and while
        functions of the shop wait for the commit, which may track yet: ``before_commit=True``
        leaves those out. What the gate withheld was not tracked.
        """
        catalogue.check_event_name(event_name)
        if self.named(event_name):
            self._fail(f"{event_name} was tracked.")
        if any(event.event_name == event_name for event in self.rejected):
            self._fail(f"{event_name} was tracked with a mistake, and rejected.")
        like = frozenset({event_name})
        if any(i.event_name in like or names.near_miss(i.event_name, like) for i in self.failed):
            self._fail(f"{event_name} was not recorded because the call was wrong.")
        if self._waiting.count() and not before_commit:
            self._fail(f"{event_name} may be tracked yet: functions wait for the commit.")
        if self._rows is None and not remedies.has_pixel():
            self._fail(f"{event_name} would not be tracked in any case.")

    @ends_here
    def assert_withheld(self, event_name: str, reason: str = "") -> None:
        """Assert that the gate kept such an event back; a part of the ``reason`` is enough."""
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
        # What a browser alone is told says nothing of the person: another pixel's row speaks.
        first = sorted(first_of_each(self.all()), key=lambda event: event.state == State.BROWSER)
        once = {(e.event_name, e.event_id): e for e in reversed(first)}
        sites = {event.site_pk for event in once.values()}
        own = (site.own_hosts for site in site_settings.current().sites if site.site_pk in sites)
        hosts = frozenset[str]().union(*own)
        return lint(
            [e.wire() for e in reversed(once.values())], hosts=hosts, content_ids=content_ids
        )

    @ends_here
    def assert_clean(
        self,
        *,
        ignore: Collection[str] = (),
        content_ids: Iterable[str] | None = None,
        before_commit: bool = False,
    ) -> None:
        """Assert that nothing was rejected, lost or misspelt, and that the linter finds nothing.

        Advice is not asked for. ``ignore`` holds what may be: codes of findings, names of fields,
        and ``rejected``, ``failed`` and ``contradiction``. Fails, too, while functions of the shop
        wait for the commit, unless ``before_commit=True``.
        """
        ignored = {ignore} if isinstance(ignore, str) else set(ignore)
        wrong = [text for code, text in self._unclean(content_ids) if code not in ignored]
        if self._waiting.count() and not before_commit:
            wrong.append("functions wait for the commit, and may track yet")
        if self._rows is None and not remedies.has_pixel():
            wrong.append("there can be none")
        if wrong:
            self._fail("\n  - ".join(["The events are not clean:", *dict.fromkeys(wrong)]))

    def _unclean(self, content_ids: Iterable[str] | None) -> Iterator[tuple[str, str]]:
        for found in self.lint(content_ids=content_ids):
            if found.level != "advice":
                where = f"{found.code}: {found.event_name} {found.field}"
                yield found.code, f"{where}: {found.message} {found.remedy}"
        for event in self.rejected:
            yield "rejected", f"rejected: {event.described()}"
        for item in self.failed:
            yield "failed", f"not recorded: {item.event_name}, {item.reason}"
        for event in self.contradictions:
            yield "contradiction", f"contradiction: {event.described()}: {_CONTRADICTS}"
        fields = set()
        for text in self.diagnostics:
            field = text.partition(":")[0]
            fields.add(field)
            if text not in _REASONS:
                yield field, f"noticed: {text}"
        for name in sorted({name for event in self for name in event.custom_data} - fields):
            if meant := names.near_miss(name, frozenset(names.TRACKED)):
                yield name, f"noticed: {name}: is not known to Meta; did you mean {meant!r}?"

    # Saying what there is instead

    def _fail(
        self,
        headline: str,
        events: Sequence[CapturedEvent] | None = None,
        differences: Mapping[int, list[str]] = MappingProxyType({}),
    ) -> NoReturn:
        lines = [headline, *self._account(self.all() if events is None else events, differences)]
        # Somebody's address may stand in a parameter, too.
        raise AssertionError(EMAIL.sub("<e-mail>", "\n".join(lines)))

    def _account(
        self, events: Sequence[CapturedEvent], differences: Mapping[int, list[str]]
    ) -> Iterator[str]:
        yield "Recorded:" if events else "Nothing was recorded."
        if not (events or remedies.has_pixel()):
            yield remedies.NO_PIXEL
        for event in events:
            yield f"  {event.described()}"
            for difference in differences.get(id(event), ()):
                yield f"    - {difference}"
            if contrary := contradictions(event, events):
                yield f"    - {_CONTRADICTS}; it has another {', '.join(contrary)}"
        if self._rows is None:
            yield "Within capture_events() you would see here what was withheld."
        for item in dict.fromkeys(self.withheld):
            yield f"Withheld: {item.event_name}, {item.reason} ({remedies.REMEDIES.get(item.reason, '')})"
        for item in dict.fromkeys(self.failed):
            yield f"Not recorded: {item.event_name}, {item.reason}"
        for text in dict.fromkeys(self.diagnostics):
            yield f"Noticed: {text}"
        if number := self._waiting.count():
            yield (
                f"{number} on_commit function(s) wait for a commit this test never makes:"
                " run_on_commit(), or capture_events(on_commit=True), runs them;"
                " before_commit=True asserts without them."
            )


def _elsewhere(event_name: str) -> str:
    if not (catalogue.is_standard(event_name) and catalogue.is_page_event(event_name)):
        return ""
    if event_name == "PageView":
        return "\nPage events are told by the browser; {% metapixel %} makes it tell this one."
    asked = f"assert_declared(response, {event_name!r}, ...)"
    return f"\nPage events are told by the browser; use {asked}."


_CONTRADICTS = "Meta does not hear it, for the first of an id counts"
_REASONS = frozenset(map(str, Reason))
