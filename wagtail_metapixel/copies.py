"""Whether the outbox is still the one that was delivered from, or a copy of it.

What waits in a restored backup, or in the copy of a database, may have been sent long since from
the original. So it is held back until a person decides, while new events leave as always. Three
witnesses are asked: what the database server says of itself, how long ago a deliverer was last seen
here, and Django's cache, which is not restored along with a backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.core.cache import cache
from django.db import NotSupportedError, ProgrammingError, connections, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from wagtail_metapixel import database_time
from wagtail_metapixel.models import Delivery, OutboxEvent, State

logger = logging.getLogger("wagtail_metapixel")

LOOK_SECONDS = 60.0
LONGEST_ABSENCE = timedelta(hours=47)
"""As long as Meta drops what it has had already; a backup that is younger does no harm."""
TOLERANCE = timedelta(minutes=5)
"""By how much the cache may be ahead of the database without one of them being older."""
UNSEEN = timedelta(seconds=LOOK_SECONDS) + TOLERANCE
"""How long after a deliverer was last noted here it may still have sent what was recorded."""
HELD = "Held back: it may have been sent before this database was copied or restored."

_looked_at: dict[str, float] = {}


def look(*, using: str) -> int:
    """Hold back what may have been sent from elsewhere; return how many rows that were.

    Looks once a minute in each process; what is held leaves by :func:`release` alone, or expires.
    """
    started = time.monotonic()
    if started - _looked_at.get(using, -LOOK_SECONDS) < LOOK_SECONDS:
        return 0
    here = fingerprint(using)
    # The database's clock: that of a worker may be wrong by years.
    now = database_time.now(using)
    known, is_new = Delivery.objects.using(using).get_or_create(
        pk=1, defaults={"fingerprint": here, "seen_at": now}
    )
    if _says_less(here, known.fingerprint):
        here = known.fingerprint
    why = "" if is_new else _why_not_ours(known, here, now)
    held = _hold(known, here, why, now, using) if why else 0
    # Past its deadline it expires like any other: whoever claims it sees to that.
    _held(using).filter(deadline__lte=now).update(held=False)
    Delivery.objects.using(using).filter(pk=1).update(fingerprint=here, seen_at=now)
    _tell_the_cache(here, now)
    _looked_at[using] = started
    return held


def release(*, using: str) -> int:
    """Let what was held back leave after all; return how many rows that were."""
    with transaction.atomic(using=using):
        freed = _held(using).update(held=False, due_at=Now(), reason="")
        Delivery.objects.using(using).update(held_since=None, held_reason="")
    return freed


def held(*, using: str) -> int:
    """Return how many rows are held back."""
    return _held(using).count()


def fingerprint(using: str) -> str:
    """Return what tells this database from a copy of it, as far as it says.

    Raises the database's error where it does not answer: silence is no other database.
    """
    connection = connections[using]
    if connection.vendor == "postgresql":
        return _of_postgresql(using)
    try:
        return f"{connection.vendor} {Path(connection.settings_dict['NAME']).stat().st_ino}"
    except (OSError, TypeError, ValueError):
        return connection.vendor  # in memory, or not a file


def _of_postgresql(using: str) -> str:
    table = OutboxEvent._meta.db_table
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(
                "SELECT s.system_identifier, d.oid, to_regclass(%s)::oid"
                " FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()",
                [connections[using].ops.quote_name(table)],
            )
            return "postgresql " + " ".join(map(str, cursor.fetchone()))
    except (ProgrammingError, NotSupportedError):  # a server that does not tell
        return "postgresql"


def _says_less(here: str, known: str) -> bool:
    """Tell whether a database names its kind alone now, and said more of itself before."""
    return " " not in here and known.startswith(f"{here} ")


def _why_not_ours(known: Delivery, here: str, now: datetime) -> str:
    if known.fingerprint != here and not _says_less(known.fingerprint, here):
        return "The outbox was copied or restored: the database is another one than before."
    if now - known.seen_at > LONGEST_ABSENCE:
        return f"Nobody has delivered from this database since {known.seen_at:%Y-%m-%d %H:%M} UTC."
    seen = _seen_by_the_cache(known)
    if seen and seen - known.seen_at > TOLERANCE:
        return f"The database is older than the cache, which saw it at {seen:%Y-%m-%d %H:%M} UTC."
    return ""


def _hold(known: Delivery, here: str, why: str, now: datetime, using: str) -> int:
    with transaction.atomic(using=using):
        # Whoever notes it first holds; the others find it noted.
        noted = Delivery.objects.using(using).filter(
            pk=1, fingerprint=known.fingerprint, seen_at=known.seen_at
        )
        if not noted.update(fingerprint=here, seen_at=now):
            return 0
        waiting = OutboxEvent.objects.using(using).filter(
            state=State.PENDING, held=False, recorded_at__lte=known.seen_at + UNSEEN
        )
        count = waiting.update(held=True, due_at=F("deadline"), reason=HELD)
        if count:
            Delivery.objects.using(using).filter(pk=1).update(held_since=Now(), held_reason=why)
            logger.error("%s %d waiting events are held back.", why, count)
    return count


def _held(using: str) -> QuerySet[OutboxEvent]:
    return OutboxEvent.objects.using(using).filter(state=State.PENDING, held=True)


# The cache is of help where it is one that outlives the process, and never in the way.


def _seen_by_the_cache(known: Delivery) -> datetime | None:
    try:
        seconds = cache.get(_cache_key(known.fingerprint))
        return datetime.fromtimestamp(seconds, tz=UTC) if isinstance(seconds, float) else None
    except Exception:  # noqa: BLE001 - a cache may be away, or raise what it likes
        return None


def _tell_the_cache(here: str, now: datetime) -> None:
    with contextlib.suppress(Exception):
        cache.set(_cache_key(here), now.timestamp(), timeout=None)


def _cache_key(here: str) -> str:
    return "wagtail_metapixel.seen." + hashlib.sha256(here.encode()).hexdigest()[:24]
