from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest
from django.db import connection

from tests import databases
from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory, PixelFactory
from wagtail_metapixel import datasets
from wagtail_metapixel.delivery import Summary
from wagtail_metapixel.drivers import draining, tasks
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parents[1]
OTHER = "9999999999"


class Result:
    """Stands in for what a backend gives for a task that was put into the queue."""

    def __init__(self, status="READY"):
        self.status = status
        self.refresh = lambda: None


class Task:
    """Stands in for our task on a backend that can do ``able``."""

    def __init__(self, *able):
        self.enqueued = []
        self._backend = types.SimpleNamespace(
            supports_get_result="result" in able, supports_defer="defer" in able
        )

    def get_backend(self):
        return self._backend

    def using(self, run_after):
        return types.SimpleNamespace(enqueue=lambda: self.enqueued.append(run_after))

    def enqueue(self):
        self.enqueued.append(Result())
        return self.enqueued[-1]


@pytest.fixture
def task(monkeypatch):
    def make(*able):
        monkeypatch.setattr(tasks, "deliver", found := Task(*able))
        return found

    return make


def test_while_our_own_task_waits_there_is_no_second_one(task):
    found, asked = task("result"), tasks._Asked()
    for _ in range(3):
        asked.publish()
    assert len(found.enqueued) == 1
    found.enqueued[0].status = "RUNNING"
    asked.publish()
    assert len(found.enqueued) == 2


def test_a_result_that_is_gone_is_no_task_that_waits(task):
    found, asked = task("result"), tasks._Asked()
    asked.publish()

    def pruned():
        raise LookupError

    found.enqueued[0].refresh = pruned
    asked.publish()
    assert len(found.enqueued) == 2


def test_a_backend_that_tells_nothing_gets_each_task(task):
    found, asked = task(), tasks._Asked()
    asked.publish()
    asked.publish()
    assert len(found.enqueued) == 2


def test_a_follow_up_is_asked_for_once_a_minute(task):
    found, asked = task("defer"), tasks._Asked()
    asked.follow_up()
    asked.follow_up()
    assert len(found.enqueued) == 1
    asked._follow_up_at = 0.0
    asked.follow_up()
    assert len(found.enqueued) == 2


def test_a_backend_that_puts_nothing_off_gets_no_follow_up(task):
    found, asked = task(), tasks._Asked()
    asked.follow_up()
    assert found.enqueued == []


@pytest.mark.parametrize(
    ("due", "pending", "asked"), [(True, True, "again"), (False, True, "later"), (False, False, "")]
)
def test_a_task_hands_on_what_it_leaves(monkeypatch, due, pending, asked):
    handed = []
    monkeypatch.setattr(draining, "take_turn", lambda using: Summary(by_state={"sent": 2}))
    monkeypatch.setattr(draining, "waiting", lambda using: {PIXEL_ID: 1} if due else {})
    monkeypatch.setattr(draining, "something_pending", lambda using: pending)
    monkeypatch.setattr(tasks, "publish", lambda: handed.append("again"))
    monkeypatch.setattr(tasks._of_this_process, "follow_up", lambda: handed.append("later"))
    assert tasks.deliver.call() == {"sent": 2}
    assert "".join(handed) == asked


def test_a_task_that_made_room_asks_for_no_other_at_once(monkeypatch):
    """It would be the next to make room; those who send hand on."""
    monkeypatch.setattr(draining, "take_turn", lambda using: None)
    monkeypatch.setattr(draining, "waiting", lambda using: {PIXEL_ID: 1})
    monkeypatch.setattr(draining, "something_pending", lambda using: True)
    monkeypatch.setattr(tasks, "publish", lambda: pytest.fail("at once"))
    later = []
    monkeypatch.setattr(tasks._of_this_process, "follow_up", lambda: later.append(1))
    assert tasks.deliver.call() == {}
    assert later == [1]


# A real worker of django-tasks-db

SITE = """
import json, sys, time
import django
from tests import settings

settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_tasks_db"]
settings.TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
settings.WAGTAIL_METAPIXEL = {"DELIVERY": "tasks", "SANDBOX": sys.argv[1]} | json.loads(sys.argv[2])
django.setup()
from django.core.management import call_command
from django.core.signals import request_started
"""
WEB = f"""
{SITE}
from django_tasks_db.models import DBTaskResult
from wagtail_metapixel import signals

call_command("check", fail_level="ERROR")
call_command("migrate", "django_tasks_database", verbosity=0)
DBTaskResult.objects.all().delete()
request_started.send(sender=None)
deadline = time.monotonic() + 30
while not DBTaskResult.objects.exists() and time.monotonic() < deadline:
    time.sleep(0.02)
for _ in range(50):
    signals.recorded.send(sender=None, using="default")
    time.sleep(0.02)
print(DBTaskResult.objects.count())
"""
WORKER = f"""
{SITE}
from django_tasks_db.models import DBTaskResult

call_command("db_worker", "--batch", "--no-startup-delay", "--interval", "0.1")
ended = DBTaskResult.objects.filter(status="SUCCESSFUL")
waits = DBTaskResult.objects.filter(status="READY")
print(json.dumps([[each.return_value for each in ended], waits.count()]))
"""


def run(code, *arguments):
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "METAPIXEL_TEST_DATABASE": databases.url_of(connection),
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.django_db(transaction=True)
def test_a_worker_of_django_tasks_db_drains_what_an_earlier_deploy_left():
    pytest.importorskip("django_tasks_db")
    PixelFactory(pixel_id=OTHER)
    OutboxEventFactory.create_batch(5)
    OutboxEventFactory(pixel_id=OTHER)
    datasets.pause(OTHER, 600, "The token is too old.", using="default")
    with SandboxServer(pixels={PIXEL_ID: TOKEN}) as sandbox:
        configured = json.dumps({"ACCESS_TOKENS": {PIXEL_ID: TOKEN}})
        assert run(WEB, sandbox.url, configured) == 1, "one task, whatever happened"
        ended, waits = run(WORKER, sandbox.url, configured)
        assert len(sandbox.events()) == 5
    assert (ended, waits) == ([{"sent": 5}], 1), "and one for what waits"
    states = list(OutboxEvent.objects.order_by("pk").values_list("state", flat=True))
    assert states == [State.SENT] * 5 + [State.PENDING]
