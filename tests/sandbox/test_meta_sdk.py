"""Meta's own SDK for Python as a client, over real HTTP and in its own wire format.

It shares nothing with this package, so what it reads out of an answer is what was meant. Its
address is a class attribute, and its calls go through one default API: both are put back after
each test.
"""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import parse_qs

import pytest
from facebook_business.adobjects.adspixel import AdsPixel
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.app_data import AppData
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.delivery_category import DeliveryCategory
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.event_request_async import EventRequestAsync
from facebook_business.adobjects.serverside.extended_device_info import ExtendedDeviceInfo
from facebook_business.adobjects.serverside.messaging_channel import MessagingChannel
from facebook_business.adobjects.serverside.original_event_data import OriginalEventData
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from tests.sandbox.samples import AGENT, FBP, PIXEL, TOKEN, digest
from wagtail_metapixel.sandbox.server import SandboxServer

THOUSAND = 1000
SECRET = "app-secret"


@pytest.fixture
def connect(monkeypatch):
    """Point the SDK at a sandbox, for one test."""
    sessions = []

    def connect(sandbox, token=TOKEN, app_secret=None):
        monkeypatch.setattr(FacebookSession, "GRAPH", sandbox.url)
        session = FacebookSession(access_token=token, app_secret=app_secret, timeout=20)
        session.requests.trust_env = False
        sessions.append(session)
        monkeypatch.setattr(FacebookAdsApi, "_default_api", FacebookAdsApi(session))

    yield connect
    for session in sessions:
        session.requests.close()


@pytest.fixture(autouse=True)
def _connected(connect, sandbox):
    connect(sandbox)


def a_person(**fields):
    fields = {"emails": ["Ada@Example.com"], "fbp": FBP, "client_user_agent": AGENT} | fields
    return UserData(**fields)


def an_event(**changes):
    fields = {
        "event_name": "Purchase",
        "event_time": int(time.time()),
        "event_id": "order-1",
        "event_source_url": "https://shop.example/thanks/",
        "action_source": ActionSource.WEBSITE,
        "user_data": a_person(),
        "custom_data": CustomData(value=59.9, currency="EUR", order_id="10042"),
    }
    return Event(**{key: value for key, value in (fields | changes).items() if value is not None})


def send(*events, pixel=PIXEL, **params):
    return EventRequest(events=list(events), pixel_id=pixel, **params).execute()


def refusal(*events, **params):
    """What the SDK reads out of the answer: HTTP status, code and subcode."""
    with pytest.raises(FacebookRequestError) as caught:
        send(*events, **params)
    return facts(caught.value)


def facts(error):
    return error.http_status(), error.api_error_code(), error.api_error_subcode()


def batch(size, **last):
    events = [an_event(event_id=f"order-{number}") for number in range(size)]
    return [*events[:-1], an_event(**last)] if last else events


# What is taken


def test_one_event_is_received_and_understood(sandbox):
    answer = send(an_event(), test_event_code="TEST12345", partner_agent="wagtail-metapixel")
    assert (answer.events_received, answer.messages) == (1, [])
    [event] = sandbox.events()
    [copy] = event["copies"]
    assert event["event_id"] == "order-1"
    assert copy["user_data"]["em"] == [digest("ada@example.com")]
    assert copy["match_keys"] == ["client_user_agent", "em", "fbp"]
    assert copy["custom_data"] == {"value": 59.9, "currency": "eur", "order_id": "10042"}
    assert (copy["test_event_code"], copy["agent"]) == ("TEST12345", "wagtail-metapixel")
    assert sandbox.rejections() == []


def test_the_wire_format_is_the_sdks_own(sandbox):
    send(an_event())
    [request] = sandbox.requests
    assert request.method == "POST"
    assert request.media_type == "application/x-www-form-urlencoded"
    assert request.headers["user-agent"].startswith("fbbizsdk-python")
    assert parse_qs(request.query)["access_token"] == [TOKEN]
    [data] = parse_qs(request.body.decode())["data"]
    assert isinstance(json.loads(data)[0], str), "each event is JSON in a string"


