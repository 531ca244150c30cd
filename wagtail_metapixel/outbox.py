"""The outbox as its callers meet it: recording an event, and reading what was recorded.

:func:`insert` is all that the shop's own transaction ever meets: one append-only INSERT in a
savepoint, nothing unique, nothing that waits for a lock. What the deliverer does with the rows
stands in :mod:`wagtail_metapixel.claims`.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connections, router, transaction
from django.db.models import NOT_PROVIDED, Exists, OuterRef, Q
from django.utils import timezone

from wagtail_metapixel import signals
from wagtail_metapixel.models import (
    AnsweredTicket,
    OutboxEvent,
    State,
    Twin,
    WithheldOrder,
)

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


_OF_A_CLAIM = {"lease_token", "leased_until", "first_unknown_at"}
_APPENDED = tuple(
    field
    for field in OutboxEvent._meta.concrete_fields
    if field.name not in _OF_A_CLAIM
    and not (field.primary_key or field.generated)
    and field.db_default is NOT_PROVIDED
)
"""The columns that a new row brings; the database fills in the others."""


def insert(rows: Sequence[OutboxEvent], *, using: str, savepoint: bool = True) -> None:
    """Append ``rows`` in the caller's transaction, inside a savepoint of their own.

    Raises what the database raises; the caller's transaction stays usable. ``savepoint=False``:
    you have set one. The rows learn their primary keys.
    """
    with transaction.atomic(using=using, savepoint=savepoint):
        connection = connections[using]
        values = [
            field.get_db_prep_save(getattr(row, field.attname), connection)
            for row in rows
            for field in _APPENDED
        ]
        with connection.cursor() as cursor:
            cursor.execute(_appending(using, len(rows)), values)
            keys = cursor.fetchall()
    for row, (key,) in zip(rows, keys, strict=True):
        row.pk = key
    if any(row.state == State.PENDING for row in rows):
        wake = partial(signals.recorded.send_robust, sender=OutboxEvent, using=using)
        transaction.on_commit(wake, using=using, robust=True)


@functools.lru_cache(maxsize=64)
def _appending(using: str, count: int) -> str:
    # Kept, because a checkout waits for it: Django takes longer to write it than the database to
    # carry it out.
    quote = connections[using].ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in _APPENDED)
    row = f"({', '.join(['%s'] * len(_APPENDED))})"
    table = quote(OutboxEvent._meta.db_table)
    values = ", ".join([row] * count)
    return f"INSERT INTO {table} ({columns}) VALUES {values} RETURNING id"  # noqa: S608 - names


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
    connection = connections[using]
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(_telling(using), [event_id, now, event_id, Twin.NO.value])
        return bool(cursor.rowcount == 1)


@functools.lru_cache
def _telling(using: str) -> str:
    # One statement, and no transaction to begin and end: a shopper waits for it.
    quote = connections[using].ops.quote_name
    tickets, rows = (quote(model._meta.db_table) for model in (AnsweredTicket, OutboxEvent))
    return (
        f"INSERT INTO {tickets} (event_id, answered_at) SELECT %s, %s"  # noqa: S608 - names
        f" WHERE NOT EXISTS (SELECT 1 FROM {rows} WHERE event_id = %s AND twin = %s)"
        " ON CONFLICT (event_id) DO NOTHING"
    )


def not_told_yet(event_id: str, *, using: str) -> None:
    """Undo what :func:`first_to_tell` noted: the copy reached nobody."""
    AnsweredTicket.objects.using(using).filter(event_id=event_id).delete()


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
