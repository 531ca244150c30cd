"""One task per event, for Celery and for django-tasks-db. RQ calls the plain function."""

from __future__ import annotations

import django
from celery import Celery
from django.apps import apps
from django_tasks import task

from benchmarks.peers import posting

if not apps.ready:
    django.setup()

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(ignore_result=True)
def celery_task(body: str) -> None:
    """Post one event."""
    posting.post(body)


@task()
def database_task(body: str) -> None:
    """Post one event."""
    posting.post(body)
