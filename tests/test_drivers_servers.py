"""The thread in real servers that fork: nothing waits for a new event, and the end is quick."""

from __future__ import annotations

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

import pytest
from django.db import connection

from tests import databases
from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60
SITE = """
import json, os
import django
from django.conf import settings

settings.WAGTAIL_METAPIXEL = json.loads(os.environ["METAPIXEL_TEST_SHOP"])
django.setup()
from django.core.handlers.wsgi import WSGIHandler

application = WSGIHandler()
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


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_backlog_leaves_at_the_first_request_behind_a_gunicorn_that_preloads(tmp_path):
    pytest.importorskip("gunicorn")
    (tmp_path / "shop_wsgi.py").write_text(SITE)
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
        command = f"-m gunicorn --preload --workers=1 --bind=127.0.0.1:{port}"
        server = subprocess.Popen(
            [sys.executable, *command.split(), f"--chdir={tmp_path}", "shop_wsgi"],
            cwd=ROOT,
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "METAPIXEL_TEST_DATABASE": databases.url_of(connection),
                "METAPIXEL_TEST_SHOP": json.dumps(shop),
                "PYTHONPATH": str(ROOT),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            assert within(lambda: answers(f"http://127.0.0.1:{port}/")), server.poll()
            assert within(all_sent)
            # A reload forks anew; what came meanwhile leaves at the new process's first request.
            server.send_signal(signal.SIGHUP)
            OutboxEventFactory()
            assert within(lambda: answers(f"http://127.0.0.1:{port}/") and all_sent())
            server.send_signal(signal.SIGTERM)
            assert server.wait(SECONDS) == 0
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(SECONDS)
        assert len(sandbox.events()) == 4
