"""Where delivery is measured: a PostgreSQL, a Redis where there is one, and a stub as Meta.

Each benchmark runs in a process of its own, against databases of its own. The sizes are
environment variables, so that a quick run exists: see ``sizes.py``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import django
import psycopg

from tests import throwaway_postgres

ROOT = Path(__file__).parents[2]
FSYNC = os.environ.get("METAPIXEL_TEST_FSYNC", "on")
"""``on``, as PostgreSQL comes, or ``off``."""
BASE = """
import django
django.setup()
from django.core.management import call_command
from tests.factories import PixelFactory
call_command("migrate", run_syncdb=True, verbosity=0)
PixelFactory()
PixelFactory(pixel_id="2" * 16, settings__site__hostname="second.example", hosts="second.example")
"""
"""A second site has a pixel of its own, which may be paused without the first one's."""


def lines_of(module: str) -> Iterator[str]:
    """Run ``module`` as a process in a shop of its own; yields what it prints, line by line."""
    if throwaway_postgres.programs() is None:
        yield "  left out: it needs PostgreSQL's initdb and pg_ctl"
        return
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(databases())
        environment = _environment(url) | {"METAPIXEL_TEST_META": stack.enter_context(meta())}
        if shutil.which("redis-server"):
            environment["METAPIXEL_TEST_REDIS"] = stack.enter_context(redis())
        process = subprocess.Popen(
            [sys.executable, "-m", module], stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        assert process.stdout
        for line in process.stdout:
            yield line.decode().rstrip("\n")
        if process.wait():
            raise SystemExit(f"{module} failed.")


def tell(measured: Callable[[], Iterator[str]]) -> None:
    """Print the lines of ``measured``: in the process that :func:`lines_of` starts."""
    django.setup()
    for line in measured():
        print(line, flush=True)


def _environment(url: str) -> dict[str, str]:
    """Return that of a process of the shop; without Redis, unless it is added."""
    given = {k: v for k, v in os.environ.items() if k != "METAPIXEL_TEST_REDIS"}
    return given | {
        "DJANGO_SETTINGS_MODULE": "benchmarks.peers.settings",
        "METAPIXEL_TEST_DATABASE": url,
    }


# Servers


@functools.cache
def postgres() -> str:
    """Start the one of this process, with one database that all others are copies of."""
    programs = throwaway_postgres.programs()
    assert programs
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    # Nothing but fsync differs from what PostgreSQL comes with.
    with mock.patch.object(throwaway_postgres, "FAST", f"-c fsync={FSYNC}"):
        url = stack.enter_context(throwaway_postgres.running(programs))
    admin = url.replace("/metapixel?", "/postgres?")
    sql(admin, "CREATE DATABASE base")
    subprocess.run(
        [sys.executable, "-c", BASE],
        check=True,
        cwd=ROOT,
        env=_environment(url.replace("/metapixel?", "/base?")),
    )
    return admin


@contextlib.contextmanager
def databases() -> Iterator[str]:
    """Make the shop's databases, and drop them afterwards; gives the address of the first."""
    admin = postgres()
    names = ("shop", "medium", "large")
    for name in names:
        sql(admin, f"CREATE DATABASE {name} TEMPLATE base")
    yield admin.replace("/postgres?", "/shop?")
    for name in names:
        sql(admin, f"DROP DATABASE {name} WITH (FORCE)")


def sql(url: str, statement: str) -> None:
    """Execute one statement outside of any transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


@contextlib.contextmanager
def meta() -> Iterator[str]:
    """Run the stub."""
    with running(["-m", "benchmarks.peers.meta"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield process.stdout.readline().decode().strip()


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run a Redis, in memory only."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not _answers(port):
            if process.poll() is not None:
                raise SystemExit("Redis did not start.")
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def running(arguments: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run this Python with ``arguments``; ended on the way out."""
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# Asking, from the process that measures


def ledger(question: str = "") -> dict[str, Any]:
    """Return what the stub has counted. ``?delay=0.08`` begins anew."""
    with urllib.request.urlopen(f"{os.environ['METAPIXEL_TEST_META']}/{question}") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def await_received(count: int, *, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Wait until the stub has ``count`` events."""
    deadline = time.monotonic() + seconds
    while ledger()["received"] < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{ledger()['received']} of {count} events came within {seconds} s.")
        if process.poll():
            raise SystemExit(f"A worker ended with {process.returncode}.")
        time.sleep(0.05)


def memory(pid: int | str = "self") -> tuple[float, float]:
    """Return the memory that a process has and has had at most, in MB."""
    with Path(f"/proc/{pid}/status").open() as status:
        facts = dict(line.split(":", 1) for line in status)
    now, most = (int(facts[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def machine() -> str:
    """Return what the figures depend on: the database and how busy the machine is."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('fsync'),"
            " current_setting('synchronous_commit')"
        )
        version, fsync, commit = cursor.fetchone()
    return (
        f"PostgreSQL {version.split()[0]}, fsync {fsync}, synchronous_commit {commit},"
        f" load {os.getloadavg()[0]:.1f}"
    )


def rq_enqueue(broker: str) -> Callable[[str], object] | None:
    """Return what puts one task into RQ's queue, None where RQ is not installed."""
    try:
        from redis import Redis
        from rq import Queue
    except ImportError:
        return None
    queue = Queue(connection=Redis.from_url(broker))
    return partial(queue.enqueue, "benchmarks.peers.posting.post")
