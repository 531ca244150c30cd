"""Who has signed in: told in the same digests from both sides, and written in no page."""

from __future__ import annotations

import hashlib
import time
from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser

ADDRESS = "/metapixel/matching/"
MARK = "metapixel_user"
SECONDS_A_FIRST_EVENT_MAY_WAIT = 2
# A busy machine may take longer for an answer than a page waits for it.
PATIENT = """
const later = window.setTimeout;
window.setTimeout = (work, delay, ...rest) => later(work, delay === 300 ? 20000 : delay, ...rest);
"""
CHOOSE = """
from wagtail_metapixel.models import MetaPixelSettings
MetaPixelSettings.objects.update(browser_matching=["em", "external_id"])
"""


@pytest.fixture(scope="module")
def matching_shop(new_shop):
    """A shop whose owner chose what to tell of signed-in visitors."""
    with new_shop("matching", prepared_by=CHOOSE) as running:
        yield running


@pytest.fixture
def customer(matching_shop, visit):
    """Somebody who has agreed, and signed in by making an account."""
    shopper = visit(matching_shop)
    shopper.asked_who = []

    def note(request):
        if urlsplit(request.url).path == ADDRESS:
            shopper.asked_who.append(request)

    shopper.page.on("request", note)
    shopper.arrive()
    shopper.accept()
    assert shopper.asked_who == [], "nobody has signed in yet"
    shopper.register()
    assert shopper.cookies()[MARK].strip('"') == ""
    return shopper


def copies(shopper, name):
    """The one event with that name: what each side says of the person."""
    (event,) = [event for event in shopper.events() if event["event_name"] == name]
    return {copy["channel"]: copy["user_data"] for copy in event["copies"]}


def test_both_sides_say_the_same_of_who_signed_in(customer):
    customer.page.add_init_script(PATIENT)
    customer.search("blanket")
    customer.open_product()
    customer.add_to_cart()
    em = hashlib.sha256(customer.email.encode()).hexdigest()
    for name in ("ViewContent", "AddToCart"):
        said = copies(customer, name)
        assert said["browser"]["em"] == em
        assert said["server"]["em"] == [em]
        assert said["server"]["external_id"] == [said["browser"]["external_id"]]
    assert all(event["differences"] == [] for event in customer.events())
    assert customer.all_troubles() == []

    digests = (em.encode(), copies(customer, "ViewContent")["browser"]["external_id"].encode())
    assert len(customer.bodies) > 3
    assert not [path for path, body in customer.bodies.items() if any(d in body for d in digests)]
    on_the_page = customer.page.content().encode()
    assert not [digest for digest in digests if digest in on_the_page]
    assert not [value for value in customer.cookies().values() if em in value]


def test_nobody_is_asked_for_after_the_logout(customer, matching_shop):
    customer.page.goto(f"{matching_shop.url}/account/")
    customer.follow("logout")
    assert MARK not in customer.cookies()
    asked = len(customer.asked_who)
    customer.search("blanket")
    customer.open_product()
    assert len(customer.asked_who) == asked
    said = copies(customer, "ViewContent")
    assert not {"em", "external_id"} & (said["browser"].keys() | said["server"].keys())


def test_nobody_is_asked_for_after_a_withdrawal(customer, matching_shop):
    asked = len(customer.asked_who)
    customer.withdraw()
    assert customer.wait_until(lambda: MARK not in customer.cookies(), PATIENCE)
    customer.page.goto(matching_shop.url)
    customer.wait(SECONDS_OF_SILENCE)
    assert len(customer.asked_who) == asked
    assert customer.all_troubles() == []


def test_a_server_that_does_not_answer_holds_the_first_event_up_a_moment_only(
    customer, matching_shop
):
    times = {}

    def note(request):
        path = urlsplit(request.url).path
        if path in (ADDRESS, "/tr/"):
            times.setdefault(path, time.monotonic())

    customer.page.route(f"**{ADDRESS}", lambda route: None)
    customer.page.on("request", note)
    customer.search("blanket")
    assert times["/tr/"] - times[ADDRESS] < SECONDS_A_FIRST_EVENT_MAY_WAIT
    assert "em" not in copies(customer, "Search")["browser"]
    assert "em" in copies(customer, "Search")["server"]
