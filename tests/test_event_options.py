from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagtail_metapixel import event_options
from wagtail_metapixel.catalogue import LDU_STATES

LDU, COUNTRY, STATE = event_options.LDU, event_options.COUNTRY, event_options.STATE


def read(**params):
    options, rest, problems = event_options.read(params)
    return dict(options.wire), dict(rest), problems


def fields(problems):
    return [problem.field for problem in problems]


def limited(country, state):
    return {LDU: ["LDU"], COUNTRY: country, STATE: state}


def test_parameters_without_options_are_left_alone():
    params = {"value": 5}
    options, rest, problems = event_options.read(params)
    assert (options, problems) == (event_options.NONE, [])
    assert rest is params


def test_options_are_taken_out_of_the_parameters():
    wire, rest, problems = read(opt_out=True, value=5)
    assert (wire, rest, problems) == ({"opt_out": True}, {"value": 5}, [])


@pytest.mark.parametrize("params", [{"opt_out": False}, {"opt_out": None}, {LDU: []}, {LDU: None}])
def test_an_option_that_is_off_says_nothing(params):
    assert read(**params) == ({}, {}, [])


@pytest.mark.parametrize(
    ("params", "wire"),
    [
        ({}, limited(0, 0)),
        ({"value": 5}, limited(0, 0)),
        ({"opt_out": True}, {"opt_out": True, **limited(0, 0)}),
        ({LDU: None}, limited(0, 0)),
        ({STATE: "CA", COUNTRY: 1}, limited(1, 1000)),
        ({LDU: ["LDU"], STATE: "CA"}, limited(1, 1000)),
        ({LDU: []}, {LDU: []}),
        ({LDU: ()}, {LDU: []}),
        ({LDU: "no"}, limited(0, 0)),
    ],
)
def test_what_the_site_says_of_all_events_counts_where_the_call_says_nothing(params, wire):
    options, _rest, _problems = event_options.read(params, limited=True)
    assert dict(options.wire) == wire


@pytest.mark.parametrize("odd", ["no", "", 0, 1, [], {}])
def test_an_opt_out_that_is_no_boolean_still_opts_out(odd):
    wire, _rest, problems = read(opt_out=odd)
    assert wire == {"opt_out": True}
    assert [(problem.field, problem.mistake) for problem in problems] == [("opt_out", True)]


@pytest.mark.parametrize(
    ("slip", "wire"),
    [
        ({"optout": True}, {"opt_out": True}),
        ({"Opt_Out": True}, {"opt_out": True}),
        ({"data_processing_option": ["LDU"]}, limited(0, 0)),
        ({"dataProcessingOptions": ["LDU"], STATE: "CA"}, limited(1, 1000)),
        ({"ldu": True}, limited(0, 0)),
        ({"limited_data_use": True}, limited(0, 0)),
    ],
)
def test_a_slip_of_its_name_never_lifts_the_limit(slip, wire):
    found, rest, problems = read(**slip)
    assert (found, rest) == (wire, {})
    assert problems[0].mistake


@pytest.mark.parametrize(
    ("spellings", "wire"),
    [
        ({"opt_out": True, "optOut": False}, {"opt_out": True}),
        ({"opt_out": False, "optOut": True}, {"opt_out": True}),
        ({"opt_out": None, "optOut": True}, {"opt_out": True}),
        ({"opt_out": None, "optOut": None}, {}),
        ({LDU: [], "ldu": True}, limited(0, 0)),
        ({LDU: ["LDU"], "ldu": False}, limited(0, 0)),
        ({"dpo_state": "CA"}, limited(1, 1000)),
    ],
)
def test_of_several_spellings_the_one_that_limits_counts(spellings, wire):
    for order in permutations(spellings.items()):
        found, rest, _problems = read(**dict(order))
        assert found == wire
        assert "optOut" not in rest or rest["optOut"] is None


@pytest.mark.parametrize(
    "name",
    [
        "opt_out_at", "is_opt_out", "opted_in", "original_event", "original_event_id",
        "event_source_utm", "event_source_url_id", "my_referrer_url", "option", "output", "data",
    ],
)  # fmt: skip
def test_a_property_of_ones_own_is_no_slip(name):
    assert read(**{name: "x"}) == ({}, {name: "x"}, [])


@pytest.mark.parametrize(
    ("params", "wire"),
    [
        ({LDU: ["LDU"]}, limited(0, 0)),
        ({LDU: "LDU"}, limited(0, 0)),
        ({LDU: ("LDU",), COUNTRY: 0, STATE: 0}, limited(0, 0)),
        ({LDU: ["LDU"], COUNTRY: 1, STATE: 0}, limited(0, 0)),
        ({LDU: ["LDU"], COUNTRY: 1, STATE: 1000}, limited(1, 1000)),
        ({LDU: ["LDU"], STATE: "1000"}, limited(1, 1000)),
        ({LDU: ["LDU"], STATE: "CA"}, limited(1, 1000)),
        ({LDU: ["LDU"], COUNTRY: 1, STATE: " tx "}, limited(1, LDU_STATES["TX"])),
    ],
)
def test_data_may_be_limited_in_its_use(params, wire):
    assert read(**params) == (wire, {}, [])


