"""Numbers that say their country, numbers that do not, and numbers nobody can be sure of."""

from __future__ import annotations

import hashlib

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wagtail_metapixel import phone_numbers
from wagtail_metapixel.matching import match, normalise
from wagtail_metapixel.phone_numbers import ascii_digits, normalise_phone


@pytest.fixture(params=[True, False], ids=["extra phone", "without the extra"])
def extra(request, monkeypatch):
    monkeypatch.setattr(phone_numbers, "HAS_PHONENUMBERS", request.param)
    return request.param


def sent(raw, **others):
    """The digest of a number, or None."""
    region = others.pop("region", None)
    return match({"phone": raw, **others}, region=region)[0].get("ph")


def digest(digits):
    return [hashlib.sha256(digits.encode()).hexdigest()]


def test_the_extra_is_installed_where_the_tests_run():
    assert phone_numbers.HAS_PHONENUMBERS


@pytest.mark.parametrize("raw", ["+48 601 234 567", "0048601234567", "(+48) 601 234 567"])
@pytest.mark.parametrize("region", [None, "PL", "DE"])
def test_international_numbers_need_neither_region_nor_extra(extra, raw, region):
    assert sent(raw, region=region) == digest("48601234567")


def test_a_national_number_is_read_in_its_region(extra):
    found, problems = match({"phone": "0151 23456789"}, region="DE")
    if extra:
        assert found == {"ph": digest("4915123456789")}
        assert problems == []
    else:
        assert found == {}
        assert "country code" in problems[0].rule


def test_a_national_number_without_a_region_is_held_back(extra):
    found, (problem,) = match({"phone": "0601234567"})
    assert found == {}
    assert problem.field == "phone"
    assert "country code" in problem.rule


def test_bare_digits_are_meta_s_own_form_on_a_site_without_region(extra):
    assert sent("16505551212") == digest("16505551212")
    assert sent("4792813113") == digest("4792813113")


def test_bare_digits_are_national_where_the_country_is_known(extra):
    expected = digest("48601234567") if extra else None
    assert sent("601234567", country="PL") == expected
    assert sent("48601234567", country="PL") == expected
    assert sent("+48601234567", country="PL") == digest("48601234567")


def test_bare_digits_are_national_on_a_site_with_region(extra):
    expected = digest("48601234567") if extra else None
    assert sent("601 234 567", region="PL") == expected
    assert sent("48601234567", region="PL") == expected


@pytest.mark.parametrize(
    "raw",
    [
        "+48601234567,12", "+48601234567;12", "+48601234567*12", "+48601234567 # 12 a",
        "601234567, 12", "+48601234567\uff0c12", "+48 601,234,567",
    ],
)  # fmt: skip
@pytest.mark.parametrize("region", [None, "PL"])
def test_what_stands_behind_a_pause_never_becomes_part_of_the_number(extra, raw, region):
    assert normalise("phone", raw, region=region) is None
    found, problems = match({"phone": raw}, region=region)
    assert (found, [problem.field for problem in problems]) == ({}, ["phone"])


@pytest.mark.parametrize("raw", ["+48601234567 ext 12", "+48601234567, ext. 12", "+48601234567#12"])
def test_an_extension_that_is_called_one_is_cut_off(extra, raw):
    assert sent(raw) == digest("48601234567")


def test_a_zero_of_old_habit_is_no_part_of_the_number():
    assert sent("0601 234 567", region="PL") == digest("48601234567")
    assert sent("0601 234 56", region="PL") is None


def test_a_zero_that_belongs_to_the_number_stays():
    assert sent("06 698 1234", region="IT") == digest("39066981234")


@pytest.mark.parametrize(
    ("country", "region", "expected"),
    [
        ("ES", None, "34612345678"),
        ("Spain", "PL", "34612345678"),
        (["ES"], "PL", "34612345678"),
        ("PL", "ES", "48612345678"),
        (None, "PL", "48612345678"),
        ("zz", "PL", "48612345678"),
        ("GB", "PL", "48612345678"),
    ],
)
def test_the_country_of_the_person_comes_before_the_region_of_the_site(country, region, expected):
    assert sent("612 345 678", country=country, region=region) == digest(expected)


def test_a_foreign_number_that_lost_its_sign_is_recognised():
    assert normalise("phone", "16505551212", region="PL") == "16505551212"


