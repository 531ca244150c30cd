"""The way to Meta: closed, blocked, silent, dripping or cut. And poison, which is no fault of it."""

from __future__ import annotations

import socket
import time

from tests.faults.meta import Meta
from tests.faults.places import Place, ended, event_id, seed, work, work_once
from tests.faults.results import Bench, fault
from wagtail_metapixel import delivery
from wagtail_metapixel.models import MetaPixel

AWAY = 3.0
"""Seconds that Meta is away."""
DEADLINE = 1.0


def look_up_nothing(place: Place) -> None:
    """Be a worker for whom no name of a host is known."""

    def getaddrinfo(*_arguments: object, **_options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    socket.getaddrinfo = getaddrinfo
    work(place)


def away(bench: Bench, place: Place, name: str, be_a_worker: object = work) -> None:
    """Let a worker try for a while; it must neither storm, nor charge rows, nor doubt."""
    before = failures(place)
    worker = place.start(be_a_worker)
    time.sleep(AWAY)
    worker.terminate()
    bench.expect(ended(worker) == 0, f"{name}: the worker did not end well")
    tries = failures(place) - before
    bench.expect(1 <= tries <= 30, f"{name}: {tries} tries in {AWAY} s")
    bench.expect(set(place.rows("first_unknown_at")) == {None}, f"{name}: it doubts")
    bench.expect(place.waiting() == 50, f"{name}: rows are gone")
    bench.figure(f"{name}: {tries} tries in {AWAY:.0f} s")


def failures(place: Place) -> int:
    found = place.sql("SELECT failures FROM wagtail_metapixel_dataset")
    return found[0][0] if found else 0


@fault(13)
def graph_away(bench: Bench) -> None:
    """Meta is away (refused, blackholed, no name): no storm, all waits, and leaves once it is back."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        place = bench.place(options={"REQUEST_TIMEOUT": DEADLINE})
        place.meta = f"http://127.0.0.1:{port}"
        place.do(seed, 50)
        queue = [socket.socket() for _ in range(3)]
        for waiting in queue:  # the kernel takes these, and answers nobody after them
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        away(bench, place, "blackholed")
        for waiting in queue:
            waiting.close()
    away(bench, place, "refused")
    place.meta = place.meta.replace("127.0.0.1", "localhost")
    away(bench, place, "no name", look_up_nothing)
    with Meta(port) as meta:
        worker = place.start(work)
        seconds = bench.drained_by(worker, place)
        bench.account(place, meta, 50)
        bench.all_sent(place)
    bench.figure(f"drained {seconds:.1f} s after it came back")


def timed(place: Place) -> None:
    """Send one batch and tell how long the worker was held."""
    started = time.monotonic()
    summary = delivery.deliver_due()
    place.tell(seconds=time.monotonic() - started, sent=summary.by_state["sent"])


def held(bench: Bench, manner: str) -> None:
    """Meet one bad answer, which leaves it unknown what was taken; then good ones."""
    with Meta() as meta:
        meta.script.append(manner)
        place = bench.place(meta, options={"REQUEST_TIMEOUT": DEADLINE})
        place.do(seed, 20)
        place.do(timed)
        [told] = place.told()
        bench.expect(told["sent"] == 0, "it took that for a success")
        bench.expect(None not in place.rows("first_unknown_at"), "it does not doubt")
        limit = DEADLINE + 1
        bench.expect(told["seconds"] <= limit, f"held for {told['seconds']:.2f} s")
        worker = place.start(work)
        bench.drained_by(worker, place)
        bench.account(place, meta, 20, twice_allowed=20)
        bench.all_sent(place)
    bench.figure(f"held {told['seconds']:.2f} s of {DEADLINE} s")


@fault(14)
def no_reply(bench: Bench) -> None:
    """Meta takes the request and says nothing: cut at the deadline, unknown, tried again."""
    held(bench, "silence")


@fault(15)
def slow_loris(bench: Bench) -> None:
    """Meta answers byte by byte: cut at the deadline, although each byte came in time."""
    held(bench, "drip")


@fault(16)
def reset(bench: Bench) -> None:
    """The connection is reset after the body: unknown, tried again with the same id."""
    held(bench, "reset")


def rotate(_place: Place, token: str) -> None:
    """Save another token, as the owner does in the admin."""
    pixel = MetaPixel.objects.get()
    pixel.set_access_token(token)
    pixel.save()


@fault(40)
def token_rotated(bench: Bench) -> None:
    """The token is changed in the middle of a drain: from the next request on, it is the new one."""
    with Meta() as meta:
        meta.usual, meta.delay = "slow", 0.1
        place = bench.place(meta)
        place.do(seed, 300)
        worker = place.start(work, 10)
        meta.arrived.wait(20)
        place.do(rotate, "ROTATED-TOKEN-1234567890")
        before = len(meta.bearers)
        bench.drained_by(worker, place)
        bench.account(place, meta, 300)
        bench.all_sent(place)
    late = meta.bearers[before:].count(meta.bearers[0])
    bench.expect(meta.bearers[0] != meta.bearers[-1], "the new token was never used")
    bench.expect(late <= 1, f"{late} requests with the old token")
    bench.figure(f"{late} requests with the old token after it was saved")


@fault(26)
def poison(bench: Bench) -> None:
    """One poison row among 1,000: it alone is rejected, in 21 requests or fewer."""
    requests = []
    with Meta() as meta:
        place = bench.place(meta)
        for number, index in enumerate((0, 500, 999)):
            meta.poison = {event_id(1000 * number + index)}
            before = len(meta.requests)
            place.do(seed, 1000, 1000 * number)
            place.run(work_once)  # its status tells of the rejected one
            requests.append(len(meta.requests) - before)
        bench.account(place, meta, 3000)
        states = place.rows("state")
    bench.expect(states.count("rejected") == 3, f"{states.count('rejected')} rejected")
    bench.expect(states.count("sent") == 2997, f"{states.count('sent')} sent")
    bench.expect(max(requests) <= 21, f"{requests} requests")
    bench.figure(f"requests {requests} with the poison first, in the middle, last")


@fault(27)
def all_poison(bench: Bench) -> None:
    """All rows are poison: each is rejected, in little more than two requests a row."""
    with Meta() as meta:
        place = bench.place(meta)
        meta.poison = {event_id(number) for number in range(200)}
        place.do(seed, 200)
        place.run(work_once)
        bench.account(place, meta, 200)
        states = set(place.rows("state"))
    bench.expect(states == {"rejected"}, f"rows ended as {', '.join(sorted(states))}")
    bench.expect(len(meta.requests) <= 450, f"{len(meta.requests)} requests")
    bench.figure(f"{len(meta.requests)} requests for 200")
