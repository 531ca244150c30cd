"""Refusals beside Meta's own list of them."""

from __future__ import annotations

import pytest

from tests.sandbox.samples import FACTS
from wagtail_metapixel.sandbox.graph_errors import (
    bad_proof,
    bad_token,
    invalid_call,
    invalid_event,
    invalid_parameter,
    missing_token,
    too_lax,
    unexpected_key,
    unknown_object,
)
from wagtail_metapixel.sandbox.misbehaviour import Misbehaviour

META = {(fact["code"], fact["subcode"]): fact for fact in FACTS["errors"]}
PATH = "$['data'][0]"
REFUSALS = [
    bad_token("Cannot parse access token"),
    bad_token("Session has expired", 463),
    missing_token(),
    bad_proof(),
    unknown_object("1", "POST"),
    invalid_event(2804003, "Too old", "Too old."),
    invalid_parameter(PATH, "is required"),
    unexpected_key("x", PATH),
    invalid_call("data", "is required"),
    too_lax({"No event_id": "Send one."}),
    *(Misbehaviour(mode).refusal() for mode in ("500", "throttle", "expired_token")),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: f"{error.code}-{error.subcode}")
def test_every_refusal_has_metas_status_and_says_as_meta_does_whether_to_try_again(error):
    fact = META[error.code, error.subcode]
    assert error.status == fact["http_status"]
    assert bool(error.transient) is fact["transient"]


def test_a_throttled_call_may_also_be_429():
    error = Misbehaviour("429").refusal()
    assert META[error.code, None]["transient"] is error.transient is True
    assert error.status == 429


def test_what_is_not_known_is_left_out():
    body = bad_token("Cannot parse access token").body()["error"]
    assert body.keys() == {"message", "type", "code", "fbtrace_id"}


def test_only_a_fault_of_the_call_itself_blames_a_parameter():
    assert invalid_call("data", "is required").body()["error"]["error_data"] == {
        "blame_field_specs": [["data"]]
    }
    assert "error_data" not in invalid_parameter(PATH, "is required").body()["error"]


def test_no_two_refusals_have_one_trace():
    error = missing_token()
    assert error.body()["error"]["fbtrace_id"] != error.body()["error"]["fbtrace_id"]


def test_a_key_is_cut_before_it_is_repeated():
    assert "x" * 81 not in unexpected_key("x" * 500, PATH).explanation
