"""The sandbox as a server: a local stand-in for Meta, for tests, demos and development.

::

    with SandboxServer(pixels={"1234567890123456": "token"}) as sandbox:
        ...                        # let the shop talk to sandbox.url
        [event] = sandbox.events()
        assert event["status"] == "deduplicated"

``SandboxServer(strict=True)`` also refuses what Meta takes with a warning: for a test suite that
wants nothing to warn of. It needs neither a database nor Django's settings, and listens on this machine only.
"""

from __future__ import annotations

import ipaddress
import time
from collections import deque
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final, Self

from wagtail_metapixel.sandbox.endpoints import Endpoints
from wagtail_metapixel.sandbox.graph import Access
from wagtail_metapixel.sandbox.misbehaviour import Misbehaving, Misbehaviour
from wagtail_metapixel.sandbox.store import MAX_RECORDS, Store
from wagtail_metapixel.sandbox.transport import HTTPServer
from wagtail_metapixel.sandbox.wire import ReceivedRequest, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_REQUESTS: Final = 2000
#: Bytes of bodies that the log of requests keeps at most.
MAX_LOGGED: Final = 32 * 1024 * 1024


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a name or address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class SandboxServer:
    """A stand-in for ``graph.facebook.com``, ``connect.facebook.net`` and ``www.facebook.com``.

    ``pixels`` gives each known pixel id its access token; without it every pixel and every token
    is good. ``port`` 0 takes a free one. With ``strict``, what Meta takes and only warns about is
    refused, with a text that says so. With an ``app_secret``, every Graph call needs the
    ``appsecret_proof`` made with it. ``on_event`` is called with the record of each copy that came
    in, ``on_rejection`` with each refused request, both as JSON objects and from the thread that
    serves the request. ``clock`` gives Unix seconds.

    Raises :class:`ValueError` for a host that others can reach, and :class:`OSError` from
    :meth:`start` if the port is taken.
    """

    def __init__(  # noqa: PLR0913 - keywords, each a thing a test may want to be different
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        pixels: Mapping[str, str] | None = None,
        *,
        strict: bool = False,
        app_secret: str = "",
        on_event: Callable[[dict[str, Any]], None] | None = None,
        on_rejection: Callable[[dict[str, Any]], None] | None = None,
        max_records: int = MAX_RECORDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not is_loopback(host):
            raise ValueError("host: must be a loopback address, such as 127.0.0.1")
        self.host = host
        self.strict = strict
        self._port = port
        self._on_event = on_event
        self.store = Store(max_records, clock, on_rejection)
        self._misbehaving = Misbehaving()
        self._stopping = Event()
        self._log = RequestLog()
        self._endpoints = Endpoints(
            self.store,
            self._misbehaving,
            Access(pixels, app_secret),
            self._announce,
            self._stopping,
            strict=strict,
        )
        self._http: HTTPServer | None = None
        self._thread: Thread | None = None

    # Life

    def start(self) -> None:
        """Listen, and answer from a thread of its own. Does nothing if it runs already."""
        if self._http is not None:
            return
        self._stopping.clear()
        self._http = HTTPServer((self.host, self._port), self._respond, self._stopping)
        self._thread = Thread(
            target=self._http.serve_forever, args=(0.02,), name="metapixel-sandbox", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every open connection. Does nothing if it does not run."""
        if self._http is None or self._thread is None:
            return
        self._stopping.set()
        self.store.wake()
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._thread.join()
        self._http = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port in use, or the one asked for before :meth:`start`."""
        return int(self._http.server_address[1]) if self._http else self._port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>``, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    # What came in

    def events(self, name: str | None = None, pixel: str | None = None) -> list[dict[str, Any]]:
        """The logical events, oldest first: one JSON object each, however many copies came."""
        return [
            event
            for event in self.store.events()
            if name in (None, event["event_name"]) and pixel in (None, event["pixel"])
        ]

    def rejections(self) -> list[dict[str, Any]]:
        """The requests that were refused, oldest first."""
        return self.store.rejections()

    @property
    def requests(self) -> list[ReceivedRequest]:
        """What Meta's addresses were asked, oldest first; not the calls of the live page."""
        return self._log.all()

    def totals(self) -> dict[str, int]:
        """Since the last clearing: ``browser``, ``server`` (copies), ``events``, ``rejected``."""
        return self.store.totals()

    def clear(self) -> None:
        """Forget all events, refusals and requests. A misbehaviour stays."""
        self.store.clear()
        self._log.clear()

    def misbehave(self, mode: str | None, **options: Any) -> None:
        """Fail from now on as ``mode`` says; None ends it.

        ``options`` are the fields of :class:`~wagtail_metapixel.sandbox.misbehaviour.Misbehaviour`:
        ``times``, ``event_id``, ``seconds``, ``retry_after`` and ``pixel``.
        """
        self._endpoints.misbehave(None if mode is None else Misbehaviour(mode, **options))

    @property
    def misbehaviour(self) -> Misbehaviour | None:
        """The fault in force, with the number of times that are left."""
        return self._misbehaving.current

    def _respond(self, request: Request) -> Response:
        received = self.store.clock()
        response = self._endpoints.respond(request)
        if not Endpoints.is_own(request):
            status = 0 if response.drop else response.status
            entry = ReceivedRequest(**vars(request), status=status, received=received)
            self._log.add(entry)
        return response

    def _announce(self, ids: list[int]) -> None:
        for record_id in ids if self._on_event else ():
            event = self.store.event(record_id)
            if event is not None and self._on_event is not None:
                self._on_event(event)


class RequestLog:
    """The newest requests, bounded in number and in bytes. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: deque[ReceivedRequest] = deque()
        self._bytes = 0

    def add(self, request: ReceivedRequest) -> None:
        with self._lock:
            self._requests.append(request)
            self._bytes += len(request.body)
            while len(self._requests) > MAX_REQUESTS or self._bytes > MAX_LOGGED:
                self._bytes -= len(self._requests.popleft().body)

    def all(self) -> list[ReceivedRequest]:
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()
            self._bytes = 0
