"""Faults on demand, over real HTTP."""

from __future__ import annotations

import json
import threading
import time

import pytest
import requests

from tests.sandbox.samples import PIXEL, TOKEN, an_event
from wagtail_metapixel.sandbox.misbehaviour import MODES


def send(client, *ids, **kwargs):
    events = [an_event(event_time=int(time.time()), event_id=i) for i in ids or ("id-1",)]
    return client.graph(*events, **kwargs)


def test_429_names_the_time_to_wait(client):
    client.sandbox.misbehave("429", retry_after=7)
    answer = send(client)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["error"]["code"] == 4
    assert answer.json()["error"]["is_transient"] is True


def test_500_is_transient(client):
    client.sandbox.misbehave("500")
    answer = send(client)
    assert (answer.status_code, answer.json()["error"]["is_transient"]) == (500, True)


def test_throttling_names_the_minutes_to_wait(client):
    client.sandbox.misbehave("throttle", retry_after=61)
    answer = send(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 80004)
    [[usage]] = json.loads(answer.headers["X-Business-Use-Case-Usage"]).values()
    assert usage["estimated_time_to_regain_access"] == 2


def test_an_expired_token_fails_the_connection_check_too(client):
    client.sandbox.misbehave("expired_token", times=1)
    address = f"{client.sandbox.url}/v26.0/{PIXEL}?access_token={TOKEN}"
    for answer in (client.session.get(address), send(client)):
        assert answer.status_code == 401
        assert (answer.json()["error"]["code"], answer.json()["error"]["error_subcode"]) == (
            190,
            463,
        )
    assert client.session.get(address).status_code == 200


def test_a_refused_id_refuses_every_batch_that_holds_it(client):
    client.sandbox.misbehave("reject_id", event_id="poison")
    assert send(client, "a", "b").status_code == 200
    answer = send(client, "c", "poison")
    assert answer.json()["error"]["error_subcode"] == 2804019
    assert "$['data'][1]" in answer.json()["error"]["error_user_msg"]
    assert send(client, "c").status_code == 200
    assert send(client, "poison").status_code == 400


def test_batches_without_the_refused_id_do_not_count(client):
    client.sandbox.misbehave("reject_id", event_id="poison", times=1)
    answers = [send(client, event_id).status_code for event_id in ("a", "poison", "poison")]
    assert answers == [200, 400, 200]


@pytest.mark.parametrize("mode", ["429", "500", "throttle", "expired_token"])
def test_nothing_is_recorded_of_what_was_refused(client, mode):
    client.sandbox.misbehave(mode)
    send(client)
    assert client.sandbox.events() == []
    assert client.sandbox.rejections()[0]["simulated"] is True


def test_a_reset_comes_after_the_events_were_taken(client):
    client.sandbox.misbehave("reset", times=1)
    with pytest.raises(requests.ConnectionError, match="reset"):
        send(client)
    assert send(client).status_code == 200
    [event] = client.sandbox.events()
    assert event["counts"]["server"] == 2
    assert [request.status for request in client.sandbox.requests] == [0, 200]


def test_a_late_answer_comes_after_the_events_were_taken(client):
    client.sandbox.misbehave("slow", seconds=0.05)
    started = time.monotonic()
    assert send(client).status_code == 200
    assert time.monotonic() - started >= 0.05
    assert len(client.sandbox.events()) == 1


def test_stopping_does_not_wait_for_late_answers(client, eventually):
    threads = threading.active_count() - 1  # its own
    client.sandbox.misbehave("slow", seconds=600)
    with pytest.raises(requests.Timeout):
        client.session.post(
            f"{client.sandbox.url}/v26.0/{PIXEL}/events",
            json={"data": [an_event(event_time=int(time.time()))], "access_token": TOKEN},
            timeout=0.1,
        )
    started = time.monotonic()
    client.sandbox.stop()
    eventually(lambda: threading.active_count() <= threads)
    assert time.monotonic() - started < 3


def test_garbage_is_an_answer_that_is_not_json(client):
    client.sandbox.misbehave("garbage")
    answer = send(client)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r".*"):
        answer.json()
    assert len(client.sandbox.events()) == 1


def test_a_fault_ends_after_its_number_of_times(client):
    client.sandbox.misbehave("500", times=2)
    assert [send(client).status_code for _ in range(3)] == [500, 500, 200]
    assert client.sandbox.misbehaviour is None


def test_a_fault_can_be_switched_off(client):
    client.sandbox.misbehave("500")
    client.sandbox.misbehave(None)
    assert send(client).status_code == 200


def test_a_fault_can_meet_one_pixel_only(client):
    client.sandbox.misbehave("500", pixel="999999")
    assert send(client).status_code == 200
    assert send(client, pixel="999999", token="another-token").status_code == 500


def test_hits_of_browsers_are_never_met(client):
    client.sandbox.misbehave("500")
    assert client.browser().status_code == 200
    assert len(client.sandbox.events()) == 1


BAD = [
    {"mode": "explode"},
    {"mode": "500", "times": 0},
    {"mode": "500", "times": 1.5},
    {"mode": "500", "times": True},
    {"mode": "slow", "seconds": -1},
    {"mode": "slow", "seconds": 601},
    {"mode": "429", "retry_after": "soon"},
    {"mode": "reject_id"},
    {"mode": "reject_id", "event_id": 7},
]


@pytest.mark.parametrize("options", BAD)
def test_a_fault_that_makes_no_sense_is_refused(client, options):
    with pytest.raises(ValueError, match=":"):
        client.sandbox.misbehave(**options)
    answer = client.session.post(client.sandbox.url + "/api/misbehave", json=options)
    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'"500"', b'{"mode": "500", "what": 1}'])
def test_a_call_that_makes_no_sense_is_refused(client, body):
    answer = client.session.post(client.sandbox.url + "/api/misbehave", data=body)
    assert answer.status_code == 400
    assert client.sandbox.misbehaviour is None


def test_the_api_switches_faults_on_and_off(client):
    address = client.sandbox.url + "/api/misbehave"
    answer = client.session.post(address, json={"mode": "429", "times": 3, "retry_after": 5})
    assert answer.json()["misbehaviour"]["description"] == MODES["429"]
    fault = client.session.get(client.sandbox.url + "/api/events").json()["misbehaviour"]
    assert (fault["mode"], fault["times"], fault["retry_after"]) == ("429", 3, 5)
    assert client.session.post(address, json={"mode": None}).json() == {"misbehaviour": None}
    assert client.sandbox.misbehaviour is None
