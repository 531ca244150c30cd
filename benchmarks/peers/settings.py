"""A shop on PostgreSQL that has every peer installed; ``places.py`` starts what it needs."""

from __future__ import annotations

import os

from tests import databases
from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as TEST_APPS

DEBUG = False
INSTALLED_APPS = [*TEST_APPS, "django_tasks_db", "benchmarks.peers"]
MORE_DATABASES = ("medium", "large")
"""Beside ``default``, for what is compared between outboxes of several sizes."""
DATABASES |= {  # noqa: F405
    name: databases.from_url(os.environ["METAPIXEL_TEST_DATABASE"].replace("/shop?", f"/{name}?"))
    for name in MORE_DATABASES
}
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
CELERY_BROKER_URL = os.environ.get("METAPIXEL_TEST_REDIS", "")
WAGTAIL_METAPIXEL = {
    "SANDBOX": os.environ.get("METAPIXEL_TEST_META", "http://127.0.0.1:9"),
    "DELIVERY": "worker",
}
