from __future__ import annotations

import os
import shutil
import time

import pytest
import requests

from tests.sandbox.samples import AGENT, PIXEL, TOKEN, a_hit, an_event
from wagtail_metapixel.sandbox.server import SandboxServer


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
    sync_api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("METAPIXEL_CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
