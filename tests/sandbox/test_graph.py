"""Access, and the connection check, over real HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.samples import FBP, PIXEL, TOKEN, a_purchase, an_event, digest
from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.graph import Access, Graph
from wagtail_metapixel.sandbox.misbehaviour import Misbehaving
from wagtail_metapixel.sandbox.server import SandboxServer
from wagtail_metapixel.sandbox.store import Store
from wagtail_metapixel.sandbox.wire import Request


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


def test_a_bad_token_is_401_without_a_subcode(client):
    answer = client.graph(now(), token="wrong")
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == (190, "OAuthException")
    assert error.keys() == {"message", "type", "code", "fbtrace_id"}


def test_no_token_at_all_is_104(client):
    answer = client.graph(now(), token="")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 104


def test_a_fault_of_the_call_itself_is_blamed_on_its_parameter(client):
    error = client.graph(now(), partner_agent="x").json()["error"]
    assert (error["code"], error.get("error_subcode")) == (100, None)
    assert error["error_data"] == {"blame_field_specs": [["partner_agent"]]}


def proof(secret, token=TOKEN):
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("proof", "status"),
    [(proof("app-secret"), 200), (proof("other"), 400), ("", 400), (proof("app-secret", "t"), 400)],
)
def test_with_an_app_secret_every_call_needs_its_proof(client, proof, status):
    with SandboxServer(pixels={PIXEL: TOKEN}, app_secret="app-secret") as sandbox:
        client.sandbox = sandbox
        answers = [client.graph(now(), appsecret_proof=proof), look(client, appsecret_proof=proof)]
    assert [answer.status_code for answer in answers] == [status, status]
    if status == 400:
        assert {answer.json()["error"]["code"] for answer in answers} == {104}


def test_without_an_app_secret_a_proof_is_not_looked_at(client):
    assert client.graph(now(), appsecret_proof="0" * 64).status_code == 200


@pytest.mark.parametrize(("pixel", "token"), [("777777", TOKEN), (PIXEL, "another-token")])
def test_a_pixel_the_token_may_not_use_does_not_exist(client, pixel, token):
    answer = client.graph(now(), pixel=pixel, token=token)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["error_subcode"]) == (100, 33)
    assert error["type"] == "GraphMethodException"
    assert error["message"].startswith(f"Unsupported post request. Object with ID '{pixel}'")


def test_a_name_instead_of_an_id_is_an_alias_that_does_not_exist(client):
    answer = client.graph(now(), pixel="my-pixel")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 803)


@pytest.mark.parametrize("version", ["/v1", "/v26", "/26.0", "/v26.0.1", "/latest", "/", ""])
def test_a_path_without_a_version_is_unknown(client, version):
    answer = client.session.post(f"{client.sandbox.url}{version}/{PIXEL}/events", json={})
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
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["error_subcode"]) == (400, 100, 33)
    assert f"Unsupported {method.lower()} request" in error["message"]
    assert client.sandbox.rejections() == []


def test_without_pixels_every_pixel_and_token_is_good(client):
    with SandboxServer() as sandbox:
        client.sandbox = sandbox
        assert client.graph(now(), pixel="424242", token="x").status_code == 200
        assert client.graph(now(), pixel="424242", token="").status_code == 400


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


# Data in plain text


@pytest.mark.parametrize("em", ["ada@example.com", ["ada@example.com"], [None, "ada@example.com"]])
def test_plain_text_is_taken_with_a_warning_and_not_kept(client, em):
    answer = client.graph(now(user_data={"fbp": FBP, "em": em}))
    assert answer.json()["events_received"] == 1
    [event] = client.sandbox.events()
    [copy] = event["copies"]
    assert copy["unhashed"] == ("em",)
    assert copy["user_data"] == {"fbp": FBP}
    assert "unhashed" in {found["code"] for found in event["diagnostics"]}
    assert "ada@example.com" not in json.dumps(event)


def test_of_a_list_only_the_digests_are_kept(client):
    client.graph(now(user_data={"em": [digest("x"), "ada@example.com", ""], "ph": [None]}))
    [event] = client.sandbox.events()
    assert event["copies"][0]["user_data"] == {"em": [digest("x")]}
    assert event["copies"][0]["unhashed"] == ("em",)


# Whatever comes

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
) | st.sampled_from([10**400, -(10**400), "\ud800", "x" * 99, digest("x"), FBP, PIXEL])


def an_odd_object(keys):
    return st.dictionaries(st.sampled_from(sorted(keys)), ANY_JSON, max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    base=st.sampled_from([an_event(), a_purchase()]),
    event=an_odd_object(rules.EVENT_KEYS),
    user_data=an_odd_object(rules.MATCH_KEYS.keys()),
    custom_data=an_odd_object({*rules.CUSTOM_DATA_TYPES, "value", "currency", "contents", "own"}),
    strict=st.booleans(),
)
def test_whatever_comes_is_taken_or_refused_in_metas_shape(
    base, event, user_data, custom_data, strict
):
    whole = base | {
        "user_data": base["user_data"] | user_data,
        "custom_data": base["custom_data"] | custom_data,
    }
    body = json.dumps({"data": [whole | event]}).replace("Infinity", "1e400").encode()
    headers = {"content-type": "application/json", "authorization": "Bearer x"}
    store = Store(clock=lambda: whole["event_time"])
    graph = Graph(store, Misbehaving(), Access(), strict=strict)
    request = Request("POST", "", "", headers, body, ("127.0.0.1", 1))
    answer, ids = graph.send_events(request, PIXEL)
    said = json.loads(answer.body)
    assert (answer.status, len(ids)) in {(200, 1), (400, 0)}
    assert (said.get("events_received") == 1) is (answer.status == 200)
    json.dumps([store.events(), store.rejections()], allow_nan=False)
