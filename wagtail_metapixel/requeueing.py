"""Putting back what was rejected or given up, where it may still be sent.

Never past a deadline, never of a person who took the consent back, never without what it says of
the person. Whether another row has told the same fact meanwhile is decided when it is claimed, as
for every row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.functions import Concat, Now, Right
from django.utils import timezone

from wagtail_metapixel import claims, database_time, delivery
from wagtail_metapixel.models import OutboxEvent, State

PIECE = 500
STATES = (State.DEAD, State.REJECTED)
EMPTY = b"{}"


class Outcome(NamedTuple):
    """What became of one row."""

    event_id: str
    pixel_id: str
    requeued: bool
    refusal: str = ""
    """Why it was left as it is."""


def choose(
    *,
    using: str,
    states: Collection[str] = (),
    pixel_ids: Collection[str] = (),
    since: datetime | None = None,
    reason: str = "",
) -> QuerySet[OutboxEvent]:
    """Return rows; those that ended ``since``, and with the text ``reason`` in their reason.

    Empty collections stand for all.
    """
    rows = OutboxEvent.objects.using(using).all()
    if states:
        rows = rows.filter(state__in=states)
    if pixel_ids:
        rows = rows.filter(pixel_id__in=pixel_ids)
    if since:
        rows = rows.filter(final_at__gte=since)
    return rows.filter(reason__icontains=reason) if reason else rows


def requeue(rows: QuerySet[OutboxEvent], *, using: str, dry_run: bool = False) -> Iterator[Outcome]:
    """Put ``rows`` back, due at once and with their attempts forgotten; yield what became of each.

    In pieces, each one statement. With ``dry_run`` the outcome is foretold and nothing changed.
    """
    last = 0
    while piece := list(rows.filter(pk__gt=last).order_by("pk")[:PIECE]):
        last = piece[-1].pk
        refusals = _refusals(piece, using)
        able = [row for row in piece if not refusals[row.pk]]
        if able and not dry_run:
            refusals |= dict.fromkeys(_put_back(able, using), "It changed meanwhile.")
        for row in piece:
            refusal = refusals[row.pk]
            yield Outcome(row.event_id, row.pixel_id, not refusal, refusal)


def _refusals(rows: Sequence[OutboxEvent], using: str) -> dict[int, str]:
    taken_back = {row.pk for row in claims.withdrawn(rows, using=using)}
    now = timezone.now()
    return {row.pk: refusal(row, now, withdrawn=row.pk in taken_back) for row in rows}


def refusal(row: OutboxEvent, now: datetime, *, withdrawn: bool) -> str:  # noqa: PLR0911 - a list
    """Return why ``row`` may not be sent again, ``""`` when it may."""
    if row.state not in STATES:
        return _OF_A_STATE[State(row.state)]
    if withdrawn:
        return "The person took the consent back."
    if row.expires_at <= now:
        return "It is older than Meta takes events."
    if row.twin_expires_at and row.twin_expires_at <= now:
        return "It is too late to match it with the browser's copy; it would count twice."
    if row.first_unknown_at and row.first_unknown_at + delivery.UNKNOWN_WINDOW <= now:
        return "Meta may have taken it, and it is too late to ask again."
    if was_never_valid(row):
        return "It was rejected when it was recorded, so nothing of the person was kept."
    if bytes(row.user_data) == EMPTY:
        return "Its personal part was deleted."
    return ""


def was_never_valid(row: OutboxEvent) -> bool:
    """Tell whether ``row`` was rejected when it was recorded, and never sent."""
    if row.state != State.REJECTED or row.final_at is None:
        return False
    at_once = (row.final_at - row.recorded_at).total_seconds() < 1
    never_tried = not (row.trace_id or row.answers or row.attempts)
    return at_once and never_tried and bytes(row.user_data) == EMPTY


_OF_A_STATE = {
    State.PENDING: "It waits already.",
    State.SENT: "It was sent.",
    State.DUPLICATE: "Another row told the same fact.",
    State.EXPIRED: "A deadline has passed.",
    State.WITHDRAWN: "The person took the consent back.",
    State.ERASED: "It was erased on the person's request.",
    State.BROWSER: "Its pixel is told by browsers alone.",
}


def _put_back(rows: Iterable[OutboxEvent], using: str) -> set[int]:
    """Put ``rows`` back and return the keys of those that could not be, because they changed."""
    ids = [row.pk for row in rows]
    ended = OutboxEvent.objects.using(using).filter(pk__in=ids, state__in=STATES)
    stamp = f"{timezone.now():%Y-%m-%d %H:%M:%S %z}"
    account = Concat(
        "answers",
        Value(f"{stamp} Put back by an operator; it was "),
        "state",
        Value(": "),
        "reason",
        Value("\n"),
        output_field=TextField(),
    )
    ended.filter(~Q(user_data=EMPTY), deadline__gt=database_time.now(using)).update(
        state=State.PENDING,
        answers=Right(account, claims.ANSWERS_MAX),
        reason="",
        trace_id="",
        attempts=0,
        due_at=Now(),
        final_at=None,
        lease_token=None,
        leased_until=None,
    )
    return set(ended.filter(final_at__isnull=False).values_list("pk", flat=True))
