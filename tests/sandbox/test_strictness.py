"""The strict switch: what Meta takes with a warning is refused, over real HTTP."""

from __future__ import annotations

import time

import pytest

from tests.sandbox.samples import AGENT, FBP, PIXEL, TOKEN, a_purchase, an_event, digest
from wagtail_metapixel.sandbox.server import SandboxServer

MARKER = "Strict mode only: "


@pytest.fixture
def sandbox():
    with SandboxServer(pixels={PIXEL: TOKEN}, strict=True) as server:
        yield server


def now(**changes):
    return an_event(**({"event_time": int(time.time())} | changes))


def with_user_data(**user_data):
    return now(user_data={"client_user_agent": AGENT, "fbp": FBP, **user_data})


def ldu(country, state):
    return with_user_data(client_ip_address="203.0.113.7") | {
        "data_processing_options": ["LDU"],
        "data_processing_options_country": country,
        "data_processing_options_state": state,
    }


SPOTLESS = [
    now(),
    now(event_name="Purchase", custom_data={"value": 12.5, "currency": "EUR"}),
    with_user_data(em=[digest("x")], client_ip_address="203.0.113.7"),
    ldu(1, 1000),
    ldu(0, 0),
]
#: What Meta takes and only warns about, and a word of what strict mode says.
LAX = [
    (now(event_id=None), "No event_id"),
    (now(event_source_url=None), "No event_source_url"),
    (now(user_data={"fbp": FBP}), "No client_user_agent"),
    (with_user_data(em="ada@example.com"), "Unhashed"),
    (with_user_data(ph=digest("1").upper()), "Unhashed"),
    (with_user_data(em=digest("")), "Hash of nothing"),
    (with_user_data(client_ip_address="unknown"), "Invalid client_ip_address"),
    (with_user_data(client_ip_address="10.0.0.1"), "Private client_ip_address"),
    (with_user_data(fbp="1", em=digest("x")), "Invalid fbp"),
    (with_user_data(fbc="1"), "Invalid fbc"),
    (with_user_data(client_user_agent=digest("agent")), "Hashed client_user_agent"),
    (with_user_data(subscription_id=digest("1")), "Hashed subscription_id"),
    (now(custom_data={"value": -1, "currency": "EUR"}), "value"),
    (now(custom_data={"currency": "EURO"}), "currency"),
    (now(custom_data={"event_id": "1"}), "event_id in custom_data"),
    (now(event_name="AppendValue"), "Reserved name"),
    (now(event_name="purchase"), "Not a standard event"),
    (now(event_time=int(time.time()) - 2 * 86_400), "late"),
    (ldu(1, 0), "half a place"),
    (ldu(0, 1000), "half a place"),
]


@pytest.mark.parametrize("event", SPOTLESS)
def test_what_there_is_nothing_to_warn_of_is_taken(client, event):
    assert client.graph(event, test_event_code="TEST12345").status_code == 200
    assert client.sandbox.rejections() == []


@pytest.mark.parametrize(("event", "words"), LAX)
def test_what_meta_warns_of_is_refused_and_says_that_meta_would_not(client, event, words):
    answer = client.graph(event)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["error_subcode"]) == (100, 2804019)
    assert error["error_user_title"].startswith(MARKER)
    assert "Meta would accept it" in error["message"]
    assert words in error["error_user_msg"]
    assert "$['data'][0]" in error["error_user_msg"]
    assert client.sandbox.events() == []
    assert client.sandbox.rejections()[0]["strict"] is True


@pytest.mark.parametrize(("event", "words"), LAX)
def test_without_the_switch_it_is_taken(client, event, words):
    with SandboxServer(pixels={PIXEL: TOKEN}) as sandbox:
        client.sandbox = sandbox
        assert client.graph(event).status_code == 200
        assert sandbox.rejections() == []


def test_every_warning_about_an_event_is_said_at_once(client):
    said = client.graph(now(), now(event_id=None, event_source_url=None)).json()["error"]
    assert said["error_user_title"] == f"{MARKER}No event_id, No event_source_url"
    assert "No event_id" in said["error_user_msg"]
    assert "No event_source_url" in said["error_user_msg"]
    assert "$['data'][1]" in said["error_user_msg"]


def test_advice_refuses_nothing(client):
    event = a_purchase() | {"event_time": int(time.time()) - 7200}
    assert client.graph(event).status_code == 200
    [event] = client.sandbox.events()
    assert {"late", "missing_content"} <= {found["code"] for found in event["diagnostics"]}


@pytest.mark.parametrize("test_event_code", ["TEST 1", "test12345", "<b>"])
def test_an_unusual_test_event_code_is_refused(client, test_event_code):
    error = client.graph(now(), test_event_code=test_event_code).json()["error"]
    assert "test_event_code" in error["error_user_msg"]


def test_what_meta_refuses_keeps_metas_own_words(client):
    error = client.graph(a_purchase(currency=None) | {"event_time": int(time.time())}).json()
    assert error["error"]["error_subcode"] == 2804010
    assert client.sandbox.rejections()[0]["strict"] is False


def test_a_refusal_never_repeats_a_value(client):
    assert "ada@example.com" not in client.graph(with_user_data(em="ada@example.com")).text


def test_a_hit_of_a_browser_is_refused_behind_its_back(client):
    assert client.browser(eid=None).headers["Content-Type"] == "image/gif"
    [rejection] = client.sandbox.rejections()
    assert (rejection["channel"], rejection["strict"]) == ("browser", True)
    assert rejection["event_names"] == ["Contact"]
    assert "No event_id" in rejection["error"]["error_user_msg"]
    assert client.sandbox.events() == []


def test_a_spotless_hit_of_a_browser_is_taken(client):
    client.browser(ts=str(int(time.time() * 1000)))
    assert len(client.sandbox.events()) == 1
    assert client.sandbox.rejections() == []


@pytest.mark.parametrize("strict", [True, False])
def test_the_page_is_told_whether_it_is_strict(client, strict):
    with SandboxServer(strict=strict) as sandbox:
        assert sandbox.strict is strict
        assert client.session.get(f"{sandbox.url}/api/events").json()["strict"] is strict
