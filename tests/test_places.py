"""Countries and states by code and by name, held against a second collection of them."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagtail_metapixel import places
from wagtail_metapixel.places import COUNTRIES, country_code, state_code


@pytest.mark.parametrize("country", list(pycountry.countries), ids=lambda country: country.alpha_2)
def test_every_country_is_known_by_both_codes_and_its_english_names(country):
    code = country.alpha_2.lower()
    names = [country.alpha_2, code, country.alpha_3, country.alpha_3.lower(), country.name]
    names += [country.name.upper(), getattr(country, "common_name", country.name)]
    assert {country_code(name) for name in names} == {code}


def test_there_are_no_other_countries():
    assert {country.alpha_2.lower() for country in pycountry.countries} == COUNTRIES


def test_no_name_belongs_to_two_countries():
    told = [
        {*names, *map(places._folded, names), two, three}
        for two, three, names in places._countries()
    ]
    counts = Counter(name for names in told for name in names)
    assert [name for name, count in counts.items() if count > 1] == []
    assert "" not in counts


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Poland", "pl"),
        ("polska", "pl"),
        ("U.S.A.", "us"),
        ("u.s.", "us"),
        ("The United States", "us"),
        ("Deutschland", "de"),
        ("Oesterreich", "at"),
        ("UK", "gb"),
        ("U.K.", "gb"),
        ("Scotland", "gb"),
        ("EL", "gr"),
        ("Bosnia & Herzegovina", "ba"),
        ("St. Kitts and Nevis", "kn"),
        ("COTE D\u2019IVOIRE", "ci"),
        ("Cote-d-Ivoire", "ci"),
        ("Republic of Korea", "kr"),
        ("Korea, Democratic People's Republic of", "kp"),
        ("Turkiye", "tr"),
        ("T\u00dcRK\u0130YE", "tr"),
        ("Україна", "ua"),
        ("中国", "cn"),
        ("Guinea", "gn"),
        ("Guinea_Bissau", "gw"),
        ("Myanmar (Burma)", "mm"),
        ("Hongkong", "hk"),
        ("Dominica", "dm"),
        ("Dominican Republic", "do"),
    ],
)
def test_names_are_read_whatever_their_case_accents_punctuation_and_order(text, code):
    assert country_code(text) == code
    assert country_code(unicodedata.normalize("NFD", text)) == code


@pytest.mark.parametrize(
    "text", ["xx", "zz", "XK", "616", "", " ", "&", "of the", "Korea", "Europe", "C-A", "x" * 9999]
)
def test_what_names_no_one_country_is_none(text):
    assert country_code(text) is None


def test_a_text_too_long_for_a_name_is_not_even_folded(monkeypatch):
    monkeypatch.setattr(places, "_folded", None)
    assert country_code("x" * 101) is None


@given(st.text(max_size=30))
def test_a_code_is_a_code_of_iso_3166_or_none(text):
    code = country_code(text)
    assert code is None or (code in COUNTRIES and country_code(code) == code)


def subdivisions(country):
    """Meta's form of each state's name, and its two letters."""
    for state in pycountry.subdivisions.get(country_code=country):
        if state.type != "Outlying area":
            name = "".join(letter for letter in state.name.lower() if letter.isalnum())
            yield name, state.code[3:].lower()


@pytest.mark.parametrize("country", ["us", "ca"])
def test_every_state_is_known_by_name_and_code(country):
    for name, code in subdivisions(country.upper()):
        assert state_code(name, country) == code
        assert state_code(code, country) == code
        assert state_code(f"{country}{code}", country) == code


@pytest.mark.parametrize(
    ("name", "country", "code"),
    [
        ("québec", "ca", "qc"),
        ("quebec", "ca", "qc"),
        ("que\u0301bec", "ca", "qc"),
        ("nouvelleécosse", "ca", "ns"),
        ("îleduprinceédouard", "ca", "pe"),
        ("newfoundland", "ca", "nl"),
        ("washingtondc", "us", "dc"),
        ("pq", "ca", "qc"),
        ("nf", "ca", "nl"),
        ("nfld", "ca", "nl"),
        ("pei", "ca", "pe"),
        ("provinceofquébec", "ca", "qc"),
        ("ontariocanada", "us", "ontariocanada"),
        ("newyorkstate", "us", "ny"),
        ("californiaunitedstates", "us", "ca"),
        ("wvirginia", "us", "wv"),
        ("puertorico", "us", "pr"),
        ("québec", "us", "québec"),
        ("california", "ca", "california"),
        ("ontario", None, "ontario"),
        ("georgia", "ge", "georgia"),
        ("bavaria", "de", "bavaria"),
        ("usca", None, "usca"),
    ],
)
def test_names_of_states_become_codes_only_in_their_country(name, country, code):
    assert state_code(name, country) == code
