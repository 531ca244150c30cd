"""A shop with Celery: what its ``celery.py`` says, set up for the test that starts it.

``METAPIXEL_TEST_SHOP`` holds the settings as JSON.
"""

from __future__ import annotations

import json
import os

import django
from celery import Celery
from django.conf import settings

for name, value in json.loads(os.environ["METAPIXEL_TEST_SHOP"]).items():
    setattr(settings, name, value)
django.setup()

from wagtail_metapixel.drivers import draining  # noqa: E402

# Small batches, so that there is a middle in which to be killed.
draining.drain.__kwdefaults__["limit"] = 20

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
