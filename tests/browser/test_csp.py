"""The shop's Content Security Policy, and that nothing of it could be left out.

Where the sandbox's stand-in for Meta's script never asks in some way, the page is made to, as Meta's
own script does it: a form posted to ``/tr/`` into a frame, and a request of the pixel's settings.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from walking.processes import PIXELS

from tests.browser.conftest import PATIENCE

pytestmark = pytest.mark.browser

HEADER = "content-security-policy"
META = "https://www.facebook.com"
META_SCRIPTS = "https://connect.facebook.net"
SECONDS_FOR_LATECOMERS = 0.3
PIXEL = next(iter(PIXELS))

# Not by the console: its texts are Chromium's own.
LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push([event.effectiveDirective, event.blockedURI]);
});
"""
AS_METAS_SCRIPT_DOES = """
(pixel) => {
  const long = { content_name: "x".repeat(3000) }; // too long for an image: posted
  if (window.fbq) window.fbq("trackSingle", pixel, "ViewContent", long, { eventID: "posted" });
  fetch(`https://connect.facebook.net/signals/config/${pixel}?v=2.9`).catch(() => {});
  document.body.append(Object.assign(document.createElement("iframe"), { name: "hit" }));
  const form = document.body.appendChild(document.createElement("form"));
  Object.assign(form, { method: "post", action: "https://www.facebook.com/tr/", target: "hit" });
  const fields = { id: pixel, ev: "Search", dl: location.href, ts: Date.now(), eid: "framed" };
  Object.entries(fields).forEach(([name, value]) => {
    form.append(Object.assign(document.createElement("input"), { name, value }));
  });
  form.submit();
}
"""


def parsed(header):
    directives = (part.split() for part in header.split(";"))
    return {name: sources for name, *sources in directives}


def without(directive, source):
    """Make what takes one source out of a policy, which has to be there."""

    def rewrite(policy):
        policy[directive].remove(source)
        policy[directive] = policy[directive] or ["'none'"]

    return rewrite


@pytest.fixture
def under(shop, visit):
    """Visit the shop, with a consent given earlier, under a policy that ``rewrite`` changed."""

    def go(rewrite):
        def answer(route):
            if route.request.resource_type != "document":
                return route.fallback()
            response = route.fetch()
            policy = parsed(response.headers[HEADER])
            rewrite(policy)
            text = "; ".join(" ".join([name, *sources]) for name, sources in policy.items())
            return route.fulfill(response=response, headers=response.headers | {HEADER: text})

        shopper = visit(shop, patience=0)
        consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef"}
        shopper.page.context.add_cookies([consent | {"url": shop.url}])
        shopper.page.add_init_script(LISTEN)
        shopper.page.route(lambda url: url.startswith(shop.url), answer)
        shopper.arrive()
        return shopper

    return go


def violations(shopper):
    return [tuple(each) for each in shopper.page.evaluate("window.violations")]


def has_asked(shopper, *wanted):
    """Whether a page asked Meta for each address that begins so."""
    asked = shopper.asked_of_meta()
    return all(any(url.startswith(each) for url in asked) for each in wanted)


def test_under_its_whole_policy_a_shop_lets_through_all_that_meta_asks(under, sandbox):
    shopper = under(lambda policy: None)
    assert shopper.wait_until(
        lambda: has_asked(
            shopper,
            f"{META_SCRIPTS}/en_US/fbevents.js",
            f"{META_SCRIPTS}/signals/config/{PIXEL}",
            f"{META}/tr/?",
        ),
        PATIENCE,
    )
    shopper.page.evaluate(AS_METAS_SCRIPT_DOES, PIXEL)

    def told():
        return {event["event_name"] for event in sandbox.events()}

    assert shopper.wait_until(lambda: {"ViewContent", "Search"} <= told(), PATIENCE)
    shopper.wait(SECONDS_FOR_LATECOMERS)
    assert has_asked(shopper, f"{META_SCRIPTS}/signals/config/{PIXEL}?v=2.9")
    assert shopper.page.frame("hit").url == f"{META}/tr/"
    assert len(shopper.page.context.pages) == 1
    assert violations(shopper) == []
    assert shopper.all_troubles() == []


@pytest.mark.parametrize(
    ("directive", "source"),
    [
        ("script-src", "'self'"),
        ("script-src", META_SCRIPTS),
        ("img-src", META),
        ("connect-src", "'self'"),
        ("connect-src", META),
        ("connect-src", META_SCRIPTS),
        ("frame-src", META),
        ("form-action", META),
    ],
)
def test_a_policy_that_lacks_one_source_stops_that_and_nothing_else(shop, under, directive, source):
    shopper = under(without(directive, source))
    shopper.wait_until(lambda: violations(shopper) or metas_script_runs(shopper), PATIENCE)
    shopper.page.evaluate(AS_METAS_SCRIPT_DOES, PIXEL)
    assert shopper.wait_until(lambda: violations(shopper), PATIENCE)
    shopper.wait(SECONDS_FOR_LATECOMERS)
    origin = shop.url if source == "'self'" else source
    found = {
        (name.removesuffix("-elem"), "{0.scheme}://{0.netloc}".format(urlsplit(blocked)))
        for name, blocked in violations(shopper)
    }
    assert found == {(directive, origin)}


def test_strict_dynamic_keeps_all_our_scripts_away(shop, under):
    shopper = under(lambda policy: policy["script-src"].extend(["'strict-dynamic'", "'nonce-x'"]))
    assert shopper.wait_until(
        lambda: any(
            "wagtail_metapixel/metapixel" in blocked for _n, blocked in violations(shopper)
        ),
        PATIENCE,
    )
    assert {name for name, _blocked in violations(shopper)} == {"script-src-elem"}
    assert shopper.asked_of_meta() == []


def metas_script_runs(shopper):
    return shopper.page.evaluate("Boolean(window.fbq && window.fbq.callMethod)")


def trusted_types(*names):
    """Make what enforces Trusted Types and allows policies of these names."""

    def rewrite(policy):
        policy["require-trusted-types-for"] = ["'script'"]
        policy["trusted-types"] = [*names]

    return rewrite


def test_trusted_types_let_metas_script_be_asked_for_through_our_policy(under):
    shopper = under(trusted_types("metapixel"))
    assert shopper.wait_until(lambda: has_asked(shopper, f"{META_SCRIPTS}/en_US/"), PATIENCE)


def test_trusted_types_without_our_policy_keep_metas_script_away(under):
    shopper = under(trusted_types("shop"))
    assert shopper.wait_until(
        lambda: (
            {"trusted-types", "require-trusted-types-for"}
            <= {name for name, _blocked in violations(shopper)}
        ),
        PATIENCE,
    )
    assert shopper.asked_of_meta() == []
