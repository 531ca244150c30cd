from __future__ import annotations

import importlib
import os
import shutil
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import requests

from tests.sandbox.samples import AGENT, PIXEL, TOKEN, a_hit, an_event
from wagtail_metapixel.sandbox.server import SandboxServer

CHROMIUM_ARGUMENTS = ["--no-sandbox", "--host-resolver-rules=MAP *.shop.test 127.0.0.1"]


class Client:
    """Talks to a sandbox as a shop and its visitors do, over one kept-alive connection."""

    def __init__(self, sandbox, session):
        self.sandbox = sandbox
        self.session = session

    def graph(self, *events, pixel=PIXEL, token=TOKEN, **params):
        return self.session.post(
            f"{self.sandbox.url}/v26.0/{pixel}/events",
            json={"data": list(events), **params},
            headers={"Authorization": f"Bearer {token}"},
        )

    def server(self, **changes):
        return self.graph(an_event(**({"event_time": int(time.time())} | changes)))

    def browser(self, **changes):
        return self.session.get(
            f"{self.sandbox.url}/tr/", params=a_hit(**changes), headers={"User-Agent": AGENT}
        )

    def error(self, *events, **params):
        """Code and subcode with which the sandbox refuses."""
        error = self.graph(*events, **params).json()["error"]
        return error["code"], error.get("error_subcode")


@pytest.fixture
def sandbox():
    with SandboxServer(pixels={PIXEL: TOKEN, "999999": "another-token"}) as server:
        yield server


@pytest.fixture
def client(sandbox):
    with requests.Session() as session:
        session.trust_env = False
        yield Client(sandbox, session)


@pytest.fixture(scope="module")
def chromium():
    # Imported here: the unit suite, which does not come by, runs without Playwright.
    sync_api = importlib.import_module("playwright.sync_api")
    path = os.environ.get("METAPIXEL_CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.fail("These tests need Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


class Page(BaseHTTPRequestHandler):
    """Answers every address with the page that the test wrote."""

    def do_GET(self):
        body = self.server.html.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def shop():
    """A site whose every address shows ``shop.html``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.html = ""
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def wait_for(condition, seconds=5):
    """Return the first true value of ``condition()``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return value


@pytest.fixture
def eventually():
    return wait_for
