"""A shopper in Chromium, a real nginx with its default buffers, and the shop behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from walking import processes

from tests.browser.conftest import assert_counted, order_and_reload
from tests.nginx import server
from wagtail_metapixel.browser import ECHO_BYTES, ECHO_COOKIE_PREFIX

pytestmark = pytest.mark.browser

PRODUCT = "/crockery/mueritz-breakfast-bowl/"

# "cached" keeps every page that the shop does not forbid it to, cookies or not.
SERVERS = """
proxy_set_header Host $http_host;
proxy_cache_path {folder}/cache keys_zone=pages:1m;
server {{
    listen 127.0.0.1:{plain};
    location / {{
        proxy_pass {upstream};
    }}
}}
server {{
    listen 127.0.0.1:{cached};
    add_header X-Cache $upstream_cache_status;
    location / {{
        proxy_pass {upstream};
        proxy_cache pages;
        proxy_cache_valid 200 10m;
    }}
}}
"""


@dataclass
class Front:
    """The shop as its visitors and its bank see it: by a port of nginx."""

    port: int
    webhook_secret: str = ""
    database: str = ""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def bank(self):
        return f"http://localhost:{self.port}"


@pytest.fixture(scope="module")
def fronts(new_shop, tmp_path_factory):
    """A real nginx in front of one shop, on two ports: without and with a cache of its own."""
    if lacking := server.missing():
        everything = os.environ.get("METAPIXEL_TEST_ALL") == "1"
        (pytest.fail if everything else pytest.skip)(lacking)
    plain, cached = Front(processes.free_port()), Front(processes.free_port())
    # Only the plain one has a bank: the shop knows one address of it.
    options = {"EXAMPLE_SHOP": plain.url, "EXAMPLE_PAYMENT": plain.bank}
    folder = tmp_path_factory.mktemp("nginx")
    with new_shop("nginx", EXAMPLE_WEBHOOK_DELAY="0", **options) as shop:
        plain.webhook_secret = cached.webhook_secret = shop.webhook_secret
        plain.database = cached.database = shop.database
        servers = SERVERS.format(
            folder=folder, plain=plain.port, cached=cached.port, upstream=shop.url
        )
        ports = [plain.port, cached.port]
        with server.running(servers, folder, lambda: all(map(processes.is_taken, ports))):
            yield plain, cached


def pages_of(shopper):
    """A list that fills with the answers to the visitor's navigations, redirects too."""
    found = []

    def note(response):
        if response.request.is_navigation_request():
            found.append(response)

    shopper.page.on("response", note)
    return found


def echoes(pages):
    """The echo cookies that came with these answers, ``name=value``, a list for each answer."""
    came = [
        [
            header["value"].partition(";")[0]
            for header in page.headers_array()
            if header["name"].lower() == "set-cookie"
            and header["value"].startswith(ECHO_COOKIE_PREFIX)
        ]
        for page in pages
    ]
    return [cookies for cookies in came if cookies]


def test_walk_to_the_thank_you_page_loses_nothing_behind_nginx(fronts, visit):
    shopper = visit(fronts[0])
    pages = pages_of(shopper)
    order_and_reload(shopper)

    verdict = assert_counted(shopper)
    told = {row.name for row in verdict.rows}
    assert {"ViewContent", "AddToCart", "InitiateCheckout", "AddPaymentInfo", "Purchase"} <= told
    assert {page.headers["server"].partition("/")[0] for page in pages} == {"nginx"}

    came = echoes(pages)
    assert len(came) == 2  # the checkout's, and the way of payment's, on its way to the bank
    assert all(len("".join(cookies)) <= ECHO_BYTES for cookies in came)
    left = [name for name in shopper.cookies() if name.startswith(ECHO_COOKIE_PREFIX)]
    assert left == []


def test_pages_from_the_cache_of_nginx_tell_of_each_visitor_anew(fronts, visit):
    events, bodies, fresh = [], [], []
    for _ in range(2):
        shopper = visit(fronts[1])
        pages = pages_of(shopper)
        shopper.arrive()
        shopper.open_product()
        shopper.accept()
        shopper.add_to_cart()
        assert_counted(shopper)
        events.append({event["event_id"]: event["event_name"] for event in shopper.events()})
        bodies.append(shopper.bodies)
        fresh.append({urlsplit(page.url).path: page.headers["x-cache"] for page in pages})

    assert fresh == [{"/": "MISS", PRODUCT: "MISS"}, {"/": "HIT", PRODUCT: "HIT"}]
    assert bodies[0] == bodies[1]
    names = ["AddToCart", "PageView", "ViewContent"]
    assert [sorted(each.values()) for each in events] == [names, names]
    assert len(events[0] | events[1]) == 6
