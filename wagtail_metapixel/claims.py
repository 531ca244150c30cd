"""Claiming: which rows of the outbox a worker takes, and what it writes down about them.

Everything here belongs to the deliverer and runs in short transactions of its own. Every write
after a claim carries the lease token, so a worker that wakes up late changes nothing.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from django.db import connections, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Concat, Now, Right
from django.utils import timezone

from wagtail_metapixel import database_time, datasets, other_deployments
from wagtail_metapixel.database_lists import Among, Chosen, among
from wagtail_metapixel.database_time import Seconds, from_now
from wagtail_metapixel.database_updates import updated
from wagtail_metapixel.models import ConsentProof, OutboxEvent, SentKey, State, Twin, Withdrawal

LEASE = timedelta(seconds=60)
ON_ITS_WAY = timedelta(seconds=30)
"""How long a request may take that carries a consent whose time is not known."""
ANSWERS_MAX = 4000
"""Characters that are kept of what the tries of one row brought, from the end."""


class Claimed(NamedTuple):
    """A row under somebody's lease: what has to be known of it to send it, and nothing else.

    Its ``repr`` shows nothing of the person: error reports print it.
    """

    pk: int
    site_pk: int
    pixel_id: str
    host: str
    event_name: str
    event_id: str
    event: bytes
    user_data: bytes
    payload_version: int
    test_event_code: str
    keyed: bool
    twin: str
    digests: str
    consent_proof: str
    rank: int
    attempts: int
    deadline: float
    """The nearer one of both, in seconds since 1970."""
    first_unknown_at: float | None
    """Likewise; since when Meta may have it. Written, and so read, by the database alone."""

    def __repr__(self) -> str:
        return f"Claimed({self.event_name} {self.event_id} for {self.pixel_id})"


_READ = {
    # What Django writes on SQLite is in a time zone that only Django knows.
    vendor: [Seconds(name) if name in quick else name for name in Claimed._fields]
    for vendor, quick in {
        "postgresql": {"deadline", "first_unknown_at"},
        "sqlite": {"first_unknown_at"},
    }.items()
}

Row = Claimed | OutboxEvent


def claim(
    limit: int, *, using: str, only: Collection[str] = (), lease: timedelta = LEASE
) -> tuple[uuid.UUID, list[Claimed]]:
    """Lease up to ``limit`` rows that are due, and return them with the lease token.

    The best ranked first, whatever their pixel. A tenth of the rows goes to the nearest deadlines
    of pixels drawn by lot, so that nothing starves behind a stream of better ranked events.
    """
    token = uuid.uuid4()
    pixels = _pixels_with_due_rows(using, only)
    share = max(limit // 10, 1) if limit > 1 else 0
    taken = _take_from(pixels, token, limit - share, ("rank", "id"), using, lease)
    if len(taken) == limit - share:
        random.shuffle(pixels)
        taken += _take_from(pixels, token, share, ("deadline", "id"), using, lease)
    return token, sorted(taken, key=lambda row: (row.rank, row.pk))


def _pixels_with_due_rows(using: str, only: Collection[str]) -> list[str]:
    """Return the pixels that are not paused and have rows that are due, best ranked first."""
    resting = datasets.paused(using=using)
    due = of_this_deployment(_due(using))
    if only:
        due = due.filter(pixel_id__in=only)
    found = [
        (rank, random.random(), pixel_id)  # noqa: S311 - a lot among equals
        for pixel_id, rank in first_of_each_pixel(due, "rank")
        if pixel_id not in resting
    ]
    return [pixel_id for _rank, _lot, pixel_id in sorted(found)]


def first_of_each_pixel(
    rows: QuerySet[OutboxEvent], *columns: str | Combinable
) -> Iterator[tuple[Any, ...]]:
    """Yield, for each pixel of ``rows``, its id and ``columns`` of the row that goes first.

    Of rows that wait. One look into the index for each pixel, however many rows it has.
    """
    firsts = rows.order_by("pixel_id", "rank", "id").values_list("pixel_id", *columns)
    last = ""
    while found := firsts.filter(pixel_id__gt=last)[:1]:
        last = found[0][0]
        yield found[0]


def of_this_deployment(rows: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
    """Leave out the rows of hosts that another deployment serves."""
    others = other_deployments.hosts()
    return rows.exclude(host__in=others) if others else rows


def _take_from(
    pixels: Iterable[str],
    token: uuid.UUID,
    limit: int,
    order: Sequence[str],
    using: str,
    lease: timedelta,
) -> list[Claimed]:
    """Lease up to ``limit`` rows of ``pixels``, one pixel after the other."""
    taken: list[Claimed] = []
    for pixel_id in pixels:
        if len(taken) == limit:
            break
        due = of_this_deployment(_due(using)).filter(pixel_id=pixel_id).order_by(*order)
        taken += _take(due, token, limit - len(taken), using, lease)
    return taken


def _take(
    due: QuerySet[OutboxEvent], token: uuid.UUID, limit: int, using: str, lease: timedelta
) -> list[Claimed]:
    # A lease that nobody gave back: its worker may have sent the row before it vanished.
    vanished = When(lease_token__isnull=False, then=Coalesce("first_unknown_at", "leased_until"))
    values = {
        "first_unknown_at": Case(vanished, default=F("first_unknown_at")),
        "lease_token": token,
        "leased_until": from_now(lease),
    }
    if not connections[using].features.has_select_for_update_skip_locked:
        return _leased(due, values, limit, using)
    with transaction.atomic(using=using):
        return _leased(due.select_for_update(skip_locked=True), values, limit, using)


def _leased(
    due: QuerySet[OutboxEvent], values: Mapping[str, Any], limit: int, using: str
) -> list[Claimed]:
    # Where rows cannot be locked, somebody else may have been quicker: the statement that takes
    # asks once more whether they are due.
    chosen = _due(using).filter(Chosen("pk", due.values("pk")[:limit]))
    connection = connections[using]
    asked = _READ[connection.vendor]
    rows = [Claimed(*row) for row in updated(chosen, values, asked, using=using)]
    if connection.vendor == "postgresql":
        return rows
    read = database_time.seconds
    return [row._replace(deadline=read(row.deadline, connection)) for row in rows]


def _due(using: str) -> QuerySet[OutboxEvent]:
    return OutboxEvent.objects.using(using).filter(
        Q(leased_until=None) | Q(leased_until__lte=Now()),
        state=State.PENDING,
        held=False,
        due_at__lte=Now(),
    )


def too_old(rows: Sequence[Claimed], *, using: str) -> set[int]:
    """Return the keys of those that are older than Meta takes events, whatever their twin's."""
    if not rows:
        return set()
    found = OutboxEvent.objects.using(using).filter(Among("pk", [row.pk for row in rows]))
    now = database_time.now(using)
    return set(found.filter(expires_at__lte=now).values_list("pk", flat=True))


