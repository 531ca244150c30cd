"""A stand-in for Meta that can be told to misbehave, and a ledger of what it has accepted.

The sandbox judges events; this one only counts them, so that it stays out of the way of a fault.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter, defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

POISONED = {
    "error": {
        "message": "Invalid parameter",
        "type": "OAuthException",
        "code": 100,
        "error_subcode": 2804050,
        "error_user_title": "Poison",
    }
}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing resets


class Meta:
    """Accepts events at :attr:`url`, as long as it is entered.

    ``script`` holds what the next requests meet, ``usual`` what all others do: ``answer``,
    ``slow`` (after :attr:`delay` seconds), ``silence``, ``drip`` or ``reset``, each after the
    events were taken. A request that holds one of ``poison`` is refused as a whole.
    """

    def __init__(self, port: int = 0) -> None:
        self.ledger: Counter[tuple[str, str, str]] = Counter()
        """How often each (pixel, event name, event id) was accepted."""
        self.times: defaultdict[tuple[str, str, str], set[int]] = defaultdict(set)
        self.requests: list[tuple[float, int]] = []
        """When each request came in, and how many events it held."""
        self.bearers: list[str] = []
        """The token of each request."""
        self.traces: dict[str, str] = {}
        """The trace of the request that brought an event id last."""
        self.incomplete = 0
        self.poison: set[str] = set()
        self.script: deque[str] = deque()
        self.usual = "answer"
        self.delay = 1.0
        self.arrived = threading.Event()
        """Set when a request came in."""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.meta = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def accepted(self) -> int:
        """How many different events were accepted."""
        return len(self.ledger)

    @property
    def twice(self) -> int:
        """How many times an event was accepted again."""
        return sum(self.ledger.values()) - len(self.ledger)

    def knows(self, event_id: str) -> bool:
        return any(told == event_id for _pixel, _name, told in list(self.ledger))

    def take(self, pixel: str, body: bytes) -> tuple[int, dict[str, Any], str]:
        """Return status, answer and manner for a whole request."""
        events = json.loads(body)["data"]
        with self._lock:
            self.requests.append((time.monotonic(), len(events)))
            manner = self.script.popleft() if self.script else self.usual
            trace = f"trace{len(self.requests)}"
            self.arrived.set()
            if self.poison.intersection(event["event_id"] for event in events):
                return 400, POISONED, manner
            for event in events:
                key = (pixel, event["event_name"], event["event_id"])
                self.ledger[key] += 1
                self.times[key].add(event["event_time"])
                self.traces[event["event_id"]] = trace
        return 200, {"events_received": len(events), "fbtrace_id": trace}, manner

    def rest(self, seconds: float) -> bool:
        """Wait; tells whether this Meta is still there."""
        return not self._closing.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    meta: Meta

    def handle_error(self, *_arguments: object) -> None:
        """Clients are killed here all the time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        meta = self.server.meta
        meta.bearers.append(self.headers["Authorization"].removeprefix("Bearer "))
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            meta.incomplete += 1
            self.close_connection = True
            return
        status, answer, manner = meta.take(self.path.split("/")[2], body)
        getattr(self, f"_{manner}")(meta, status, json.dumps(answer).encode())

    def _answer(self, _meta: Meta, status: int, answer: bytes) -> None:
        self._head(status, len(answer))
        self.wfile.write(answer)

    def _slow(self, meta: Meta, status: int, answer: bytes) -> None:
        meta.rest(meta.delay)
        self._answer(meta, status, answer)

    def _silence(self, meta: Meta, _status: int, _answer: bytes) -> None:
        meta.rest(30)
        self.close_connection = True

    def _drip(self, meta: Meta, status: int, answer: bytes) -> None:
        self._head(status, len(answer) + 1000)
        for byte in answer + b" " * 1000:
            self.wfile.write(bytes([byte]))
            if not meta.rest(0.2):
                break
        self.close_connection = True

    def _reset(self, _meta: Meta, _status: int, _answer: bytes) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            # The server would say goodbye first; a socket of its own that is closed does not.
            socket.socket(fileno=self.connection.detach()).close()

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""
