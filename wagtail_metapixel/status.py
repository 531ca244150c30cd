"""How delivery stands: what waits, what ended, how Meta answers, what was kept back.

For ``manage.py metapixel_status`` and whatever else watches. Names nobody and shows no token. What
waits costs one pass over the rows that wait, through their index; what ended is looked at for a day
only, through the index on ``final_at``.
"""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from wagtail_metapixel import (
    conf,
    counters,
    delivery,
    driver_choice,
    graph_api,
    site_settings,
)
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.meta_errors import ERRORS
from wagtail_metapixel.models import Dataset, Delivery, OutboxEvent, State

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
PURCHASE_LATE = HOUR
"""A Purchase that waits for longer needs a person."""
LATE = 3 * HOUR
"""So does any event that waits for longer: perhaps nobody delivers."""
REASONS = 5
"""So many reasons of a state are told, the commonest."""
_NOT_RIGHT = [State.REJECTED, State.DEAD, State.EXPIRED]
_META_ERROR = re.compile(r"Meta error (\d+)(?:/(\d+))?")
LET_GO = (
    "If nobody else sends them, and nobody has, let them go: manage.py metapixel_requeue --held"
)
_MEND = "Mend that; saving the settings ends the pause at once."
_HTTP_ACCESS = re.compile(r"HTTP 4(?!29)\d\d ")


