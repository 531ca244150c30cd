"""The database: busy, restarted, stopped, impatient, full, or being migrated."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import subprocess
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management import call_command
from django.db import Error, connection, transaction
from django.http import HttpResponse
from django.template import engines
from django.test import Client, override_settings
from django.urls import path

from tests.faults.crashes import BUSY, compare, order
from tests.faults.meta import Meta
from tests.faults.places import Place, ended, seed, until, work, work_once
from tests.faults.results import Bench, fault
from tests.visits import PAID, ask
from wagtail_metapixel import counters, site_settings
from wagtail_metapixel.tracking import track

# Busy


def track_beside_a_writer(place: Place, seconds: float) -> None:
    """Record events, each in no transaction, while another process holds the lock."""
    assert track("AddToCart", ask(), value=5, currency="EUR")
    place.flag("warm")
    place.await_flag("held")
    for _ in range(5):
        started = time.monotonic()
        tracked = track("AddToCart", ask(), value=5, currency="EUR")
        place.tell(seconds=time.monotonic() - started, recorded=bool(tracked))
    place.tell(counted=sum(counters.waiting().values()))
    place.flag("done")
    place.await_flag("released")
    assert track("AddToCart", ask(), value=5, currency="EUR")


@fault(9, on=["sqlite"])
def busy(bench: Bench) -> None:
    """Another writer holds SQLite: an event waits as long as is set, is counted, the page goes on."""
    wait = 0.3
    place = bench.place(database_options={"timeout": wait})
    shop = place.start(track_beside_a_writer, wait)
    place.await_flag("warm")
    writer = sqlite3.connect(urlsplit(place.url).path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    place.flag("held")
    place.await_flag("done")
    writer.execute("ROLLBACK")
    writer.close()
    place.flag("released")
    bench.result.broken = int(ended(shop) != 0)
    *tries, last = place.told()
    bench.expect(not any(told["recorded"] for told in tries), "it wrote past the lock")
    bench.expect(last["counted"] >= len(tries), "what was not recorded is not counted")
    bench.expect(len(place.rows("pk")) == 2, "not as many rows as were recorded")
    longest = max(told["seconds"] for told in tries)
    bench.expect(longest < wait + 1, f"held for {longest:.2f} s")
    bench.figure(f"longest {longest:.2f} s with a timeout of {wait} s, {last['counted']} counted")


# Restarted, stopped


@fault(10, on=["postgres"])
def restarts(bench: Bench) -> None:
    """PostgreSQL restarts, fast and immediate, in the middle of a drain: the worker goes on."""
    with Meta() as meta:
        meta.usual, meta.delay = "slow", 0.1
        place = bench.place(meta, lease=2.0)
        place.do(seed, 3000)
        worker = place.start(work, 50)
        started = time.monotonic()
        resumed = []
        for number in range(5):
            time.sleep(1.0)
            bench.databases.control("restart", f"--mode={'immediate' if number % 2 else 'fast'}")
            sent, since = meta.accepted, time.monotonic()
            until(lambda sent=sent: meta.accepted > sent, "the first event after a restart")
            resumed.append(time.monotonic() - since)
        until(lambda: not place.waiting(), "the drain")
        minutes = (time.monotonic() - started) / 60
        bench.dismiss(worker)
        bench.account(place, meta, 3000, twice_allowed=5 * 50)
        bench.all_sent(place)
    complaints = sum("does not answer" in line for line in place.log())
    bench.expect(complaints <= max(10 * minutes, 25), f"{complaints} complaints")
    bench.expect(max(resumed) < 10 + BUSY, f"resumed after {max(resumed):.1f} s")
    bench.figure(f"resumed after {max(resumed):.1f} s at most; {complaints} lines in the log")


PAGE = """{% load metapixel %}<html><head>{% metapixel %}</head><body>
{% metapixel_event "ViewContent" value=5 currency="EUR" content_name="Cheese" %}</body></html>"""


def show(request: object) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


urlpatterns = [path("page/", show)]


def render_without_a_database(place: Place) -> None:
    """Show pages and record events, before and after the database stops."""
    site_settings.SNAPSHOT_SECONDS = 0.2
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    with override_settings(ROOT_URLCONF=__name__):
        client = Client(raise_request_exception=False)
        assert client.get("/page/").content.count(b"data-metapixel-event") == 1
        place.flag("warm")
        place.await_flag("stopped")
        for _ in range(5):
            started = time.monotonic()
            response = client.get("/page/")
            told = response.content.count(b"data-metapixel-event")
            try:
                tracked: object = track("AddToCart", ask(), value=5, currency="EUR")
            except Exception as error:  # noqa: BLE001 - this is what must not happen
                tracked = type(error).__name__
            fine = (response.status_code, told, bool(tracked)) == (200, 1, False)
            place.tell(fine=fine, seconds=time.monotonic() - started)
            time.sleep(0.25)


@fault(11, on=["postgres"])
def stopped(bench: Bench) -> None:
    """PostgreSQL is down while pages are shown: they show, and hold their events."""
    place = bench.place()
    shop = place.start(render_without_a_database)
    place.await_flag("warm")
    bench.databases.control("stop", "--mode=immediate")
    try:
        place.flag("stopped")
        status = ended(shop)
    finally:
        bench.databases.control("restart")
    bench.expect(status == 0, "the shop died")
    told = place.told()
    bench.result.broken = sum(not page["fine"] for page in told)
    bench.figure(f"{len(told)} pages, the slowest {max(page['seconds'] for page in told):.3f} s")


@fault(12, on=["postgres"])
def impatient(bench: Bench) -> None:
    """PostgreSQL cuts transactions idle for 1 s, Meta takes 3: none is open meanwhile."""
    with Meta() as meta:
        meta.usual, meta.delay = "slow", 3.0
        place = bench.place(meta)
        place.do(seed, 40)
        for limit in ("idle_in_transaction_session_timeout", "statement_timeout"):
            place.sql(f"ALTER DATABASE \"{urlsplit(place.url).path[1:]}\" SET {limit} = '1s'")
        bench.expect(place.run(work_once, 20) == 0, f"it failed: {place.log()[-1:]}")
        bench.account(place, meta, 40)
        bench.all_sent(place)
    bench.figure(f"{len(meta.requests)} requests of 3 s, errors 0")


# Full


TABLE = "wagtail_metapixel_outboxevent"

ROOM = 65_536
"""Bytes that a file may still grow before the disk is full."""
LONG = 1000
SEGMENT = 1 << 24
"""Bytes of a file of PostgreSQL's log of changes, which it makes whole."""


