"""The ways in which one request may be written down, over real HTTP."""

from __future__ import annotations

import json
import time

import pytest
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError

from tests.sandbox.samples import AGENT, FBP, PIXEL, TOKEN, an_event
from wagtail_metapixel.sandbox.wire import parse_json


@pytest.fixture
def post(client):
    def post(url="", **kwargs):
        kwargs["headers"] = {"Authorization": f"Bearer {TOKEN}"} | kwargs.get("headers", {})
        address = f"{client.sandbox.url}/v26.0/{PIXEL}/events{url}"
        return client.session.post(address, **kwargs)

    return post


def an_event_of_now(**changes):
    return an_event(event_time=int(time.time()), **changes)


OBJECTS = [an_event_of_now(event_name="Köln ☕")]
STRINGS = [json.dumps(OBJECTS[0])]


@pytest.mark.parametrize("data", [OBJECTS, STRINGS], ids=["objects", "strings"])
@pytest.mark.parametrize(
    "form",
    [
        lambda data: {"json": {"data": data}},
        lambda data: {"json": {"data": json.dumps(data)}},
        lambda data: {"data": {"data": json.dumps(data)}},
        lambda data: {"files": {"data": (None, json.dumps(data, ensure_ascii=False))}},
    ],
    ids=["json", "json-in-json", "urlencoded", "multipart"],
)
def test_every_form_of_a_request_is_read(client, post, form, data):
    answer = post(**form(data))
    assert answer.status_code == 200
    assert answer.json()["events_received"] == 1
    assert [event["event_name"] for event in client.sandbox.events()] == ["Köln ☕"]


def test_the_answer_is_metas(post):
    answer = post(json={"data": OBJECTS * 3})
    assert answer.json() == {
        "events_received": 3,
        "messages": [],
        "fbtrace_id": answer.json()["fbtrace_id"],
    }
    assert len(answer.json()["fbtrace_id"]) == 23


@pytest.mark.parametrize(
    "kwargs",
    [
        {"headers": {"Authorization": f"bearer {TOKEN}"}},
        {"url": f"?access_token={TOKEN}", "headers": {"Authorization": ""}},
        {"json": {"data": OBJECTS, "access_token": TOKEN}, "headers": {"Authorization": ""}},
        {
            "data": {"data": json.dumps(OBJECTS), "access_token": TOKEN},
            "headers": {"Authorization": ""},
        },
    ],
    ids=["header", "query", "json", "form"],
)
def test_the_token_is_found_wherever_meta_looks_for_it(post, kwargs):
    body = {} if "json" in kwargs or "data" in kwargs else {"json": {"data": OBJECTS}}
    assert post(**kwargs, **body).status_code == 200


@pytest.mark.parametrize(
    "kwargs",
    [
        {"data": b"{", "headers": {"Content-Type": "application/json"}},
        {"data": b"\xff\xfe", "headers": {"Content-Type": "application/json"}},
        {"data": b'{"data": [NaN]}', "headers": {"Content-Type": "application/json"}},
        {"data": b"[" * 100_000, "headers": {"Content-Type": "application/json"}},
        {"json": [1]},
        {"json": {}},
        {"json": {"data": {}}},
        {"json": {"data": None}},
        {"data": {"data": "["}},
        {"json": {"data": ["{"]}},
        {"data": b"--x\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {"data": b"x", "headers": {"Content-Type": "text/plain"}},
    ],
)
def test_a_request_that_cannot_be_read_is_refused_in_metas_shape(client, post, kwargs):
    answer = post(**kwargs)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == (100, "OAuthException")
    assert client.sandbox.events() == []
    assert len(client.sandbox.rejections()) == 1


def test_strict_json_has_no_infinity():
    with pytest.raises(ValueError, match="not JSON"):
        parse_json('{"value": Infinity}')


# Meta's own SDK


@pytest.fixture
def sdk(sandbox, monkeypatch):
    api = FacebookAdsApi.init(access_token=TOKEN, api_version="v26.0", crash_log=False)
    monkeypatch.setattr(api._session, "GRAPH", sandbox.url)
    yield
    api._session.requests.close()
    FacebookAdsApi.set_default_api(None)


def an_sdk_request(**changes):
    fields = {
        "event_name": "Purchase",
        "event_time": int(time.time()),
        "event_id": "order-1",
        "event_source_url": "https://shop.example/thanks/",
        "action_source": ActionSource.WEBSITE,
        "user_data": UserData(
            emails=["Ada@Example.com"], fbp=FBP, client_user_agent=AGENT, external_ids=["user-1"]
        ),
        "custom_data": CustomData(value=59.9, currency="EUR", order_id="10042"),
    }
    events = [Event(**(fields | changes))]
    return EventRequest(events=events, pixel_id=PIXEL, test_event_code="TEST12345")


def test_metas_own_sdk_is_understood(sdk, sandbox):
    answer = an_sdk_request().execute()
    assert answer.events_received == 1
    [event] = sandbox.events()
    [copy] = event["copies"]
    assert event["event_id"] == "order-1"
    assert copy["match_keys"] == ["client_user_agent", "em", "external_id", "fbp"]
    assert copy["custom_data"] == {"value": 59.9, "currency": "eur", "order_id": "10042"}
    assert copy["test_event_code"] == "TEST12345"
    assert sandbox.requests[-1].headers["user-agent"].startswith("fbbizsdk-python")


def test_metas_own_sdk_understands_a_refusal(sdk):
    with pytest.raises(FacebookRequestError) as caught:
        an_sdk_request(event_time=1).execute()
    error = caught.value
    assert (error.http_status(), error.api_error_code()) == (400, 100)
    assert error.api_error_subcode() == 2804003
    assert error.api_transient_error() is False
