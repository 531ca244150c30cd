"""A real nginx with its default buffers, in front of Django's own server."""

from __future__ import annotations

import contextlib
import http.client
import socket
from pathlib import Path

import pytest

from tests.nginx import server

SERVERS = """
server {{
    listen unix:{folder}/socket;
    location / {{
        proxy_pass {upstream};
        proxy_set_header Host testserver;
        proxy_set_header X-Forwarded-For $http_x_test_address;
    }}
}}
server {{
    listen unix:{folder}/strict;
    location / {{
        proxy_pass {upstream};
        proxy_set_header Host testserver;
        proxy_cookie_flags ~ httponly;
    }}
}}
"""


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a socket of this machine: no port to be free."""

    def __init__(self, path: Path) -> None:
        super().__init__("testserver", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


@pytest.fixture
def nginx(live_server, tmp_path_factory):
    """Ask the shop through nginx: ``nginx("/path", headers)`` gives status, headers and body.

    ``to="strict"``: through a server that makes all cookies ``HttpOnly``.
    """
    # Short: the name of a socket has 107 characters at most.
    folder = Path(tmp_path_factory.mktemp("n", numbered=True))
    sockets = [folder / "socket", folder / "strict"]
    servers = SERVERS.format(folder=folder, upstream=live_server.url)
    with server.running(servers, folder, lambda: all(path.exists() for path in sockets)):

        def ask(address, headers=None, body=None, to="socket"):
            connection = UnixConnection(folder / to)
            with contextlib.closing(connection):
                method = "GET" if body is None else "POST"
                connection.request(method, address, body, headers or {})
                answer = connection.getresponse()
                return answer.status, answer.headers, answer.read()

        yield ask
