"""Pixels that one side alone tells, from the page to the outbox and back to the browser."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from tests.factories import PIXEL_ID, OutboxEventFactory, PixelFactory
from tests.visits import AGENT, CART, COOKIES, FBP, PAID, PERSON, ask, change, counted, echo, told
from wagtail_metapixel import claims, collecting, consent, keys, recording, site_settings
from wagtail_metapixel.choices import PixelMode
from wagtail_metapixel.consent import Choice
from wagtail_metapixel.event_options import COUNTRY, LDU, STATE
from wagtail_metapixel.models import MetaPixel, OutboxEvent, State, Twin
from wagtail_metapixel.tracking import track
from wagtail_metapixel.visitor import Visitor

OTHER = "9999999999"
LIMITED = {LDU: ["LDU"], COUNTRY: 0, STATE: 0}


@pytest.fixture
def modes(shop):
    """Set the mode of the shop's pixel, and that of a second one."""

    def set_modes(first, second=None):
        MetaPixel.objects.update(mode=first)
        if second:
            PixelFactory(pixel_id=OTHER, mode=second)
        return site_settings.refresh().site(shop.site_pk)

    return set_modes


@pytest.fixture
def tracked(django_capture_on_commit_callbacks):
    """Track an event; return what became of it and the pixels its echo names, ``[]`` for none."""

    def run(name="AddToCart", **kwargs):
        request = ask()
        with django_capture_on_commit_callbacks(execute=True):
            found = track(name, request, **{**CART, **kwargs})
        return found, [pixel for copy in echo(request) for pixel in copy["x"]]

    return run


def rows():
    """Return state and twin of each row, by its pixel."""
    return {
        row.pixel_id: (State(row.state), Twin(row.twin))
        for row in OutboxEvent.objects.order_by("pk")
    }


def collect(site):
    person = Visitor(site_pk=site.site_pk, host="testserver", fbp=FBP)
    decision = consent.Decision(None, Choice.GRANTED, "proof", site.pixels)
    items = [collecting.Declared("ViewContent", "1" * 32, {})]
    return collecting.collect(items, person, decision, site, pixel_failed=False)


def post(endpoint, body):
    cookies = "; ".join(f"{name}={value}" for name, value in COOKIES.items())
    return Client().post(
        f"/metapixel/{endpoint}/",
        json.dumps(body),
        content_type="text/plain",
        headers={"Sec-Fetch-Site": "same-origin", "User-Agent": AGENT, "Cookie": cookies},
    )


def post_ticket(site, event_id):
    return post("ticket", {"ticket": keys.sign_ticket({"i": event_id}, site.site_pk), "fbp": FBP})


# By the server alone


def test_an_event_of_a_pixel_without_a_browser_is_sent_and_handed_to_no_browser(modes, tracked):
    site = modes(PixelMode.SERVER)
    found, named = tracked()
    assert found
    assert (rows(), named) == ({PIXEL_ID: (State.PENDING, Twin.PIXEL)}, [])
    row = OutboxEvent.objects.get()
    assert row.twin_expires_at is None
    assert told(row)[1]["fbp"] == FBP
    assert post("echo", {"ids": [row.event_id]}).json() == {"events": []}
    assert post_ticket(site, row.event_id).status_code == 204


def test_beside_it_a_pixel_in_the_browser_is_still_told_there(modes, tracked):
    site = modes(PixelMode.SERVER, PixelMode.BOTH)
    found, named = tracked()
    assert rows() == {
        PIXEL_ID: (State.PENDING, Twin.PIXEL),
        OTHER: (State.PENDING, Twin.MAYBE),
    }
    [copy] = post("echo", {"ids": [found.event_id]}).json()["events"]
    ticket = post_ticket(site, found.event_id).json()["event"]
    assert named == copy["x"] == ticket["x"] == [OTHER]


def test_a_limit_still_keeps_the_event_from_every_browser(modes, tracked):
    site = modes(PixelMode.SERVER, PixelMode.BOTH)
    found, named = tracked(opt_out=True)
    assert named == []
    assert {twin for _state, twin in rows().values()} == {Twin.NO}
    assert post("echo", {"ids": [found.event_id]}).json() == {"events": []}
    assert post_ticket(site, found.event_id).status_code == 204


def test_one_signal_with_a_limit_keeps_the_other_from_browsers_too(modes, tracked):
    modes(PixelMode.SERVER, PixelMode.BOTH)
    first, _named = tracked("Purchase", key=("order", 17), opt_out=True)
    second, named = tracked("Purchase", key=("order", 17))
    assert (first.event_id, named) == (second.event_id, [])


def test_of_two_signals_for_a_pixel_without_a_browser_the_one_with_a_limit_speaks(db):
    fact = {"keyed": True, "event_name": "Purchase", "event_id": "f" * 32}
    free = OutboxEventFactory(**fact, twin=Twin.PIXEL)
    limited = OutboxEventFactory(**fact, twin=Twin.NO)
    _duplicates, waiting = claims.decide_keys([free, limited], using="default")
    assert waiting == [free]


def test_page_events_of_a_pixel_without_a_browser_are_taken(modes):
    assert collect(modes(PixelMode.SERVER, PixelMode.BOTH)) == 2
    assert {pixel: twin for pixel, (_state, twin) in rows().items()} == {
        PIXEL_ID: Twin.PIXEL,
        OTHER: Twin.MAYBE,
    }