def test_digits_that_begin_with_the_code_of_their_home_are_whole():
    # As a German number it would be a longer one: 4927 is an area code, too.
    assert normalise("phone", "49271009269", region="DE") == "49271009269"
    assert normalise("phone", "04927 1009269", region="DE") == "4949271009269"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("+49 (0)170 1234567", "491701234567"),
        ("0049 (0)170 1234567", "491701234567"),
        ("+31(0)6 12345678", "31612345678"),
        ("\uff0b31 (0)6 12345678", "31612345678"),
        ("+48 (0)601 234 567", "48601234567"),
        ("+39 (0)6 698 1234", "39066981234"),
        ("0039 (0)6 698 1234", "39066981234"),
        ("+378 (0)549 882914", "3780549882914"),
        ("+379 (0)6 698 1234", "379066981234"),
        ("+49 170 (0) 1234567", "4917001234567"),
    ],
)
@pytest.mark.parametrize("region", [None, "DE", "US"])
def test_a_zero_in_brackets_goes_but_for_italy_s(extra, raw, expected, region):
    assert match({"phone": raw}, region=region) == ({"ph": digest(expected)}, [])


@pytest.mark.parametrize(
    ("region", "expected"),
    [(None, "4402079460958"), ("GB", "442079460958"), ("DE", "442079460958")],
)
def test_a_british_zero_stays_as_metas_libraries_agree_unless_somebody_is_at_home_somewhere(
    extra, region, expected
):
    for raw in ("+44 (0)20 7946 0958", "(+44) ( 0 ) 20 7946 0958"):
        assert match({"phone": raw}, region=region) == ({"ph": digest(expected)}, [])


def test_the_plan_of_a_country_knows_better_which_zero_stays():
    assert normalise("phone", "+225 (0)7 07 12 34 56") == "2250707123456"


@pytest.mark.parametrize(
    "raw", ["tel:+49 170 1234567", "TEL: +49-170-1234567", "tel://0049170/1234567"]
)
@pytest.mark.parametrize("region", [None, "DE"])
def test_the_scheme_of_a_link_is_no_part_of_the_number(extra, raw, region):
    assert match({"phone": raw}, region=region) == ({"ph": digest("491701234567")}, [])


@pytest.mark.parametrize("raw", ["tel:", "tel:+", "telephone +491701234567", "t+491701234567"])
def test_a_scheme_alone_and_other_words_are_no_number(extra, raw):
    assert sent(raw) is None


def test_a_national_number_in_a_link_needs_a_region(extra):
    assert sent("tel:0170 1234567") is None


@pytest.mark.parametrize("region", ["XX", "poland", ""])
def test_a_region_that_does_not_exist_does_no_harm(region):
    assert normalise("phone", "+48 601 234 567", region=region) == "48601234567"
    match({"phone": "601 234 567"}, region=region)


@pytest.mark.parametrize(("digits", "accepted"), [(6, False), (7, True), (15, True), (16, False)])
@pytest.mark.parametrize("form", ["+{}", "00{}", "(+{})"])
def test_a_phone_number_has_7_to_15_digits(form, digits, accepted):
    number = "4" * digits
    assert normalise("phone", form.format(number)) == (number if accepted else None)


@pytest.mark.parametrize("raw", ["1a" * 32, "1A" * 32, "1a" * 32 + ".AQICAQMC"])
def test_a_hashed_phone_number_is_never_held_back(extra, raw):
    assert sent(raw, region="PL") == ["1a" * 32]
    assert sent([raw], region="PL") == ["1a" * 32]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PL", "DE", "US", "GB", "FR", "IT", "JP", "BR"]), st.integers(0, 10**9))
def test_a_number_once_understood_stays_as_it_is(region, number):
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    national = phonenumbers.national_significant_number(example)
    digits = national[: len(national) // 2] + str(number).zfill(len(national))[-4:]
    once = normalise_phone(digits, region, None)
    assert once is None or normalise_phone(once, region, None) == once


@given(st.text(max_size=20))
def test_digits_of_every_script_become_ascii_and_nothing_else_changes(text):
    told = ascii_digits(text)
    assert len(told) == len(text)
    assert not any(letter.isdecimal() and not letter.isascii() for letter in told)
    assert ascii_digits(told) == told
