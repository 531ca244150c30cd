"""``python -m benchmarks.peers.meta``: a process that takes events as Meta would, and counts them.

It does none of Meta's work, so that what is measured is who sends.
"""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


class Ledger:
    """What came in since :meth:`begin`. Moments are ``time.monotonic()``, one for all processes."""

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, delay: float) -> None:
        """Forget all; answer after ``delay`` seconds from now on."""
        self.delay = delay
        self.received = self.requests = 0
        self.first = self.last = 0.0
        self.purchases: list[float] = []

    def take(self, body: bytes) -> int:
        """Note one request; returns how many events it held."""
        now = time.monotonic()
        count = body.count(b"event_name") or body.count(b"event_name%22")
        self.first = self.first or now
        self.last = now
        self.requests += 1
        self.received += count
        self.purchases += [now] * (b"Purchase" in body)
        return count


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body of an answer leave together
    ledger = Ledger()

    def do_POST(self) -> None:
        count = self.ledger.take(self.rfile.read(int(self.headers["Content-Length"])))
        if self.ledger.delay:
            time.sleep(self.ledger.delay)
        self._answer({"events_received": count, "messages": [], "fbtrace_id": "trace"})

    def do_GET(self) -> None:
        asked = dict(parse_qsl(urlsplit(self.path).query))
        if "delay" in asked:
            self.ledger.begin(float(asked["delay"]))
        self._answer(vars(self.ledger))

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


def main() -> None:
    """Say the address, then serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
