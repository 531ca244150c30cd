"""One HTTP exchange with Meta: a kept-alive connection, and one deadline for the whole of it.

A module of its own, imported by the first request to Meta, because it brings the HTTP client: a
process that only renders pages has none.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import requests
import urllib3

from wagtail_metapixel import conf

REPLY_BYTES = 1_000_000
NOT_CONNECTED = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeout",
    "CERTIFICATE_VERIFY_FAILED",
    "Tunnel connection failed",
)
_local = threading.local()

Sign = Callable[[requests.PreparedRequest], requests.PreparedRequest]


class Reply(NamedTuple):
    """What came back, or why nothing did."""

    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = {}
    failure: str = ""
    """What went wrong on the way; empty when an answer came back."""
    was_sent: bool = True
    """Whether the request may have arrived, although it failed."""

    def __repr__(self) -> str:
        # Meta's answer may repeat what was sent.
        return f"Reply(status={self.status}, failure={self.failure!r})"


class Connection:
    """A thread's connection to one host, opened by its first request."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "wagtail-metapixel"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter())

    def exchange(self, method: str, url: str, sign: Sign, body: bytes | None) -> Reply:
        """Send one request and read its reply. Never raises for what the network does."""
        limit = conf.seconds("REQUEST_TIMEOUT")
        _local.deadline = time.monotonic() + limit
        # A proxy from the environment may lead to Meta, never to the sandbox on this machine.
        self._session.trust_env = not conf.is_loopback(url)
        try:
            response = self._session.request(
                method,
                url,
                data=body,
                auth=sign,
                headers={"Content-Type": "application/json"} if body else {},
                timeout=(min(limit, 3.05), limit),
                allow_redirects=False,
                stream=True,
            )
            with response:
                return Reply(response.status_code, _read(response), response.headers)
        except requests.exceptions.ConnectTimeout:
            return Reply(failure="Meta could not be reached in time.", was_sent=False)
        except requests.exceptions.ConnectionError as error:
            self.close()
            return _broken_connection(error)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            self.close()
            return Reply(failure=f"{type(error).__name__} while sending")
        except ValueError as error:
            # Of a header, or an address, that cannot be written; its text may hold the token.
            self.close()
            return Reply(
                failure=f"The request could not be written: {type(error).__name__}.",
                was_sent=False,
            )

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._session.close()


def _broken_connection(error: BaseException) -> Reply:
    # urllib3 names the step that failed only in its text: a connection that was never made
    # carried no event, one that broke later may have.
    text = repr(error)
    if any(step in text for step in NOT_CONNECTED):
        return Reply(failure="Meta could not be reached.", was_sent=False)
    return Reply(failure="The connection broke while waiting for Meta.")


def _read(response: requests.Response) -> bytes:
    reply = bytearray()
    while len(reply) < REPLY_BYTES:
        part = response.raw.read1(65536, decode_content=True)
        if not part:
            break
        reply += part
    return bytes(reply[:REPLY_BYTES])


# The deadline: a socket's own timeout starts anew with every byte, and a reply may drip


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes connections whose replies end at the deadline of the request."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _HTTPSConnection if pool.scheme == "https" else _HTTPConnection
        return pool


class _Reply(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock))


class _UntilDeadline(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._socket = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _local.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _HTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _Reply


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _Reply
