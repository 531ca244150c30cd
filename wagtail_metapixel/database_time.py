"""The database's clock, which means the same to workers on several machines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now


def from_now(delay: timedelta) -> ExpressionWrapper[Any]:
    """Return the moment that is ``delay`` away, as the database reckons it."""
    return ExpressionWrapper(Now() + delay, output_field=DateTimeField())