def test_an_event_with_everything_in_it_is_received(sandbox):
    person = a_person(
        phones=["+44 20 7946 0958"],
        first_names=["Ada"],
        last_names=["Lovelace"],
        cities=["London"],
        country_codes=["gb"],
        zip_codes=["m1 1ae"],
        dates_of_birth=["18151210"],
        external_ids=["user-1"],
        client_ip_address="203.0.113.7",
        fbc="fb.1.1795322685020.IwAR0",
        lead_id="123456789012345",
        subscription_id="s-1",
        fb_login_id="7",
    )
    content = Content("mug", 2, 9.5, "Mug", None, "Own", "Home", DeliveryCategory.CURBSIDE)
    custom_data = CustomData(
        value=19,
        currency="EUR",
        content_ids=["mug"],
        contents=[content],
        content_type="product",
        num_items=2,
        predicted_ltv=100.5,
        status="done",
        search_string="mug",
        item_number="1",
        net_revenue=4.2,
        custom_properties={"colour": "blue"},
    )
    answer = send(
        an_event(
            user_data=person,
            custom_data=custom_data,
            opt_out=False,
            data_processing_options=["LDU"],
            data_processing_options_country=1,
            data_processing_options_state=1000,
            referrer_url="https://search.example/",
            original_event_data=OriginalEventData("Lead", int(time.time()), "1", "lead-1"),
        )
    )
    assert answer.events_received == 1
    [copy] = sandbox.events()[0]["copies"]
    assert len(copy["match_keys"]) == 16
    assert copy["unhashed"] == ()
    assert copy["custom_data"]["contents"][0]["delivery_category"] == "curbside"


@pytest.mark.parametrize("source", ActionSource)
def test_every_action_source_of_the_sdk_is_taken(source):
    extinfo = ExtendedDeviceInfo(**dict.fromkeys(ExtendedDeviceInfo.param_types, ""))
    extinfo.ext_info_version, extinfo.os_version = "i2", "17.1"
    extra = {
        ActionSource.APP: {"app_data": AppData(extinfo=extinfo, advertiser_tracking_enabled=True)},
        ActionSource.BUSINESS_MESSAGING: {
            "messaging_channel": MessagingChannel.WHATSAPP,
            "user_data": UserData(page_id="1", ctwa_clid="c"),
        },
    }.get(source, {})
    assert send(an_event(action_source=source, **extra)).events_received == 1


def test_an_old_event_of_a_shop_in_the_street_is_taken():
    old = int(time.time()) - 61 * 86_400
    answer = send(an_event(action_source=ActionSource.PHYSICAL_STORE, event_time=old))
    assert answer.events_received == 1
    assert refusal(an_event(event_time=old)) == (400, 100, 2804003)


@pytest.mark.parametrize("code", ["TEST00000", "long gone"])
def test_a_test_event_code_that_has_expired_costs_no_event(code):
    assert send(an_event(), test_event_code=code).events_received == 1


def test_a_thousand_events_are_received(sandbox):
    assert send(*batch(THOUSAND)).events_received == THOUSAND
    assert len(sandbox.events()) == THOUSAND


# What is refused


def test_a_thousand_and_one_events_are_refused(sandbox):
    assert refusal(*batch(THOUSAND + 1)) == (400, 100, 2804019)
    assert sandbox.events() == []


def test_one_bad_event_among_a_thousand_refuses_them_all(sandbox):
    with pytest.raises(FacebookRequestError) as caught:
        send(*batch(THOUSAND, user_data=UserData(country_codes=["de"])))
    assert facts(caught.value) == (400, 100, 2804050)
    assert caught.value.api_transient_error() is False
    assert caught.value.api_error_type() == "OAuthException"
    assert caught.value.api_error_message() == "Invalid parameter"
    assert sandbox.events() == []
    assert sandbox.rejections()[0]["count"] == THOUSAND


@pytest.mark.parametrize(
    ("changes", "subcode"),
    [
        ({"event_time": 1}, 2804003),
        ({"event_time": int(time.time()) + 3600}, 2804004),
        ({"custom_data": CustomData(currency="EUR")}, 2804009),
        ({"custom_data": CustomData(value=1)}, 2804010),
        ({"event_name": "Lead", "custom_data": CustomData(value=1)}, 2804023),
        ({"action_source": None}, 2804019),
        ({"event_source_url": "/thanks/"}, 2804019),
        ({"user_data": None}, 2804019),
        ({"user_data": UserData(client_user_agent=AGENT)}, 2804050),
        ({"user_data": a_person(lead_id="1")}, 2804036),
        ({"action_source": ActionSource.APP, "app_data": AppData()}, 2804043),
        ({"action_source": ActionSource.BUSINESS_MESSAGING}, 2804063),
        ({"action_source": ActionSource.BUSINESS_MESSAGING, "event_name": "Lead"}, 2804066),
        (
            {
                "action_source": ActionSource.BUSINESS_MESSAGING,
                "messaging_channel": MessagingChannel.WHATSAPP,
            },
            2804116,
        ),
        ({"custom_data": CustomData(value=1, currency="EUR", contents=[Content()])}, 2804008),
    ],
)
def test_a_bad_event_is_refused_with_metas_subcode(sandbox, changes, subcode):
    assert refusal(an_event(**changes)) == (400, 100, subcode)
    assert sandbox.events() == []


