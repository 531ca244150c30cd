"""An UPDATE that tells what it changed: by itself, not by a query before it or after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.models import F, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.sql import UpdateQuery


def updated(
    rows: QuerySet[Any],
    values: Mapping[str, Any],
    columns: Sequence[str | Combinable] = ("pk",),
    *,
    using: str,
) -> list[tuple[Any, ...]]:
    """Give ``rows`` these ``values``; return the ``columns`` of those that were there, unordered.

    As the database gives them: on SQLite a boolean is a number. PostgreSQL, and SQLite from 3.35.
    """
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(values)
    compiler = query.get_compiler(using)
    statement, params = compiler.as_sql()
    asked: Any = [F(column) if isinstance(column, str) else column for column in columns]
    told = [compiler.compile(column.resolve_expression(query)) for column in asked]
    returning = ", ".join(sql for sql, _params in told)
    with connections[using].cursor() as cursor:
        cursor.execute(f"{statement} RETURNING {returning}", params)
        return list(cursor.fetchall())
