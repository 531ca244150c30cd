"""The thread in real servers: nothing waits for a new event, and the end is quick."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest
from django.db import connection

from tests import databases
from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60
BIN = Path(sys.executable).parent
SITE = """
import json, os
import django
from django.conf import settings

settings.WAGTAIL_METAPIXEL = json.loads(os.environ["METAPIXEL_TEST_SHOP"])
django.setup()
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler

asgi, wsgi = ASGIHandler(), WSGIHandler()
"""


def within(condition):
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def all_sent():
    return not OutboxEvent.objects.exclude(state=State.SENT).exists()


class Server(NamedTuple):
    """How a server is started, and told to reload; ``{}`` is its port."""

    module: str
    arguments: str
    reload: signal.Signals | None = signal.SIGHUP


SERVERS = [
    Server("gunicorn", "-m gunicorn --preload --workers=1 --bind=127.0.0.1:{} shop:wsgi"),
    Server(
        "pyuwsgi",
        f"{BIN}/uwsgi --binary-path={sys.executable} --http-socket=127.0.0.1:{{}} --master --processes=2 --enable-threads"
        " --die-on-term --module=shop:wsgi",
    ),
    Server("uvicorn", "-m uvicorn --port={} shop:asgi", None),
]


@contextlib.contextmanager
def serving(server, folder, port, shop):
    (folder / "shop.py").write_text(SITE)
    process = subprocess.Popen(
        [sys.executable, *server.arguments.format(port).split()],
        cwd=folder,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "METAPIXEL_TEST_DATABASE": databases.url_of(connection),
            "METAPIXEL_TEST_SHOP": json.dumps(shop),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(SECONDS)


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("server", SERVERS, ids=[server.module for server in SERVERS])
def test_backlog_leaves_at_the_first_request_and_after_a_reload(tmp_path, server):
    pytest.importorskip(server.module)
    OutboxEventFactory.create_batch(3)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with SandboxServer(pixels={PIXEL_ID: TOKEN}) as sandbox:
        shop = {
            "SANDBOX": sandbox.url,
            "ACCESS_TOKENS": {PIXEL_ID: TOKEN},
            "POLL_INTERVAL": 0.2,
        }
        with serving(server, tmp_path, port, shop) as process:
            assert within(lambda: answers(f"http://127.0.0.1:{port}/")), process.poll()
            assert within(all_sent)
            # A reload forks anew; what came meanwhile leaves at the new process's first request.
            if server.reload:
                process.send_signal(server.reload)
            OutboxEventFactory()
            assert within(lambda: answers(f"http://127.0.0.1:{port}/") and all_sent())
            process.send_signal(signal.SIGTERM)
            # uvicorn ends, and then says by what.
            assert process.wait(SECONDS) in {0, -signal.SIGTERM}
        assert len(sandbox.events()) == 4
