"""Sets Django up. Imported by the runner, and by the server that all other processes fork from."""

from __future__ import annotations

import importlib
import os

import django
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if not apps.ready:
    django.setup()

ROWS = [
    importlib.import_module(f"tests.faults.{name}")
    for name in (
        *("crashes", "workers", "network", "databases_away", "shop", "flood", "long"),
        "held_by_tests",
    )
]
"""The modules with the faults."""
