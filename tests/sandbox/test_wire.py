"""The ways in which one request may be written down, over real HTTP."""

from __future__ import annotations

import json
import time

import pytest

from tests.sandbox.samples import PIXEL, TOKEN, an_event
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
        {"data": b'{"data": [1e400]}', "headers": {"Content-Type": "application/json"}},
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
    with pytest.raises(ValueError, match="too large"):
        parse_json('{"value": -1e400}')


def test_of_a_key_that_stands_twice_the_last_counts(client, post):
    event = json.dumps(OBJECTS[0])[:-1] + ', "event_name": "Lead"}'
    assert post(data={"data": f"[{event}]"}).status_code == 200
    assert [event["event_name"] for event in client.sandbox.events()] == ["Lead"]
