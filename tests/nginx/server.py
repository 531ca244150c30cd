"""A real nginx of this machine, with a configuration of its own in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SECONDS_TO_START = 20
SECONDS_TO_STOP = 10

# Buffers and limits are nginx's defaults: what a test shows holds for whoever sets nothing.
CONFIGURATION = """
{user}
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
    {servers}
}}
"""


def program() -> str:
    """Return the path of nginx, or ``""``; an ordinary user's PATH often lacks its folder."""
    path = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
    return shutil.which("nginx", path=path) or ""


def missing() -> str:
    """Say what this machine lacks and how to get it; ``""`` when nginx is here."""
    return "" if program() else "needs nginx: apt-get install nginx-light"


@contextlib.contextmanager
def running(servers: str, folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """Serve what ``servers``, lines for the block ``http``, describe, once ``ready()`` is true.

    ``AssertionError`` with nginx's own words when it does not start.
    """
    found = program()
    assert found, missing()
    configuration, log = folder / "nginx.conf", folder / "error.log"
    # Its workers would otherwise be nobody, who may not enter root's temporary folder.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(CONFIGURATION.format(user=user, folder=folder, servers=servers))
    process = subprocess.Popen(
        [found, "-p", str(folder), "-e", str(log), "-c", str(configuration)],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not ready():
            assert process.poll() is None, f"nginx did not start: {log.read_text()}"
            assert time.monotonic() < deadline, f"nginx did not start in time: {log.read_text()}"
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(SECONDS_TO_STOP)
