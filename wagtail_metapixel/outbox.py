"""The outbox: sole writer of its tables.

:func:`insert` is all that the shop's own transaction ever meets: one append-only INSERT in a
savepoint, nothing unique, nothing that waits for a lock. Everything else here belongs to the
deliverer and runs in short transactions of its own. Every write after a claim carries the lease
token, so a worker that wakes up late changes nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, connections, router, transaction
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from wagtail_metapixel import signals
from wagtail_metapixel.models import (
    AnsweredTicket,
    Dataset,
    OutboxEvent,
    SentKey,
    State,
    Twin,
    Withdrawal,
    WithheldOrder,
)

LEASE = timedelta(seconds=60)
TWIN_WINDOW = timedelta(hours=48)
GRANT_WINDOW = timedelta(hours=24)
"""How long a grant on the thank-you page may complete what was withheld."""
DEADLINE_MARGIN = timedelta(minutes=30)
"""Kept free before both deadlines, for clocks that differ and answers that take long."""

RANKS: Mapping[str, int] = {
    "Purchase": 0,
    "Lead": 5,
    "Subscribe": 5,
    "InitiateCheckout": 10,
    "AddPaymentInfo": 15,
    "AddToCart": 20,
    "ViewContent": 30,
    "PageView": 90,
}
"""The order in which events leave; what is not listed stands at :data:`DEFAULT_RANK`."""
DEFAULT_RANK = 25

Rows = list[OutboxEvent]


def alias(using: str | None = None) -> str:
    """Return the database the outbox of a caller lives in."""
    return using or router.db_for_write(OutboxEvent) or "default"


def bears_second_writer(using: str) -> bool:
    """Tell whether a thread may write beside the shop's own transactions.

    Not on SQLite unless each transaction takes its lock at once (``IMMEDIATE``): one that reads
    first and writes later fails as soon as somebody else wrote in between.
    """
    database = connections[using]
    options = database.settings_dict.get("OPTIONS") or {}
    mode = str(options.get("transaction_mode") or "").upper()
    return database.vendor != "sqlite" or mode in {"IMMEDIATE", "EXCLUSIVE"}


# Recording


def insert(rows: Sequence[OutboxEvent], *, using: str) -> None:
    """Append ``rows`` in the caller's transaction, inside a savepoint of their own.

    Raises what the database raises; the caller's transaction stays usable.
    """
    with transaction.atomic(using=using):
        OutboxEvent.objects.using(using).bulk_create(rows)
    if any(row.state == State.PENDING for row in rows):
        wake = partial(signals.recorded.send_robust, sender=OutboxEvent, using=using)
        transaction.on_commit(wake, using=using, robust=True)


def insert_withheld(event_id: str, site_pk: int, happened_at: datetime, *, using: str) -> None:
    """Append when a withheld event happened, in the caller's transaction like :func:`insert`."""
    with transaction.atomic(using=using):
        WithheldOrder.objects.using(using).create(
            event_id=event_id, site_pk=site_pk, happened_at=happened_at
        )


def deadlines(event_time: int, max_age: int, twin: Twin) -> tuple[datetime, datetime | None]:
    """Return until when Meta takes an event, and until when its twin's copy may follow it."""
    # Not below 1970: a nonsensical time is rejected elsewhere, and has to be stored to be seen.
    happened = datetime.fromtimestamp(max(event_time, 0), tz=timezone.get_default_timezone())
    expires_at = happened + timedelta(seconds=max_age) - DEADLINE_MARGIN
    twin_expires_at = None
    if twin == Twin.MAYBE:
        twin_expires_at = timezone.now() + TWIN_WINDOW - DEADLINE_MARGIN
    return expires_at, twin_expires_at


# The browser's half


def first_to_tell(event_id: str, *, using: str) -> bool:
    """Tell whether nobody was given the browser's copy of this event yet, and note that you were.

    A reload, a second signal or a second tab would fire it again otherwise, and two copies from
    one source are not known to be counted once. Nobody is told what is the server's alone.
    """
    if _of_the_server([event_id], using):
        return False
    try:
        with transaction.atomic(using=using):
            AnsweredTicket.objects.using(using).create(event_id=event_id)
    except IntegrityError:
        return False
    return True


