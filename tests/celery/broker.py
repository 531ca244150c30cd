"""A real Redis of this machine on a port of its own, in memory only."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

SECONDS_TO_START = 20
SECONDS_TO_STOP = 10


def program() -> str:
    """Return the path of Redis' server, or ``""``."""
    return shutil.which("redis-server") or ""


def missing() -> str:
    """Say what this machine lacks and how to get it; ``""`` when Redis is here."""
    return "" if program() else "needs Redis: apt-get install redis-server"


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(port: int) -> Iterator[str]:
    """Serve at ``port``; gives the address for Celery. ``AssertionError`` when it does not start."""
    command = [program(), "--port", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--save", "", "--appendonly", "no", "--dir", "/tmp"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _answers(port):
            assert process.poll() is None, "Redis did not start"
            assert time.monotonic() < deadline, "Redis did not start in time"
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(SECONDS_TO_STOP)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
    except OSError:
        return False
