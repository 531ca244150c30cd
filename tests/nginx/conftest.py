"""A real nginx with its default buffers, in front of Django's own server."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
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


@contextlib.contextmanager
def running(upstream: str, folder: Path) -> Iterator[Path]:
    """Start nginx in front of ``upstream``; gives the folder of its two sockets."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert program, "needs nginx: apt-get install nginx-light"
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, upstream=upstream))
    process = subprocess.Popen(
        [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(folder / "socket", process)
        wait_for(folder / "strict", process)
        yield folder
    finally:
        process.terminate()
        process.wait(10)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, "nginx did not start"
        assert time.monotonic() < deadline, "nginx did not start in time"
        time.sleep(0.02)


@pytest.fixture
def nginx(live_server, tmp_path_factory):
    """Ask the shop through nginx: ``nginx("/path", headers)`` gives status, headers and body.

    ``to="strict"``: through a server that makes all cookies ``HttpOnly``.
    """
    # Short: the name of a socket has 107 characters at most.
    folder = Path(tmp_path_factory.mktemp("n", numbered=True))
    with running(live_server.url, folder) as sockets:

        def ask(address, headers=None, body=None, to="socket"):
            connection = UnixConnection(sockets / to)
            with contextlib.closing(connection):
                method = "GET" if body is None else "POST"
                connection.request(method, address, body, headers or {})
                answer = connection.getresponse()
                return answer.status, answer.headers, answer.read()

        yield ask