def recorded(ids: Iterable[str], site_pk: int, *, newer_than: timedelta, using: str) -> Rows:
    """Return the rows of these events of one site that a browser may still be told of.

    None of a pixel that is in no browser: the rows name the pixels that are told.
    """
    asked = list(ids)
    gone = [State.REJECTED, State.WITHDRAWN, State.ERASED]
    rows = OutboxEvent.objects.using(using).filter(
        event_id__in=asked,
        site_pk=site_pk,
        twin=Twin.MAYBE,
        recorded_at__gt=timezone.now() - newer_than,
    )
    rows = rows.exclude(state__in=gone).exclude(event_id__in=_of_the_server(asked, using))
    return list(rows.order_by("pk"))


def _of_the_server(ids: Sequence[str], using: str) -> list[str]:
    """Return those of ``ids`` that any row tells with a limit, or from elsewhere than the website.

    A copy in the browser would be told without it.
    """
    rows = OutboxEvent.objects.using(using).filter(event_id__in=ids, twin=Twin.NO)
    return list(rows.values_list("event_id", flat=True).distinct())


def is_recorded(event_id: str, site_pk: int, *, using: str) -> bool:
    """Tell whether this event of a site was recorded at all."""
    rows = OutboxEvent.objects.using(using).filter(event_id=event_id, site_pk=site_pk)
    return rows.exists()


def withheld_at(event_id: str, site_pk: int, *, using: str) -> datetime | None:
    """Return when an event happened that a grant may still complete, ``None`` where there is none.

    Neither the event nor its being withheld may be older than :data:`GRANT_WINDOW`.
    """
    earliest = timezone.now() - GRANT_WINDOW
    rows = WithheldOrder.objects.using(using).filter(
        event_id=event_id, site_pk=site_pk, happened_at__gt=earliest, withheld_at__gt=earliest
    )
    return rows.order_by("pk").values_list("happened_at", flat=True).first()


# Reading

_READABLE = (
    "pixel_id", "site_pk", "event", "user_data", "state", "recorded_at", "final_at",
)  # fmt: skip


