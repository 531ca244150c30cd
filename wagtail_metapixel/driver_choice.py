"""Whether the chosen driver of delivery can work in this deployment, and the line that is missing.

Asked by the checks, by the doctor, and by the thread before it starts.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import connections

from wagtail_metapixel import conf, outbox

CELERY_LINE = 'pip install "wagtail-metapixel[celery]"'
TASKS_LINE = "pip install django-tasks django-tasks-db"
BACKEND_LINES = (
    'TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}, with "django_tasks_db" in '
    "INSTALLED_APPS (pip install django-tasks-db), and run: python manage.py db_worker"
)
OWN_BACKEND = "metapixel"
"""Of the backends in ``TASKS``, the one that is ours where it exists; else ``default``."""
NO_BACKENDS = {"ImmediateBackend", "DummyBackend"}
OFF_VALUES = {"", "0", "false", "no", "off"}


FACT_OF_THE_THREAD = (
    "The delivery thread does not run: on SQLite a second writer would make the shop's own "
    "transactions fail."
)
FACT_OF_A_WORKER = (
    "The worker makes the shop's own transactions fail: on SQLite it is a second writer, and those "
    "that read first and write later cannot go on once it has written."
)


class Obstacle(NamedTuple):
    """What keeps the driver from working."""

    check_id: str
    fact: str
    advice: str
    is_error: bool = True


UWSGI = Obstacle(
    "metapixel.W011",
    "The delivery thread does not run: this uWSGI has no threads.",
    "Add enable-threads = true to its ini file, or --enable-threads to its command.",
    is_error=False,
)


def obstacles(driver: str, *, using: str) -> Iterator[Obstacle]:
    """Return all that keeps ``driver`` from working, its own demands first."""
    yield from obstacles_of(driver)
    if using in connections and not outbox.bears_second_writer(using):
        yield Obstacle(
            "metapixel.W005",
            FACT_OF_A_WORKER if driver == "worker" else FACT_OF_THE_THREAD,
            'Add "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20} to '
            f'DATABASES["{using}"].',
            is_error=False,
        )
    if driver != "worker" and uwsgi_lacks_threads():
        yield UWSGI


def obstacles_of(driver: str) -> Iterator[Obstacle]:
    """Return what ``driver`` demands of packages and settings, and does not get."""
    if driver == "celery" and not importlib.util.find_spec("celery"):
        yield _error(driver, "needs Celery, which is not installed.", f"Run: {CELERY_LINE}")
    if driver == "tasks":
        yield from _obstacles_of_tasks()


def _obstacles_of_tasks() -> Iterator[Obstacle]:
    api = tasks_api()
    if api is None:
        yield _error(
            "tasks", "needs Django 6 or django-tasks; neither is installed.", f"Run: {TASKS_LINE}"
        )
        return
    try:
        alias = task_backend_alias(api)
        backend = api.task_backends[alias]
    except Exception as error:  # noqa: BLE001 - whatever a backend raises when it is made
        fact = f"cannot use the backend in TASKS ({type(error).__name__})."
        yield _error("tasks", fact, f"Like this: {BACKEND_LINES}")
        return
    names = {cls.__name__ for cls in type(backend).__mro__}
    if found := sorted(names & NO_BACKENDS):
        what = {
            "DummyBackend": "keeps what it is given and does nothing.",
            "ImmediateBackend": "would do the work at once, where it is asked.",
        }[found[0]]
        yield _error("tasks", f"needs a real backend; {found[0]} {what}", f"Set {BACKEND_LINES}")
    elif backend.queues and "default" not in backend.queues:
        yield _error(
            "tasks",
            f'needs a queue called "default" in TASKS["{alias}"]["QUEUES"].',
            f'Add it, or a backend of its own for us: TASKS["{OWN_BACKEND}"].',
        )


def _error(driver: str, fact: str, advice: str) -> Obstacle:
    return Obstacle("metapixel.E002", f'{conf.SETTING}["DELIVERY"] = "{driver}" {fact}', advice)


def tasks_api() -> Any:
    """Return the module of Django's Tasks API: Django's own, else django-tasks, else ``None``."""
    for name in ("django.tasks", "django_tasks"):
        if importlib.util.find_spec(name):
            return importlib.import_module(name)
    return None


def task_backend_alias(api: Any) -> str:
    """Return the alias of the backend in ``TASKS`` that is ours."""
    return OWN_BACKEND if OWN_BACKEND in api.task_backends.settings else "default"


def uwsgi_lacks_threads() -> bool:
    """Tell whether this is a worker of uWSGI whose threads never run."""
    uwsgi = sys.modules.get("uwsgi")
    options = getattr(uwsgi, "opt", None)
    if not isinstance(options, dict):
        return False
    given = {_text(name): _text(value) for name, value in options.items()}
    # --threads brings the other one with it.
    return all(given.get(name, "") in OFF_VALUES for name in ("enable-threads", "threads"))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value).lower()