@dataclass(kw_only=True)
class Waiting:
    """What waits, in all or for one pixel."""

    total: int = 0
    now: int = 0
    """Due, and taken by nobody."""
    leased: int = 0
    later: int = 0
    held: int = 0
    """Of a database that was copied or restored: they wait for a person."""
    oldest: datetime | None = None
    oldest_purchase: datetime | None = None
    nearest_deadline: datetime | None = None

    def add(self, other: Waiting) -> None:
        """Count in what waits for another pixel."""
        for name in ("total", "now", "leased", "later", "held"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("oldest", "oldest_purchase", "nearest_deadline"):
            moments = filter(None, (getattr(self, name), getattr(other, name)))
            setattr(self, name, min(moments, default=None))


@dataclass(kw_only=True)
class Pixel:
    """How one pixel stands."""

    pixel_id: str
    state: str
    """``sending``, ``probing`` (one event has to prove it first), ``paused``, or ``unset``: in no
    settings any more."""
    paused_until: datetime | None
    reason: str
    """Why it is paused, or was until now."""
    failures: int
    last_accepted: datetime | None
    needs_a_person: bool
    waiting: Waiting


@dataclass(kw_only=True)
class Status:
    """How delivery stands at one moment. Times are aware."""

    at: datetime
    waiting: Waiting
    ended_24h: dict[str, int]
    """Rows that reached a final state in the last 24 hours, by state."""
    reasons_24h: list[dict[str, Any]]
    """Why rows were rejected, given up or expired in these hours: ``state, reason, count``."""
    sent_per_minute: dict[str, float]
    """In the last ``hour`` and ``day``."""
    pixels: list[Pixel]
    held: dict[str, Any] | None
    """``since, reason, events`` where the database was copied or restored, and a person decides."""
    counted: list[dict[str, Any]]
    """What was not recorded, and what was odd: ``kind, reason, today, seven_days``."""
    needs_a_person: list[str]
    """Sentences; none when all is well."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, and times."""
        return asdict(self)


def of(*, using: str, only: Collection[str] = ()) -> Status:
    """Look at all pixels, or at those in ``only``. What is counted is not told apart by pixel."""
    now = timezone.now()
    rows = OutboxEvent.objects.using(using)
    rows = rows.filter(pixel_id__in=only) if only else rows.all()
    by_pixel = _waiting(rows, now)
    total = Waiting()
    for waiting in by_pixel.values():
        total.add(waiting)
    ended = rows.filter(final_at__gt=now - DAY)
    states = dict(ended.values_list("state").annotate(count=Count("pk")).order_by("state"))
    sent = rows.filter(state=State.SENT)
    last_hour = sent.filter(final_at__gt=now - HOUR).count()
    pixels = list(_pixels(by_pixel, only, now, using))
    held = _held(total.held, using)
    return Status(
        at=now,
        waiting=total,
        ended_24h=states,
        reasons_24h=_reasons(ended),
        sent_per_minute={
            "hour": round(last_hour / 60, 2),
            "day": round(states.get(State.SENT, 0) / 1440, 2),
        },
        pixels=pixels,
        held=held,
        counted=[total._asdict() for total in counters.totals(using=using)],
        needs_a_person=list(_needs(pixels, total, held, now)),
    )


def _waiting(rows: QuerySet[OutboxEvent], now: datetime) -> dict[str, Waiting]:
    found: dict[str, Waiting] = {}
    for is_held in (False, True):  # each through an index of its own
        for pixel_id, waiting in _counted(rows, now, is_held=is_held):
            found.setdefault(pixel_id, Waiting()).add(waiting)
    return dict(sorted(found.items()))


def _counted(
    rows: QuerySet[OutboxEvent], now: datetime, *, is_held: bool
) -> Iterator[tuple[str, Waiting]]:
    leased, later = Q(leased_until__gt=now), Q(due_at__gt=now)
    free = Q(leased_until=None) | Q(leased_until__lte=now)
    held = Q(held=True)
    found: Any = (
        rows.filter(state=State.PENDING, held=is_held)
        .values("pixel_id")
        .annotate(
            total=Count("pk"),
            leased=Count("pk", filter=leased),
            later=Count("pk", filter=free & later & ~held),
            held=Count("pk", filter=free & held),
            oldest=Min("recorded_at"),
            oldest_purchase=Min("recorded_at", filter=Q(event_name="Purchase")),
            nearest_deadline=Min("deadline"),
        )
        .order_by("pixel_id")
    )
    for row in found:
        waiting = Waiting(**{name: row[name] for name in row if name != "pixel_id"})
        waiting.now = waiting.total - waiting.leased - waiting.later - waiting.held
        yield row["pixel_id"], waiting


def _reasons(ended: QuerySet[OutboxEvent]) -> list[dict[str, Any]]:
    reasons: Any = (
        ended.filter(state__in=_NOT_RIGHT)
        .values("state", "reason")
        .annotate(count=Count("pk"))
        .order_by("-count", "reason")
    )
    told: Tally[str] = Tally()
    common: list[dict[str, Any]] = []
    for row in reasons:
        told[row["state"]] += 1
        if told[row["state"]] <= REASONS:
            common.append(row)
    return common


def _pixels(
    waiting: dict[str, Waiting], only: Collection[str], now: datetime, using: str
) -> Iterable[Pixel]:
    sites = site_settings.refresh().sites
    in_settings = {pixel.pixel_id for site in sites for pixel in site.pixels}
    answers = {row.pixel_id: row for row in Dataset.objects.using(using).all()}
    for pixel_id in sorted(in_settings | waiting.keys() | answers.keys()):
        if only and pixel_id not in only:
            continue
        row = answers.get(pixel_id) or Dataset(pixel_id=pixel_id)
        is_set = pixel_id in in_settings
        yield Pixel(
            pixel_id=pixel_id,
            state=_state(row, now) if is_set else "unset",
            paused_until=row.paused_until,
            reason=row.pause_reason,
            failures=row.failures,
            last_accepted=row.last_accepted_at,
            needs_a_person=is_set and row.probing and _is_for_a_person(row.pause_reason),
            waiting=waiting.get(pixel_id, Waiting()),
        )


def _state(row: Dataset, now: datetime) -> str:
    if row.paused_until and row.paused_until > now:
        return "paused"
    return "probing" if row.probing else "sending"


def _is_for_a_person(reason: str) -> bool:
    """Tell whether a pause ends only when somebody mends something: token, access, pixel id."""
    if code := _META_ERROR.match(reason):
        passing = graph_api.THROTTLING_CODES | graph_api.TRANSIENT_CODES
        return int(code[1]) not in passing
    return reason == delivery.NO_TOKEN or bool(_HTTP_ACCESS.match(reason))


def _remedy(reason: str) -> str:
    if not (code := _META_ERROR.match(reason)):
        return _MEND
    number, part = int(code[1]), int(code[2]) if code[2] else None
    found = ERRORS.get((number, part)) or ERRORS.get((number, None))
    return found.remedy if found else _MEND


def _held(count: int, using: str) -> dict[str, Any] | None:
    row = Delivery.objects.using(using).exclude(held_since=None).first()
    if row is None or not count:
        return None
    return {"since": row.held_since, "reason": row.held_reason, "events": count}


def _needs(
    pixels: Iterable[Pixel], waiting: Waiting, held: dict[str, Any] | None, now: datetime
) -> Iterable[str]:
    yield from _driver_troubles()
    if held:
        events = "1 event is" if held["events"] == 1 else f"{held['events']:,} events are"
        yield f"{events} held back. {held['reason']} {LET_GO}"
    for pixel in pixels:
        if pixel.needs_a_person:
            said = pixel.reason.rstrip(".")
            yield f"Pixel {pixel.pixel_id} takes no events. {said}. {_remedy(pixel.reason)}"
    if waiting.oldest_purchase and now - waiting.oldest_purchase > PURCHASE_LATE:
        yield f"A Purchase has waited for {age(now - waiting.oldest_purchase)}."
    elif waiting.oldest and now - waiting.oldest > LATE and not held:
        yield f"An event has waited for {age(now - waiting.oldest)}. Does anybody deliver?"


def _driver_troubles() -> Iterable[str]:
    try:
        driver = conf.driver()
    except ConfigurationError as error:
        yield f"Nobody delivers. {error}"
        return
    for obstacle in driver_choice.obstacles_of(driver):
        yield f"Nobody delivers. {obstacle.fact} {obstacle.advice}"


def age(span: timedelta) -> str:
    """Return a span for people, in its two largest units: ``"2 h 5 min"``."""
    minutes, seconds = divmod(max(int(span.total_seconds()), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    told = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(told[:2]) or "0 s"
