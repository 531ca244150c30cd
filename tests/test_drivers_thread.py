from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import pytest
from django.core.signals import request_started
from django.db import OperationalError, transaction

from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory
from wagtail_metapixel import (
    counters,
    delivery,
    driver_choice,
    graph_api,
    outbox,
    retention,
    signals,
)
from wagtail_metapixel.delivery import Summary
from wagtail_metapixel.drivers import draining, housekeeping
from wagtail_metapixel.drivers import thread as drivers
from wagtail_metapixel.drivers.thread import DeliveryThread
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parents[1]
SOON = 5.0


class Work:
    """Stands in for ``deliver_due``: notes each call, answers what it is told."""

    def __init__(self):
        self.calls = 0
        self.called = threading.Condition()
        self.answers = []

    def __call__(self, **_kwargs):
        with self.called:
            self.calls += 1
            self.called.notify_all()
        answer = self.answers.pop(0) if self.answers else Summary()
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def wait_for(self, calls, seconds=SOON):
        """Wait until so many calls were made; return whether they were."""
        with self.called:
            return self.called.wait_for(lambda: self.calls >= calls, seconds)


@pytest.fixture
def work(monkeypatch):
    work = Work()
    monkeypatch.setattr(delivery, "deliver_due", work)
    return work


@pytest.fixture
def thread(monkeypatch, settings):
    """A thread of its own for this test, which polls so rarely that a wait shows."""
    settings.WAGTAIL_METAPIXEL = {"POLL_INTERVAL": 60}
    monkeypatch.setattr(drivers, "in_tests", lambda: False)
    monkeypatch.setattr(retention, "purge", lambda **_kwargs: {})
    thread = DeliveryThread()
    yield thread
    thread.stop()


def busy():
    return Summary(claimed=2, released=1)


# Starting


@pytest.mark.django_db  # a receiver of Django's asks connections that earlier tests left open
def test_no_thread_starts_in_tests():
    assert not drivers.may_start()
    request_started.send(sender=None)
    assert drivers.delivery_thread._thread is None
    assert "metapixel" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("arguments", "is_test"),
    [(["manage.py", "test"], True), (["manage.py", "runserver"], False), (["gunicorn"], False)],
)
def test_test_runner_of_django_counts_as_tests(monkeypatch, arguments, is_test):
    monkeypatch.delitem(sys.modules, "pytest")
    monkeypatch.setattr(sys, "argv", arguments)
    assert drivers.in_tests() is is_test


def test_pytest_counts_as_tests(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["runserver"])
    assert drivers.in_tests()


def test_no_thread_starts_where_it_would_make_the_shops_transactions_fail(
    thread, work, monkeypatch
):
    monkeypatch.setattr(outbox, "bears_second_writer", lambda using: False)
    thread.ensure_started()
    assert thread._thread is None


