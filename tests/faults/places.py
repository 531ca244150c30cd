"""Where a fault happens: a fresh database, a folder for what its processes tell, and its Meta."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.management import call_command
from django.db import ConnectionHandler, connections
from django.utils import timezone

from tests import databases, throwaway_postgres
from tests.factories import PIXEL_ID, PixelFactory
from wagtail_metapixel import claims, delivery
from wagtail_metapixel.models import MetaPixel, OutboxEvent, State

SECONDS = 60
"""No process of a fault may take longer."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.faults.prepared"])


@dataclass
class Place:
    """What a process has to know; goes over to it by pickle."""

    url: str
    folder: Path
    meta: str = ""
    lease: float = 60.0
    options: dict[str, Any] = field(default_factory=dict)
    """Of the package."""
    database_options: dict[str, Any] = field(default_factory=dict)
    backoff: tuple[float, float] = (0.1, 0.5)

    # In a process of its own

    def start(self, function: Callable[..., object], *arguments: object) -> BaseProcess:
        """Call ``function`` in a new process of this place; it can be killed at any moment."""
        process = processes.Process(target=_inside, args=(self, function, arguments), daemon=True)
        process.start()
        return process

    def run(self, function: Callable[..., object], *arguments: object) -> int | None:
        """Like :meth:`start`, and wait for its end; returns the exit status."""
        return ended(self.start(function, *arguments))

    def do(self, function: Callable[..., object], *arguments: object) -> None:
        """Like :meth:`run`, for what may not fail."""
        if self.run(function, *arguments) != 0:
            raise OSError(f"{function.__name__} failed: {''.join(self.log()[-1:])}")

    def enter(self) -> None:
        """Make this process one of this place."""
        with (self.folder / "log").open("ab", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.argv = ["manage.py"]
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
        with contextlib.suppress(AttributeError):
            del connections["default"]  # some import may have made it, with the settings of then
        connections.settings = ConnectionHandler({"default": self._database()}).settings
        usual = {"SANDBOX": self.meta, "DELIVERY": "worker"}
        settings.WAGTAIL_METAPIXEL = usual | {"POLL_INTERVAL": 0.2} | self.options
        for verb in (claims.claim, claims.renew):
            verb.__kwdefaults__["lease"] = timedelta(seconds=self.lease)
        delivery.RENEW_AFTER_SECONDS = self.lease / 3
        delivery.KEY_WAIT = timedelta(seconds=0.2)
        delivery.BACKOFF = delivery.Backoff(*self.backoff)

    def _database(self) -> dict[str, Any]:
        database = databases.from_url(self.url)
        options = database.get("OPTIONS", {}) | self.database_options
        return database | {"OPTIONS": options}

    # Between the processes

    def tell(self, **facts: object) -> None:
        """Write down what this process found out: one write, so that no kill halves it."""
        with (self.folder / "told").open("ab", buffering=0) as told:
            told.write(json.dumps(facts).encode() + b"\n")

    def told(self) -> list[dict[str, Any]]:
        try:
            lines = (self.folder / "told").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def log(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "log").read_text(errors="replace").splitlines()
        return []

    def flag(self, name: str) -> None:
        (self.folder / name).touch()

    def await_flag(self, name: str) -> None:
        until((self.folder / name).exists, f"the flag {name}")

    # Looking, from the runner

    @contextlib.contextmanager
    def alias(self) -> Iterator[str]:
        """Give the alias of this place's database in this process; closed afterwards."""
        connections.settings["here"] = ConnectionHandler({"default": self._database()}).settings[
            "default"
        ]
        try:
            yield "here"
        finally:
            connections["here"].close()
            del connections["here"]

    def rows(self, *names: str) -> list[Any]:
        """Return these columns of all rows of the outbox."""
        with self.alias() as using:
            found = OutboxEvent.objects.using(using).order_by("pk")
            return list(found.values_list(*names, flat=len(names) == 1))

    def waiting(self) -> int:
        with self.alias() as using:
            return OutboxEvent.objects.using(using).filter(state=State.PENDING).count()

    def waiting_here(self) -> int:
        """Like :meth:`waiting`, from a process of this place."""
        return OutboxEvent.objects.filter(state=State.PENDING).count()

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.alias() as using, connections[using].cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def _inside(place: Place, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    place.enter()
    try:
        function(place, *arguments)
    finally:
        connections.close_all()


def ended(process: BaseProcess, seconds: float = SECONDS) -> int | None:
    """Wait for a process; one that does not end is killed, and its status is None."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def until(met: Callable[[], object], what: str, seconds: float = SECONDS) -> float:
    """Wait until ``met``; returns how long it took. ``TimeoutError`` with ``what`` is missing."""
    started = time.monotonic()
    while not met():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)
    return time.monotonic() - started


# What many faults let their processes do


def seed(_place: Place, count: int, first: int = 0, **values: Any) -> None:
    """Let ``count`` rows wait, as an earlier day recorded them. Ids count from ``first``."""
    now = timezone.now()
    site_pk = MetaPixel.objects.get(pixel_id=PIXEL_ID).settings.site_id
    rows = (
        OutboxEvent(**_seeded(number, now.timestamp(), site_pk) | values)
        for number in range(first, first + count)
    )
    OutboxEvent.objects.bulk_create(rows, batch_size=1000)


def event_id(number: int) -> str:
    return f"{number:032x}"


def _seeded(number: int, seconds: float, site_pk: int) -> dict[str, Any]:
    event = (
        f'{{"event_name":"AddToCart","event_time":{seconds:.0f},"event_id":"{event_id(number)}",'
        '"action_source":"website","event_source_url":"https://testserver/"}'
    )
    return {
        "site_pk": site_pk,
        "pixel_id": PIXEL_ID,
        "host": "testserver",
        "event_name": "AddToCart",
        "event_id": event_id(number),
        "event": event.encode(),
        "user_data": b'{"client_ip_address":"203.0.113.7","client_user_agent":"Mozilla/5.0"}',
        "expires_at": timezone.now() + timedelta(days=6),
    }


def work(_place: Place, batch: int = 1000) -> None:
    """Be a worker until the end."""
    call_command("metapixel_deliver", batch=batch)


def work_once(_place: Place, batch: int = 1000) -> None:
    """Send what is due, then end."""
    call_command("metapixel_deliver", once=True, batch=batch)


# Databases


def make_base(_place: Place) -> None:
    """Build what the database of every fault begins with: all tables, one site, one pixel."""
    call_command("migrate", verbosity=0)
    PixelFactory()


class Databases:
    """Makes the databases of one kind, ``sqlite`` or ``postgres``, each a copy of the first."""

    def __init__(self, kind: str, folder: Path, postgres_url: str = "") -> None:
        self.kind = kind
        self._folder = folder / kind
        self._folder.mkdir()
        self._postgres = postgres_url
        self._made = 0
        base = self._place("base")
        if kind == "postgres":
            self._create("base", "template1")
        status = ended(base.start(make_base), 240)  # all of Wagtail's migrations
        if status != 0:
            raise OSError("\n".join([f"the first {kind} could not be made: {status}", *base.log()]))

    def new(self, name: str) -> Place:
        """Return a place with a database of its own."""
        self._made += 1
        place = self._place(f"{name}_{self._made}")
        if self.kind == "postgres":
            self._create(place.folder.name, "base")
        else:
            shutil.copy(self._folder / "base" / "db.sqlite3", place.folder / "db.sqlite3")
        return place

    def _place(self, name: str) -> Place:
        folder = self._folder / name
        folder.mkdir()
        if self.kind == "sqlite":
            return Place(f"sqlite://{folder}/db.sqlite3", folder)
        return Place(self._postgres.replace("/metapixel?", f"/{name}?"), folder)

    def _create(self, name: str, template: str) -> None:
        server = Place(self._postgres.replace("/metapixel?", "/postgres?"), self._folder)
        server.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def control(self, *words: str) -> None:
        """Call ``pg_ctl`` with ``words``, like ``restart --mode=fast``."""
        folder = Path(parse_qs(urlsplit(self._postgres).query)["host"][0])
        programs = throwaway_postgres.programs()
        assert programs
        command = [programs / "pg_ctl", "--pgdata", folder / "data", "--wait", *words]
        throwaway_postgres.call(
            [*command, "--log", folder / "log"], folder, throwaway_postgres.unprivileged_account()
        )