@pytest.mark.parametrize("state", LDU_STATES)
def test_each_state_may_be_named_by_letters_or_number(state):
    assert read(**{LDU: ["LDU"], STATE: state}) == read(**{LDU: ["LDU"], STATE: LDU_STATES[state]})


@pytest.mark.parametrize(
    ("params", "wire", "field"),
    [
        ({LDU: ["XYZ"]}, limited(0, 0), LDU),
        ({LDU: {"LDU"}}, limited(0, 0), LDU),
        ({LDU: True}, limited(0, 0), LDU),
        ({STATE: 1000}, limited(1, 1000), LDU),
        ({LDU: ["LDU"], COUNTRY: 1}, limited(0, 0), STATE),
        ({LDU: ["LDU"], COUNTRY: 49, STATE: 1000}, limited(1, 1000), COUNTRY),
        ({LDU: ["LDU"], COUNTRY: 0, STATE: "CA"}, limited(1, 1000), COUNTRY),
        ({LDU: ["LDU"], COUNTRY: True, STATE: 1000}, limited(1, 1000), COUNTRY),
        ({LDU: ["LDU"], COUNTRY: 1, STATE: "NY"}, limited(0, 0), STATE),
        ({LDU: ["LDU"], COUNTRY: 1, STATE: True}, limited(0, 0), STATE),
        ({LDU: ["LDU"], STATE: 999}, limited(0, 0), STATE),
    ],
)
def test_a_mistake_never_lifts_the_limit(params, wire, field):
    found, _rest, problems = read(**params)
    assert (found, fields(problems)) == (wire, [field])
    assert all(problem.mistake for problem in problems)


def test_an_event_may_name_the_one_it_goes_back_to():
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    original = {
        "event_name": "Purchase",
        "event_time": moment,
        "order_id": 1001,
        "event_id": "0" * 32,
    }
    wire, _rest, problems = read(original_event_data=original)
    assert problems == []
    assert wire["original_event_data"] == {
        "event_name": "Purchase",
        "event_time": int(moment.timestamp()),
        "order_id": "1001",
        "event_id": "0" * 32,
    }


@pytest.mark.parametrize(
    ("original", "kept"),
    [
        ("Purchase", None),
        ({}, None),
        ({"event_name": "Purchase"}, None),
        ({"order_id": "1"}, None),
        ({"event_name": "purchase", "order_id": "1"}, None),
        ({"event_name": "Purchase", "order_id": object()}, None),
        ({"event_name": "Purchase", "event_id": "a b", "order_id": "1"}, {"order_id": "1"}),
        ({"event_name": "Purchase", "event_time": "soon", "order_id": "1"}, {"order_id": "1"}),
        (
            {"event_name": "Purchase", "event_time": datetime(2026, 1, 2), "order_id": "1"},  # noqa: DTZ001
            {"order_id": "1"},
        ),
        ({"event_name": "Purchase", "value": 5, "order_id": "1"}, {"order_id": "1"}),
        ({"event_name": "Purchase", "order_id": "jane@example.com"}, None),
    ],
)
def test_of_an_original_event_only_what_is_right_is_kept(original, kept):
    wire, _rest, problems = read(original_event_data=original)
    assert problems
    assert all(problem.mistake for problem in problems)
    expected = {"original_event_data": {"event_name": "Purchase", **kept}} if kept else {}
    assert wire == expected


@pytest.mark.parametrize("name", ["event_source_url", "referrer_url"])
def test_an_address_is_cleaned_of_what_is_nobodys_business(name):
    options, _rest, problems = event_options.read(
        {name: "https://jane:secret@shop.example/reset/abc123?email=jane@example.com#top"}
    )
    assert problems == []
    assert getattr(options, name) == "https://shop.example/reset/"
    assert options.wire == {}


@pytest.mark.parametrize("address", ["javascript:alert(1)", "/relative/", 5, "//other.example/"])
def test_what_is_no_address_is_left_out(address):
    options, _rest, problems = event_options.read({"referrer_url": address})
    assert (options.referrer_url, fields(problems)) == ("", ["referrer_url"])


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.just(Decimal("sNaN"))  # which cannot be compared
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=5,
)


SPELLINGS = [*sorted(event_options.NAMES), "optOut", "ldu", "dpo_state", "dpo_country"]


@given(st.dictionaries(st.sampled_from(SPELLINGS), ANYTHING))
def test_nothing_raises_whatever_is_given(params):
    options, rest, _problems = event_options.read(params)
    assert all(value is None for value in rest.values())
    assert options.wire.keys() <= event_options.NAMES
    assert (LDU in options.wire) == (COUNTRY in options.wire) == (STATE in options.wire)
