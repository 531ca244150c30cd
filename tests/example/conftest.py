"""The example shop's tests. A suite of its own, because it has settings of its own.

PYTHONPATH=example_site python -m pytest --ds=config.settings tests/example
"""

from __future__ import annotations

import os

import pytest
from django.core.management import call_command
from django.test import Client

SHOP = "127.0.0.1:8000"
BANK = "localhost:8000"

# Under the settings of the unit suite, the shop's apps are not there.
RIGHT_SETTINGS = os.environ.get("DJANGO_SETTINGS_MODULE") == "config.settings"
collect_ignore_glob = [] if RIGHT_SETTINGS else ["test_*.py"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """A filled shop, once for all tests; each test's own changes are rolled back."""
    with django_db_blocker.unblock():
        call_command("fill_shop", verbosity=0)


@pytest.fixture(autouse=True)
def plain_settings(settings):
    # The second one is for the admin, made before any test began.
    hashers = ["MD5PasswordHasher", "PBKDF2PasswordHasher"]
    settings.PASSWORD_HASHERS = [f"django.contrib.auth.hashers.{name}" for name in hashers]
    settings.EXAMPLE_SHOP = f"http://{SHOP}"
    settings.EXAMPLE_PAYMENT = f"http://{BANK}"


@pytest.fixture
def told(monkeypatch):
    """The payments of which the bank would tell the shop, instead of a thread that does."""
    payments = []
    monkeypatch.setattr("payment.views.notify_later", payments.append)
    return payments


@pytest.fixture
def shopper(db):
    return visitor()


@pytest.fixture
def bank(db):
    return Client(HTTP_HOST=BANK, enforce_csrf_checks=False)


def visitor(**headers):
    """A browser of somebody's own, with the headers a real one sends with a POST of this shop."""
    return Client(
        HTTP_HOST=SHOP,
        HTTP_SEC_FETCH_SITE="same-origin",
        HTTP_USER_AGENT="Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36",
        **headers,
    )
