"""Access, and the connection check, over real HTTP."""

from __future__ import annotations

import time

import pytest

from tests.sandbox.samples import PIXEL, TOKEN, a_purchase, an_event
from wagtail_metapixel.sandbox.server import SandboxServer


def now(**changes):
    return an_event(**({"event_time": int(time.time())} | changes))


def test_a_refusal_has_metas_shape(client):
    answer = client.graph(a_purchase(currency=None) | {"event_time": int(time.time())})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error == {
        "message": "Invalid parameter",
        "type": "OAuthException",
        "code": 100,
        "error_subcode": 2804010,
        "is_transient": False,
        "error_user_title": "Missing Currency for Purchase Event",
        "error_user_msg": error["error_user_msg"],
        "fbtrace_id": error["fbtrace_id"],
    }


def test_one_bad_event_refuses_the_whole_request(client):
    good = [now(event_id=str(number)) for number in range(20)]
    assert client.error(*good, now(event_time=1)) == (100, 2804003)
    assert client.sandbox.events() == []
    [rejection] = client.sandbox.rejections()
    assert rejection["count"] == 21
    assert rejection["event_names"] == ["Contact"]
    assert rejection["error"]["error_subcode"] == 2804003
    assert client.sandbox.totals()["rejected"] == 1


@pytest.mark.parametrize("token", ["wrong", ""])
def test_a_bad_token_is_401_without_a_subcode(client, token):
    answer = client.graph(now(), token=token)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert error["code"] == 190
    assert error.keys() == {"message", "type", "code", "fbtrace_id"}


@pytest.mark.parametrize(("pixel", "token"), [("777777", TOKEN), (PIXEL, "another-token")])
def test_a_pixel_the_token_may_not_use_does_not_exist(client, pixel, token):
    answer = client.graph(now(), pixel=pixel, token=token)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["error_subcode"]) == (100, 33)


def test_a_name_instead_of_an_id_is_an_alias_that_does_not_exist(client):
    answer = client.graph(now(), pixel="my-pixel")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 803)


@pytest.mark.parametrize("version", ["v26", "26.0", "v26.0.1", "latest", ""])
def test_a_path_without_a_version_is_unknown(client, version):
    answer = client.session.post(f"{client.sandbox.url}/{version}/{PIXEL}/events", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 2500)


@pytest.mark.parametrize("version", ["v20.0", "v26.0", "v31.0"])
def test_every_version_is_known(client, version):
    answer = client.session.post(
        f"{client.sandbox.url}/{version}/{PIXEL}/events",
        json={"data": [now()], "access_token": TOKEN},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_events_can_only_be_posted(client, method):
    answer = client.session.request(method, f"{client.sandbox.url}/v26.0/{PIXEL}/events")
    assert (answer.status_code, answer.json()["error"]["error_subcode"]) == (400, 33)
    assert client.sandbox.rejections() == []


def test_without_pixels_every_pixel_and_token_is_good(client):
    with SandboxServer() as sandbox:
        client.sandbox = sandbox
        assert client.graph(now(), pixel="424242", token="x").status_code == 200
        assert client.graph(now(), pixel="424242", token="").status_code == 401


def look(client, token=TOKEN, pixel=PIXEL, **params):
    return client.session.get(
        f"{client.sandbox.url}/v26.0/{pixel}",
        params=params,
        headers={"Authorization": f"Bearer {token}"},
    )


def test_the_connection_check_answers_the_fields_asked_for(client):
    assert look(client).json() == {"id": PIXEL}
    assert look(client, fields="id,name").json() == {"id": PIXEL, "name": f"Sandbox pixel {PIXEL}"}
    assert "last_fired_time" not in look(client, fields="last_fired_time").json()
    client.browser()
    assert look(client, fields="last_fired_time").json()["last_fired_time"].endswith("+0000")


@pytest.mark.parametrize(
    ("kwargs", "status", "code"),
    [
        ({"token": "wrong"}, 401, 190),
        ({"pixel": "777777"}, 400, 100),
        ({"fields": "id,secret"}, 400, 100),
    ],
)
def test_the_connection_check_refuses(client, kwargs, status, code):
    answer = look(client, **kwargs)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert client.sandbox.rejections() == []


def test_what_the_request_says_is_kept_with_its_copies(client):
    client.graph(
        now(data_processing_options=["LDU"], referrer_url="https://a.example/", custom_data=None),
        test_event_code="TEST1",
        partner_agent="wagtail-metapixel",
    )
    [event] = client.sandbox.events()
    [copy] = event["copies"]
    assert copy["test_event_code"] == "TEST1"
    assert copy["agent"] == "wagtail-metapixel"
    assert copy["data_processing_options"] == ("LDU", "0", "0")
    assert copy["referrer_url"] == "https://a.example/"
    assert copy["custom_data"] == {}
