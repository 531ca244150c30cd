"""The errors of Meta's that are explained, against the facts in ``tests/data``."""

from __future__ import annotations

import json
from pathlib import Path

from wagtail_metapixel.meta_errors import ERRORS

META = json.loads(Path(__file__).with_name("data").joinpath("meta_events.json").read_text())


def test_every_error_of_meta_s_is_explained():
    facts = {(error["code"], error["subcode"]) for error in META["errors"]}
    assert set(ERRORS) == facts


def test_an_error_says_what_it_means_and_what_to_do():
    for key, error in ERRORS.items():
        assert error.meaning.endswith("."), key
        assert error.remedy.endswith("."), key


def test_an_error_that_passes_needs_nobody_s_hand():
    passing = {(error["code"], error["subcode"]) for error in META["errors"] if error["transient"]}
    waits = {key for key, error in ERRORS.items() if error.remedy.startswith("Nothing to do")}
    assert waits == passing - {(368, None)}  # somebody has to look why Meta blocks


def test_a_subcode_stands_beside_its_code():
    codes = {code for code, subcode in ERRORS if subcode is None}
    assert {code for code, _subcode in ERRORS} == codes