def test_thread_starts_once_and_looks_at_the_outbox_at_once(thread, work):
    starters = [threading.Thread(target=thread.ensure_started) for _ in range(8)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert work.wait_for(1)
    assert [found.name for found in threading.enumerate()].count("metapixel") == 1
    assert thread._thread.daemon


def test_thread_that_ended_starts_again_with_the_next_request(thread, work):
    thread.ensure_started()
    assert work.wait_for(1)
    thread.stop()
    thread.ensure_started()
    assert work.wait_for(2)


# Waking


def test_commit_wakes_the_thread(thread, work):
    signals.recorded.connect(thread.wake)
    thread.ensure_started()
    assert work.wait_for(1)
    signals.recorded.send_robust(sender=OutboxEvent, using="default")
    assert work.wait_for(2)
    assert not work.wait_for(3, seconds=0.1)


def test_commit_during_a_look_is_not_overlooked(thread, work):
    work.answers = [lambda: thread.wake() or Summary()]
    thread.ensure_started()
    assert work.wait_for(2)


def test_poll_finds_what_other_processes_left(thread, work, settings):
    settings.WAGTAIL_METAPIXEL = {"POLL_INTERVAL": 0.02}
    thread.ensure_started()
    assert work.wait_for(3)


def test_thread_goes_on_without_a_rest_while_there_is_work(thread, work):
    work.answers = [busy(), busy(), Summary(claimed=3, released=3)]
    thread.ensure_started()
    assert work.wait_for(3)
    assert not work.wait_for(4, seconds=0.1)


def test_failure_is_logged_and_the_thread_goes_on(thread, work, caplog):
    work.answers = [OperationalError("password=canary")]
    thread.ensure_started()
    assert work.wait_for(1)
    thread.wake()
    assert work.wait_for(2)
    assert "OperationalError" in caplog.text
    assert "canary" not in caplog.text


class Clock:
    """Stands in for the event a resting thread waits for; the tenth rest ends its work."""

    def __init__(self, thread, seconds):
        self.thread, self.seconds = thread, seconds

    def wait(self, seconds):
        self.seconds.append(seconds)
        if len(self.seconds) == 10:
            self.thread._stop.set()

    def clear(self):
        pass

    set = clear


@pytest.mark.django_db
def test_thread_asks_less_often_the_longer_something_is_broken(thread, work, settings, monkeypatch):
    monkeypatch.setattr(drivers.random, "uniform", lambda _low, _high: 1)
    monkeypatch.setattr(thread, "_wake", Clock(thread, seconds := []))
    settings.WAGTAIL_METAPIXEL = {"POLL_INTERVAL": 1}
    work.answers = [OperationalError()] * 9
    thread._run()
    assert seconds == [2, 4, 8, 16, 32, 64, 64, 64, 64, 1]


@pytest.mark.parametrize("options", [{"DELIVERY": "canon"}, {"POLL_INTERVAL": 0}])
def test_setting_that_cannot_be_used_is_said_and_waited_for(
    thread, work, settings, options, caplog
):
    settings.WAGTAIL_METAPIXEL = options
    thread.ensure_started()
    deadline = time.monotonic() + SOON
    while "Delivery waits" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert next(iter(options)) in caplog.text
    settings.WAGTAIL_METAPIXEL = {}
    thread.wake()
    assert work.wait_for(1)


# What else it does


def test_with_workers_the_thread_only_saves_counters(thread, work, settings, monkeypatch):
    settings.WAGTAIL_METAPIXEL = {"DELIVERY": "worker", "POLL_INTERVAL": 60}
    flushed = threading.Event()
    monkeypatch.setattr(counters, "flush", lambda using: flushed.set())
    counters.add(counters.Item(counters.WITHHELD, "consent unknown"))
    try:
        thread.ensure_started()
        assert flushed.wait(SOON)
    finally:
        counters.clear()
    assert not work.wait_for(1, seconds=0.1)


def test_purges_at_its_first_look_and_then_at_most_once_an_hour(thread, work, monkeypatch):
    purges = []
    monkeypatch.setattr(retention, "purge", lambda using, stopping: purges.append(using))
    work.answers = [busy(), busy()]
    thread.ensure_started()
    assert work.wait_for(3)
    assert purges == ["default"]
    thread._housekeeping._purge_at -= housekeeping.PURGE_SECONDS
    thread.wake()
    assert work.wait_for(4)
    assert purges == ["default", "default"]


def test_idle_thread_keeps_no_connection_and_looks_less_often(thread, work, monkeypatch):
    closed = []
    database = types.SimpleNamespace(close=lambda: closed.append("database"))
    monkeypatch.setattr(drivers, "connections", {"default": database})
    monkeypatch.setattr(drivers, "close_old_connections", lambda: None)
    monkeypatch.setattr(graph_api, "close", lambda: closed.append("Meta"))
    monkeypatch.setattr(drivers.random, "uniform", lambda _low, _high: 1)
    monkeypatch.setattr(thread, "_wake", Clock(thread, seconds := []))
    thread._poll_seconds = 1.0
    thread._worked_at = time.monotonic()
    thread._rest()
    assert closed == []
    thread._worked_at -= drivers.IDLE_SECONDS + 1
    thread._rest()
    assert closed == ["database", "Meta"]
    assert seconds == [1, drivers.IDLE_POLLS]


# Ending


def test_resting_thread_ends_at_once(thread, work):
    thread.ensure_started()
    assert work.wait_for(1)
    started = time.monotonic()
    thread.stop()
    assert not thread._thread.is_alive()
    assert time.monotonic() - started < SOON


def test_end_waits_no_longer_than_its_grace_for_a_request_on_its_way(thread, work):
    release = threading.Event()
    work.answers = [lambda: release.wait(SOON) and Summary()]
    thread.ensure_started()
    assert work.wait_for(1)
    started = time.monotonic()
    thread.stop(grace=0.1)
    assert 0.1 <= time.monotonic() - started < SOON
    release.set()
    thread._thread.join(SOON)
    assert not thread._thread.is_alive()


# From the commit to Meta


@pytest.mark.django_db(transaction=True)
def test_committed_event_is_sent_by_the_thread(thread, settings):
    signals.recorded.connect(thread.wake)
    with SandboxServer(pixels={PIXEL_ID: TOKEN}) as sandbox:
        settings.WAGTAIL_METAPIXEL = {
            "SANDBOX": sandbox.url,
            "ACCESS_TOKENS": {PIXEL_ID: TOKEN},
            "POLL_INTERVAL": 60,
        }
        thread.ensure_started()
        with transaction.atomic():
            outbox.insert([OutboxEventFactory.build()], using="default")
        deadline = time.monotonic() + SOON
        while not sandbox.events() and time.monotonic() < deadline:
            time.sleep(0.01)
        thread.stop(grace=SOON)
    assert OutboxEvent.objects.get().state == State.SENT


SERVER = """
    import os, select
    import django
    from tests import settings

    settings.WAGTAIL_METAPIXEL = {"POLL_INTERVAL": 60}
    django.setup()
    from django.core.signals import request_started
    from wagtail_metapixel import delivery, retention, signals
    from wagtail_metapixel.drivers import thread as drivers

    reader, writer = os.pipe()

    def deliver_due(**_kwargs):
        os.write(writer, b"%d\\n" % os.getpid())
        return delivery.Summary()

    delivery.deliver_due = deliver_due
    retention.purge = lambda **_kwargs: {}

    def delivers(signal, **arguments):
        signal.send(sender=None, **arguments)
        return bool(select.select([reader], [], [], 10)[0]) and int(os.read(reader, 99)) == os.getpid()

    assert drivers.delivery_thread._thread is None, "started before the first request"
    assert delivers(request_started), "no delivery at the first request"
    assert delivers(signals.recorded, using="default"), "no delivery after a commit"
    with drivers.delivery_thread._lock:  # as if another thread were just about to start it
        child = os.fork()
    if not child:
        os._exit(0 if delivers(request_started) else 1)
    assert os.waitpid(child, 0)[1] == 0, "no delivery in the child"
    print("both delivered")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_each_process_of_a_forking_server_delivers_from_its_first_request():
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(SERVER)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("both delivered\n", "", 0)


def test_a_fork_leaves_no_lock_of_the_parent_behind():
    thread = DeliveryThread()
    before = (thread._lock, thread._wake, thread._stop)
    thread.after_fork()
    after = (thread._lock, thread._wake, thread._stop)
    assert all(old is not new for old, new in zip(before, after, strict=True))


def test_pytest_imported_by_somebody_does_not_stop_delivery(monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert not drivers.in_tests()


def test_uwsgi_without_threads_gets_none_and_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(drivers, "in_tests", lambda: False)
    monkeypatch.setattr(driver_choice, "uwsgi_lacks_threads", lambda: True)
    drivers._say_once.cache_clear()
    assert [drivers.may_start() for _ in range(3)] == [False, False, False]
    assert [record.getMessage().count("enable-threads = true") for record in caplog.records] == [1]


def test_a_thread_that_was_started_often_is_ended_once(thread, work, monkeypatch):
    registered = []
    monkeypatch.setattr(drivers.atexit, "register", registered.append)
    monkeypatch.setattr(drivers.atexit, "unregister", lambda stop: registered.clear())
    for _ in range(3):
        thread.ensure_started()
        thread.stop()
    assert registered == [thread.stop]


# Queues


class Queue:
    def __init__(self):
        self.published = threading.Event()

    def publish(self):
        self.published.set()


def test_with_a_queue_the_thread_only_says_that_something_waits(
    thread, work, settings, monkeypatch
):
    settings.WAGTAIL_METAPIXEL = {"DELIVERY": "celery", "POLL_INTERVAL": 60}
    monkeypatch.setattr(drivers, "queue", lambda driver: (chosen.append(driver), queue)[1])
    monkeypatch.setattr(draining, "waiting", lambda using: {PIXEL_ID: 1})
    chosen, queue = [], Queue()
    thread.ensure_started()
    assert queue.published.wait(SOON)
    assert not work.wait_for(1, seconds=0.1)
    assert set(chosen) == {"celery"}


def test_a_queue_that_lacks_something_is_said_when_the_process_starts(
    settings, monkeypatch, caplog
):
    settings.WAGTAIL_METAPIXEL = {"DELIVERY": "celery"}
    monkeypatch.setattr(driver_choice.importlib.util, "find_spec", lambda name: None)
    drivers.connect()
    assert 'pip install "wagtail-metapixel[celery]"' in caplog.text


def test_a_queue_that_cannot_be_loaded_stops_no_site(settings, monkeypatch, caplog):
    def refuse(name):
        raise RuntimeError("redis://:canary@broker")

    settings.WAGTAIL_METAPIXEL = {"DELIVERY": "celery"}
    monkeypatch.setattr(driver_choice, "obstacles_of", lambda driver: [])
    monkeypatch.setattr(drivers.importlib, "import_module", refuse)
    drivers.connect()
    assert "its queue cannot be loaded (RuntimeError)" in caplog.text
    assert "canary" not in caplog.text
