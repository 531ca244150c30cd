"""Browser hits, over real HTTP."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.samples import AGENT, FBP, NOW, PIXEL, a_hit, digest


def the_copy(sandbox):
    [event] = sandbox.events()
    return event["copies"][0]


def test_a_hit_is_read(client):
    answer = client.browser(rl="https://www.facebook.com/", a="wagtail-metapixel", fbc="fb.1.2.x")
    assert answer.headers["Content-Type"] == "image/gif"
    assert answer.content.startswith(b"GIF89a")
    copy = the_copy(client.sandbox)
    assert copy["channel"] == "browser"
    assert copy["method"] == "image"
    assert copy["event_id"] == "id-1"
    assert copy["event_time"] == NOW
    assert copy["event_source_url"] == "https://shop.example/mug/"
    assert copy["referrer_url"] == "https://www.facebook.com/"
    assert copy["agent"] == "wagtail-metapixel"
    assert copy["user_data"] == {
        "client_ip_address": "127.0.0.1",
        "client_user_agent": AGENT,
        "fbc": "fb.1.2.x",
        "fbp": FBP,
    }


def test_parameters_get_their_types_again(client):
    contents = [{"id": "a", "quantity": 1, "item_price": 12.5}]
    sent = {"value": "12.50", "num_items": "1", "content_ids": '["a"]', "order_id": "10042"}
    fields = {f"cd[{name}]": value for name, value in sent.items()}
    client.browser(**fields, **{"cd[contents]": json.dumps(contents), "cd[note]": "[broken"})
    assert the_copy(client.sandbox)["custom_data"] == {
        "value": 12.5,
        "num_items": 1,
        "content_ids": ["a"],
        "order_id": "10042",
        "contents": contents,
        "note": "[broken",
    }


@pytest.mark.parametrize("name", ["content_name", "content_category", "search_string", "order_id"])
def test_a_text_that_looks_like_json_stays_a_text(client, name):
    client.browser(**{f"cd[{name}]": '{"value": 1}'})
    assert the_copy(client.sandbox)["custom_data"] == {name: '{"value": 1}'}


@pytest.mark.parametrize("path", ["/tr", "/tr/"])
@pytest.mark.parametrize("form", ["urlencoded", "multipart"])
def test_a_posted_hit_is_read(client, path, form):
    fields = a_hit(**{"cd[content_name]": "Köln"})
    parts = {name: (None, value) for name, value in fields.items()}
    body = {"data": fields} if form == "urlencoded" else {"files": parts}
    assert client.session.post(client.sandbox.url + path, **body).status_code == 200
    copy = the_copy(client.sandbox)
    assert copy["method"] == "post"
    assert copy["custom_data"] == {"content_name": "Köln"}


def test_the_image_without_javascript_is_read(client):
    client.browser(noscript="1", ts=None, eid=None)
    copy = the_copy(client.sandbox)
    assert (copy["method"], copy["event_time"], copy["event_id"]) == ("noscript", None, "")


def test_match_keys_are_kept_hashed_only(client):
    client.browser(**{"ud[em]": digest("x"), "ud[ph]": "+49 1", "ud[external_id]": "user-1"})
    copy = the_copy(client.sandbox)
    assert copy["user_data"]["em"] == digest("x")
    assert copy["user_data"]["external_id"] == "user-1"
    assert copy["unhashed"] == ("ph",)
    assert "+49" not in json.dumps(client.sandbox.events())


def test_limited_data_use_is_read(client):
    client.browser(dpo="LDU", dpoco="1", dpost="1000")
    assert the_copy(client.sandbox)["data_processing_options"] == ("LDU", "1", "1000")


def test_switched_off_limited_data_use_is_no_option(client):
    client.browser(dpo="", dpoco="0", dpost="0")
    assert the_copy(client.sandbox)["data_processing_options"] == ()


@pytest.mark.parametrize(
    "changes", [{"id": None}, {"id": "abc"}, {"id": "777777"}, {"ev": None}, {"ev": ""}]
)
def test_a_hit_that_meta_would_drop_gets_its_image_and_is_shown_as_refused(client, changes):
    assert client.browser(**changes).status_code == 200
    assert client.sandbox.events() == []
    [rejection] = client.sandbox.rejections()
    assert rejection["channel"] == "browser"


def test_a_value_nested_without_end_stays_text(client):
    deep = "[" * 200 + "]" * 200
    client.browser(**{"cd[x]": deep})
    assert the_copy(client.sandbox)["custom_data"] == {"x": deep}


def test_any_page_may_send_hits(client):
    headers = {"Origin": "https://shop.example"}
    answer = client.session.get(client.sandbox.url + "/tr/", params=a_hit(), headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert client.session.options(client.sandbox.url + "/tr/").status_code == 204


def test_hit_and_call_meet(client):
    client.browser()
    client.server()
    [event] = client.sandbox.events(name="Contact", pixel=PIXEL)
    assert event["status"] == "deduplicated"
    assert client.sandbox.events(name="Lead") == []
