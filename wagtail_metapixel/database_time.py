"""The database's clock, which means the same to workers on several machines."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now
from django.utils import timezone

_SECONDS_SINCE_1970 = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
}


def now(using: str) -> datetime:
    """Return the time of the database: that of this process may be wrong by years."""
    if statement := _SECONDS_SINCE_1970.get(connections[using].vendor):
        with connections[using].cursor() as cursor:
            cursor.execute(statement)
            ahead = float(cursor.fetchone()[0]) - time.time()
        return timezone.now() + timedelta(seconds=ahead)
    return timezone.now()


def from_now(delay: timedelta) -> ExpressionWrapper[Any]:
    """Return the moment that is ``delay`` away, as the database reckons it."""
    return ExpressionWrapper(Now() + delay, output_field=DateTimeField())
