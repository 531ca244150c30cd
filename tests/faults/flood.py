"""The public address that takes page events, asked for by one visitor as fast as a machine can."""

from __future__ import annotations

import http.client
import itertools
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path

from tests.faults.places import Place, ended, until
from tests.faults.results import Bench, fault
from tests.visits import COOKIES, FBP
from wagtail_metapixel.models import OutboxEvent

ADDRESS, NEIGHBOUR = "198.51.100.7", "203.0.113.7"
ALLOWED = 50
"""Requests of one address in a minute. Two minutes may begin while it lasts."""
CLIENTS = 4
SECONDS = {"ci": 2.0, "all": 10.0, "long": 60.0}
BROKEN_SECONDS = 5
"""A page of the shop that takes longer is broken."""
COLLECT, NOTHING, PAGE = "/metapixel/collect/", "/nothing/", "/page/"


def show(_request: object) -> HttpResponse:
    return HttpResponse(f"<p>{OutboxEvent.objects.count()} events wait</p>")


urlpatterns = [
    path("page/", show),
    path("nothing/", lambda _request: HttpResponse(status=404)),
    path("metapixel/", include("wagtail_metapixel.urls")),
]


class Quiet(WSGIRequestHandler):
    disable_nagle_algorithm = True

    def log_message(self, *_arguments: object) -> None:
        """Say nothing of each request."""


def serve(place: Place) -> None:
    """Be a shop behind a proxy, on a port that it tells."""
    logging.getLogger("django.request").setLevel(logging.ERROR)  # it warns of each that is refused
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"]):
        server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
        server.daemon_threads = True
        server.set_app(get_wsgi_application())
        place.tell(port=server.server_port)
        server.serve_forever(poll_interval=0.05)


class Browser:
    """Asks the shop over one connection, which stays open."""

    def __init__(self, port: int, address: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {
            "Host": "testserver",
            "Origin": "http://testserver",
            "Cookie": "; ".join(f"{name}={value}" for name, value in COOKIES.items()),
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "X-Forwarded-For": address,
        }

    def get(self, where: str) -> int:
        return self._ask("GET", where, None)

    def post(self, where: str) -> int:
        """Tell of a page view, as metapixel.js does."""
        event = {"event_name": "PageView", "event_id": str(uuid.uuid4())}
        body = {"url": "http://testserver/page/", "fbp": FBP, "pixel": "loaded", "events": [event]}
        return self._ask("POST", where, json.dumps(body))

    def _ask(self, method: str, where: str, body: str | None) -> int:
        headers = self._headers | ({"Content-Type": "text/plain"} if body else {})
        self._connection.request(method, where, body, headers)
        with self._connection.getresponse() as response:
            response.read()
            return response.status


def enough(where: str) -> str:
    """Return the flag that ends a flood."""
    return f"enough of {where.strip('/').replace('/', ' ')}"


def flood(place: Place, port: int, where: str) -> None:
    """Post to an address of the shop until told to end, then tell what came back."""
    answers: dict[int, int] = {}

    def go_on() -> None:
        browser = Browser(port, ADDRESS)
        while not (place.folder / enough(where)).exists():
            status = browser.post(where)
            answers[status] = answers.get(status, 0) + 1

    started = time.monotonic()
    clients = [threading.Thread(target=go_on) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    rate = sum(answers.values()) / (time.monotonic() - started)
    place.tell(where=where, answers={str(k): v for k, v in answers.items()}, rate=rate)


def look(port: int, seconds: float) -> Iterator[float]:
    """Look at a page again and again, from another address; return how long each took."""
    browser = Browser(port, NEIGHBOUR)
    until_then = time.monotonic() + seconds
    while time.monotonic() < until_then:
        started = time.monotonic()
        status = browser.get(PAGE)
        yield time.monotonic() - started if status == 200 else float("inf")
        time.sleep(0.01)  # it looks, and does not flood


def p99(seconds: list[float]) -> float:
    return 1000 * sorted(seconds)[int(len(seconds) * 0.99)]


@fault(51)
def flooded(bench: Bench) -> None:
    """One address floods the collect endpoint: refused early, rows bounded, others are served."""
    options = {"REQUESTS_PER_ADDRESS": ALLOWED, "TRUSTED_PROXIES": 1}
    place = bench.place(options=options)
    shop = place.start(serve)
    until(place.told, "the shop")
    port = place.told()[0]["port"]
    lasts = SECONDS[bench.selection]
    pages = {"alone": list(look(port, lasts))}
    for where in (NOTHING, COLLECT):
        flooding = place.start(flood, port, where)
        pages[where] = list(look(port, lasts))
        if where == COLLECT:
            other = Browser(port, NEIGHBOUR).post(COLLECT)
        place.flag(enough(where))
        bench.expect(ended(flooding) == 0, "the flood broke off")
    shop.terminate()
    ended(shop)
    of_nothing, of_ours = (fact for fact in place.told() if "where" in fact)
    bench.result.broken = sum(took > BROKEN_SECONDS for took in itertools.chain(*pages.values()))
    bench.expect(other == 204, f"another visitor was answered {other}")
    taken, refused = (of_ours["answers"].get(status, 0) for status in ("204", "429"))
    bench.expect(set(of_ours["answers"]) <= {"204", "429"}, f"answers {of_ours['answers']}")
    bench.expect(0 < taken <= 2 * ALLOWED and refused > 0, f"{taken} taken, {refused} refused")
    rows = len(place.rows("pk"))
    bench.expect(rows == taken + 1, f"{rows} rows of {taken + 1} requests")
    bench.figure(
        f"{of_ours['rate']:.0f} requests/s: {taken} taken, {refused} refused, {rows} rows; a page's p99"
        f" {p99(pages[COLLECT]):.0f} ms, {p99(pages['alone']):.0f} alone,"
        f" {p99(pages[NOTHING]):.0f} while {of_nothing['rate']:.0f}/s ask for what is not there"
    )
