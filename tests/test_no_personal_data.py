"""What error reports and logs may print holds nothing of a person, and no token.

Personal are: e-mail, phone, name, address of the connection, browser id, click id, user agent,
session, and the page, whose address may hold a click id.
"""

from __future__ import annotations

import pickle
import time

import pytest
from django.test import RequestFactory

from tests.factories import OutboxEventFactory, PixelFactory
from wagtail_metapixel import (
    conf,
    events,
    exchange,
    graph_api,
    keys,
    matching,
    models,
    order_totals,
    site_settings,
    tracking,
    visitor,
)
from wagtail_metapixel.access_tokens import AccessToken
from wagtail_metapixel.catalogue import check_event_name
from wagtail_metapixel.consent import Choice, Decision
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.exceptions import ConfigurationError, EventError, RefusedError

NOW_MS = int(time.time() * 1000)
EMAIL = "anna.kowalska@example.com"
PHONE = "+48 739 518 264"
NAME = "Kowalska-Zażółć"
TOKEN = "EAAplanted-token-0123456789"
IP = "203.0.113.77"
FBP = f"fb.1.{NOW_MS}.5551234567"
CLICK = "IwARplantedClick"
FBC = f"fb.1.{NOW_MS}.{CLICK}"
AGENT = "Mozilla/5.0 (Planted; Agent)"
SESSION = "plantedsessionkey"
IDENTIFIER = "KowalskaZazolc"
"""A name that might as well be that of a parameter."""
NUMBER = "p48739518264"
# Each is so long that no random id or digest holds it by chance.
PLANTED = [
    EMAIL,
    PHONE,
    "739518264",
    "739 518",
    NAME,
    "Kowalska",
    TOKEN,
    IP,
    FBP,
    CLICK,
    "Planted",
    SESSION,
]


def assert_clean(text):
    assert [value for value in PLANTED if value in text] == []


def in_a_pickle(value):
    """The bytes of a pickle, read as text; ``""`` for what refuses to be pickled."""
    try:
        return pickle.dumps(value).decode("utf-8", "replace")
    except TypeError:
        return ""


@pytest.fixture
def site(db):
    pixel = PixelFactory(hosts="testserver", token=TOKEN)
    return site_settings.current().site(pixel.settings.site_id)


@pytest.fixture
def held():
    request = RequestFactory().get(
        f"/order/{EMAIL}/?fbclid={CLICK}&name={NAME}",
        headers={
            "Cookie": f"_fbp={FBP}; _fbc={FBC}; sessionid={SESSION}",
            "User-Agent": AGENT,
            "Authorization": f"Bearer {TOKEN}",
            "Referer": f"https://testserver/?fbclid={CLICK}",
        },
        REMOTE_ADDR=IP,
    )
    return visitor.capture(request)


@pytest.fixture
def person(held, site):
    return visitor.read(held, site, consent="granted", consent_proof="p")


# What stands for a request and its person


def test_the_copy_of_a_request_shows_neither_before_nor_after_it_was_read(held, person):
    assert held.cookies["_fbp"] == FBP
    held.echo.append({"p": {"search_string": NAME}})
    assert_clean(repr(held))
    assert_clean(str(held))
    assert "method='GET'" in repr(held)


def test_a_visitor_shows_where_it_was_and_its_consent_only(person):
    assert (person.fbp, person.fbc, person.client_user_agent) == (FBP, FBC, AGENT)
    assert person.client_ip_address == IP
    assert CLICK in person.url
    assert_clean(repr(person))
    assert_clean(str(person))
    assert (
        repr(person) == f"Visitor(site_pk={person.site_pk}, host='testserver', consent='granted')"
    )


def test_a_kept_visitor_is_unreadable_in_every_form(person):
    visitor.store(person, ("order", EMAIL), using="default")
    record = models.VisitorRecord.objects.get()
    for text in (str(record), repr(record), in_a_pickle(record)):
        assert_clean(text)


# Events and settings


def test_an_event_holds_nothing_of_its_person(person):
    params = {"search_string": EMAIL, "content_name": "Mug", "email": EMAIL, "order_id": "17"}
    custom_data, problems = build_custom_data("Search", params)
    event = events.Event("Search", "1", 1, custom_data)
    for value in (event, problems):
        assert_clean(repr(value))
        assert_clean(in_a_pickle(value))
    assert custom_data["content_name"] == "Mug"


def test_what_became_of_an_event_says_nothing_of_its_person(site, held, settings):
    settings.DEBUG = False
    for params in ({"currency": EMAIL}, {"value": NAME}, {EMAIL: NAME}, {"contents": [PHONE]}):
        tracked = tracking.track(
            "Purchase",
            site=site_of(site),
            consent="granted",
            user_data={"email": EMAIL, "phone": PHONE, NAME: NAME, IDENTIFIER: 1, NUMBER: "x"},
            **params,
        )
        for text in (repr(tracked), str(tracked), in_a_pickle(tracked)):
            assert_clean(text)


def test_the_arguments_of_a_call_show_nothing_in_a_traceback():
    given = tracking._Given(EMAIL, None, None, None, {"email": EMAIL}, None, "website")
    assert_clean(repr(given))
    assert "website" in repr(given)