def release(
    rows: Iterable[Claimed],
    token: uuid.UUID,
    *,
    using: str,
    delay: timedelta = timedelta(0),
    charged: bool = False,
    reason: str = "",
    answered: bool = False,
    unknown: bool = False,
) -> int:
    """Give leased rows back, due again after ``delay``. Returns how many were still ours.

    ``charged`` counts an attempt; ``answered`` keeps ``reason`` for good, as what a try brought;
    ``unknown`` notes that Meta may have taken the event.
    """
    values: dict[str, Any] = {"lease_token": None, "leased_until": None, "due_at": from_now(delay)}
    if charged:
        values["attempts"] = F("attempts") + 1
    if reason:
        values["reason"] = reason[:500]
    if answered:
        line = f"{timezone.now():%Y-%m-%d %H:%M:%S %z} {reason[:500]}\n"
        values["answers"] = Right(Concat("answers", Value(line)), ANSWERS_MAX)
    held = _held([row.pk for row in rows], token, using)
    if unknown:
        held.filter(first_unknown_at=None).update(first_unknown_at=Now())
    return held.update(**values)


def renew(
    rows: Iterable[Claimed], token: uuid.UUID, *, using: str, lease: timedelta = LEASE
) -> set[int]:
    """Prolong the lease of those rows that are still held under ``token``; returns their keys."""
    held = _held([row.pk for row in rows], token, using)
    return {pk for (pk,) in updated(held, {"leased_until": from_now(lease)}, using=using)}


def finish(
    rows: Sequence[Claimed],
    token: uuid.UUID,
    state: State,
    *,
    using: str,
    reason: str = "",
    trace_id: str = "",
) -> list[Claimed]:
    """Move leased rows to a final state and empty what they say of a person.

    A rejected one keeps it until its deadline: when its cause is mended it may be sent after all.
    Returns those that were still ours; the others, and what is known of their keys, stay as
    their new owner wants them.
    """
    values: dict[str, Any] = {
        "state": state,
        "reason": reason[:500],
        "trace_id": trace_id[:64],
        "final_at": Now(),
        "lease_token": None,
        "leased_until": None,
    }
    if state != State.REJECTED:
        values["user_data"] = b"{}"
    with transaction.atomic(using=using):
        held = _held([row.pk for row in rows], token, using)
        changed = {pk for (pk,) in updated(held, values, using=using)}
        ours = [row for row in rows if row.pk in changed]
        _settle_keys(ours, state, using)
    return ours


def _held(keys: Iterable[int], token: uuid.UUID, using: str) -> QuerySet[OutboxEvent]:
    return OutboxEvent.objects.using(using).filter(
        Among("pk", keys), lease_token=token, state=State.PENDING
    )


# One event per key


