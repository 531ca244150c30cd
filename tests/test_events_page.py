"""docs/events.md against the tables it is written from."""

from __future__ import annotations

from tests.events_page import PAGE, page
from wagtail_metapixel import catalogue, match_keys, parameters
from wagtail_metapixel.meta_errors import ERRORS


def test_the_page_is_what_the_catalogue_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.events_page"


def test_the_page_names_everything_in_the_catalogue():
    text = page()
    tables = (
        catalogue.STANDARD_EVENTS, catalogue.CUSTOM_EVENTS, parameters.PARAMETERS,
        parameters.ITEM_PARAMETERS, match_keys.USER_DATA, catalogue.ACTION_SOURCES,
        parameters.SYNONYMS, catalogue.RESERVED_NAMES,
    )  # fmt: skip
    for table in tables:
        for name in table:
            assert f"`{name}`" in text, name
    for state, number in catalogue.LDU_STATES.items():
        assert f"{state} {number}" in text
    for code, subcode in ERRORS:
        assert str(subcode or code) in text
    for limit in catalogue.LIMITS:
        assert limit.meaning in text


def test_the_page_holds_no_markup_that_a_reader_would_swallow():
    assert "<" not in page()