def site_of(config):
    from wagtail.models import Site

    return Site.objects.get(pk=config.site_pk)


def test_settings_and_decisions_hold_no_token(site):
    snapshot = site_settings.current()
    decision = Decision(None, Choice.GRANTED, "p", site.pixels)
    pixel = models.MetaPixel.objects.get()
    assert pixel.stored_access_token() == TOKEN
    for value in (snapshot, site, site.pixels, decision, pixel, pixel.settings):
        for text in (repr(value), str(value), in_a_pickle(value)):
            assert_clean(text)


def test_a_row_names_its_event_and_nobody(site):
    row = OutboxEventFactory(
        user_data=b'{"fbp":"%b","client_ip_address":"%b"}' % (FBP.encode(), IP.encode())
    )
    assert_clean(str(row))
    assert_clean(repr(row))


# The wire


def test_the_object_that_carries_the_token_neither_shows_nor_pickles_it():
    bearer = AccessToken(TOKEN)
    assert_clean(repr(bearer))
    assert not hasattr(bearer, "__dict__")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(bearer)


def test_a_reply_does_not_show_what_meta_repeats():
    reply = exchange.Reply(400, EMAIL.encode(), {"x": TOKEN})
    assert_clean(repr(reply))
    assert "status=400" in repr(reply)


def test_an_answer_keeps_of_metas_words_the_title_only():
    body = b'{"error":{"code":100,"message":"%b is wrong","error_user_msg":"%b"}}' % (
        EMAIL.encode(),
        TOKEN.encode(),
    )
    answer = graph_api.classify(400, body, {}, count=1)
    for text in (repr(answer), in_a_pickle(answer)):
        assert_clean(text)


# Errors

BAD_CALLS = {
    "a name that is no event": lambda: check_event_name(EMAIL),
    "a person's name as event": lambda: check_event_name(NAME),
    "an object as event": lambda: check_event_name([EMAIL]),
    "an id": lambda: events.check_event_id(EMAIL),
    "an id of a wrong type": lambda: events.check_event_id([EMAIL]),
    "a time": lambda: events.unix_seconds(EMAIL),
    "a match key": lambda: matching.normalise(EMAIL, NAME),
    "a key of a wrong type": lambda: keys.key_text({EMAIL: NAME}),
    "a key without an id": lambda: keys.key_text(models.MetaPixel(pixel_id="739518264")),
    "an amount": lambda: order_totals.ValuePolicy().value(order_totals.OrderTotal(total=EMAIL)),
}


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS)
def test_an_error_tells_no_value(call):
    with pytest.raises((EventError, RefusedError)) as raised:
        call()
    error = raised.value
    for text in (str(error), repr(error), in_a_pickle(error)):
        assert_clean(text)
    assert raised.value.__cause__ is None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    "params",
    [
        {"currency": EMAIL},
        {"value": PHONE},
        {"contents": [{"id": EMAIL, "quantity": NAME}]},
        {EMAIL: 1},
        {NUMBER: b"x"},
        {NUMBER: {"a": 1}},
        {"contents": [{"id": "A", "quantity": 1, NUMBER: b"x"}]},
        {"content_ids": EMAIL},
        {"search_string": f"from {EMAIL}"},
    ],
)
def test_a_problem_with_a_parameter_tells_no_value(params):
    _data, problems = build_custom_data("Purchase", {"value": 1, "currency": "EUR", **params})
    assert problems
    assert_clean(repr(problems))
    assert_clean(in_a_pickle(problems))


@pytest.mark.parametrize(
    "person",
    [
        {"email": f"{NAME} {EMAIL} x"},
        {"phone": f"{PHONE} / {PHONE}"},
        {"date_of_birth": NAME},
        {"fbp": f"{FBP}<"},
        {"client_ip_address": f"{IP}.{IP}"},
        {"external_id": [EMAIL]},
        {EMAIL: NAME},
        {IDENTIFIER: NAME},
        {NUMBER: NAME},
        {"Kowalska": 1},
        {"subscription_id": EMAIL},
        {"country": NAME},
    ],
)
def test_a_problem_with_a_person_tells_no_value(person):
    _found, problems = matching.match(person, region="PL")
    assert problems
    assert_clean(repr(problems))
    assert_clean(in_a_pickle(problems))


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ({"ACCESS_TOKENS": TOKEN}, conf.access_tokens),
        ({"ACCESS_TOKENS": {1: TOKEN}}, conf.access_tokens),
        ({"ENCRYPTION_KEYS": [TOKEN]}, lambda: keys.encrypt(b"")),
        ({"SANDBOX": f"https://x:{TOKEN}@graph.example/"}, conf.sandbox_url),
        ({"GRAPH_URL": f"ftp://x:{TOKEN}@graph.example/"}, conf.graph_url),
    ],
)
def test_an_error_about_a_setting_tells_no_secret(settings, setting, read):
    settings.WAGTAIL_METAPIXEL = setting
    with pytest.raises(ConfigurationError) as raised:
        read()
    for text in (str(raised.value), repr(raised.value), in_a_pickle(raised.value)):
        assert_clean(text)
