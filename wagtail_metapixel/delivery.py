"""Delivery: claim what is due, send it, write down what became of it.

:func:`deliver_due` is the one verb; every driver only decides when to call it. It keeps no
transaction open while it talks to Meta, and whatever happens to the process, a row is either
pending, or leased until a moment that passes, or in a final state.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from django.db import Error

from wagtail_metapixel import (
    claims,
    conf,
    copies,
    counters,
    database_time,
    datasets,
    graph_api,
    other_deployments,
    outbox,
    payloads,
    signals,
    site_settings,
)
from wagtail_metapixel.access_tokens import AccessToken
from wagtail_metapixel.catalogue import MAX_EVENTS_PER_REQUEST
from wagtail_metapixel.claims import Claimed
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.graph_api import Answer, Kind
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.site_settings import SiteConfig

logger = logging.getLogger("wagtail_metapixel")

RENEW_AFTER_SECONDS = 20.0
KEY_WAIT = timedelta(seconds=5)
ACCESS_PAUSE_SECONDS = 300.0
UNKNOWN_WINDOW = timedelta(hours=47)
OFF_WAIT = timedelta(minutes=5)
REQUESTS_MAX = 100
"""Requests of one call. A batch full of refused events would take two for each of them, and keep
the other pixels and a worker that is to stop waiting."""
SUSPICIONS_MAX = 12
"""As often as 1,000 events are halved until two that are at fault stand alone, and no further."""
NO_TOKEN = "No access token: paste one in the settings."


class Backoff(NamedTuple):
    """How long to wait after the n-th failure: ``random(0, min(cap, base * 2 ** n))`` seconds."""

    base: float = 2.0
    cap: float = 240.0
    """An hour of Meta's absence is made up for within five minutes of its return."""

    def ceiling(self, failures: int) -> float:
        """Return the longest wait after ``failures`` failures, 2, 4, 8, ... up to the cap."""
        return min(self.cap, self.base * float(2 ** min(failures, 30)))

    def seconds(self, failures: int) -> float:
        """Return a wait drawn evenly between nothing and the ceiling (full jitter)."""
        return random.uniform(0.0, self.ceiling(failures))  # noqa: S311 - jitter, not a secret


BACKOFF = Backoff()


