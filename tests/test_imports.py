"""What a process that only renders pages has loaded, started and opened: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

PREPARE = """
import json, os, socket, sys, threading, time

sockets, threads = [], []

class Socket(socket.socket):
    def __init__(self, *args, **kwargs):
        sockets.append(repr(args))
        super().__init__(*args, **kwargs)

socket.socket = Socket
start = threading.Thread.start
threading.Thread.start = lambda self: (threads.append(self.name), start(self))

import django
"""
RENDER = """
from django.http import HttpResponse
from django.template import engines
from django.test import RequestFactory

from wagtail_metapixel import middleware, site_settings, tracking, views
from wagtail_metapixel.templatetags import metapixel

pixel = site_settings.PixelConfig(pixel_id="1", hosts=frozenset({"testserver"}), events=None)
site = site_settings.SiteConfig(
    site_pk=1, hostname="testserver", port=80, is_default=True, consent_provider="cookie",
    pixels=(pixel,), own_hosts=frozenset({"testserver"}),
)
site_settings._latest = site_settings.Snapshot(
    sites=(site,), installation_key=b"k", taken_at=time.monotonic()
)
page = engines["django"].from_string(
    '{% load metapixel %}{% metapixel %}{% metapixel_event "ViewContent" content_name="Mug" %}'
)
serve = middleware.MetaPixelMiddleware(lambda request: HttpResponse(page.render({}, request)))
html = serve(RequestFactory().get("/")).content.decode()
"""


def run(code):
    """Return what ``code``, in a new interpreter, prints as JSON."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def rendered():
    """The facts of a process that could render a page although it can import no HTTP client."""
    return run(
        f"""{PREPARE}
for client in ("requests", "urllib3", "httpx", "aiohttp", "facebook_business"):
    sys.modules[client] = None
django.setup()
{RENDER}
print(json.dumps({{"html": html, "sockets": sockets, "threads": threads,
                  "active": threading.active_count()}}))
"""
    )


def test_page_is_rendered_where_no_http_client_can_be_imported(rendered):
    assert "ViewContent" in rendered["html"]
    assert "metapixel.js" in rendered["html"]


def test_page_starts_no_thread(rendered):
    assert (rendered["threads"], rendered["active"]) == ([], 1)


def test_page_opens_no_socket(rendered):
    assert rendered["sockets"] == []


def test_first_request_to_meta_brings_the_http_client():
    """Wagtail may load one for reasons of its own; so what counts is our module that needs it."""
    loaded = run(
        f"""{PREPARE}
django.setup()
{RENDER}
from django.conf import settings
from wagtail_metapixel import access_tokens, graph_api
from wagtail_metapixel.sandbox.server import SandboxServer

name = "wagtail_metapixel.exchange"
before = name in sys.modules
with SandboxServer(pixels={{"1": "token"}}) as sandbox:
    settings.WAGTAIL_METAPIXEL = {{"SANDBOX": sandbox.url}}
    graph_api.get_pixel("1", access_tokens.AccessToken("token"))
print(json.dumps([before, name in sys.modules]))
"""
    )
    assert loaded == [False, True]


def test_a_site_without_orjson_writes_the_same_json():
    found = run(
        """
        import json, sys
        sys.modules["orjson"] = None
        from wagtail_metapixel import payloads
        print(json.dumps([payloads.HAS_ORJSON, payloads.dump({"value": 12.5}).decode()]))
        """
    )
    assert found == [False, '{"value":12.5}']
