"""What importing us costs a process that renders pages, and what importing Meta's SDK costs.

Each figure is from a process of its own, in shuffled rounds. Beside Wagtail: Django is set up and
Wagtail imported before the clock starts, as on any site. Ours is what a page needs and what
``ready()`` connects, the SDK's what ``EventRequest`` needs.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

ROUNDS = 7

MEASURE = """
import json, os, sys, threading, time
{before}
known = set(sys.modules)
started = time.process_time()
{imports}
spent = time.process_time() - started
clients = "requests urllib3 httpx aiohttp http.client facebook_business".split()
descriptors = [f"/proc/self/fd/{{number}}" for number in os.listdir("/proc/self/fd")]
print(json.dumps({{
    "milliseconds": spent * 1000,
    "modules": len(set(sys.modules) - known),
    "clients": [name for name in clients if name in set(sys.modules) - known],
    "threads": threading.active_count() - 1,
    "sockets": sum(os.path.lexists(path) and os.readlink(path).startswith("socket:")
                   for path in descriptors),
}}))
"""
SITE = """
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import tests.settings as site
site.INSTALLED_APPS.remove("wagtail_metapixel")
import django
django.setup()
import django.core.checks, django.template.loader, django.test.signals, django.views.decorators.csrf
import wagtail.admin.panels, wagtail.contrib.settings.models, wagtail.models
# Django REST framework, which Wagtail brings, loads an HTTP client where it finds one.
for name in [name for name in sys.modules if name.split(".")[0] in ("requests", "urllib3")]:
    del sys.modules[name]
"""
OURS = """
from django.apps import AppConfig, apps
config = AppConfig.create("wagtail_metapixel")
config.apps, apps.app_configs[config.label] = apps, config
config.import_models()
config.ready()
from wagtail_metapixel import middleware, tracking, urls, views, wagtail_hooks
from wagtail_metapixel.templatetags import metapixel
"""
SDK = """
from facebook_business.adobjects.serverside import (
    action_source, content, custom_data, event, event_request, user_data
)
from facebook_business.api import FacebookAdsApi
"""
CONTENDERS = {
    "ours, beside Wagtail": (SITE, OURS),
    "facebook_business, beside Wagtail": (SITE, SDK),
    "facebook_business, alone": ("", SDK),
}


def spend(before: str, imports: str, bytecode: str) -> dict[str, Any]:
    """Return the facts of one process that imports, with bytecode kept as on any server."""
    code = MEASURE.format(before=before, imports=imports)
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def measure() -> dict[str, list[dict[str, Any]]]:
    """Return the facts of each round."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as bytecode:
        for contender in CONTENDERS.values():
            spend(*contender, bytecode)
        for _ in range(ROUNDS):
            for name in random.sample(list(CONTENDERS), len(CONTENDERS)):
                found[name].append(spend(*CONTENDERS[name], bytecode))
    return found


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    yield f"Importing, CPU, median of {ROUNDS} rounds"
    found = measure()
    for name, rounds in found.items():
        median = statistics.median(facts["milliseconds"] for facts in rounds)
        facts = rounds[-1]
        yield (
            f"  {name:<34} {median:7.1f} ms, {facts['modules']} modules,"
            f" HTTP clients {facts['clients'] or 'none'}, {facts['threads']} threads,"
            f" {facts['sockets']} sockets"
        )
    ours = [facts["milliseconds"] for facts in found.pop("ours, beside Wagtail")]
    for name, rounds in found.items():
        pairs = zip(ours, (facts["milliseconds"] for facts in rounds), strict=True)
        yield f"  ours over {name}: {statistics.median(a / b for a, b in pairs):.2f} x"