@dataclass(kw_only=True)
class Summary:
    """What one call of :func:`deliver_due` did."""

    claimed: int = 0
    by_state: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Rows that reached a final state, by state."""
    released: int = 0
    requests: int = 0
    closed: dict[str, str] = field(default_factory=dict)
    """Why events may not leave by the settings as they are now, by pixel."""
    messages: list[str] = field(default_factory=list)
    """What Meta said where it did not accept, without personal data."""


def deliver_due(
    *,
    using: str | None = None,
    only: Collection[str] = (),
    limit: int = MAX_EVENTS_PER_REQUEST,
    stopping: Callable[[], object] = lambda: False,
) -> Summary:
    """Send one batch of due rows, at most ``limit``, of all pixels or those named in ``only``.

    ``stopping`` is asked before each request; once it says so, what is left is given back.
    """
    batch = _Batch(outbox.alias(using), stopping)
    if held := copies.look(using=batch.using):
        batch.summary.messages.append(f"{held} events of a copied or restored database are held.")
    batch.take(limit, only)
    groups = batch.groups()
    while groups:
        rows = groups.pop(0)
        try:
            batch.send(rows)
        except Exception:
            # Of those under way nobody knows; the others were not begun.
            batch.give_back(groups)
            raise
    return batch.summary


class _Way:
    """What the answers of one call say of the way to Meta."""

    def __init__(self) -> None:
        self._is_open = False
        self._failures = 0

    def note(self, answer: Answer) -> bool:
        """Note an answer; return whether an event is suspected of it, and not the way.

        Only after Meta has just taken another event of that pixel; and not so often in a row that
        it looks like a fault of Meta's own.
        """
        if answer.kind in {Kind.ACCEPTED, Kind.INVALID}:
            self._is_open = True
            self._failures = 0
            return False
        self._failures += 1
        return self._is_open and self._failures <= SUSPICIONS_MAX and answer.may_be_the_event


class _Batch:
    """The rows one worker holds under one lease token, on their way."""

    def __init__(self, using: str, stopping: Callable[[], object]) -> None:
        self.using = using
        self._stopping = stopping
        self.token = uuid.uuid4()
        self.rows: list[Claimed] = []
        self.summary = Summary()
        self._renewed_at = time.monotonic()

    def take(self, limit: int, only: Collection[str]) -> None:
        self.token, self.rows = claims.claim(limit, using=self.using, only=only)
        self.summary.claimed = len(self.rows)
        self._renewed_at = time.monotonic()
        unknown = [row for row in self.rows if row.payload_version > payloads.VERSION]
        self._release(unknown, timedelta(minutes=10), "Written by a newer version of the package.")
        self._finish(claims.withdrawn(self.rows, using=self.using), State.WITHDRAWN, "")
        self._expire()
        for reason, rows in self._closed().items():
            self.summary.closed |= dict.fromkeys((row.pixel_id for row in rows), reason)
            served = {row.host: conf.serves(row.host) for row in rows}
            for host in (host for host, is_ours in served.items() if not is_ours):
                other_deployments.note(host)
            self._release([row for row in rows if not served[row.host]], timedelta(0), reason)
            self._release([row for row in rows if served[row.host]], OFF_WAIT, reason)
        duplicates, waiting = claims.decide_keys(self.rows, using=self.using)
        self._finish_duplicates(duplicates)
        self._release(waiting, KEY_WAIT, "")
        self._keep_one_of_each_key()

    def _finish_duplicates(self, rows: Sequence[Claimed]) -> None:
        contrary = claims.contradictions(rows, using=self.using)
        for row in contrary:
            told = f"{row.event_name}: one key was told with different parameters"
            counters.add(counters.Item(counters.DIAGNOSTIC, told, row.event_name, row.site_pk))
        self._finish(
            contrary,
            State.DUPLICATE,
            "Another row told the same fact, with other parameters: the first one counts.",
        )
        same = [row for row in rows if row not in contrary]
        self._finish(same, State.DUPLICATE, "Another row told the same fact.")

    def groups(self) -> list[list[Claimed]]:
        """Return the rows by pixel and test code: they never share a request."""
        groups: dict[tuple[str, str], list[Claimed]] = defaultdict(list)
        for row in self.rows:
            groups[row.pixel_id, row.test_event_code].append(row)
        return list(groups.values())

    def give_back(self, groups: Iterable[list[Claimed]]) -> None:
        """Give back what was not begun; where the database is away, the lease ends by itself."""
        with contextlib.suppress(Error):
            for rows in groups:
                self._release(rows, timedelta(0), "")

    def send(self, rows: list[Claimed]) -> None:
        """Send rows of one group, halving them until an event at fault stands alone."""
        pixel_id = rows[0].pixel_id
        if pixel_id in datasets.paused(using=self.using):  # meanwhile, by whomever
            return self._release(rows, timedelta(0), "")
        try:
            token = site_settings.access_token(pixel_id)
            problem = "" if token else NO_TOKEN
        except ConfigurationError as error:
            problem = str(error)
        if problem:
            self.summary.messages.append(f"{pixel_id}: {problem}")
            return self._pause(rows, problem)
        stack = self._parts(rows)
        way = _Way()
        while stack and self._may_go_on():
            part = self._still_ours(stack.pop())
            if not part:
                continue
            answer = self._post(part, token)
            is_suspect = way.note(answer)
            if len(part) > 1 and (is_suspect or answer.kind is Kind.INVALID):
                middle = len(part) // 2
                stack += [part[middle:], part[:middle]]
            elif is_suspect:
                self._put_off(part, answer)
            elif not self._settle(part, answer):
                break
        for rest in stack:
            self._release(rest, timedelta(0), "")
        return None

    def _parts(self, rows: list[Claimed]) -> list[list[Claimed]]:
        """Return what goes in a request each, the first at the end.

        What failed before goes last: it may be at fault. After a pause one row goes alone before
        all others, drawn by lot among those that failed least, so that it is not at fault for ever.
        """
        pixel_id = rows[0].pixel_id
        probes = []
        if datasets.probing([pixel_id], using=self.using):
            lot = random.random
            probe = min(rows, key=lambda row: (row.attempts, lot()))
            probes = [probe]
            rows = [row for row in rows if row is not probe]
        fresh = [row for row in rows if not row.attempts]
        tried = [row for row in rows if row.attempts]
        return [part for part in (tried, fresh, probes) if part]

    def _may_go_on(self) -> bool:
        return self.summary.requests < REQUESTS_MAX and not self._stopping()

    # What an answer does to the rows

    def _settle(self, rows: list[Claimed], answer: Answer) -> bool:
        """Write down an answer; return whether the rest of the group may still be sent."""
        pixel_id = rows[0].pixel_id
        if answer.kind is Kind.ACCEPTED:
            datasets.resume(pixel_id, using=self.using, accepted=True)
            self._finish(rows, State.SENT, "", answer.trace_id)
            if answer.wait_seconds:
                datasets.rest(pixel_id, answer.wait_seconds, answer.message, using=self.using)
            return not answer.wait_seconds
        self.summary.messages.append(f"{pixel_id}: {answer.message}")
        if answer.kind is Kind.INVALID:
            self._finish(rows, State.REJECTED, answer.message, answer.trace_id)
            return True
        logger.warning("Meta did not take events of pixel %s: %s", pixel_id, answer.message)
        if answer.kind is Kind.THROTTLED:
            self._pause(rows, answer.message, answer.wait_seconds)
        elif answer.kind is Kind.ACCESS:
            self._pause(rows, answer.message)
        else:
            self._retry(rows, answer)
        return False

    def _put_off(self, rows: list[Claimed], answer: Answer) -> None:
        """Let a row wait that Meta does not take, while it takes its neighbours."""
        is_access = answer.kind is Kind.ACCESS
        wait = ACCESS_PAUSE_SECONDS if is_access else BACKOFF.seconds(rows[0].attempts)
        self.summary.messages.append(f"{rows[0].pixel_id}: {answer.message}")
        logger.warning(
            "Meta did not take event %s of pixel %s: %s",
            rows[0].event_id,
            rows[0].pixel_id,
            answer.message,
        )
        self._charge(rows, answer, wait)

    def _retry(self, rows: list[Claimed], answer: Answer) -> None:
        failures = datasets.failures(rows[0].pixel_id, using=self.using)
        wait = BACKOFF.seconds(failures)
        datasets.pause(rows[0].pixel_id, wait, answer.message, using=self.using)
        self._charge(rows, answer, wait)

    def _charge(self, rows: list[Claimed], answer: Answer, wait: float) -> None:
        self._release(
            rows,
            timedelta(seconds=wait),
            answer.message,
            charged=True,
            answered=True,
            unknown=answer.kind is Kind.UNKNOWN,
        )

    def _pause(
        self, rows: list[Claimed], reason: str, seconds: float = ACCESS_PAUSE_SECONDS
    ) -> None:
        datasets.pause(rows[0].pixel_id, seconds, reason, using=self.using)
        self._release(rows, timedelta(0), reason, answered=True)

    # Checks before sending

    def _expire(self) -> None:
        now = database_time.now_in_seconds(self.using)
        late = [row for row in self.rows if row.deadline <= now]
        too_old = claims.too_old(late, using=self.using)
        self._finish(
            [row for row in late if row.pk in too_old],
            State.EXPIRED,
            "Older than Meta takes events.",
        )
        self._finish(
            [row for row in late if row.pk not in too_old],
            State.EXPIRED,
            "Too late for Meta to match it with the browser's copy; it would count twice.",
        )
        unknown_since = now - UNKNOWN_WINDOW.total_seconds()
        self._finish(
            [
                row
                for row in self.rows
                if row.first_unknown_at and row.first_unknown_at <= unknown_since
            ],
            State.DEAD,
            "Nobody knows whether Meta took it, and it is too late to ask again.",
        )

    def _closed(self) -> dict[str, list[Claimed]]:
        """Ask the gate again: settings may have changed, or the database been copied."""
        closed: dict[str, list[Claimed]] = defaultdict(list)
        snapshot = site_settings.current()
        reasons: dict[tuple[int, str, str], str] = {}
        for row in self.rows:
            origin = (row.site_pk, row.host, row.pixel_id)
            if origin not in reasons:
                reasons[origin] = _why_not(snapshot.site(row.site_pk), row)
            if reasons[origin]:
                closed[reasons[origin]].append(row)
        return closed

    def _keep_one_of_each_key(self) -> None:
        seen: set[tuple[str, str, str]] = set()
        later = []
        for row in self.rows:
            identity = (row.pixel_id, row.event_name, row.event_id)
            if identity in seen:
                later.append(row)
            seen.add(identity)
        self._release(later, KEY_WAIT, "")

    def _still_ours(self, rows: list[Claimed]) -> list[Claimed]:
        if time.monotonic() - self._renewed_at > RENEW_AFTER_SECONDS:
            self._renewed_at = time.monotonic()
            held = claims.renew(self.rows, self.token, using=self.using)
            self.rows = [row for row in self.rows if row.pk in held]
            self._expire()
        left = {row.pk for row in self.rows}
        return [row for row in rows if row.pk in left]

    def _post(self, rows: Sequence[Claimed], token: AccessToken) -> Answer:
        body = payloads.request_body(
            [(row.event, row.user_data) for row in rows],
            test_event_code=rows[0].test_event_code,
        )
        self.summary.requests += 1
        return graph_api.post_events(rows[0].pixel_id, token, body, count=len(rows))

    # Writing

    def _finish(
        self, rows: Sequence[Claimed], state: State, reason: str, trace_id: str = ""
    ) -> None:
        if not rows:
            return
        ours = claims.finish(
            rows, self.token, state, using=self.using, reason=reason, trace_id=trace_id
        )
        self.summary.by_state[state] += len(ours)
        self._forget(rows)
        for row in ours:
            _tell(row, state, reason)

    def _release(
        self,
        rows: Sequence[Claimed],
        delay: timedelta,
        reason: str,
        *,
        charged: bool = False,
        answered: bool = False,
        unknown: bool = False,
    ) -> None:
        if not rows:
            return
        self.summary.released += claims.release(
            rows,
            self.token,
            using=self.using,
            delay=delay,
            reason=reason,
            charged=charged,
            answered=answered,
            unknown=unknown,
        )
        self._forget(rows)

    def _forget(self, rows: Sequence[Claimed]) -> None:
        gone = {row.pk for row in rows}
        self.rows = [row for row in self.rows if row.pk not in gone]


def _why_not(site: SiteConfig | None, row: Claimed) -> str:
    """Return why a recorded event may not leave now, ``""`` when it may."""
    if site is None:
        return "Its site is gone."
    if not site.enabled:
        return "Sending is switched off for this site."
    if not site.consent_provider:
        return "No consent choice is made in the settings."
    if not conf.serves(row.host):
        return f"This deployment does not serve {row.host}: is it a copy of another one?"
    return _why_not_its_pixel(site, row)


def _why_not_its_pixel(site: SiteConfig, row: Claimed) -> str:
    for pixel in site.pixels_for(row.host):
        if pixel.pixel_id == row.pixel_id:
            return "" if pixel.on_server else "The pixel is told by browsers alone by now."
    return f"The pixel is switched off, or does not send for {row.host}."


def _tell(row: Claimed, state: State, reason: str) -> None:
    told = {"event_name": row.event_name, "event_id": row.event_id, "pixel_id": row.pixel_id}
    if state == State.SENT:
        signals.event_delivered.send_robust(OutboxEvent, **told)
    elif state != State.DUPLICATE:
        signals.event_rejected.send_robust(OutboxEvent, reason=reason or state, **told)
