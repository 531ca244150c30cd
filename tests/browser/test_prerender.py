"""A page that Chromium renders before anybody asked for it.

A browser with a debugger attached prerenders nothing, and Playwright is one. So Chromium runs by
itself here, on a page that names the next one in speculation rules and goes there when told to. A
small server stands in front of the shop for that page, and hands all else on.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from walking import chromium

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, until

pytestmark = pytest.mark.browser

TARGET = "/crockery/"
CORE = "/static/wagtail_metapixel/metapixel.js"
META_SCRIPT = b"https://connect.facebook.net"
OPENER = b"<!doctype html><title>before</title><script src='/opener.js'></script>"
OPENER_SCRIPT = """
document.cookie = "metapixel_consent=granted.0123456789abcdef; Path=/";
const rules = document.createElement("script");
rules.type = "speculationrules";
rules.textContent = JSON.stringify(%(rules)s);
document.head.append(rules);
(async () => {
  const answer = await fetch("/go"); // answered when the test says so
  location.href = await answer.text();
})();
"""
# What the page is, told to the test before all other scripts run.
WITNESS = """
fetch("/told/" + (document.prerendering ? "hidden" : "shown"));
document.addEventListener("prerenderingchange", () => {
  const { activationStart } = performance.getEntriesByType("navigation")[0];
  fetch("/told/" + (activationStart > 0 ? "activated" : "odd"));
});
"""


class Front(http.server.ThreadingHTTPServer):
    """The shop at another port, with pages of the test's own and Meta's script from the sandbox."""

    daemon_threads = True

    def __init__(self, shop, sandbox, rules):
        super().__init__(("127.0.0.1", 0), Handler)
        self.shop = urlsplit(shop.url).netloc
        self.sandbox = sandbox.url.encode()
        self.own = {
            "/opener/": (OPENER, "text/html"),
            "/opener.js": (
                (OPENER_SCRIPT % {"rules": json.dumps(rules)}).encode(),
                "text/javascript",
            ),
            "/witness.js": (WITNESS.encode(), "text/javascript"),
        }
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.told = []
        self.posts = []
        self.purposes = {}
        self.next_page = ""
        self.left = threading.Event()

    def go(self, path):
        """Let the first page go to ``path``."""
        self.next_page = path
        self.left.set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/go":
            self.server.left.wait(3 * PATIENCE)
            self.reply(200, {"Content-Type": "text/plain"}, self.server.next_page.encode())
        elif self.path.startswith("/told/"):
            self.server.told.append(self.path.removeprefix("/told/"))
            self.reply(200, {}, b"")
        elif self.path in self.server.own:
            body, kind = self.server.own[self.path]
            self.reply(200, {"Content-Type": kind}, body)
        else:
            self.hand_on()

    def do_POST(self):
        self.server.posts.append(self.path)
        self.hand_on()

    def hand_on(self):
        self.server.purposes.setdefault(self.path, []).append(self.headers.get("Sec-Purpose", ""))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.shop, timeout=PATIENCE)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() != "accept-encoding"}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            page = answer.read().replace(META_SCRIPT, self.server.sandbox)
            page = page.replace(b"<head>", b"<head><script src='/witness.js'></script>")
            dropped = {"content-length", "content-security-policy", "connection", "date", "server"}
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in dropped}
            self.reply(answer.status, kept, page)
        finally:
            connection.close()

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@contextmanager
def left_alone(url, profile):
    """Run Chromium on ``url`` with nobody attached to it."""
    own = ["--headless", "--no-sandbox", "--no-default-browser-check", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [chromium.find(), *chromium.ARGUMENTS, *own, url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def front(shop, sandbox, tmp_path):
    """Make the server of a test and the browser on its first page."""
    sandbox.clear()
    started = []

    def start(rules):
        server = Front(shop, sandbox, rules)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = left_alone(f"{server.url}/opener/", tmp_path / "profile")
        browser.__enter__()
        started.append((server, browser))
        return server

    yield start
    for server, browser in started:
        server.left.set()
        browser.__exit__(None, None, None)
        server.shutdown()
        server.server_close()


def rules_for(action):
    return {action: [{"source": "list", "urls": [TARGET], "eagerness": "immediate"}]}


def told(sandbox):
    return sorted(
        (event["event_name"], urlsplit(copy["event_source_url"]).path, event["status"])
        for event in sandbox.events()
        for copy in event["copies"]
        if copy["channel"] == "server"
    )


def test_prerendered_page_reports_nothing_until_it_is_shown_and_then_once(front, sandbox):
    server = front(rules_for("prerender"))
    until(lambda: server.told == ["hidden"], 3 * PATIENCE)
    time.sleep(SECONDS_OF_SILENCE)
    assert "prerender" in server.purposes[TARGET][0]
    assert server.posts == []
    assert sandbox.requests == []

    server.go(TARGET)
    until(lambda: told(sandbox) == [("PageView", TARGET, "deduplicated")])
    time.sleep(SECONDS_OF_SILENCE)
    assert told(sandbox) == [("PageView", TARGET, "deduplicated")]
    assert len(sandbox.events()) == 1
    assert sandbox.events()[0]["counts"] == {"browser": 1, "server": 1}
    assert server.told == ["hidden", "activated"]
    assert server.posts == ["/metapixel/collect/"]


def test_prerendered_page_that_nobody_looks_at_is_never_reported(front, sandbox):
    server = front(rules_for("prerender"))
    until(lambda: CORE in server.purposes, 3 * PATIENCE)
    time.sleep(SECONDS_OF_SILENCE)
    server.go("/pantry/")
    until(lambda: told(sandbox) == [("PageView", "/pantry/", "deduplicated")])
    time.sleep(SECONDS_OF_SILENCE)
    assert len(sandbox.events()) == 1
    assert server.told == ["hidden", "shown"]


def test_prefetched_page_is_reported_once_it_is_shown(front, sandbox):
    server = front(rules_for("prefetch"))
    until(lambda: TARGET in server.purposes, 3 * PATIENCE)
    assert server.purposes[TARGET] == ["prefetch"]
    assert server.posts == []
    assert sandbox.requests == []

    server.go(TARGET)
    until(lambda: told(sandbox) == [("PageView", TARGET, "deduplicated")])
    time.sleep(SECONDS_OF_SILENCE)
    assert len(sandbox.events()) == 1
    assert server.purposes[TARGET] == ["prefetch"]
    assert server.told == ["shown"]
