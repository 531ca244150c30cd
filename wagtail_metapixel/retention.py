"""How long what we keep is kept: the purge of every table.

:func:`purge` is called now and then by whoever delivers, and by ``manage.py metapixel_purge``. It
deletes in small pieces, each a statement of its own, and never a row that waits. The settings say
for how many days: ``WAGTAIL_METAPIXEL["RETENTION"]``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Model, Q, QuerySet

from wagtail_metapixel import claims, conf, database_time, outbox
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.models import (
    AnsweredTicket,
    ConsentProof,
    Counter,
    OutboxEvent,
    SentKey,
    State,
    VisitorRecord,
    Withdrawal,
    WithheldOrder,
)

logger = logging.getLogger("wagtail_metapixel")

PIECE = 1000
"""Rows a statement changes at most."""
EMPTY = b"{}"

Stopping = Callable[[], object]
Ids = list[int]


class Table(NamedTuple):
    """Rows whose time is over."""

    name: str
    """As in what :func:`purge` returns, and in the command's report."""
    rows: QuerySet[Model]
    column: str
    """The time that decides."""
    indexed: bool = False
    """Whether an index leads to the oldest. Elsewhere they have the lowest ids."""


def purge(*, using: str, stopping: Stopping = lambda: False) -> dict[str, int]:
    """Delete what was kept long enough, and return how many rows that were, by kind.

    Between two pieces ``stopping`` is asked. With a setting that cannot be used it says so in the
    log and deletes nothing.
    """
    try:
        days = conf.retention()
    except ConfigurationError as error:
        logger.error("Nothing is purged: %s", error)
        return {}
    now = database_time.now(using)
    purged = {"personal_parts": _empty_all(now, using, stopping)}
    for table in tables(days, now, using):
        pieces = _by_index(table) if table.indexed else _by_id(table)
        purged[table.name] = _delete_all(table, pieces, using, stopping)
    return purged


def overdue(*, using: str) -> dict[str, int]:
    """Return how many rows :func:`purge` would change now, by kind.

    Raises ``ConfigurationError`` for a setting that cannot be used.
    """
    now = database_time.now(using)
    found = {"personal_parts": sum(map(len, _personal_parts(now, using)))}
    for table in tables(conf.retention(), now, using):
        found[table.name] = table.rows.count()
    return found


def tables(days: Mapping[str, int], now: datetime, using: str) -> Iterable[Table]:
    """Return the rows of each kind that were kept for longer than ``days`` of its kind."""
    until = {kind: now - timedelta(days=number) for kind, number in days.items()}
    final = OutboxEvent.objects.using(using).exclude(state=State.PENDING)
    sent = final.filter(state=State.SENT, final_at__lte=until["sent"])
    unsent = final.exclude(state=State.SENT).filter(final_at__lte=until["unsent"])
    records = VisitorRecord.objects.using(using).filter(expires_at__lte=now)
    counters = Counter.objects.using(using).filter(day__lte=until["counters"].date())
    oldest = (
        ("keys", SentKey, "created_at", until["keys"]),
        ("tickets", AnsweredTicket, "answered_at", until["keys"]),
        ("withdrawals", Withdrawal, "withdrawn_at", until["keys"]),
        ("withheld_orders", WithheldOrder, "withheld_at", now - outbox.GRANT_WINDOW),
        ("proofs", ConsentProof, "given_at", until["proofs"]),
    )
    return (
        Table("sent", sent, "final_at", indexed=True),
        Table("unsent", unsent, "final_at", indexed=True),
        *(
            Table(name, _until(model, column, moment, using), column)
            for name, model, column, moment in oldest
        ),
        Table("visitor_records", records, "expires_at", indexed=True),
        Table("counters", counters, "day", indexed=True),
    )


def _until(model: type[Model], column: str, moment: datetime, using: str) -> QuerySet[Model]:
    return model._default_manager.using(using).filter(**{f"{column}__lte": moment})


# Deleting


def _delete_all(table: Table, pieces: Iterable[Ids], using: str, stopping: Stopping) -> int:
    count = 0
    for ids in pieces:
        if stopping():
            break
        # Once more with all conditions: a row may have been put back since it was looked at. Raw,
        # because Django loads each row for those who listen to deletions, as Wagtail does.
        gone = table.rows.filter(pk__in=ids)._raw_delete(using)  # noqa: SLF001
        count += gone
        if not gone:  # somebody else was quicker
            break
    return count


def _by_index(table: Table) -> Iterator[Ids]:
    """Yield the ids that are due, by the index: from where the last piece ended, not from anew."""
    rows = table.rows.order_by(table.column).values_list("pk", table.column)
    found = list(rows[:PIECE])
    while found:
        yield [pk for pk, _moment in found]
        found = list(rows.filter(**{f"{table.column}__gte": found[-1][1]})[:PIECE])


def _by_id(table: Table) -> Iterator[Ids]:
    """Yield the ids that are due, the lowest first, until a piece of the table has none.

    Rows are appended as time goes on, so that the oldest stand together without an index.
    """
    last = 0
    while piece := list(_of_table(table).filter(pk__gt=last).values_list("pk", flat=True)[:PIECE]):
        last = piece[-1]
        due = list(table.rows.filter(pk__in=piece).values_list("pk", flat=True))
        if not due:
            break
        yield due


def _of_table(table: Table) -> QuerySet[Model]:
    return table.rows.model._default_manager.using(table.rows.db).order_by("pk")


# What is left of a person where an event may be sent again


def _empty_all(now: datetime, using: str, stopping: Stopping) -> int:
    count = 0
    for ids in _personal_parts(now, using):
        if stopping():
            break
        rows = OutboxEvent.objects.using(using).filter(pk__in=ids)
        count += rows.exclude(state=State.PENDING).update(user_data=EMPTY, digests="")
    return count


def _personal_parts(now: datetime, using: str) -> Iterator[Ids]:
    """Yield the ids of rows that cannot be sent again and still hold something of a person.

    A deadline has passed, or the person took the consent back. A piece may be empty.
    """
    rows = OutboxEvent.objects.using(using).filter(
        ~Q(user_data=EMPTY) | ~Q(digests=""), state__in=[State.REJECTED, State.DEAD]
    )
    # Only what is asked of them: neither the event nor the person is read.
    asked = ("digests", "recorded_at", "consent_proof", "deadline")
    rows = rows.only(*asked).order_by("pk")
    last = 0
    while piece := list(rows.filter(pk__gt=last)[:PIECE]):
        last = piece[-1].pk
        taken_back = {row.pk for row in claims.withdrawn(piece, using=using)}
        yield [row.pk for row in piece if row.deadline <= now or row.pk in taken_back]
