"""Fixtures for a shop's pytest suite. Works beside pytest-django.

In the ``conftest.py`` at the root::

    pytest_plugins = ["wagtail_metapixel.pytest_plugin"]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from wagtail_metapixel.capturing.capture import EventCapture
    from wagtail_metapixel.sandbox.server import SandboxServer
    from wagtail_metapixel.testing import VisitorClient


def _testing() -> ModuleType:
    from wagtail_metapixel import testing  # noqa: PLC0415

    return testing


@pytest.fixture(autouse=True)
def metapixel_forgets() -> Iterator[None]:
    """Forget, around each test, the settings that a process keeps in memory for ten seconds.

    The rows of a test are rolled back, which no signal tells.
    """
    _forget()
    yield
    _forget()


def _forget() -> None:
    # Where nobody imported it yet, there is nothing to forget.
    site_settings = sys.modules.get("wagtail_metapixel.site_settings")
    if site_settings is not None:
        site_settings.clear()


@pytest.fixture
def metapixel(db: None) -> Iterator[EventCapture]:  # noqa: ARG001 - for what it does
    """A pixel on the default site, and a capture of all that the test tracks."""
    testing = _testing()
    testing.use_pixel()
    with testing.capture_events() as events:
        yield events


@pytest.fixture
def metapixel_client(metapixel: EventCapture) -> VisitorClient:  # noqa: ARG001 - likewise
    """Django's test client as a visitor's browser that said yes."""
    client: VisitorClient = _testing().visitor_client()
    return client


@pytest.fixture
def metapixel_sandbox(metapixel: EventCapture) -> Iterator[SandboxServer]:  # noqa: ARG001
    """The stand-in for Meta on a free port of this machine: ``deliver_due()`` sends to it."""
    with _testing().sandbox() as server:
        yield server
