"""The first-party ids on host names as shops have them, in a browser that knows public suffixes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from walking.internet import Internet
from walking.shopper import CLICK_ID, Shopper

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, knowing

pytestmark = pytest.mark.browser

NAMES = (
    "shop.example",
    "www.shop.example",
    "de.shop.example",
    "m.de.shop.example",
    "shop.co.uk",
    "www.shop.co.uk",
)
ADDRESSES = ("127.0.0.1", "localhost")
HOSTS = NAMES + ADDRESSES
CHOOSE_HOSTS = f"""
from wagtail_metapixel.models import MetaPixel
MetaPixel.objects.update(hosts={chr(10).join(HOSTS)!r})
"""
ROOT = Path(__file__).resolve().parents[2]
VALID_FBP = "fb.1.1700000000000.123456789"
VALID_FBC = "fb.1.1700000000000.AnotherClick_1-x"
IN_ONE_TICK = """
() => {
  const expire = (name) => ["", "; Domain=shop.example"].forEach((on) => {
    document.cookie = `${name}=; Path=/; Max-Age=0${on}`;
  });
  ["_fbp", "_fbc"].forEach(expire);
  const before = document.cookie;
  metapixel.track("Contact", { content_name: "one" });
  history.replaceState(history.state, "", "?two"); // another address is another post
  metapixel.track("Contact", { content_name: "two" });
  return before;
}
"""


@pytest.fixture(scope="module")
def many_names(new_shop):
    """One shop that answers to every host name, and whose pixel sends for those of ``HOSTS``."""
    shop = new_shop("domains", prepared_by=CHOOSE_HOSTS)
    # The bank's name is one of the allowed hosts; there is no bank on any of ours.
    shop.options["EXAMPLE_PAYMENT"] = "http://*"
    with shop as running:
        yield running


@pytest.fixture(scope="module")
def naming_browser(browser):
    with knowing(browser, NAMES) as running:
        yield running


@pytest.fixture(scope="module")
def sharing_names(new_shop):
    """The same, where the hosts below one domain share their cookies."""
    shop = new_shop("sharing", prepared_by=CHOOSE_HOSTS)
    shop.options |= {
        "EXAMPLE_PAYMENT": "http://*",
        "DJANGO_SETTINGS_MODULE": "tests.browser.shared_cookies",
        "PYTHONPATH": str(ROOT),
    }
    with shop as running:
        yield running


@pytest.fixture
def at(many_names, naming_browser, sandbox):
    """Make visitors of one host; ``at.url(host)`` is where a shop is."""
    yield from visitors(many_names, naming_browser, sandbox)


@pytest.fixture
def at_sharing(sharing_names, naming_browser, sandbox):
    """The same for the shop whose hosts share their cookies."""
    yield from visitors(sharing_names, naming_browser, sandbox)


def visitors(shop, naming_browser, sandbox):
    contexts = []

    def url(host):
        return f"http://{host}:{shop.port}"

    def visit(host, *, blocked=()):
        context = naming_browser.new_context()
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        internet = Internet(context, sandbox, map(url, HOSTS), blocked=blocked)
        here = SimpleNamespace(url=url(host))
        shopper = Shopper(context, here, sandbox, internet, patience=0)
        shopper.posts = []
        shopper.page.on("requestfinished", lambda request: keep(shopper, request))
        return shopper

    visit.url = url
    sandbox.clear()
    yield visit
    for context in contexts:
        context.close()


def keep(shopper, request):
    if request.url.endswith("/collect/"):
        shopper.posts.append(request)


def allow(shopper, at, *hosts):
    consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef"}
    shopper.page.context.add_cookies([consent | {"url": at.url(host)} for host in hosts])


def ids(shopper):
    """Every cookie of Meta's names that the browser holds, of whatever host."""
    return sorted(
        (each["name"], each["domain"], each["value"])
        for each in shopper.page.context.cookies()
        if each["name"].startswith("_fb")
    )


def ids_posted(shopper):
    """What the browser told the server: (fbp, fbc) of each post."""
    bodies = [json.loads(request.post_data) for request in shopper.posts]
    return [(body["fbp"], body["fbc"]) for body in bodies]


