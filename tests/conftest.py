"""What holds for every test: no outside network, and no memory of the test before."""

from __future__ import annotations

import importlib
import ipaddress
import os
import re
import socket

import hypothesis
import pytest

# A test is no slower because the machine is busy; benchmarks measure time. In CI the same examples
# are drawn in each run.
CALM = {
    "deadline": None,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow],
}
hypothesis.settings.register_profile("calm", **CALM)
hypothesis.settings.register_profile("calm-ci", derandomize=True, database=None, **CALM)
hypothesis.settings.load_profile("calm-ci" if os.environ.get("CI") else "calm")

LOCAL_NAMES = {"", "localhost", "testserver"}


def is_local(address: object) -> bool:
    """Tell whether a socket ``address`` (a path, or host and port) stays on this machine."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOCAL_NAMES


def pytest_make_parametrize_id(val):
    """Name a test with a time in it alike each time: processes that share the tests compare names."""
    if not isinstance(val, str) or not (time := re.search(r"\b1[0-9]{12}\b", val)):
        return None
    return val.replace(time[0], "MS")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Give tests with real transactions what the migrations wrote (Wagtail's site, its root page).

    Django empties all tables after such a test. It is all of them or none: the rows cannot be
    brought back beside those that Django itself writes after a test without this.
    """
    for item in items:
        mark = item.get_closest_marker("django_db")
        if mark and mark.kwargs.get("transaction"):
            again = pytest.mark.django_db(**(mark.kwargs | {"serialized_rollback": True}))
            item.add_marker(again, append=False)


@pytest.fixture(autouse=True, scope="session")
def no_outside_network():
    """Fail the test that connects to, or looks up, anything beyond this machine.

    ``pytest.fail`` raises a ``BaseException``: code that swallows every ``Exception`` and goes on
    cannot hide the attempt.
    """

    def guarded(original):
        def connect(self, address):
            if not is_local(address):
                pytest.fail(f"A test tried to connect to {address[0]}: use a server of its own.")
            return original(self, address)

        return connect

    look_up = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not is_local((name,)):
            pytest.fail(f"A test tried to look up {name}: use a server of its own.")
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


@pytest.fixture(autouse=True)
def no_memory_of_other_tests():
    """Forget the snapshot of the settings, the counters, and the cache, which counts requests."""
    site_settings = importlib.import_module("wagtail_metapixel.site_settings")
    counters = importlib.import_module("wagtail_metapixel.counters")
    cache = importlib.import_module("django.core.cache").cache
    others = importlib.import_module("wagtail_metapixel.other_deployments")
    for memory in (site_settings, counters, others, cache):
        memory.clear()
    yield
    for memory in (site_settings, counters, others):
        memory.clear()


@pytest.fixture
def shop(db):
    """A site with one pixel, read into memory."""
    # Only here: the models exist once Django is set up.
    from wagtail.models import Locale

    from tests.factories import PixelFactory
    from wagtail_metapixel import counters, site_settings

    Locale.objects.get_or_create(language_code="en")  # gone where another test emptied all tables
    pixel = PixelFactory()
    counters.clear()
    yield site_settings.current().site(pixel.settings.site_id)
    counters.clear()
