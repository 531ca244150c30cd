"""Where the tests keep their tables: SQLite in a file of its own, or a PostgreSQL by address."""

from __future__ import annotations

import functools
import os
import tempfile
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def from_environment() -> dict[str, Any]:
    """Return the ``DATABASES["default"]`` that METAPIXEL_TEST_DATABASE names, else a new file."""
    url = os.environ.get("METAPIXEL_TEST_DATABASE")
    return from_url(url or f"sqlite://{folder().name}/tests.sqlite3")


@functools.cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Return this process's own; it is gone when the process ends, however its tests end."""
    return tempfile.TemporaryDirectory(prefix="metapixel-test-", ignore_cleanup_errors=True)


def from_url(url: str) -> dict[str, Any]:
    """``sqlite:///file`` or ``postgresql://user:password@host:port/name?host=/folder/of/socket``."""
    parts = urlsplit(url)
    return sqlite(parts.path) if parts.scheme == "sqlite" else postgresql(url)


def sqlite(file: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": file,
        # Django would take memory, where threads and live servers wait for each other differently.
        "TEST": {"NAME": file},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",  # what the package asks of every site on SQLite
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
            "timeout": 20,
        },
    }


def postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValueError(f"{parts.scheme}: tests run on sqlite:// or postgresql://.")
    socket = parse_qs(parts.query).get("host", [""])[0]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/") or "metapixel",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": socket or parts.hostname or "",
        "PORT": parts.port or "",
    }


def url_of(connection: Any) -> str:
    """Return the address of the database that a test runs on, for a process of its own."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite://{found['NAME']}"
    who = f"{found['USER']}:{found['PASSWORD']}" if found["PASSWORD"] else found["USER"]
    port = f":{found['PORT']}" if found["PORT"] else ""
    return f"postgresql://{who}@{port}/{found['NAME']}?host={found['HOST']}"