def ids_set_by_the_server(shopper):
    """The cookies of all answers to posts: (name, value, domain or "")."""
    found = []
    for request in shopper.posts:
        for line in request.response().headers_array():
            if line["name"].lower() == "set-cookie":
                pair, *attributes = line["value"].split("; ")
                domains = [each[7:] for each in attributes if each.lower().startswith("domain=")]
                found.append((*pair.split("=", 1), "".join(domains)))
    return found


def ids_at_meta(sandbox):
    return {
        (copy["user_data"].get("fbp"), copy["user_data"].get("fbc"))
        for event in sandbox.events()
        for copy in event["copies"]
    }


def has_told(sandbox, count, status="deduplicated"):
    return [event["status"] for event in sandbox.events()] == [status] * count


def settle(shopper, sandbox, count, **options):
    """Wait until so many events are complete and the posts are answered."""
    assert shopper.wait_until(lambda: has_told(sandbox, count, **options), PATIENCE), [
        (event["event_name"], event["status"]) for event in sandbox.events()
    ]
    assert shopper.wait_until(lambda: shopper.posts, PATIENCE)


@pytest.mark.parametrize(
    ("host", "domain", "index"),
    [
        ("shop.example", ".shop.example", 1),
        ("www.shop.example", ".shop.example", 1),
        ("m.de.shop.example", ".shop.example", 1),
        ("shop.co.uk", ".shop.co.uk", 2),
        ("www.shop.co.uk", ".shop.co.uk", 2),
        ("127.0.0.1", "127.0.0.1", 0),
        ("localhost", "localhost", 0),
    ],
)
def test_ids_lie_once_on_the_registrable_domain_and_are_the_same_everywhere(
    at, sandbox, host, domain, index
):
    shopper = at(host)
    shopper.arrive()
    shopper.accept()
    settle(shopper, sandbox, 1)
    (_fbc, fbc_domain, fbc), (_fbp, fbp_domain, fbp) = ids(shopper)
    assert (fbc_domain, fbp_domain) == (domain, domain)
    assert fbp.startswith(f"fb.{index}.")
    assert fbc.startswith(f"fb.{index}.")
    assert fbc.endswith(f".{CLICK_ID}")
    # The server set them again: the same cookies, not second ones of the same names.
    on = domain.removeprefix(".") if index else ""
    assert ids_set_by_the_server(shopper) == [("_fbp", fbp, on), ("_fbc", fbc, on)]
    assert ids_posted(shopper) == [(fbp, fbc)]
    assert ids_at_meta(sandbox) == {(fbp, fbc)}
    assert not [each for each in shopper.page.context.cookies() if "probe" in each["name"]]
    # What Django sends everywhere, browsers ignore on plain http with a name, and say so.
    odd = [each for each in shopper.all_troubles() if "Cross-Origin-Opener-Policy" not in each]
    assert odd == []


def test_sub_domains_share_one_pair_of_ids(at, sandbox):
    visited = ["www.shop.example", "shop.example", "m.de.shop.example", "de.shop.example"]
    shopper = at(visited[0])
    allow(shopper, at, *visited)
    shopper.arrive()
    settle(shopper, sandbox, 1)
    first = ids(shopper)
    assert [name for name, _domain, _value in first] == ["_fbc", "_fbp"]
    for count, host in enumerate(visited[1:], 2):
        shopper.page.goto(at.url(host))
        settle(shopper, sandbox, count)
        assert shopper.wait_until(lambda wanted=count: len(shopper.posts) == wanted, PATIENCE)
        assert ids(shopper) == first
    fbc, fbp = (value for _name, _domain, value in first)
    assert ids_posted(shopper) == [(fbp, fbc)] * len(visited)
    assert ids_at_meta(sandbox) == {(fbp, fbc)}


