"""A shield for the caller's transaction around what may fail in it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.db import connections, transaction


def savepoint_if_inside(using: str) -> AbstractContextManager[Any]:
    """Return a savepoint inside a transaction of the caller's, and nothing outside of one.

    On PostgreSQL a query that fails, a SELECT too, spoils the transaction around it; and outside
    of one, a transaction of our own would be two queries for nothing.
    """
    connection = connections[using]
    by_hand = connection.connection is not None and not connection.autocommit
    inside = connection.in_atomic_block or by_hand
    return transaction.atomic(using=using) if inside else nullcontext()