def limit(pid: int | None, size: int | str) -> None:
    """Let no file of that process grow beyond ``size`` bytes. Only its own user may say so."""
    owner = Path(f"/proc/{pid}").stat()
    command = ["prlimit", f"--pid={pid}", f"--fsize={size}:"]
    other = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    subprocess.run(command, check=True, **(other if owner.st_uid != os.getuid() else {}))


class FullSqlite:
    """Those who write are the shop and the worker themselves."""

    def __init__(self, place: Place) -> None:
        file = Path(urlsplit(place.url).path)
        self._size = file.stat().st_size + ROOM
        place.sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def fill(self, process: BaseProcess) -> None:
        limit(process.pid, self._size)

    def clear(self, process: BaseProcess) -> None:
        limit(process.pid, "unlimited")

    def complaints(self, place: Place) -> list[Any]:
        return [said for (said,) in place.sql("PRAGMA integrity_check") if said != "ok"]


class FullPostgres:
    """Those who write are the server's processes for each connection, children of the first.

    Others of them write the log of changes: a limit that let a file of it fail would end the server.
    So the outbox has to be larger than such a file.
    """

    def __init__(self, place: Place) -> None:
        place.sql(f"ALTER TABLE {TABLE} SET (autovacuum_enabled = off)")  # it makes room
        while (size := self._size_of_outbox(place)) < SEGMENT:
            place.do(seed, 20_000)
            place.sql(f"DELETE FROM {TABLE}")
        self._size = size + ROOM
        [(folder,)] = place.sql("SHOW data_directory")
        self._server = int(Path(folder, "postmaster.pid").read_text().split()[0])

    def _size_of_outbox(self, place: Place) -> int:
        [(size,)] = place.sql("SELECT pg_relation_size(%s)", TABLE)
        return int(size)

    def fill(self, _process: BaseProcess) -> None:
        """Do so before it connects: its child has the limits that its server has by then."""
        limit(self._server, self._size)

    def clear(self, _process: BaseProcess) -> None:
        children = Path(f"/proc/{self._server}/task/{self._server}/children").read_text()
        for pid in (self._server, *map(int, children.split())):
            with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):  # gone
                limit(pid, "unlimited")

    def complaints(self, place: Place) -> list[Any]:
        place.sql("CREATE EXTENSION amcheck")
        checked = (
            "SELECT bt_index_check(indexrelid, true) FROM pg_index WHERE indrelid = %s::regclass"
        )
        return [said for (said,) in place.sql(checked, TABLE) if said]


