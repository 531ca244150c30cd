"""Texts, ids and the keys of parameters."""

from __future__ import annotations

import enum
import unicodedata
import uuid
from datetime import date

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import example, given
from hypothesis import strategies as st

from wagtail_metapixel import catalogue, texts
from wagtail_metapixel.exceptions import RefusedError


class Size(enum.Enum):
    LARGE = "large"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Cup", "Cup"),
        ("e\u0301", "\u00e9"),
        ("a\tb\r\nc\u2028d", "a b c d"),
        ("a\0b\ufeffc\u202ed\ud800e", "abcde"),
        ("👨\u200d👩", "👨\u200d👩"),
        (17, "17"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (date(2026, 2, 3), "2026-02-03"),
        (gettext_lazy("Cup"), "Cup"),
        (Size.LARGE, "large"),
    ],
)
def test_a_text_can_be_read(raw, expected):
    assert texts.readable(raw) == expected


@pytest.mark.parametrize(
    "raw", [None, True, 1.5, b"x", ["x"], pytest.param(object(), id="an object")], ids=str
)
def test_what_is_no_text_is_refused(raw):
    with pytest.raises(RefusedError):
        texts.readable(raw)


@given(st.text(max_size=50))
@example("e\u0301" * 1000)
def test_a_text_that_was_read_is_read_as_itself(raw):
    once = texts.cut(texts.readable(raw))
    if once is not None:
        assert texts.cut(texts.readable(once)) == once
        assert 0 < len(once) <= catalogue.TEXT_MAX
        assert unicodedata.is_normalized("NFC", once)
        once.encode()


@given(st.text(max_size=90) | st.integers())
def test_an_id_is_short_or_nothing(raw):
    found = texts.identifier(raw)
    assert found is None or 0 < len(found) <= texts.ID_MAX
    assert found is None or found == found.strip()


@pytest.mark.parametrize(
    "raw", ["a" * 101, "a" * 99 + "\u0142\u0142", "\ufeff" * 501 + "a", "a" * 10**6, 10**100]
)
def test_an_id_that_is_too_long_is_refused_and_not_cut(raw):
    with pytest.raises(RefusedError, match="longer than 100") as caught:
        texts.identifier(raw)
    assert not caught.value.mistake
    assert texts.identifier(f" {'a' * 100} ") == "a" * 100


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optout", "opt_out"),
        ("opt_Out", "opt_out"),
        ("data_processing_option", "data_processing_options"),
        ("dataProcessingOptions", "data_processing_options"),
        ("ldu", "data_processing_options"),
        ("limited_data_use", "data_processing_options"),
        ("event_source_urls", "event_source_url"),
    ],
)
def test_a_key_that_is_nearly_an_option_of_the_event_is_no_property(key, meant):
    problems = []
    assert not texts.is_property_key(key, problems)
    (problem,) = problems
    assert repr(meant) in problem.rule
    assert (problem.field, problem.mistake) == (key, True)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optout", "opt_out"),
        ("opt_Out", "opt_out"),
        ("data_processing_option", "data_processing_options"),
        ("dataProcessingOptions", "data_processing_options"),
        ("data_procesing_options_state", "data_processing_options_state"),
        ("ldu", "data_processing_options"),
        ("limited_data_use", "data_processing_options"),
        ("opt_out", ""),
        ("event_source", ""),
        ("colour", ""),
        ("data", ""),
    ],
)
def test_an_option_is_recognised_behind_a_slip(key, meant):
    assert texts.option_meant(key) == meant


def test_a_parameter_in_another_spelling_is_not_taken_for_an_option():
    problems = []
    assert texts.is_property_key("eventSource", problems)
    assert "'event_source'" in problems[0].rule


@pytest.mark.parametrize("key", ["p48601234567", "id_123_45_67"])
def test_a_key_that_may_be_somebody_s_number_is_not_repeated(key):
    assert texts.field_of(key) == "custom_data"
    assert texts.field_of(key, of_item=True) == "contents"
    assert texts.field_of("utm_2026") == "utm_2026"


@given(st.text(max_size=60) | st.integers() | st.none())
@example("value ")
@example("content_id\n")
def test_a_key_is_ascii_and_short_or_refused_with_a_word(key):
    problems = []
    if texts.is_property_key(key, problems):
        assert key.isascii()
        assert 0 < len(key) <= catalogue.PROPERTY_NAME_MAX
        assert key.isprintable()
    else:
        assert problems


@pytest.mark.parametrize("key", ["colour", "city", "checkin_date", "preferred_neighborhoods"])
def test_a_key_unlike_any_other_passes_without_a_word(key):
    problems = []
    assert texts.is_property_key(key, problems)
    assert problems == []


@pytest.mark.parametrize(
    ("key", "of_item", "meant"),
    [
        ("content_id", False, "content_ids"),
        ("content_id", True, "id"),
        ("contentIds", False, "content_ids"),
        ("Value", False, "value"),
        ("ITEM_PRICE", True, "item_price"),
        ("revenue", False, "value"),
    ],
)
def test_a_key_that_is_nearly_another_is_told_which(key, of_item, meant):
    problems = []
    assert texts.is_property_key(key, problems, of_item=of_item)
    (problem,) = problems
    assert repr(meant) in problem.rule
    assert problem.field == (f"contents.{key}" if of_item else key)
