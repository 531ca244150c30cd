"""The database's clock, which means the same to workers on several machines."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import DateTimeField, ExpressionWrapper, FloatField, Func
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

_SECONDS_SINCE_1970 = {
    "postgresql": "EXTRACT(EPOCH FROM {})::float8",
    "sqlite": "(julianday({}) - 2440587.5) * 86400.0",
}
_NOW = {"postgresql": "clock_timestamp()", "sqlite": "'now'"}


class Seconds(Func):
    """The moment in a column as seconds since 1970, or ``None``: quicker to read than a datetime.

    On SQLite of what the database itself wrote: see :func:`seconds`.
    """

    output_field = FloatField()
    arity = 1

    def as_sql(self, compiler: SQLCompiler, connection: Any, *_args: Any, **context: Any) -> Any:
        """Write it for the databases that the package is for."""
        template = _SECONDS_SINCE_1970[connection.vendor].format("%(expressions)s")
        return super().as_sql(compiler, connection, template=template, **context)


def seconds(value: float | str | datetime, connection: Any) -> float:
    """Return a moment, as a column gave it, in seconds since 1970.

    SQLite keeps what Django writes as a text, in the time zone of the connection.
    """
    if isinstance(value, int | float):
        return float(value)
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, connection.timezone or timezone.get_default_timezone())
    return moment.timestamp()


def now_in_seconds(using: str) -> float:
    """Return the time of the database in seconds since 1970."""
    vendor = connections[using].vendor
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {_SECONDS_SINCE_1970[vendor].format(_NOW[vendor])}")
        return float(cursor.fetchone()[0])


def now(using: str) -> datetime:
    """Return the time of the database: that of this process may be wrong by years."""
    ahead = now_in_seconds(using) - time.time()
    return timezone.now() + timedelta(seconds=ahead)


def from_now(delay: timedelta) -> ExpressionWrapper[Any]:
    """Return the moment that is ``delay`` away, as the database reckons it."""
    return ExpressionWrapper(Now() + delay, output_field=DateTimeField())