def test_click_on_page_one_is_known_when_the_banner_is_answered_on_page_three(at, sandbox):
    shopper = at("www.shop.example")
    shopper.arrive()
    shopper.open_shelf()
    shopper.open_product()
    shopper.follow("cart-link")
    assert ids(shopper) == []
    assert "fbclid" not in shopper.page.url
    assert "fbclid" not in shopper.page.evaluate("document.referrer")
    shopper.accept()
    settle(shopper, sandbox, 1)
    (_name, domain, fbc), (_fbp, _domain, fbp) = ids(shopper)
    assert domain == ".shop.example"
    assert fbc.endswith(f".{CLICK_ID}")
    assert ids_at_meta(sandbox) == {(fbp, fbc)}


def test_ids_are_made_by_us_where_metas_script_is_blocked(at, sandbox):
    shopper = at("www.shop.co.uk", blocked=("connect.facebook.net",))
    shopper.arrive()
    shopper.accept()
    settle(shopper, sandbox, 1, status="server")
    (_fbc, fbc_domain, fbc), (_fbp, fbp_domain, fbp) = ids(shopper)
    assert {fbc_domain, fbp_domain} == {".shop.co.uk"}
    assert ids_at_meta(sandbox) == {(fbp, fbc)}


def test_two_posts_in_one_tick_make_one_pair_of_ids(at, sandbox):
    shopper = at("www.shop.example")
    allow(shopper, at, "www.shop.example")
    shopper.arrive()
    settle(shopper, sandbox, 1)
    before = dict(zip(("fbc", "fbp"), (row[2] for row in ids(shopper)), strict=True))
    assert "_fb" not in shopper.page.evaluate(IN_ONE_TICK)
    settle(shopper, sandbox, 3)
    assert shopper.wait_until(lambda: len(shopper.posts) == 3, PATIENCE)
    (fbc_name, _, fbc), (fbp_name, _, fbp) = ids(shopper)
    assert (fbc_name, fbp_name) == ("_fbc", "_fbp")
    assert ids_posted(shopper)[1:] == [(fbp, fbc)] * 2
    assert fbp != before["fbp"]
    assert fbc.split(".")[3] == before["fbc"].split(".")[3] == CLICK_ID


@pytest.mark.parametrize(
    ("fbp", "fbc"),
    [
        (VALID_FBP, f"fb.1.1700000000000.{CLICK_ID}"),
        (f"{VALID_FBP}.AQYBAQAA", f"fb.2.1700000000000.{CLICK_ID}.AQYBAQAA"),
    ],
    ids=["four parts", "five parts, another index"],
)
def test_valid_ids_are_never_rewritten(at, sandbox, fbp, fbc):
    shopper = at("www.shop.example")
    allow(shopper, at, "www.shop.example")
    where = {"domain": ".shop.example", "path": "/"}
    shopper.page.context.add_cookies(
        [{"name": "_fbp", "value": fbp} | where, {"name": "_fbc", "value": fbc} | where]
    )
    shopper.arrive()
    settle(shopper, sandbox, 1)
    shopper.page.evaluate("metapixel.track('Contact')")
    settle(shopper, sandbox, 2)
    assert shopper.wait_until(lambda: len(shopper.posts) == 2, PATIENCE)
    assert ids(shopper) == [("_fbc", ".shop.example", fbc), ("_fbp", ".shop.example", fbp)]
    assert ids_posted(shopper) == [(fbp, fbc)] * 2
    assert {row[:2] for row in ids_set_by_the_server(shopper)} == {("_fbp", fbp), ("_fbc", fbc)}
    assert ids_at_meta(sandbox) == {(fbp, fbc)}


def test_another_click_replaces_the_stored_one_and_leaves_the_browsers_id(at, sandbox):
    shopper = at("shop.example")
    allow(shopper, at, "shop.example")
    where = {"domain": ".shop.example", "path": "/"}
    shopper.page.context.add_cookies(
        [{"name": "_fbp", "value": VALID_FBP} | where, {"name": "_fbc", "value": VALID_FBC} | where]
    )
    shopper.arrive()
    settle(shopper, sandbox, 1)
    (_name, _domain, fbc), fbp = ids(shopper)
    assert fbp == ("_fbp", ".shop.example", VALID_FBP)
    assert fbc.endswith(f".{CLICK_ID}")
    assert ids_at_meta(sandbox) == {(VALID_FBP, fbc)}


