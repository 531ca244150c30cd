"""What one key's normal form owes to its neighbours, and what nobody can see."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagtail_metapixel import match_keys
from wagtail_metapixel.matching import match, normalise
from wagtail_metapixel.normalisers import DOUBTS, NORMALISERS, RAW_MAX, plain, prepared


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_normaliser_belongs_to_a_key_of_meta_s():
    assert NORMALISERS.keys() | DOUBTS.keys() <= match_keys.USER_DATA.keys()


# Texts


@pytest.mark.parametrize("character", "\u00ad\u034f\u115f\u1160\u200b\u200f\u2060\u2800\u3164\ufeff\uffa0\ud800\U000e0020")  # fmt: skip
@pytest.mark.parametrize("around", ["{}Zoë{}", "Zo{}ë", "Zoe{}\u0308", "{}"])
def test_what_nobody_can_see_is_taken_out(character, around):
    expected = "" if around == "{}" else "Zoë"
    assert prepared(around.replace("{}", character)) == expected
    assert normalise("fn", around.replace("{}", character)) == (expected.lower() or None)


@given(st.text(max_size=60))
def test_preparing_twice_changes_nothing(text):
    once = prepared(text)
    assert prepared(once) == once
    once.encode()


def test_a_long_text_is_cut_before_it_is_composed():
    assert len(prepared("é" * 1_000_000)) == 4 * RAW_MAX


@pytest.mark.parametrize(
    ("text", "kept"), [("x" * 500, True), ("x" * 501, False), ("a\x00", False)]
)
def test_other_texts_are_sent_as_they_are_or_not_at_all(text, kept):
    assert plain(text, None, None) == (text if kept else None)


@pytest.mark.parametrize(
    "text", ["jane@example.com", "x jane@example.com x", "<jane@mail.example.com>"]
)
def test_a_text_that_is_sent_as_it_is_holds_no_e_mail_address(text):
    assert plain(text, None, None) is None


@pytest.mark.parametrize(
    "raw", ["'foo@bar.com'", "foo@bar.com'", "`foo@bar.com`", "\u2018foo@bar.com\u2019", "»foo@bar.com«"]
)  # fmt: skip
def test_an_e_mail_address_in_quotes_is_left_out(raw):
    assert normalise("email", raw) is None
    assert normalise("email", "o'neil@example.com") == "o'neil@example.com"


@pytest.mark.parametrize(
    ("raw", "country", "expected"),
    [
        ("CH-8001", None, "8001"),
        ("CH-8001", "ch", "8001"),
        ("ch - 8001", "ch", "8001"),
        ("CH-8001", "de", "ch8001"),
        ("D 01067", "de", "01067"),
        ("D 01067", None, "01067"),
        ("D\xa001067", None, "01067"),
        ("DEU 01067", "de", "01067"),
        ("PL 00-950", "pl", "00"),
        ("FIN-00100", "fi", "00100"),
        ("P-1000-205", None, "1000"),
        ("L-1234567", None, "l1234567"),
        ("CA 94025", "us", "94025"),
        ("CA 94025", "ca", "ca94025"),
        ("CA 94025", None, "ca94025"),
        ("CA-94025-1234", "us", "94025"),
        ("VLT-1117", "mt", "vlt1117"),
        ("VLT-1117", None, "vlt1117"),
        ("VLT 1117", "mt", "vlt1117"),
        ("MT-1117", "mt", "mt1117"),
        ("HM-12", "bm", "hm12"),
        ("HM-12", None, "hm12"),
        ("D02 X285", "ie", "d02x285"),
        ("D2 X285", None, "d2x285"),
        ("D-10115", "de", "10115"),
        ("D\u201310115", None, "10115"),
        ("SE-111 22", "se", "11122"),
        ("POL-00-950", "pl", "00"),
        ("GB-SW1A 1AA", "gb", "sw1a1aa"),
        ("EC1A-1BB", "gb", "ec1a"),
        ("94035-1234", "us", "94035"),
        ("US-94035-1234", "us", "94035"),
        ("US-94035-1234", None, "94035"),
        ("00-950", "pl", "00"),
    ],
)
def test_the_country_in_front_of_a_postcode_is_no_part_of_it(raw, country, expected):
    assert normalise("zip", raw, country=country) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("06.05.1990", "19900506"),
        ("6.5.1990", "19900506"),
        ("02.16.1997", "19970216"),
        ("13.13.1990", None),
        ("06-05-1990", None),
        ("06/05/1990", None),
        ("1990-05-06T00:00:00", "19900506"),
        ("1990-05-06 23:59:59.123456", "19900506"),
        ("1990-05-06T10:30", "19900506"),
        ("1990-05-06T00:00:00Z", None),
        ("1990-05-06T00:00:00+02:00", None),
        ("1990-05-06T30:00", None),
        ("1990-05-06T", None),
    ],
)
def test_a_date_is_read_where_it_has_one_reading(raw, expected):
    assert normalise("date_of_birth", raw) == expected


@pytest.mark.parametrize(("length", "accepted"), [(320, True), (321, False)])
def test_an_e_mail_address_has_at_most_320_characters(length, accepted):
    address = "a@b.co".rjust(length, "x")
    assert (normalise("email", address) == address) is accepted


# State and postcode depend on the country


@pytest.mark.parametrize(
    ("state", "country", "expected"),
    [
        ("California", "US", "ca"),
        ("California", "United States", "ca"),
        ("California", "USA", "ca"),
        ("California", ["us"], "ca"),
        ("US-CA", "us", "ca"),
        ("TX 75001", "us", "tx"),
        ("california", None, "california"),
        ("California", ["us", "mx"], "california"),
        ("California", sha256("us"), "california"),
        ("Québec", "CA", "qc"),
        ("Quebec", "Canada", "qc"),
        ("British Columbia", "ca", "bc"),
        ("British Columbia", None, "britishcolumbia"),
        ("New South Wales", "AU", "newsouthwales"),
        ("TX", "us", "tx"),
        ("Georgia", "GE", "georgia"),
        ("Ontario, Canada", "CA", "on"),
        ("ON, Canada", "CA", "on"),
        ("Ont.", "CA", "on"),
        ("State of New York", "US", "ny"),
        ("Washington State", "US", "wa"),
        ("N. Carolina", "US", "nc"),
        ("CA, USA", "US", "ca"),
    ],
)
def test_states_become_two_letters_only_in_america_and_canada(state, country, expected):
    found, problems = match({"country": country, "state": state})
    assert found["st"] == [sha256(expected)]
    assert problems == []


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("TX 75001", "tx"),
        ("三重県 514", "三重県"),
        ("一", "一"),
        ("一\u0301 5", "一\u0301"),
        ("½", None),
    ],
)
def test_a_state_loses_its_digits_and_no_letter(state, expected):
    assert normalise("st", state) == expected


@pytest.mark.parametrize(
    ("code", "country", "expected"),
    [
        ("940351234", None, "94035"),
        ("940351234", "US", "94035"),
        ("940351234", "America", "94035"),
        ("940351234", "SA", "940351234"),
        ("94035", "US", "94035"),
    ],
)
def test_nine_digits_are_cut_unless_the_country_is_another(code, country, expected):
    found, _problems = match({"zip": code, "country": country})
    assert found["zp"] == [sha256(expected)]


def test_one_country_is_hashed_however_it_is_written():
    for raw in ("PL", "pl", " Poland ", "POL", "Polska", ["PL", "Poland"]):
        assert match({"country": raw}) == ({"country": [sha256("pl")]}, [])


def test_a_country_that_is_a_digest_already_stays():
    assert match({"country": sha256("pl").upper()}) == ({"country": [sha256("pl")]}, [])
