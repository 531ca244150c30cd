"""The verdict finds what is missing, doubled, different or unexpected."""

from __future__ import annotations

import copy
import itertools

import pytest
from walking.verdict import Expected, judge

pytestmark = pytest.mark.browser

CLICK_ID = "IwAR0MixedCase_AbC-123"
USER_DATA = {"fbp": "fb.0.1700000000000.1", "fbc": f"fb.0.1700000000000.{CLICK_ID}"}
numbers = itertools.count(1)


def one_copy(channel, custom_data):
    return {
        "channel": channel,
        "custom_data": custom_data,
        "user_data": dict(USER_DATA),
        "event_source_url": "http://127.0.0.1:1/cart/?q=1",
    }


def record(name="AddToCart", **custom_data):
    return {
        "event_name": name,
        "event_id": f"{next(numbers):032x}",
        "status": "deduplicated",
        "counts": {"browser": 1, "server": 1},
        "kept": "browser",
        "lacking": ["em"],
        "differences": [],
        "diagnostics": [],
        "copies": [one_copy("browser", custom_data), one_copy("server", dict(custom_data))],
    }


def faults(expected, records, **options):
    return judge(expected, records, click_id=CLICK_ID, **options).faults


def test_what_arrived_as_expected_is_without_fault():
    verdict = judge(
        [Expected("AddToCart", "/cart/", {"value": "20.00"})],
        [record(value=20)],
        click_id=CLICK_ID,
    )
    assert verdict
    head, _line, row, *_rest = str(verdict).splitlines()
    assert head.split()[:6] == ["Event", "Page", "Id", "Browser", "Server", "Deduplicated"]
    assert row.split() == ["AddToCart", "/cart/", "00000000", "1", "1", "yes", "browser", "em"]
    assert "Nothing unexpected" in verdict.last_line()


def test_event_that_did_not_arrive_is_named():
    assert faults([Expected("Purchase")], []) == ["Purchase: arrived from neither side"]


@pytest.mark.parametrize(
    ("counts", "fault"),
    [
        ({"browser": 0, "server": 1}, "the browser's copy did not arrive"),
        ({"browser": 1, "server": 0}, "the server's copy did not arrive"),
        ({"browser": 1, "server": 2}, "the server's copy arrived 2 times"),
    ],
)
def test_copies_are_counted(counts, fault):
    (found,) = faults([Expected("AddToCart")], [record() | {"counts": counts}])
    assert found.endswith(fault)


def test_event_nobody_caused_is_a_fault():
    (found,) = faults([], [record("Purchase")])
    assert found.endswith("nobody did this")


def test_different_parameters_are_told_with_both_values():
    different = [{"field": "custom_data.value", "browser": 1, "server": 2}]
    (found,) = faults([Expected("AddToCart")], [record() | {"differences": different}])
    assert found.endswith("custom_data.value is 1 in the browser and 2 on the server")


def test_any_match_key_of_both_copies_has_to_be_equal():
    received = record()
    received["copies"][0]["user_data"]["client_user_agent"] = "A"
    received["copies"][1]["user_data"]["client_user_agent"] = "B"
    (found,) = faults([Expected("AddToCart")], [received])
    assert "user_data.client_user_agent" in found


def test_click_id_has_to_arrive_as_it_came():
    received = record()
    for each in received["copies"]:
        each["user_data"]["fbc"] = each["user_data"]["fbc"].lower()
    found = faults([Expected("AddToCart")], [received])
    assert len(found) == 2
    assert "the click id of the browser's copy changed" in found[0]


@pytest.mark.parametrize("key", ["fbp", "fbc"])
def test_copy_without_an_id_is_a_fault(key):
    received = record()
    del received["copies"][1]["user_data"][key]
    (found,) = faults([Expected("AddToCart")], [received])
    assert found.endswith(f"the server's copy has no {key}")


def test_visitor_who_changes_on_the_way_is_a_fault():
    second = copy.deepcopy(record())
    for each in second["copies"]:
        each["user_data"]["fbp"] = "fb.0.1700000000000.2"
    (found,) = faults([Expected("AddToCart")] * 2, [record(), second])
    assert found.startswith("fbp changed on the way")


def test_parameters_have_to_be_those_on_the_page():
    (found,) = faults([Expected("AddToCart", "", {"value": "20.00"})], [record(value=19)])
    assert found.endswith("value is 19, on the page it was '20.00'")


def test_events_are_paired_by_what_they_say_and_not_by_their_order():
    wanted = [Expected("AddToCart", "", {"value": "1"}), Expected("AddToCart", "", {"value": "2"})]
    assert faults(wanted, [record(value=2), record(value=1)]) == []


def test_warnings_refusals_and_troubles_are_faults():
    warning = {"level": "warning", "channel": "server", "title": "Invalid fbp"}
    advice = {"level": "advice", "channel": "", "title": "No contents"}
    found = faults(
        [Expected("AddToCart")],
        [record() | {"diagnostics": [warning, advice]}],
        refused=[{"error": {"message": "Bad token"}}],
        troubles=["a page complained"],
    )
    assert found[0].endswith("server: Invalid fbp")
    assert found[1:] == ["the sandbox refused a request: Bad token", "a page complained"]
