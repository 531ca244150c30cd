from __future__ import annotations

import json
import math
from contextlib import contextmanager
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wagtail_metapixel import catalogue, parameters, payloads
from wagtail_metapixel.events import Event

META = json.loads(Path(__file__).with_name("data").joinpath("meta_events.json").read_text())

PURCHASE = Event(
    event_name="Purchase",
    event_id="0" * 32,
    event_time=1_795_000_000,
    custom_data={"value": 12.5, "currency": "EUR", "content_name": "Łódź 🛒", "net_revenue": 3},
    event_source_url="https://testserver/cart/",
    referrer_url="https://example.com/",
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def test_server_event_holds_the_event_and_nothing_of_a_person():
    assert json.loads(payloads.server_event(PURCHASE)) == {
        "event_name": "Purchase",
        "event_time": 1_795_000_000,
        "event_id": "0" * 32,
        "action_source": "website",
        "event_source_url": "https://testserver/cart/",
        "referrer_url": "https://example.com/",
        "custom_data": PURCHASE.custom_data,
    }


def test_server_event_uses_no_key_that_meta_refuses():
    known = META["server_event_keys"]
    used = json.loads(payloads.server_event(PURCHASE)).keys()
    optional = {*known["optional"], "event_source_url"}
    assert used <= {*known["required"], *optional}


def test_what_is_not_known_is_left_out_rather_than_sent_empty():
    bare = Event(event_name="Lead", event_id="1", event_time=1)
    assert sorted(json.loads(payloads.server_event(bare))) == [
        "action_source",
        "event_id",
        "event_name",
        "event_time",
    ]


def test_browser_copy_has_the_same_id_name_and_parameters_save_what_is_the_servers_alone():
    copy = payloads.browser_event(PURCHASE, ["111", "222"])
    assert copy == {
        "i": "0" * 32,
        "n": "Purchase",
        "p": {"value": 12.5, "currency": "EUR", "content_name": "Łódź 🛒"},
        "t": 1_795_000_000,
        "x": ["111", "222"],
    }


def test_browser_copy_made_from_the_stored_bytes_is_the_one_made_from_the_event():
    stored = payloads.server_event(PURCHASE)
    assert payloads.stored_browser_event(stored, ["1"]) == payloads.browser_event(PURCHASE, ["1"])


def test_request_joins_events_with_their_user_data():
    body = payloads.request_body(
        [
            (payloads.server_event(PURCHASE), b'{"em":["abc"]}'),
            (b'{"event_name":"Lead"}', b'{"fbp":"fb.1.2.3"}'),
        ]
    )
    parsed = json.loads(body)
    assert [event["event_name"] for event in parsed["data"]] == ["Purchase", "Lead"]
    assert [event["user_data"] for event in parsed["data"]] == [
        {"em": ["abc"]},
        {"fbp": "fb.1.2.3"},
    ]
    assert "test_event_code" not in parsed


def test_request_names_its_sender_within_metas_limits():
    agent = json.loads(payloads.request_body([(b'{"a":1}', b"{}")]))["partner_agent"]
    limits = META["limits"]
    assert len(agent) < limits["partner_agent_max_chars_exclusive"]
    assert sum(map(str.isalpha, agent)) >= limits["partner_agent_min_alpha"]


def test_test_code_stands_beside_the_events():
    body = payloads.request_body([(b'{"a":1}', b"{}")], test_event_code="TEST1")
    assert json.loads(body)["test_event_code"] == "TEST1"


@contextmanager
def encoder(name):
    """Encode with orjson, or as a site does that has not got it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payloads, "HAS_ORJSON", name == "orjson")
        yield


@pytest.fixture(params=["json", "orjson"])
def either(request):
    with encoder(request.param):
        yield request.param


def same(first, second):
    """Compare two JSON values; unlike ``==``, tell 1 from 1.0 and from True, and 0.0 from -0.0."""
    return repr(first) == repr(second)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"value": x}, lambda x: [None, {"a": x}]])
def test_number_that_json_has_no_word_for_is_an_error(value, wrap, either):
    with pytest.raises(ValueError, match="JSON"):
        payloads.dump(wrap(value))


@hypothesis_settings(max_examples=100)
@example({"a": None, "b": "null", "c": 2**64, "d": -(2**63) - 1})
@example([1e16, 1e-7, 1e22, -0.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308])
@given(json_values)
def test_dump_loses_nothing_and_both_encoders_say_the_same(value):
    for name in ("json", "orjson"):
        with encoder(name):
            assert same(json.loads(payloads.dump(value)), value)


@hypothesis_settings(max_examples=100)
@example('\x00\x1f\x7f\x80\u2028"\\/<é🛒')
@given(texts)
def test_a_text_is_the_same_bytes_from_both_encoders(text):
    with encoder("json"):
        expected = payloads.dump({text: [text]})
    with encoder("orjson"):
        assert payloads.dump({text: [text]}) == expected


def test_number_of_more_than_64_bits_is_written_as_it_is(either):
    assert payloads.dump([2**64, -(2**70)]) == b"[18446744073709551616,-1180591620717411303424]"


def test_key_that_is_a_number_becomes_a_text(either):
    assert payloads.dump({1: 2}) == b'{"1":2}'


def test_half_a_surrogate_pair_is_an_error(either):
    with pytest.raises(ValueError, match="surrogates"):
        payloads.dump("\ud800")


@pytest.mark.parametrize("value", [date(2026, 1, 1), {1, 2}, b"x", 1j], ids=str)
def test_what_is_no_json_is_not_guessed_at(value, either):
    with pytest.raises(TypeError):
        payloads.dump(value)


@pytest.mark.parametrize("value", [12.5, 0.1, 1234.56, 100.0, 10**15, 1.234, 0])
def test_an_amount_is_the_same_bytes_from_both_encoders(value, either):
    assert payloads.dump(value) == repr(value).encode()


@hypothesis_settings(max_examples=50)
@example({"name": "</script><b>"})
@given(st.dictionaries(texts, json_values, max_size=3))
def test_declaration_stays_inside_its_script_element(custom_data):
    text = payloads.declaration("ViewContent", custom_data)

    class Reader(HTMLParser):
        found = ""
        tags = 0

        def handle_starttag(self, tag, attrs):
            self.tags += 1

        def handle_data(self, data):
            self.found += data

    reader = Reader()
    reader.feed(f"<script>{text}</script>")
    reader.close()
    assert (reader.found, reader.tags) == (text, 1)
    kept = {k: v for k, v in custom_data.items() if k not in parameters.SERVER_ONLY}
    assert json.loads(text).get("custom_data", {}) == kept


@pytest.mark.parametrize("dangerous", ["</script>", "<!--", "]]>", "&lt;", "\u2028", "\u2029"])
def test_characters_that_could_end_or_confuse_a_script_are_escaped(dangerous):
    text = payloads.script_safe(json.dumps(dangerous, ensure_ascii=False))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == dangerous


def test_declaration_shows_no_browser_what_is_the_servers_alone():
    assert "net_revenue" not in payloads.declaration("Purchase", PURCHASE.custom_data)


def test_the_name_we_send_under_is_one_that_meta_takes():
    assert len(payloads.PARTNER_AGENT) <= catalogue.PARTNER_AGENT_MAX
    assert sum(map(str.isalpha, payloads.PARTNER_AGENT)) >= catalogue.PARTNER_AGENT_MIN_LETTERS
