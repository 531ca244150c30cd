"""What people, forms and exports write where a match key should be, row by row.

The number is that of the row in the project's list of bad inputs; what a row leaves open is decided
in ``docs/matching.md``. The rows of texts (42), cookies and addresses stand in other tests.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
import re
import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from wagtail_metapixel import match_keys
from wagtail_metapixel.matching import match, normalise

DIGEST = re.compile(r"[0-9a-f]{64}")
EMPTY = hashlib.sha256(b"").hexdigest()


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def later(**delta):
    return (datetime.now(tz=UTC) + timedelta(**delta)).date()


def row(number, what, key, raw, expected):
    return pytest.param(key, raw, expected, id=f"row-{number} {what}")


@pytest.mark.parametrize(
    ("key", "raw", "expected"),
    [
        row(42, "500 characters", "first_name", "x" * 500, "x" * 500),
        row(42, "501 characters", "first_name", "x" * 501, None),
        row(43, "blanks and capitals", "email", " Foo@EXAMPLE.com ", "foo@example.com"),
        row(44, "no domain", "email", "foo@", None),
        row(44, "no local part", "email", "@x.y", None),
        row(44, "a space", "email", "a b@c.d", None),
        row(44, "two signs", "email", "a@b@c", None),
        row(45, "mailto, decided: dropped", "email", "mailto:a@b.co", None),
        row(45, "a mailbox, decided: dropped", "email", "A <a@b.co>", None),
        row(46, "zero width around", "email", "\u200ba@b.co\u200b", "a@b.co"),
        row(46, "zero width inside", "email", "a\u200b@b\u2060.co", "a@b.co"),
        row(46, "NBSP and BOM", "email", "\xa0a@b.co\ufeff", "a@b.co"),
        row(47, "lower case of two code points", "email", "İ@x.com", "i̇@x.com"),
        row(48, "IDN, decided: as it is", "email", "A@MÜNCHEN.de", "a@münchen.de"),
        row(49, "digest", "email", "a" * 64, "a" * 64),
        row(50, "digest in capitals", "email", "A" * 64, "a" * 64),
        row(51, "MD5", "email", "a" * 32, None),
        row(51, "MD5 for a name", "first_name", "A" * 32, None),
        row(51, "SHA-1", "email", "a" * 40, None),
        row(52, "empty", "email", "", None),
        row(52, "blanks", "email", " \t\n", None),
        row(52, "None", "email", None, None),
        row(52, "nothing anybody sees", "first_name", "\u200b\ufeff", None),
        row(52, "a blank that counts as a letter", "first_name", "\u3164", None),
        row(52, "an empty list", "email", [], None),
        row(54, "dots and plus of Gmail", "email", "a.b+c@gmail.com", "a.b+c@gmail.com"),
        row(55, "international", "phone", "+48 601 234 567", "48601234567"),
        row(57, "double zero", "phone", "00 48 601 234 567", "48601234567"),
        row(58, "extension", "phone", "+48 (601) 234-567 ext 5", "48601234567"),
        row(59, "letters", "phone", "+1-800-FLOWERS", None),
        row(60, "3 digits", "phone", "123", None),
        row(60, "25 digits", "phone", "+" + "1" * 25, None),
        row(60, "zeros", "phone", "0000000000", None),
        row(61, "phone as int", "phone", 601234567, None),
        row(62, "full-width digits", "phone", "\uff0b48\uff16\uff10\uff11234567", "48601234567"),
        row(63, "30 February", "date_of_birth", "1990-02-30", None),
        row(63, "the future", "date_of_birth", later(days=3), None),
        row(63, "a year of two digits", "date_of_birth", "02/03/90", None),
        row(63, "too long ago", "date_of_birth", "1899-12-31", None),
        row(63, "a day or a month, decided: dropped", "date_of_birth", "05/06/1990", None),
        row(63, "six digits", "date_of_birth", "199011", None),
        row(64, "date", "date_of_birth", date(1990, 2, 3), "19900203"),
        row(64, "datetime", "date_of_birth", datetime(1990, 2, 3, 4), "19900203"),  # noqa: DTZ001
        row(65, "a word", "gender", "Female", "f"),
        row(65, "neither", "gender", "x", None),
        row(65, "empty", "gender", "", None),
        row(66, "name", "country", "Poland", "pl"),
        row(66, "three letters", "country", "POL", "pl"),
        row(66, "UK, decided: gb", "country", "UK", "gb"),
        row(66, "no country", "country", "xx", None),
        row(66, "Kosovo, decided: dropped", "country", "XK", None),
        row(66, "a number of ISO 3166, decided: dropped", "country", "616", None),
        row(67, "Dutch", "zip", "1234 AB", "1234ab"),
        row(67, "American", "zip", "94035-1234", "94035"),
        row(67, "Japanese, wide", "zip", "\uff11\uff10\uff10\uff0d\uff10\uff10\uff10\uff11", "100"),
        row(67, "zip as int", "zip", 94035, None),
        row(68, "accents stay", "city", "Łódź", "łódź"),
        row(68, "spaces go", "city", "New York", "newyork"),
        row(68, "marks are letters, too", "city", "दिल्ली", "दिल्ली"),
        row(69, "punctuation goes", "last_name", "O'Connor-Smith", "oconnorsmith"),
        row(69, "one letter of another script", "last_name", "王", "王"),
        row(69, "single letter", "last_name", "X", "x"),
        row(69, "a dash", "last_name", "\u2014", None),
        row("more", "half a surrogate pair", "first_name", "A\ud800nna", "anna"),
        row("more", "bytes", "first_name", b"Anna", None),
        row("more", "True", "first_name", True, None),
        row("more", "a number as external_id", "external_id", 17, "17"),
        row("more", "a number Python makes no text of", "external_id", 10**5000, None),
        row("more", "a UUID", "external_id", uuid.UUID(int=1), str(uuid.UUID(int=1))),
        row("more", "a lazy text", "first_name", gettext_lazy("Anna"), "anna"),
        row("more", "an enumeration", "gender", enum.Enum("Gender", {"F": "f"}).F, "f"),
    ],
)  # fmt: skip
def test_one_value_is_normalised_or_left_out(key, raw, expected):
    assert normalise(key, raw) == expected
    found, problems = match({key: raw})
    wire = next(fact.key for fact in match_keys.USER_DATA.values() if key in (fact.key, fact.name))
    if expected is None:
        assert found == {}
        assert [problem.field for problem in problems] == ([] if is_blank(raw) else [key])
    else:
        assert found == {wire: [expected if len(expected) == 64 else sha256(expected)]}
        assert problems == []


def is_blank(raw):
    text = "".join(raw) if isinstance(raw, (str, list)) else raw
    return not text or (isinstance(text, str) and not text.strip("\u200b\ufeff\u3164 \t\n"))


@pytest.mark.parametrize(
    "raw", [pytest.param(["b@x.co", "A@x.co", "a@x.co", "", None, "b@x.co "], id="row-53 repeats")]
)
def test_several_addresses_become_sorted_unique_digests(raw):
    assert match({"email": raw}) == ({"em": sorted([sha256("a@x.co"), sha256("b@x.co")])}, [])


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        pytest.param(None, None, id="row-56 no default region"),
        pytest.param("PL", "48601234567", id="row-56 default region"),
    ],
)
def test_a_number_without_a_country_needs_a_region(region, expected):
    found, problems = match({"phone": "0601234567"}, region=region)
    assert found == ({"ph": [sha256(expected)]} if expected else {})
    assert [problem.field for problem in problems] == ([] if expected else ["phone"])


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        pytest.param("phone", 601234567, id="row-61 phone as int"),
        pytest.param("zip", 1234, id="row-67 zip as int"),
    ],
)
def test_a_number_gets_a_hint_about_its_zeros(key, raw):
    (problem,) = match({key: raw})[1]
    assert "loses its zeros" in problem.rule
    assert problem.mistake
    assert str(raw) not in problem.rule


@pytest.mark.parametrize("raw", [pytest.param("Anna@example.com", id="row-70 an e-mail address")])
def test_an_address_as_external_id_is_hashed_and_reported(raw):
    found, (problem,) = match({"external_id": raw})
    assert found == {"external_id": [sha256(raw)]}
    assert problem.field == "external_id"
    assert not problem.mistake


# Problems name the field and the rule

SECRETS = st.text("ąZ9@.-+ ", min_size=6, max_size=30).map(lambda text: f"\u0105Q{text}qZ7")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*match_keys.USER_DATA, "email", "phone", "first_name"]),
    SECRETS,
    st.sampled_from([None, "PL"]),
)
def test_a_problem_never_holds_the_value(key, secret, region):
    for raw in (secret, [secret, secret + "x"], secret.encode(), {secret: secret}):
        problems = match({key: raw}, region=region)[1]
        assert "qZ7" not in repr(problems)
        assert all(problem.field and problem.rule for problem in problems)


def test_an_unknown_key_that_may_be_personal_is_not_repeated():
    (problem,) = match({"anna@example.com": "x"})[1]
    assert "anna" not in f"{problem.field}{problem.rule}"


# Whatever object comes


class Hostile:
    """Nothing can be done with it."""

    def refuse(self, *_args):
        raise RuntimeError("not me")

    __eq__ = __ne__ = __str__ = __repr__ = __bool__ = __len__ = __iter__ = refuse
    __hash__ = object.__hash__


class HostileText(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError("not me")


OBJECTS = st.one_of(
    st.text(max_size=80),
    st.binary(max_size=8),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.uuids(),
    st.complex_numbers(),
    st.ip_addresses(),
    st.sampled_from(
        [
            None,
            True,
            ...,
            object,
            Hostile(),
            HostileText("a"),
            HostileText(""),
            10**5000,
            iter("ab"),
            range(3),
            {"a": 1},
            ipaddress.ip_address("8.8.8.8"),
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*match_keys.USER_DATA, "email", "phone", "nonsense", 7, None, ("a",)]),
        OBJECTS | st.lists(OBJECTS, max_size=3) | st.sets(st.text(max_size=9), max_size=3),
        max_size=5,
    ),
    st.sampled_from([None, "PL", "XX", ""]),
)
def test_no_object_makes_matching_raise(user_data, region):
    found, _problems = match(user_data, region=region)
    for key, value in found.items():
        if match_keys.USER_DATA[key].hashed == "forbidden":
            assert type(value) is str
            assert value
            continue
        digests = value if match_keys.USER_DATA[key].many else [value]
        assert digests == sorted(set(digests))
        assert digests
        assert all(DIGEST.fullmatch(digest) and digest != EMPTY for digest in digests)


@pytest.mark.parametrize("user_data", [None, "em", [("em", "a@b.co")], 7])
def test_what_is_no_mapping_is_the_developers_mistake(user_data):
    found, (problem,) = match(user_data)
    assert found == {}
    assert problem.field == "user_data"
    assert problem.mistake