def test_a_bad_token_is_refused(connect, sandbox):
    connect(sandbox, token="wrong")
    assert refusal(an_event()) == (401, 190, None)


def test_no_token_is_refused(connect, sandbox):
    connect(sandbox, token="")
    assert refusal(an_event()) == (400, 104, None)


@pytest.mark.parametrize("pixel", ["777777", "999999"])
def test_an_unknown_pixel_or_one_of_another_token_is_refused(pixel):
    with pytest.raises(FacebookRequestError) as caught:
        send(an_event(), pixel=pixel)
    assert facts(caught.value) == (400, 100, 33)
    assert caught.value.api_error_type() == "GraphMethodException"


def test_a_pixel_that_is_no_number_is_refused():
    assert refusal(an_event(), pixel="my-pixel") == (404, 803, None)


def test_a_bad_partner_agent_is_blamed_by_name():
    with pytest.raises(FacebookRequestError) as caught:
        send(an_event(), partner_agent="x" * 23)
    assert facts(caught.value) == (400, 100, None)
    assert caught.value.api_blame_field_specs() == [["partner_agent"]]


@pytest.mark.parametrize(
    ("mode", "expected", "transient"),
    [
        ("500", (500, 2, None), True),
        ("429", (429, 4, None), True),
        ("throttle", (400, 80004, None), True),
        ("expired_token", (401, 190, 463), False),
    ],
)
def test_a_fault_of_meta_reads_like_one(sandbox, mode, expected, transient):
    sandbox.misbehave(mode)
    with pytest.raises(FacebookRequestError) as caught:
        send(an_event())
    assert facts(caught.value) == expected
    assert caught.value.api_transient_error() is transient


def test_the_secret_of_an_app_is_proved(connect):
    with SandboxServer(pixels={PIXEL: TOKEN}, app_secret=SECRET) as sandbox:
        connect(sandbox, app_secret=SECRET)
        assert send(an_event()).events_received == 1
        connect(sandbox, app_secret="another")
        assert refusal(an_event()) == (400, 104, None)
        connect(sandbox)
        assert refusal(an_event()) == (400, 104, None)


def test_strict_mode_takes_what_the_sdk_sends_and_refuses_what_it_leaves_out(connect):
    with SandboxServer(pixels={PIXEL: TOKEN}, strict=True) as sandbox:
        connect(sandbox)
        assert send(an_event()).events_received == 1
        assert refusal(an_event(event_id=None)) == (400, 100, 2804019)


# Other ways in


def test_events_can_be_sent_at_once():
    async def send_all():
        requests = [EventRequestAsync(pixel_id=PIXEL, events=[an_event()]) for _ in range(3)]
        return await asyncio.gather(*(request.execute() for request in requests))

    assert [answer.events_received for answer in asyncio.run(send_all())] == [1, 1, 1]


def test_a_plain_call_can_send_events_as_objects():
    call = FacebookAdsApi.get_default_api().call
    answer = call("POST", (PIXEL, "events"), {"data": [an_event().normalize()]})
    assert answer.json()["events_received"] == 1


def test_the_connection_check_reads_the_pixel(sandbox):
    send(an_event())
    pixel = AdsPixel(PIXEL).api_get(fields=["name", "last_fired_time", "is_unavailable"])
    assert pixel["id"] == PIXEL
    assert pixel["is_unavailable"] is False
    assert pixel["last_fired_time"].endswith("+0000")


def test_events_can_be_neither_read_nor_deleted():
    api = FacebookAdsApi.get_default_api()
    for method in ("GET", "DELETE"):
        with pytest.raises(FacebookRequestError) as caught:
            api.call(method, (PIXEL, "events"))
        assert facts(caught.value) == (400, 100, 33)
