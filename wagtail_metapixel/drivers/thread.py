"""The thread that each web process has, whoever sends.

One daemon thread a process, started at the process's first request (so it survives fork servers),
woken when an event is committed, polling in between for what other processes or an earlier deploy
left behind. With ``thread``, the default, it sends. With ``tasks`` and ``celery`` it tells the
queue that something waits, so that no request talks to a broker. It always saves counters: with
``worker`` nothing else, and ``manage.py metapixel_deliver`` sends.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.signals import request_started
from django.db import close_old_connections, connections

from wagtail_metapixel import conf, driver_choice, outbox, signals
from wagtail_metapixel.drivers.announcing import Announcer
from wagtail_metapixel.drivers.housekeeping import Housekeeping
from wagtail_metapixel.exceptions import ConfigurationError

if TYPE_CHECKING:
    from wagtail_metapixel.delivery import Summary

logger = logging.getLogger("wagtail_metapixel")

IDLE_SECONDS = 30.0
IDLE_POLLS = 5
"""How much less often an idle thread looks: each look opens a connection again."""
EXIT_GRACE_SECONDS = 2.0


class DeliveryThread:
    """One process's thread. A fork gets one of its own at its next request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._worked_at = 0.0
        self._failures = 0
        self._housekeeping = Housekeeping()
        self._announcer = Announcer()
        self._poll_seconds = 1.0

    def ensure_started(self, **_kwargs: Any) -> None:
        """Start the thread unless it runs. Receiver of ``request_started``; cheap when it does."""
        if self._pid == os.getpid() and self._thread and self._thread.is_alive():
            return
        if not may_start():
            return
        with self._lock:
            if self._pid == os.getpid() and self._thread and self._thread.is_alive():
                return
            self._pid = os.getpid()
            self._wake, self._stop = threading.Event(), threading.Event()
            self._thread = threading.Thread(target=self._run, name="metapixel", daemon=True)
            self._thread.start()
            # Once, however often it was started, and in a fork: each would wait for its grace.
            atexit.unregister(self.stop)
            atexit.register(self.stop)

    def wake(self, **_kwargs: Any) -> None:
        """Look at the outbox now. Receiver of ``signals.recorded``."""
        self._wake.set()

    def stop(self, grace: float = EXIT_GRACE_SECONDS) -> None:
        """End the thread, waiting at most ``grace`` seconds for a request on its way."""
        self._stop.set()
        self._wake.set()
        if self._thread and self._pid == os.getpid():
            self._thread.join(grace)

    def after_fork(self) -> None:
        """Drop the parent's locks: a thread that this process does not have may hold them."""
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()

    def _run(self) -> None:
        self._worked_at = time.monotonic()
        try:
            while not self._stop.is_set():
                # Cleared before the look, so that an event committed during it is not overlooked.
                self._wake.clear()
                if not self._try_to_work():
                    self._rest()
        finally:
            connections.close_all()
            _close_connection_to_meta()

    def _try_to_work(self) -> bool:
        try:
            busy = self._work()
        except ConfigurationError as error:
            logger.error("Delivery waits: %s", error)
        except Exception as error:  # noqa: BLE001 - a database may be away for a while
            logger.error("Delivery failed and goes on: %s", type(error).__name__)
        else:
            self._failures = 0
            return busy
        self._failures += 1
        return False

    def _work(self) -> bool:
        using = outbox.alias()
        self._poll_seconds = conf.seconds("POLL_INTERVAL")
        self._housekeeping.run(using=using, stopping=self._stop.is_set)
        driver = conf.driver()
        if driver == "thread":
            summary = _deliver_due(using, self._stop.is_set)
            if summary.claimed:
                self._worked_at = time.monotonic()
            return summary.claimed > summary.released
        if driver != "worker" and self._announcer.look(queue(driver).publish, using=using):
            self._worked_at = time.monotonic()
            self._poll_seconds = min(self._poll_seconds, 1.0)
        return False

    def _rest(self) -> None:
        close_old_connections()
        # The longer something is broken, the less often it is said: at most once a minute.
        pause = self._poll_seconds * 2 ** min(self._failures, 6)
        if time.monotonic() - self._worked_at > IDLE_SECONDS:
            pause = max(pause, self._poll_seconds * IDLE_POLLS)
            connections[outbox.alias()].close()
            _close_connection_to_meta()
        self._wake.wait(random.uniform(0.75, 1.25) * pause)  # noqa: S311 - jitter


def _deliver_due(using: str, stopping: Callable[[], bool]) -> Summary:
    # With what it needs of Graph, for the thread alone: a process starts sooner without.
    from wagtail_metapixel import delivery  # noqa: PLC0415

    return delivery.deliver_due(using=using, stopping=stopping)


def _close_connection_to_meta() -> None:
    from wagtail_metapixel import graph_api  # noqa: PLC0415

    graph_api.close()


delivery_thread = DeliveryThread()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=delivery_thread.after_fork)


def connect() -> None:
    """Listen to requests and commits. Called once, when Django is ready."""
    request_started.connect(delivery_thread.ensure_started, dispatch_uid="wagtail_metapixel.thread")
    signals.recorded.connect(delivery_thread.wake, dispatch_uid="wagtail_metapixel.wake")
    try:
        driver = conf.driver()
        if driver in {"tasks", "celery"}:
            queue(driver)  # so that a worker of the queue knows our task
    except ConfigurationError as error:
        logger.error("Delivery waits: %s", error)
    except Exception as error:  # noqa: BLE001 - a queue that cannot be had stops no site
        logger.error("Delivery waits: its queue cannot be loaded (%s).", type(error).__name__)


def queue(driver: str) -> Any:
    """Return the module of a driver that is a queue: its ``publish()`` asks for one turn.

    Loaded only where it is chosen. ``ConfigurationError`` says what it lacks.
    """
    for obstacle in driver_choice.obstacles_of(driver):
        raise ConfigurationError(f"{obstacle.fact} {obstacle.advice}")
    return importlib.import_module(f"wagtail_metapixel.drivers.{driver}")


def may_start() -> bool:
    """Tell whether a thread may run here: not in tests, nor where it would do harm, or nothing."""
    if in_tests() or not outbox.bears_second_writer(outbox.alias()):
        return False
    if driver_choice.uwsgi_lacks_threads():
        _say_once(f"{driver_choice.UWSGI.fact} {driver_choice.UWSGI.advice}")
        return False
    return True


@functools.cache
def _say_once(text: str) -> None:
    logger.error(text)


def in_tests() -> bool:
    """Tell whether this process runs a test suite."""
    # Both: a dependency may import pytest in production, and children inherit the environment.
    pytest_runs = "pytest" in sys.modules and "PYTEST_CURRENT_TEST" in os.environ
    return pytest_runs or sys.argv[1:2] == ["test"]