def test_withdrawal_takes_the_ids_from_the_domain(at, sandbox):
    shopper = at("www.shop.example")
    shopper.arrive()
    shopper.accept()
    settle(shopper, sandbox, 1)
    assert {domain for _name, domain, _value in ids(shopper)} == {".shop.example"}
    shopper.withdraw()
    assert shopper.wait_until(lambda: ids(shopper) == [], PATIENCE)


# Hosts that share their cookies


WWW, DE = "www.shop.example", "de.shop.example"


def ours(shopper, name):
    """Every cookie of that name that the browser holds: its domain and the word it begins with."""
    return sorted(
        (each["domain"], each["value"].partition(".")[0])
        for each in shopper.page.context.cookies()
        if each["name"] == name
    )


def has_state(shopper, state):
    shopper.page.locator(f"html[data-metapixel-consent={state}]").wait_for()


def test_consent_given_on_one_host_holds_on_the_other_with_one_pair_of_ids(at_sharing, sandbox):
    shopper = at_sharing(WWW)
    shopper.arrive()
    shopper.accept()
    settle(shopper, sandbox, 1)
    first = ids(shopper)
    assert [row[:2] for row in first] == [("_fbc", ".shop.example"), ("_fbp", ".shop.example")]
    shopper.page.goto(at_sharing.url(DE))
    settle(shopper, sandbox, 2)
    assert shopper.wait_until(lambda: len(shopper.posts) == 2, PATIENCE)
    assert ids(shopper) == first
    assert {domain for *_pair, domain in ids_set_by_the_server(shopper)} == {"shop.example"}
    assert ours(shopper, "metapixel_consent") == [(".shop.example", "granted")]
    shopper.withdraw()
    assert shopper.wait_until(lambda: ids(shopper) == [], PATIENCE)
    shopper.page.goto(at_sharing.url(WWW))
    has_state(shopper, "denied")
    assert shopper.wait_until(
        lambda: ours(shopper, "metapixel_consent") == [(".shop.example", "denied")], PATIENCE
    )


def test_an_old_no_of_one_host_does_not_outvote_a_new_yes(at_sharing, sandbox):
    shopper = at_sharing(DE)
    old = {"name": "metapixel_consent", "value": "denied", "url": at_sharing.url(DE)}
    shopper.page.context.add_cookies([old])
    shopper.arrive()
    has_state(shopper, "denied")
    shopper.find("consent-grant-later").click()
    has_state(shopper, "granted")
    settle(shopper, sandbox, 1)
    assert ours(shopper, "metapixel_consent") == [(".shop.example", "granted")]


def test_what_is_ordered_on_one_host_is_echoed_once_on_the_other(at_sharing, sandbox):
    shopper = at_sharing(WWW)
    shopper.arrive()
    shopper.accept()
    settle(shopper, sandbox, 1)
    shopper.page.goto(f"{at_sharing.url(DE)}/search/?q=tea")
    shopper.open_product()
    # As a browser without scripts sends it: the answer is a redirect, here to the other host.
    shopper.page.evaluate("document.querySelector('form[hx-post]').submit()")
    shopper.page.wait_for_url(f"{at_sharing.url(WWW)}/cart/")

    def added():
        return [
            (event["status"], event["counts"])
            for event in sandbox.events()
            if event["event_name"] == "AddToCart"
        ]

    once = [("deduplicated", {"browser": 1, "server": 1})]
    assert shopper.wait_until(lambda: added() == once, PATIENCE), added()
    shopper.page.reload()
    shopper.page.goto(at_sharing.url(DE))
    shopper.wait(SECONDS_OF_SILENCE)
    assert added() == once
    left = [each["name"] for each in shopper.page.context.cookies()]
    assert not [name for name in left if name.startswith("metapixel_e_")]


@pytest.mark.parametrize("host", ["www.shop.co.uk", *ADDRESSES])
def test_a_host_of_another_domain_keeps_its_own_cookies(at_sharing, sandbox, host):
    shopper = at_sharing(host)
    shopper.arrive()
    shopper.accept()
    settle(shopper, sandbox, 1)
    assert ours(shopper, "metapixel_consent") == [(host, "granted")]
