"""The shop as a process, the sandbox behind Meta's host names, and visitors in Chromium."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

EXAMPLE_SITE = Path(__file__).resolve().parents[2] / "example_site"
sys.path.insert(0, str(EXAMPLE_SITE))

from walking import chromium, processes  # noqa: E402 - the line above makes them known
from walking.internet import Internet  # noqa: E402
from walking.shopper import Shopper  # noqa: E402

META_HOSTS = {"EXAMPLE_META_HOSTS": "1"}
PATIENCE = 10
SECONDS_OF_SILENCE = 1.5
"""Long enough for what should not come."""

LISTEN = """
(() => {
  window.said = [];
  let real;
  Object.defineProperty(window, "fbq", {
    configurable: true,
    get: () => real,
    set(fbq) {
      real = new Proxy(fbq, {
        apply(target, self, words) {
          said.push(JSON.parse(JSON.stringify(words)));
          return Reflect.apply(target, self, words);
        },
      });
    },
  });
})();
"""
"""A page's ``said``: everything that is said to ``fbq``, whether Meta's script has come or not."""


def until(true, seconds=PATIENCE):
    """Wait until ``true()`` is, and fail if that takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def told(visitor):
    """Which event was told of which page, as the server's copy has it, and by whom."""
    return sorted(
        (event["event_name"], urlsplit(copy["event_source_url"]).path, event["status"])
        for event in visitor.events()
        for copy in event["copies"]
        if copy["channel"] == "server"
    )


def assert_told(visitor, *events):
    """These were told, once by each side, and after a while still nothing else."""
    wanted = sorted((*event, "deduplicated") for event in events)
    assert visitor.wait_until(lambda: told(visitor) == wanted, PATIENCE), told(visitor)
    visitor.wait(SECONDS_OF_SILENCE)
    assert told(visitor) == wanted
    assert len(visitor.events()) == len(wanted)
    assert all(event["counts"] == {"browser": 1, "server": 1} for event in visitor.events())


@pytest.fixture(scope="session")
def sandbox():
    with processes.sandbox_server() as server:
        yield server


@pytest.fixture(scope="session")
def new_shop(sandbox, tmp_path_factory):
    """Make a shop that is not started yet; the tables and shelves are made only once.

    ``prepared_by``: Python that the shop's own shell runs before, as an owner would choose.
    """
    folder = tmp_path_factory.mktemp("shops")
    filled = folder / "filled.sqlite3"

    def make(name, *, prepared_by="", **options):
        database = folder / f"{name}.sqlite3"
        shop = processes.Shop(
            port=processes.free_port(),
            database=str(database),
            sandbox=sandbox.url,
            log=folder / f"{name}.log",
            options=META_HOSTS | options,
        )
        if filled.exists():
            shutil.copy(filled, database)
        else:
            shop.prepare()
            shutil.copy(database, filled)
        if prepared_by:
            shop.run([sys.executable, "manage.py", "shell", "-c", prepared_by])
        return shop

    return make


@pytest.fixture(scope="session")
def shop(new_shop):
    """The shop with a bank whose webhook arrives well after the shopper's return."""
    with new_shop("shop", EXAMPLE_WEBHOOK_DELAY="4") as running:
        yield running


@pytest.fixture(scope="session")
def cached_shop(new_shop):
    """Behind a full-page cache, and with a bank whose webhook comes at once."""
    options = {"EXAMPLE_FULL_PAGE_CACHE": "1", "EXAMPLE_WEBHOOK_DELAY": "0"}
    with new_shop("cached", **options) as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    with chromium.launched() as running:
        yield running


@pytest.fixture(scope="session")
def cached_product(cached_shop, browser):
    """The address of a product's page in that shop."""
    page = browser.new_page()
    page.goto(cached_shop.url)
    address = page.locator("[data-walk=product-link]").first.evaluate("(link) => link.href")
    page.close()
    return address


@pytest.fixture
def visit(browser, sandbox):
    """Make visitors, each with a browser context of their own; the sandbox begins empty."""
    contexts = []

    def make(shop, *, blocked=(), patience=PATIENCE, **options):
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        internet = Internet(context, sandbox, (shop.url, shop.bank), blocked=blocked)
        return Shopper(context, shop, sandbox, internet, patience=patience)

    sandbox.clear()
    yield make
    for context in contexts:
        context.close()
