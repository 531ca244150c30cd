"""Asking for one of many values by a single parameter, or a query, however many they are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db.models import BooleanField, Func, QuerySet, Subquery, Value
from django.db.models.sql.compiler import SQLCompiler


def among(column: str, values: Iterable[int] | Iterable[str], vendor: str) -> tuple[str, Any]:
    """Return the SQL that tells whether ``column`` is one of ``values``, and its one parameter.

    Django's ``__in`` writes a placeholder for each, and a thousand keys of rows take longer to put
    into the statement than the database takes to find them.
    """
    if vendor == "postgresql":
        return f"{column} = ANY(%s)", list(values)
    told = f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608 - the name of a column
    return told, json.dumps(list(values))


class Among(Func):
    """Whether ``column`` is one of ``values``: whole numbers, or texts. For ``filter()``."""

    output_field = BooleanField()
    arity = 2

    def __init__(self, column: str, values: Iterable[int] | Iterable[str]) -> None:
        super().__init__(column, Value(list(values)))

    def as_sql(self, compiler: SQLCompiler, connection: Any, *_args: Any, **_context: Any) -> Any:
        """Write it."""
        column, values = self.get_source_expressions()
        told, params = compiler.compile(column)
        statement, value = among(told, values.value, connection.vendor)
        return statement, (*params, value)


class Chosen(Func):
    """Whether ``column`` is among what ``rows`` gives, which is asked once. For ``filter()``.

    With ``IN`` PostgreSQL may ask again for each row, and each time lock, and choose, others.
    """

    output_field = BooleanField()
    arity = 2

    def __init__(self, column: str, rows: QuerySet[Any, Any]) -> None:
        super().__init__(column, Subquery(rows))

    def as_sql(self, compiler: SQLCompiler, connection: Any, *_args: Any, **_context: Any) -> Any:
        """Write it."""
        (column, first), (rows, second) = map(compiler.compile, self.get_source_expressions())
        is_array = connection.vendor == "postgresql"
        said = f"{column} = ANY(ARRAY{rows})" if is_array else f"{column} IN {rows}"
        return said, (*first, *second)
