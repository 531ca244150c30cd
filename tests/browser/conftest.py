"""The shop as a process, the sandbox behind Meta's host names, and visitors in Chromium."""

from __future__ import annotations

import http.client
import shutil
import sqlite3
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

EXAMPLE_SITE = Path(__file__).resolve().parents[2] / "example_site"
sys.path.insert(0, str(EXAMPLE_SITE))

from walking import chromium, processes  # noqa: E402 - the line above makes them known
from walking.internet import Internet  # noqa: E402
from walking.shopper import CLICK_ID, Shopper  # noqa: E402
from walking.verdict import judge  # noqa: E402

META_HOSTS = {"EXAMPLE_META_HOSTS": "1"}
PATIENCE = 10
OUTBOX = "wagtail_metapixel_outboxevent"
SECONDS_OF_SILENCE = 1.5
"""Long enough for what should not come."""
OF_THE_CONNECTION = {"connection", "content-length", "transfer-encoding", "date", "server"}

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


class Answer:
    """What the shop said to ``route``'s request: it has left the shop, and reached no browser."""

    def __init__(self, shopper, route):
        self._route = route
        request, url = route.request, urlsplit(route.request.url)
        cookies = "; ".join(f"{name}={value}" for name, value in shopper.cookies().items())
        connection = http.client.HTTPConnection(url.netloc, timeout=PATIENCE)
        headers = request.headers | {"cookie": cookies}
        connection.request(request.method, url.path, request.post_data_buffer, headers)
        answer = connection.getresponse()
        self._status, self._body, self.headers = answer.status, answer.read(), {}
        for name, value in answer.getheaders():
            if name.lower() not in OF_THE_CONNECTION:
                kept = self.headers.get(name.lower())
                self.headers[name.lower()] = f"{kept}\n{value}" if kept else value
        connection.close()

    def arrive(self, **changed):
        came = {"status": self._status, "headers": self.headers, "body": self._body}
        self._route.fulfill(**came | changed)


def held(place, address, **options):
    """Keep the requests of a page, or of all tabs, from going out. The list fills by itself."""
    routes = []

    def keep(route):
        routes.append(route)

    place.route(address, keep, **options)
    return routes


def column(shop, query):
    """One column of what the shop's database answers."""
    with closing(sqlite3.connect(shop.database)) as connection:
        return [value for (value,) in connection.execute(query)]


def something_waits(database):
    """Whether the outbox of a shop is still being emptied."""
    with closing(sqlite3.connect(database)) as connection:
        table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [OUTBOX])
        waiting = f"SELECT 1 FROM {OUTBOX} WHERE state = 'pending' LIMIT 1"
        return bool(table.fetchone() and connection.execute(waiting).fetchone())


def until(true, seconds=PATIENCE):
    """Wait until ``true()`` is, and fail if that takes too long.

    Not for what an open page has to do: its requests stand still meanwhile, as this process
    answers them. ``shopper.wait_until`` is for those.
    """
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def assert_counted(shopper, click_id=CLICK_ID):
    """Meta heard of each step from both sides, alike, and of nothing else. Returns the verdict."""
    troubles = shopper.all_troubles()
    verdict = judge(shopper.expected, shopper.events(), click_id=click_id, troubles=troubles)
    assert verdict, f"\n{verdict}"
    return verdict


def order_and_reload(shopper):
    """Allow it, order, pay, come back to the thank-you page, and look at that once more."""
    shopper.arrive()
    shopper.open_product()
    shopper.accept()
    shopper.go_to_the_bank()
    shopper.pay()
    shopper.return_to_shop()
    shopper.reload()


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


@contextmanager
def knowing(browser, names):
    """Run another such browser, for which all these names are this machine."""
    *others, last = chromium.ARGUMENTS
    assert last.startswith("--host-resolver-rules=MAP * ~NOTFOUND")
    here = ", ".join(f"MAP {name} 127.0.0.1" for name in names)
    running = browser.browser_type.launch(
        executable_path=chromium.find(),
        args=[*others, last.replace("=", f"={here}, "), "--no-sandbox"],
    )
    yield running
    running.close()


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
    contexts, shops = [], set()

    def make(shop, *, blocked=(), patience=PATIENCE, **options):
        shops.add(shop.database)
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        internet = Internet(context, sandbox, (shop.url, shop.bank), blocked=blocked)
        return Shopper(context, shop, sandbox, internet, patience=patience)

    sandbox.clear()
    yield make
    for context in contexts:
        # A page that is closed says what it still has to say; the next test would hear it.
        with suppress(chromium.Error):  # closed by the test already
            context.set_offline(True)
        context.close()
    deadline = time.monotonic() + SECONDS_OF_SILENCE
    while any(map(something_waits, shops)) and time.monotonic() < deadline:
        time.sleep(0.05)