def decide_keys(rows: Sequence[Claimed], *, using: str) -> tuple[list[Claimed], list[Claimed]]:
    """Split keyed rows into duplicates of what was sent, and rows that wait for another's answer.

    Rows in neither list speak for their key and may go. The table asked here outlives the rows.
    """
    keyed = [row for row in rows if row.keyed]
    if not keyed:
        return [], []
    _note_keys(keyed, using, settled=False)
    known = {
        (key.pixel_id, key.event_name, key.event_id): key
        for key in SentKey.objects.using(using).filter(
            Among("event_id", [row.event_id for row in keyed])
        )
    }
    duplicates: list[Claimed] = []
    waiting: list[Claimed] = []
    for row in keyed:
        key = known.get((row.pixel_id, row.event_name, row.event_id))
        # Given free just now, by a row that ended untold: it may speak the next time.
        if key is None or key.row_id != row.pk:
            (duplicates if key and key.settled else waiting).append(row)
    return duplicates, waiting


def contradictions(rows: Sequence[Claimed], *, using: str) -> list[Claimed]:
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


def _parameters(row: Row) -> dict[str, Any]:
    said = json.loads(bytes(row.event))
    return {key: value for key, value in said.items() if key not in _OF_THE_MOMENT}


def _settle_keys(rows: Iterable[Claimed], state: State, using: str) -> None:
    keyed = [row for row in rows if row.keyed and state != State.DUPLICATE]
    if not keyed:
        return
    told = {tuple(_key(row).values()): row for row in keyed if _may_count(row, state)}
    if told:
        _note_keys(told.values(), using, settled=True)
    # An event that was not told takes no key: the next one that tells the fact may speak.
    silent = [row for row in keyed if not _may_count(row, state)]
    if silent:
        SentKey.objects.using(using).filter(
            Among("event_id", [row.event_id for row in silent]),
            Among("row_id", [row.pk for row in silent]),
            settled=False,
        ).delete()


def _note_keys(rows: Iterable[Claimed], using: str, *, settled: bool) -> None:
    """Let ``rows`` speak for their keys, as far as nobody does; or settle that they have spoken.

    One statement that reads the rows itself. Of one key, first comes what no browser may tell:
    where one signal has a limit, it is to speak. The keys have one order for all workers, who wait
    for each other's here.
    """
    connection = connections[using]
    quote = connection.ops.quote_name
    table, keys = (quote(model._meta.db_table) for model in (OutboxEvent, SentKey))
    chosen, value = among("id", [row.pk for row in rows], connection.vendor)
    once = "UPDATE SET settled = excluded.settled" if settled else "NOTHING"
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {keys}"  # noqa: S608 - names of tables
            " (pixel_id, event_name, event_id, row_id, settled, created_at)"
            f" SELECT pixel_id, event_name, event_id, id, %s, %s FROM {table} WHERE {chosen}"
            " ORDER BY event_id, pixel_id, event_name, CASE WHEN twin = %s THEN 0 ELSE 1 END, rank, id"
            f" ON CONFLICT (event_id, pixel_id, event_name) DO {once}",
            [settled, now, value, Twin.NO.value],
        )


_UNTOLD = frozenset({State.EXPIRED, State.DEAD, State.WITHDRAWN, State.ERASED})
"""In which a row ends that is not sent again, whether or not Meta has had it."""


def _may_count(row: Claimed, state: State) -> bool:
    """Tell whether Meta may have counted the fact, so that telling it again counts it twice."""
    if state == State.EXPIRED and row.twin == Twin.MAYBE:
        return True
    return state == State.SENT or (row.first_unknown_at is not None and state in _UNTOLD)


def _key(row: Row) -> dict[str, str]:
    return {"pixel_id": row.pixel_id, "event_name": row.event_name, "event_id": row.event_id}


# Consent taken back

R = TypeVar("R", Claimed, OutboxEvent)


def withdrawn(rows: Sequence[R], *, using: str) -> list[R]:
    """Return the rows whose person took back the consent that they rest on."""
    digests = {digest for row in rows for digest in row.digests.split()}
    if not digests or not Withdrawal.objects.using(using).exists():
        return []
    latest: dict[str, datetime] = {}
    for found in Withdrawal.objects.using(using).filter(Among("digest", digests)):
        latest[found.digest] = max(found.withdrawn_at, latest.get(found.digest, found.withdrawn_at))
    concerned = [row for row in rows if any(digest in latest for digest in row.digests.split())]
    given = _given_at(concerned, using) if concerned else {}
    return [
        row
        for row in concerned
        if row.pk in given  # else it was deleted just now
        and max(latest[d] for d in row.digests.split() if d in latest) >= given[row.pk]
    ]


def _given_at(rows: Sequence[Row], using: str) -> dict[int, datetime]:
    """Return when the consent was given that each row rests on, as far as that is known."""
    ids = {row.consent_proof for row in rows if row.consent_proof}
    proofs = ConsentProof.objects.using(using).filter(proof_id__in=ids) if ids else ()
    times = {proof.proof_id: proof.given_at for proof in proofs}
    recorded = OutboxEvent.objects.using(using).filter(Among("pk", [row.pk for row in rows]))
    # A request with a yes of before may have been on its way, or slow, and recorded only then.
    return {
        row_pk: times.get(proof, recorded_at - ON_ITS_WAY)
        for row_pk, proof, recorded_at in recorded.values_list("pk", "consent_proof", "recorded_at")
    }