def sell_on_a_full_disk(place: Place) -> None:
    """Take orders until the disk is full, look at pages, and take some more when there is room."""
    number = failed = 0
    place.flag("open")
    place.await_flag("little room")
    while not failed and number < 5000:
        try:
            with transaction.atomic():
                order(number)
            number += 1
        except (Error, AssertionError):
            failed += 1
    place.tell(sold=number, failed=failed)
    for _ in range(5):
        try:
            # Larger than an order's: a smaller one may find room in the last page.
            tracked: object = track("AddToCart", ask(), **PAID, content_name="x" * LONG)
            place.tell(fine=not tracked)
        except Exception as error:  # noqa: BLE001 - this is what must not happen
            place.tell(fine=False, error=type(error).__name__)
    place.flag("full")
    place.await_flag("room")
    for _ in range(10):
        with transaction.atomic():
            order(number)
        number += 1
    place.tell(orders=number)


def wait_and_work(place: Place) -> None:
    place.await_flag("worker")
    work(place)


@fault(36)
def full(bench: Bench) -> None:
    """The disk is full: recording fails softly, the worker says so, and both go on with room."""
    with Meta() as meta:
        place = bench.place(meta)
        disk = (FullSqlite if bench.databases.kind == "sqlite" else FullPostgres)(place)
        shop = place.start(sell_on_a_full_disk)
        place.await_flag("open")
        disk.fill(shop)
        place.flag("little room")
        place.await_flag("full")
        worker = place.start(wait_and_work)
        disk.fill(worker)
        place.flag("worker")
        until(lambda: any("does not answer" in line for line in place.log()), "a clear word")
        for process in (shop, worker):
            disk.clear(process)
        place.flag("room")
        bench.expect(ended(shop) == 0, "the shop died")
        bench.drained_by(worker, place)
        told = place.told()
        bench.result.broken = sum(not fact.get("fine", True) for fact in told)
        bench.expect(told[0]["failed"], "the disk was never full")
        orders = compare(bench, place)
        bench.expect(orders == told[-1]["orders"], f"{orders} orders are there")
        bench.account(place, meta, orders)
        bench.all_sent(place)
        bench.expect(not disk.complaints(place), "the database is corrupt")
    bench.figure(f"full after {told[0]['sold']} orders, {orders} in the end")


# Migrated


def as_it_was(place: Place, rows: int) -> None:
    """Go back to the tables of the release before, and fill them."""
    seed(place, 1)
    call_command("migrate", "wagtail_metapixel", "0005", verbosity=0)
    copy(rows, columns())


def columns() -> str:
    """Return the names of what the release before writes."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_table_description(cursor, TABLE)
    return ", ".join(column.name for column in found if column.name not in {"id", "deadline"})


def copy(rows: int, names: str) -> None:
    """Add ``rows`` copies of the first row."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    first = f"(SELECT {names} FROM {TABLE} ORDER BY id LIMIT 1)"
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {TABLE} ({names}) {numbers} SELECT {names} FROM {first} f, n")


def insert_on(place: Place) -> None:
    """Record, as the release before does, while the tables change; tell what had to wait."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '3s'")
    names = columns()
    longest, inserts, refused = 0.0, 0, 0
    while not (place.folder / "migrated").exists():
        started = time.monotonic()
        try:
            copy(1, names)
        except Error:
            refused += 1
        inserts += 1
        longest = max(longest, time.monotonic() - started)
        place.flag("inserting")
        time.sleep(0.01)
    place.tell(longest=longest, inserts=inserts, refused=refused)


def migrate(_place: Place) -> None:
    call_command("migrate", "wagtail_metapixel", verbosity=0)


@fault(39, on=["postgres"], selection="all")
def migrated(bench: Bench) -> None:
    """The tables are migrated while a shop records: with 50,000 rows no insert waits for 3 s."""
    rows = 50_000
    place = bench.place()
    place.do(as_it_was, rows)
    shop = place.start(insert_on)
    place.await_flag("inserting")
    started = time.monotonic()
    place.do(migrate)
    seconds = time.monotonic() - started
    place.flag("migrated")
    bench.expect(ended(shop) == 0, "the shop died")
    [told] = place.told()
    bench.result.broken = told["refused"]
    count = len(place.rows("pk"))
    bench.result.lost = max(0, rows + 1 + told["inserts"] - told["refused"] - count)
    bench.figure(
        f"{rows} rows in {seconds:.2f} s; of {told['inserts']} inserts"
        f" {told['refused']} refused, the longest {told['longest']:.2f} s"
    )
