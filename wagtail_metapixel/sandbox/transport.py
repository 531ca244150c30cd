"""HTTP/1.1 on a socket: reads requests, writes answers, keeps connections open."""

from __future__ import annotations

import socket
import struct
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast

from wagtail_metapixel.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

MAX_BODY: Final = 32 * 1024 * 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Handler(BaseHTTPRequestHandler):
    """One connection. Answers come from ``server.respond``."""

    protocol_version = "HTTP/1.1"
    server_version = "metapixel-sandbox"
    sys_version = ""
    #: Seconds a kept-alive connection may be idle.
    timeout = 60
    # Headers and body leave in one packet, at once.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def serve(self) -> None:
        body = self._body()
        if body is None:
            return
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=path,
            query=query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            client=(str(self.client_address[0]), int(self.client_address[1])),
        )
        server = cast("HTTPServer", self.server)
        response = server.respond(request)
        if response.delay:
            server.stopping.wait(response.delay)
        if response.drop:
            self._reset()
        else:
            self._answer(response)

    do_GET = do_HEAD = do_POST = do_OPTIONS = do_PUT = do_DELETE = serve  # noqa: N815  # its API

    def _body(self) -> bytes | None:
        """The body; None if there is nothing left to answer."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self._refuse(411, b"Send a Content-Length.\n")
            return None
        if int(length) > MAX_BODY:
            self._refuse(413, b"Too much.\n")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _refuse(self, status: int, text: bytes) -> None:
        self.close_connection = True
        self._answer(Response(status, text, "text/plain"))

    def _answer(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("Content-Type", response.media_type)
        if response.stream is None and response.status != 204:
            self.send_header("Content-Length", str(len(response.body)))
        if response.stream is not None:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self._write(response)

    def _write(self, response: Response) -> None:
        try:
            self.wfile.write(response.body)
            for part in response.stream or ():
                self.wfile.write(part)
                self.wfile.flush()
        except OSError:
            self.close_connection = True  # the reader went away

    def _reset(self) -> None:
        """End the connection in mid-air: the peer sees a reset, not an orderly close."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its API
        """Say nothing: the live page and ``on_event`` say it better."""


class HTTPServer(ThreadingHTTPServer):
    """A thread per connection. Knows its open connections, to close them when it stops."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(
        self, address: tuple[str, int], respond: Callable[[Request], Response], stopping: Event
    ) -> None:
        self.respond = respond
        self.stopping = stopping
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        # http.server asks the resolver for the host's full name here, which may take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Wake the threads that wait for the next request of a kept-alive connection."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the peer was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that hangs up is no error; anything else is shown as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
