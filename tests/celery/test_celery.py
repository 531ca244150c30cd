"""Delivery by real workers of Celery on a real Redis."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from tests import databases
from tests.celery import broker
from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.sandbox.server import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30
EVENTS = 100

# The first request, and then nothing but the thread until somebody ends the process.
WEB = """
import time
from tests.celery import shop
from django.core.signals import request_started

request_started.send(sender=None)
print("served", flush=True)
time.sleep(600)
"""
# Another message beside the thread's own, such as beat sends.
ASKING_TWICE = WEB.replace(
    'print("served"',
    'from wagtail_metapixel.drivers import celery; celery.publish()\nprint("served"',
)
RECORDING = """
from django.db import transaction
from tests.celery import shop
from tests.factories import OutboxEventFactory
from django.core.signals import request_started
from wagtail_metapixel import outbox

request_started.send(sender=None)
for _ in range(5):
    with transaction.atomic():
        outbox.insert([OutboxEventFactory.build()], using="default")
print("recorded", flush=True)
"""


class Shop:
    """Processes of one shop on one database and one broker."""

    def __init__(self, sandbox, port, folder, stack):
        self.sandbox, self._folder, self._stack = sandbox, folder, stack
        self.settings = {
            "WAGTAIL_METAPIXEL": {
                "DELIVERY": "celery",
                "SANDBOX": sandbox.url,
                "ACCESS_TOKENS": {PIXEL_ID: TOKEN},
                "POLL_INTERVAL": 0.2,
            },
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{port}/0",
            "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        }

    def start(self, *command):
        log = Path(tempfile.mkstemp(dir=self._folder)[1])
        output = self._stack.enter_context(log.open("w"))
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "METAPIXEL_TEST_DATABASE": databases.url_of(connection),
                "METAPIXEL_TEST_SHOP": json.dumps(self.settings),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self._stack.callback(kill, process)
        return Process(process, log)

    def worker(self, *options):
        command = "-m celery -A tests.celery.shop worker --loglevel=INFO --concurrency=1"
        return self.start(*command.split(), "--without-gossip", "--without-mingle", *options)

    def web(self, code=WEB):
        return self.start("-c", textwrap.dedent(code))


class Process:
    """One of them, and what it has said."""

    def __init__(self, process, log):
        self.process, self._log = process, log

    def says(self, text):
        """Wait until it has said ``text``."""
        within(lambda: text in self._log.read_text() or self.process.poll() is not None)
        assert text in self._log.read_text()


def kill(process):
    """End it and its children as a power cut would."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(SECONDS)


@pytest.fixture
def port():
    return broker.free_port()


@pytest.fixture
def shop(port, tmp_path):
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(SandboxServer(pixels={PIXEL_ID: TOKEN}))
        yield Shop(sandbox, port, tmp_path, stack)


def pending():
    return OutboxEvent.objects.exclude(state=State.SENT)


def within(condition):
    """Wait until ``condition()`` is true; return whether it became so."""
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def accepted(sandbox):
    return {event["event_id"] for event in sandbox.events()}


def test_two_workers_and_kill_of_one_lose_nothing(shop, port):
    """What another driver left is drained, although a worker dies with a batch in its hands."""
    ids = {row.event_id for row in OutboxEventFactory.create_batch(EVENTS)}
    shop.sandbox.misbehave("slow", seconds=1)
    with broker.running(port):
        workers = [shop.worker(f"--hostname={name}@%h") for name in ("first", "second")]
        for worker in workers:
            worker.says("ready.")
        shop.web(ASKING_TWICE).says("served")
        assert within(lambda: leases() == 2)
        kill(workers[0].process)
        # As if the minute had passed that a dead worker's rows wait.
        OutboxEvent.objects.exclude(lease_token=None).update(leased_until=timezone.now())
        assert within(lambda: not pending().exists())
    assert accepted(shop.sandbox) == ids


def leases():
    rows = OutboxEvent.objects.filter(leased_until__gt=timezone.now())
    return rows.values("lease_token").distinct().count()


def test_broker_that_is_away_stops_no_commit_and_is_told_when_it_is_back(shop, port):
    recording = shop.web(RECORDING)
    recording.says("recorded")
    assert recording.process.wait(SECONDS) == 0
    assert pending().count() == 5
    shop.web().says("The queue could not be told that events wait")
    with broker.running(port):
        shop.worker()
        assert within(lambda: not pending().exists())


def test_beat_schedule_of_the_docs_drains_without_any_request(shop, port):
    text = (ROOT / "docs" / "delivery.md").read_text()
    schedule = ast.literal_eval(
        re.search(r"CELERY_BEAT_SCHEDULE = (\{.*?\n\})", text, re.DOTALL)[1]
    )
    schedule["metapixel"]["schedule"] = 0.3  # instead of its minute
    shop.settings["CELERY_BEAT_SCHEDULE"] = schedule
    OutboxEventFactory.create_batch(3)
    with broker.running(port), tempfile.TemporaryDirectory() as folder:
        shop.worker("--beat", f"--schedule={folder}/beat")
        assert within(lambda: not pending().exists())
    assert len(accepted(shop.sandbox)) == 3
