"""Delivery by Django's Tasks API: a worker of whatever backend ``TASKS`` names does the sending.

Loaded only with ``DELIVERY = "tasks"``. The backend has to be a real one, such as django-tasks-db.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.utils import timezone

from wagtail_metapixel import driver_choice, outbox
from wagtail_metapixel.drivers import draining

FOLLOW_UP_SECONDS = 60.0
"""When a task looks again after one that left something for later."""

_api = driver_choice.tasks_api()


@_api.task(backend=driver_choice.task_backend_alias(_api))
def deliver() -> dict[str, int]:
    """Send for a while; returns how many events came to which end.

    What is still due when the time is up is the next task's. What waits for later, such as the
    end of a pause, is looked after in a minute, where the backend can put a task off.
    """
    using = outbox.alias()
    total = draining.take_turn(using=using)
    if total is not None and draining.waiting(using=using):
        publish()
    elif draining.something_pending(using=using):
        _of_this_process.follow_up()
    return dict(total.by_state) if total else {}


def publish() -> None:
    """Ask for one turn, unless the last one that this process asked for has not begun yet."""
    _of_this_process.publish()


class _Asked:
    """What one process has asked for."""

    def __init__(self) -> None:
        self._latest: Any = None
        self._follow_up_at = 0.0

    def publish(self) -> None:
        if not self._still_waits():
            self._latest = deliver.enqueue()

    def follow_up(self) -> None:
        """Ask for a turn in a minute, once a minute: each task that ends would ask for another."""
        if deliver.get_backend().supports_defer and time.monotonic() >= self._follow_up_at:
            self._follow_up_at = time.monotonic() + FOLLOW_UP_SECONDS
            later = timezone.now() + timedelta(seconds=FOLLOW_UP_SECONDS)
            deliver.using(run_after=later).enqueue()

    def _still_waits(self) -> bool:
        if self._latest is None or not deliver.get_backend().supports_get_result:
            return False
        try:
            self._latest.refresh()
        except Exception:  # noqa: BLE001 - results may be pruned; a task too many does no harm
            self._latest = None
            return False
        return str(self._latest.status) == "READY"


_of_this_process = _Asked()