def recorded_since(
    *,
    using: str,
    moment: datetime,
    pixel_ids: Collection[str] = (),
    site_pks: Collection[int] = (),
) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return how many rows were recorded from ``moment`` on, and an iterator over them as dicts.

    Oldest first, in pieces, so that memory stays flat. Leaves out what only repeats a keyed fact
    that another row tells. Empty collections stand for all.
    """
    rows = OutboxEvent.objects.using(using).filter(recorded_at__gte=moment)
    if pixel_ids:
        rows = rows.filter(pixel_id__in=pixel_ids)
    if site_pks:
        rows = rows.filter(site_pk__in=site_pks)
    earlier = OutboxEvent.objects.filter(
        ~Q(state=State.REJECTED),
        event_id=OuterRef("event_id"),
        event_name=OuterRef("event_name"),
        pixel_id=OuterRef("pixel_id"),
        pk__lt=OuterRef("pk"),
        keyed=True,
    )
    rows = rows.exclude(state=State.DUPLICATE).exclude(Q(Exists(earlier), keyed=True))
    return rows.count(), rows.order_by("pk").values(*_READABLE).iterator(chunk_size=500)


# Claiming


def claim(
    limit: int, *, using: str, only: Collection[str] = (), lease: timedelta = LEASE
) -> tuple[uuid.UUID, list[OutboxEvent]]:
    """Lease up to ``limit`` rows that are due, and return them with the lease token.

    A tenth of the rows goes to the nearest deadlines, so that nothing starves behind a stream of
    better ranked events.
    """
    token = uuid.uuid4()
    share = max(limit // 10, 1) if limit > 1 else 0
    taken = _take(token, limit - share, ("rank", "id"), using=using, only=only, lease=lease)
    _take(token, limit - taken, ("expires_at", "id"), using=using, only=only, lease=lease)
    rows = OutboxEvent.objects.using(using).filter(lease_token=token, state=State.PENDING)
    return token, list(rows.order_by("rank", "id"))


def _take(
    token: uuid.UUID,
    limit: int,
    order: Sequence[str],
    *,
    using: str,
    only: Collection[str],
    lease: timedelta,
) -> int:
    if limit <= 0:
        return 0
    values = {"lease_token": token, "leased_until": _from_now(lease)}
    due = _due(using, only).order_by(*order)
    if connections[using].features.has_select_for_update_skip_locked:
        with transaction.atomic(using=using):
            ids = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
            return OutboxEvent.objects.using(using).filter(pk__in=ids).update(**values)
    # One autocommitted statement: SQLite has a single writer, so choosing and taking is one step.
    chosen = OutboxEvent.objects.using(using).filter(pk__in=due.values("pk")[:limit])
    return chosen.update(**values)


def _due(using: str, only: Collection[str]) -> QuerySet[OutboxEvent]:
    paused = Dataset.objects.filter(pixel_id=OuterRef("pixel_id"), paused_until__gt=Now())
    rows = OutboxEvent.objects.using(using).filter(
        Q(leased_until=None) | Q(leased_until__lte=Now()),
        ~Exists(paused),
        state=State.PENDING,
        due_at__lte=Now(),
    )
    return rows.filter(pixel_id__in=only) if only else rows


def release(
    rows: Iterable[OutboxEvent],
    token: uuid.UUID,
    *,
    using: str,
    delay: timedelta = timedelta(0),
    charged: bool = False,
    reason: str = "",
    unknown: bool = False,
) -> int:
    """Give leased rows back, due again after ``delay``. Returns how many were still ours.

    ``charged`` counts an attempt; ``unknown`` notes that Meta may have taken the event.
    """
    values: dict[str, Any] = {"lease_token": None, "leased_until": None, "due_at": _from_now(delay)}
    if charged:
        values["attempts"] = F("attempts") + 1
    if reason:
        values["reason"] = reason[:500]
    held = _held(rows, token, using)
    if unknown:
        held.filter(first_unknown_at=None).update(first_unknown_at=Now())
    return held.update(**values)


def renew(token: uuid.UUID, *, using: str, lease: timedelta = LEASE) -> set[int]:
    """Prolong the lease of all rows still held under ``token``; returns their primary keys."""
    held = OutboxEvent.objects.using(using).filter(lease_token=token, state=State.PENDING)
    held.update(leased_until=_from_now(lease))
    return set(held.values_list("pk", flat=True))


def finish(
    rows: Sequence[OutboxEvent],
    token: uuid.UUID,
    state: State,
    *,
    using: str,
    reason: str = "",
    trace_id: str = "",
) -> list[OutboxEvent]:
    """Move leased rows to a final state and empty what they say of a person.

    Returns those that were still ours; the others, and what is known of their keys, stay as
    their new owner wants them.
    """
    with transaction.atomic(using=using):
        leased = _held(rows, token, using).select_for_update().values_list("pk", flat=True)
        held = set(leased)
        ours = [row for row in rows if row.pk in held]
        OutboxEvent.objects.using(using).filter(pk__in=held).update(
            state=state,
            reason=reason[:500],
            trace_id=trace_id[:64],
            user_data=b"{}",
            final_at=Now(),
            lease_token=None,
            leased_until=None,
        )
        _settle_keys(ours, state, using)
    return ours


def _held(rows: Iterable[OutboxEvent], token: uuid.UUID, using: str) -> QuerySet[OutboxEvent]:
    return OutboxEvent.objects.using(using).filter(
        pk__in=[row.pk for row in rows], lease_token=token, state=State.PENDING
    )


def _from_now(delay: timedelta) -> ExpressionWrapper[Any]:
    # The database's clock, not ours: leases must mean the same to workers on several machines.
    return ExpressionWrapper(Now() + delay, output_field=DateTimeField())


# One event per key


def decide_keys(
    rows: Sequence[OutboxEvent], *, using: str
) -> tuple[list[OutboxEvent], list[OutboxEvent]]:
    """Split keyed rows into duplicates of what was sent, and rows that wait for another's answer.

    Rows in neither list speak for their key and may go. The table asked here outlives the rows.
    """
    # First those that no browser may tell: where one signal has a limit, it is to speak.
    keyed = sorted((row for row in rows if row.keyed), key=lambda row: row.twin != Twin.NO)
    if not keyed:
        return [], []
    SentKey.objects.using(using).bulk_create(
        [SentKey(**_key(row), row_id=row.pk) for row in keyed], ignore_conflicts=True
    )
    known = {
        (key.pixel_id, key.event_name, key.event_id): key
        for key in SentKey.objects.using(using).filter(event_id__in={row.event_id for row in keyed})
    }
    duplicates: list[OutboxEvent] = []
    waiting: list[OutboxEvent] = []
    for row in keyed:
        key = known[row.pixel_id, row.event_name, row.event_id]
        if key.row_id != row.pk:
            (duplicates if key.settled else waiting).append(row)
    return duplicates, waiting


def contradictions(rows: Sequence[OutboxEvent], *, using: str) -> list[OutboxEvent]:
    """Return the duplicates that say something else than the row that speaks for their key.

    Only as long as that row is kept.
    """
    if not rows:
        return []
    ids = {row.event_id for row in rows}
    speaking = SentKey.objects.using(using).filter(event_id__in=ids).values("row_id")
    first = {
        tuple(_key(row).values()): _parameters(row)
        for row in OutboxEvent.objects.using(using).filter(pk__in=speaking)
    }
    # A row whose key is not there any more contradicts nothing it can be held against.
    known = [row for row in rows if tuple(_key(row).values()) in first]
    return [row for row in known if first[tuple(_key(row).values())] != _parameters(row)]


_OF_THE_MOMENT = {"event_time", "event_source_url", "referrer_url"}


def _parameters(row: OutboxEvent) -> dict[str, Any]:
    said = json.loads(bytes(row.event))
    return {key: value for key, value in said.items() if key not in _OF_THE_MOMENT}


def _settle_keys(rows: Iterable[OutboxEvent], state: State, using: str) -> None:
    keyed = [row for row in rows if row.keyed and state != State.DUPLICATE]
    if not keyed:
        return
    told = {tuple(_key(row).values()): row for row in keyed if _may_count(row, state)}
    SentKey.objects.using(using).bulk_create(
        [SentKey(**_key(row), row_id=row.pk, settled=True) for row in told.values()],
        update_conflicts=True,
        unique_fields=["pixel_id", "event_name", "event_id"],
        update_fields=["settled"],
    )
    # An event that was not told takes no key: the next one that tells the fact may speak.
    silent = [row.pk for row in keyed if not _may_count(row, state)]
    SentKey.objects.using(using).filter(row_id__in=silent, settled=False).delete()


def _may_count(row: OutboxEvent, state: State) -> bool:
    """Tell whether Meta may have counted the fact, so that telling it again counts it twice."""
    if state == State.EXPIRED and row.twin == Twin.MAYBE:
        return True
    unknown = row.first_unknown_at is not None and state in {State.EXPIRED, State.DEAD}
    return state == State.SENT or unknown


def _key(row: OutboxEvent) -> dict[str, str]:
    return {"pixel_id": row.pixel_id, "event_name": row.event_name, "event_id": row.event_id}


# Consent taken back


def withdrawn(rows: Sequence[OutboxEvent], *, using: str) -> list[OutboxEvent]:
    """Return the rows whose person took the consent back after they were recorded."""
    digests = {digest for row in rows for digest in row.digests.split()}
    if not digests:
        return []
    latest: dict[str, datetime] = {}
    for found in Withdrawal.objects.using(using).filter(digest__in=digests):
        latest[found.digest] = max(found.withdrawn_at, latest.get(found.digest, found.withdrawn_at))
    return [
        row
        for row in rows
        if any(latest[d] >= row.recorded_at for d in row.digests.split() if d in latest)
    ]


# Pauses of a dataset


def pause(pixel_id: str, seconds: float, reason: str, *, using: str) -> None:
    """Stop sending to one dataset for ``seconds``. Shared by all workers through the database."""
    Dataset.objects.using(using).get_or_create(pixel_id=pixel_id)
    Dataset.objects.using(using).filter(pixel_id=pixel_id).update(
        paused_until=_from_now(timedelta(seconds=seconds)),
        pause_reason=reason[:500],
        probing=True,
        failures=F("failures") + 1,
    )


def resume(pixel_id: str, *, using: str, accepted: bool = False) -> None:
    """Let a dataset send again: it accepted an event, or its settings were saved."""
    values: dict[str, Any] = {
        "paused_until": None,
        "pause_reason": "",
        "probing": False,
        "failures": 0,
    }
    if accepted:
        Dataset.objects.using(using).get_or_create(pixel_id=pixel_id)
        values["last_accepted_at"] = Now()
    Dataset.objects.using(using).filter(pixel_id=pixel_id).update(**values)


def probing(pixel_ids: Collection[str], *, using: str) -> dict[str, int]:
    """Return the datasets that one real event has to prove first, with their failures so far."""
    found = Dataset.objects.using(using).filter(pixel_id__in=pixel_ids, probing=True)
    return dict(found.values_list("pixel_id", "failures"))


def failures(pixel_id: str, *, using: str) -> int:
    """Return how often in a row a dataset could not be reached."""
    found = Dataset.objects.using(using).filter(pixel_id=pixel_id)
    return found.values_list("failures", flat=True).first() or 0
