"""The delivery drivers that live in this process. All of them call ``deliver_due()``.

``thread``, the default, is one daemon thread a process, started at the process's first request
(so it survives fork servers), woken when an event is committed, polling in between for what other
processes or an earlier deploy left behind. With ``worker`` the same thread only saves counters,
and ``manage.py metapixel_deliver`` sends.
"""

from __future__ import annotations

import atexit
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

from wagtail_metapixel import conf, counters, outbox, privacy, signals
from wagtail_metapixel.exceptions import ConfigurationError

if TYPE_CHECKING:
    from wagtail_metapixel.delivery import Summary

logger = logging.getLogger("wagtail_metapixel")

IDLE_SECONDS = 30.0
PURGE_SECONDS = 3600.0
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
        self._purged_at = 0.0
        self._failures = 0
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
        if counters.waiting():
            counters.flush(using=using)
        if time.monotonic() - self._purged_at > PURGE_SECONDS:
            self._purged_at = time.monotonic()
            privacy.purge_expired(using=using)
        if conf.driver() != "thread":
            return False
        summary = _deliver_due(using, self._stop.is_set)
        if summary.claimed:
            self._worked_at = time.monotonic()
        return summary.claimed > summary.released

    def _rest(self) -> None:
        close_old_connections()
        if time.monotonic() - self._worked_at > IDLE_SECONDS:
            connections[outbox.alias()].close()
            _close_connection_to_meta()
        # The longer something is broken, the less often it is said: at most once a minute.
        pause = self._poll_seconds * 2 ** min(self._failures, 6)
        self._wake.wait(random.uniform(0.75, 1.25) * pause)  # noqa: S311 - jitter


def _deliver_due(using: str, stopping: Callable[[], bool]) -> Summary:
    # With what it needs of Graph, for the thread alone: a process starts sooner without.
    from wagtail_metapixel import delivery  # noqa: PLC0415

    return delivery.deliver_due(using=using, stopping=stopping)


def _close_connection_to_meta() -> None:
    from wagtail_metapixel import graph_api  # noqa: PLC0415

    graph_api.close()


thread = DeliveryThread()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=thread.after_fork)


def connect() -> None:
    """Listen to requests and commits. Called once, when Django is ready."""
    request_started.connect(thread.ensure_started, dispatch_uid="wagtail_metapixel.thread")
    signals.recorded.connect(thread.wake, dispatch_uid="wagtail_metapixel.wake")


def may_start() -> bool:
    """Tell whether a thread may run here: not in tests, not on SQLite without ``IMMEDIATE``."""
    return not in_tests() and outbox.bears_second_writer(outbox.alias())


def in_tests() -> bool:
    """Tell whether this process runs a test suite."""
    # Both: a dependency may import pytest in production, and children inherit the environment.
    pytest_runs = "pytest" in sys.modules and "PYTEST_CURRENT_TEST" in os.environ
    return pytest_runs or sys.argv[1:2] == ["test"]