# By browsers alone


def test_an_event_of_a_pixel_without_a_server_is_handed_over_and_never_sent(modes, tracked):
    site = modes(PixelMode.BROWSER)
    found, named = tracked("Purchase", key=("order", 17), **PAID)
    assert (bool(found), named) == (True, [PIXEL_ID])
    row = OutboxEvent.objects.get()
    assert (row.state, row.twin, row.reason) == (State.BROWSER, Twin.MAYBE, "")
    assert (bytes(row.user_data), row.final_at is None) == (b"{}", False)
    assert claims.claim(10, using="default")[1] == []
    [copy] = post("echo", {"ids": [found.event_id]}).json()["events"]
    assert (copy["x"], copy["p"]["value"]) == ([PIXEL_ID], 50)
    assert post_ticket(site, found.event_id).status_code == 204  # told with the response


def test_its_thank_you_page_gets_the_event_that_a_webhook_told(modes):
    site = modes(PixelMode.BROWSER)
    visitor = Visitor(
        site_pk=site.site_pk, host="testserver", fbp=FBP, consent="granted", consent_proof="1"
    )
    found = track("Purchase", visitor=visitor, key=("order", 17), **PAID)
    assert post_ticket(site, found.event_id).json()["event"]["x"] == [PIXEL_ID]
    assert post_ticket(site, found.event_id).status_code == 204


def test_beside_it_a_pixel_with_a_server_is_sent(modes, tracked):
    modes(PixelMode.BROWSER, PixelMode.BOTH)
    _found, named = tracked()
    assert rows() == {
        PIXEL_ID: (State.BROWSER, Twin.MAYBE),
        OTHER: (State.PENDING, Twin.MAYBE),
    }
    assert named == [PIXEL_ID, OTHER]
    [sent] = claims.claim(10, using="default")[1]
    assert (sent.pixel_id, told(sent)[1]["fbp"]) == (OTHER, FBP)


def test_page_events_of_a_pixel_without_a_server_make_no_row_and_are_not_withheld(modes):
    assert collect(modes(PixelMode.BROWSER)) == 0
    assert (rows(), counted()) == ({}, {})


def test_page_events_beside_it_are_those_of_the_other_pixel(modes):
    assert collect(modes(PixelMode.BROWSER, PixelMode.SERVER)) == 1
    assert list(rows()) == [OTHER]


def test_what_a_browser_cannot_say_is_rejected_for_a_pixel_without_a_server(modes, tracked):
    modes(PixelMode.BROWSER)
    found, named = tracked(opt_out=True)
    assert (found.recorded, found.reason, named) == (False, recording.NOBODY_TELLS, [])
    assert rows() == {PIXEL_ID: (State.REJECTED, Twin.NO)}


def test_and_is_recorded_all_the_same_where_another_pixel_gets_it(modes):
    modes(PixelMode.BROWSER, PixelMode.BOTH)
    sale = {"action_source": "physical_store", "consent": "granted", "user_data": PERSON}
    assert track("Purchase", ask(), **sale, **PAID)
    assert rows() == {
        PIXEL_ID: (State.REJECTED, Twin.NO),
        OTHER: (State.PENDING, Twin.NO),
    }


def test_consent_is_asked_first_whoever_tells(modes):
    modes(PixelMode.BROWSER)
    assert not track("AddToCart", ask(cookies={"_fbp": FBP}), **CART)
    assert rows() == {}


# Limited Data Use of a whole site


def test_where_the_site_limits_the_use_of_data_both_copies_say_so(shop, tracked):
    change(shop, limited_data_use=True)
    _found, named = tracked()
    assert rows() == {PIXEL_ID: (State.PENDING, Twin.MAYBE)}
    assert {key: told()[0].get(key) for key in LIMITED} == LIMITED
    assert named == [PIXEL_ID]


@pytest.mark.parametrize(
    ("said", "wire", "twin"),
    [
        ({LDU: ["LDU"]}, LIMITED, Twin.MAYBE),
        ({LDU: ["LDU"], STATE: "CA"}, {LDU: ["LDU"], COUNTRY: 1, STATE: 1000}, Twin.NO),
        ({LDU: []}, {LDU: [], COUNTRY: None, STATE: None}, Twin.NO),
        ({"opt_out": True}, LIMITED, Twin.NO),
    ],
)
def test_a_call_may_say_another_thing_of_one_event_which_no_browser_can(
    shop, tracked, said, wire, twin
):
    change(shop, limited_data_use=True)
    _found, named = tracked(**said)
    assert {key: told()[0].get(key) for key in LIMITED} == wire
    assert rows() == {PIXEL_ID: (State.PENDING, twin)}
    assert bool(named) is (twin is Twin.MAYBE)


def test_page_events_of_a_limited_site_say_so_and_keep_their_twin(shop):
    change(shop, limited_data_use=True)
    assert collect(site_settings.current().site(shop.site_pk)) == 1
    assert {key: told()[0].get(key) for key in LIMITED} == LIMITED
    assert rows() == {PIXEL_ID: (State.PENDING, Twin.MAYBE)}
