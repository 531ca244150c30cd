"""Several workers at once: late, frozen, far away, or with another clock."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from django.utils import timezone

from tests.faults.meta import Meta
from tests.faults.places import Place, ended, event_id, seed, until, work, work_once
from tests.faults.results import Bench, fault
from wagtail_metapixel import claims


def drain(bench: Bench, place: Place, workers: int, batch: int) -> float:
    """Let several workers empty the outbox at once; returns how long it took."""
    started = time.monotonic()
    running = [place.start(work_once, batch) for _ in range(workers)]
    for worker in running:
        bench.expect(ended(worker) == 0, "a worker failed")
    return time.monotonic() - started


@fault(32)
def eight_at_once(bench: Bench) -> None:
    """Eight workers at once: each row is claimed by one."""
    with Meta() as meta:
        place = bench.place(meta)
        rows = bench.size(20_000, 20_000, 100_000)
        place.do(seed, rows)
        seconds = drain(bench, place, 8, 200)
        bench.account(place, meta, rows)
        bench.all_sent(place)
    bench.figure(f"{rows} rows, {rows / seconds:.0f} rows/s")


# Far away


class SlowWay:
    """A way to PostgreSQL's socket on which each packet takes ``delay`` seconds."""

    def __init__(self, target: str, delay: float) -> None:
        self._target, self._delay = target, delay
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listening.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        late: deque[tuple[float, socket.socket, bytes]] = deque()
        with client, server, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                wait = late[0][0] - time.monotonic() if late else None
                for key, _ in ready.select(max(wait, 0) if wait is not None else None):
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    late.append((time.monotonic() + self._delay, key.data, data))
                while late and late[0][0] <= time.monotonic():
                    _, to, data = late.popleft()
                    to.sendall(data)

    def close(self) -> None:
        self._listening.close()


@fault(33, on=["postgres"], selection="all")
def far_away(bench: Bench) -> None:
    """Two servers drain, one of them 200 ms from the database: each row is claimed by one."""
    with Meta() as meta:
        place = bench.place(meta)
        place.do(seed, 1500)
        folder = parse_qs(urlsplit(place.url).query)["host"][0]
        way = SlowWay(f"{folder}/.s.PGSQL.5432", 0.1)  # each way
        name = urlsplit(place.url).path
        far = Place(f"postgresql://metapixel@127.0.0.1:{way.port}{name}", place.folder, meta.url)
        slow = far.start(work_once, 100)
        meta.arrived.wait(20)
        near = place.start(work_once, 20)
        bench.expect(ended(slow) == 0, "the far worker failed")
        bench.expect(ended(near) == 0, "the near worker failed")
        way.close()
        bench.account(place, meta, 1500)
        bench.all_sent(place)
    bench.figure(f"{len(meta.requests)} requests of both")


# Frozen


def work_and_freeze(place: Place, batch: int) -> None:
    """Claim a batch, and be frozen before anything is sent."""
    decide = claims.decide_keys

    def freeze(*arguments: object, **options: object) -> object:
        claims.decide_keys = decide
        place.flag("frozen")
        os.kill(os.getpid(), signal.SIGSTOP)
        return decide(*arguments, **options)

    claims.decide_keys = freeze
    work_once(place, batch)


@fault(34)
def lease_ends(bench: Bench) -> None:
    """A worker is frozen and wakes up late: what it writes then changes nothing."""
    with Meta() as meta:
        place = bench.place(meta, lease=1.0)
        place.do(seed, 60)
        frozen = place.start(work_and_freeze, 60)
        place.await_flag("frozen")
        _thaw_late(bench, place, meta, frozen.pid, 60)
        bench.expect(ended(frozen) is not None, "it did not end")
        bench.expect(meta.twice == 0, "frozen before it sent, it sent all the same")

        place.do(seed, 60, 60)
        meta.arrived.clear()
        meta.script.append("slow")
        meta.delay = 0.5
        late = place.start(work_once, 60)
        meta.arrived.wait(20)
        os.kill(late.pid, signal.SIGSTOP)
        _thaw_late(bench, place, meta, late.pid, 120)
        bench.expect(ended(late) is not None, "it did not end")
        bench.account(place, meta, 120, twice_allowed=60)
        bench.all_sent(place)
        kept = dict(place.rows("event_id", "trace_id"))
    flips = sum(kept[event_id(number)] != meta.traces[event_id(number)] for number in range(120))
    bench.expect(not flips, f"{flips} rows bear the late worker's note")
    bench.figure(f"frozen before sending X=0, while sending X={meta.twice}; flips {flips}")


def _thaw_late(bench: Bench, place: Place, meta: Meta, frozen: int | None, accepted: int) -> None:
    """Let another worker send what the frozen one holds, then thaw it."""
    other = place.start(work)
    until(lambda: not place.waiting(), "the other worker")
    other.terminate()
    bench.expect(ended(other) == 0, "the other worker failed")
    bench.expect(meta.accepted == accepted, f"{meta.accepted} events arrived")
    assert frozen
    os.kill(frozen, signal.SIGCONT)


# Another clock


def work_by_another_clock(place: Place, ahead: float) -> None:
    """Be a worker whose clock is ``ahead`` by so many seconds; the database's is right."""
    now, clock = timezone.now, time.time
    timezone.now = lambda: now() + timedelta(seconds=ahead)
    time.time = lambda: clock() + ahead
    work_once(place, 50)


@fault(31)
def clocks(bench: Bench) -> None:
    """A worker's clock is wrong by minutes or an hour, or steps back: leases go by the database's."""
    shifts = {"+10 min": 600, "-10 min": -600, "+1 h": 3600, "-1 h": -3600}
    with Meta() as meta:
        place = bench.place(meta)
        for number, ahead in enumerate(shifts.values()):
            place.do(seed, 400, 400 * number)
            pair = [place.start(work_by_another_clock, ahead), place.start(work_once, 50)]
            for worker in pair:
                bench.expect(ended(worker) == 0, "a worker failed")
        bench.account(place, meta, 400 * len(shifts))
        bench.all_sent(place)
    bench.figure(f"{', '.join(shifts)}: double claims 0, rejected 0")


@fault("31b")
def long_ago(bench: Bench) -> None:
    """A worker's clock stands in 1970: it sends like any other, and claims nothing twice."""
    _absurd(bench, -timezone.now().timestamp())


@fault("31c")
def far_ahead(bench: Bench) -> None:
    """A worker's clock stands in 2040: nothing expires or is deleted before its time."""
    _absurd(bench, (datetime(2040, 1, 1, tzinfo=UTC) - timezone.now()).total_seconds())


def seed_for_later(place: Place, count: int, first: int) -> None:
    seed(place, count, first, due_at=timezone.now() + timedelta(seconds=3))


def _absurd(bench: Bench, ahead: float) -> None:
    with Meta() as meta:
        place = bench.place(meta)
        place.do(seed, 50)
        # Recorded before a deliverer was first noted here, as what waits in a copy is.
        place.do(seed_for_later, 10, 150)
        place.do(work_once)
        place.do(seed, 50, 50)
        place.run(work_by_another_clock, ahead)
        place.do(seed, 50, 100)
        until(lambda: place.run(work_once) == 0 and not place.waiting(), "the drain", 30)
        bench.account(place, meta, 160)
        bench.all_sent(place)
    bench.figure("nothing expired, nothing deleted, nothing twice")
