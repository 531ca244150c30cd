"""Normalising, hashing and the small value types of advanced matching."""

from __future__ import annotations

import enum
import hashlib
import itertools
import json
import random
import re
import unicodedata
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from wagtail_metapixel import catalogue, events, matching
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.identifiers import Fbc, Fbp, public_ip
from wagtail_metapixel.matching import enough, hash_value, match, normalise

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "data" / "vectors.json").read_text(encoding="utf-8"))
DOCS = (HERE.parent / "docs" / "matching.md").read_text(encoding="utf-8")

EMPTY = hashlib.sha256(b"").hexdigest()
DIGEST = re.compile(r"[0-9a-f]{64}")
ABOUT_SOMETHING_ELSE = {"cookies", "event_source_url", "referrer_url", "client_ip_address"}
FBP = "fb.1.1736063807103.526608478763752515"
FBC = "fb.1.1736063807103.IwAR2F4-dbP0l7Mn1_aem_Q"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def only(user_data, **options):
    """Match, and return Meta's key and value of the one thing that is left."""
    found, _problems = match(user_data, **options)
    assert len(found) <= 1
    return next(iter(found.values()), None)


def problems_of(user_data, **options):
    return match(user_data, **options)[1]


# Vectors and documentation


def reading(vector):
    if vector["param"] == "currency":
        data, _problems = events.build_custom_data("Lead", {"currency": vector["raw"]})
        return data.get("currency")
    return normalise(vector["param"], vector["raw"])


def departures():
    """The table of ``docs/matching.md``: (key, given) -> (the collected reading, ours)."""
    section = DOCS.split("## Where we depart")[1].split("\n## ")[0]
    rows = re.findall(
        r"^\| `(\w+)` \| `(.+?)` \| `(.+?)` \| `(.+?)` \| .+ \|$", section, re.MULTILINE
    )
    return {(key, json.loads(raw)): (json.loads(a), json.loads(b)) for key, raw, a, b in rows}


COMPARED = [vector for vector in VECTORS if vector["param"] not in ABOUT_SOMETHING_ELSE]


@pytest.mark.parametrize(
    "vector",
    [vector for vector in COMPARED if vector["status"] == "agree"],
    ids=lambda vector: f"{vector['param']}-{ascii(vector['raw'])[:30]}",
)
def test_what_all_libraries_agree_on_is_done(vector):
    agreed = vector["normalized"]
    # NFC comes first; the documentation's table has the one vector it changes.
    expected = agreed and unicodedata.normalize("NFC", agreed)
    assert reading(vector) == expected
    is_md5 = vector["sha256"] and len(vector["sha256"]) == 32
    if expected == agreed and agreed and not is_md5:
        assert hash_value(agreed) == vector["sha256"]


def test_every_departure_from_the_readings_stands_in_the_documentation_and_no_other():
    ours = {
        (vector["param"], vector["raw"]): (vector["normalized"], reading(vector))
        for vector in COMPARED
        if reading(vector) != vector["normalized"]
    }
    assert ours == departures()


def test_the_documentation_names_every_field():
    for key in ("em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country", "external_id"):
        assert f"`{key}`" in DOCS
        assert f"`{catalogue.USER_DATA[key].name}`" in DOCS


# Properties

HASHED = sorted(key for key, fact in catalogue.USER_DATA.items() if fact.hashed != "forbidden")
TEXTS = st.text(max_size=40) | st.text(
    st.sampled_from(
        "aZ\u00e90\u0663 \u00ad\u200b\u0301@.-'()+\u00df\u0130\u03a3\ud55c\u1112\u1161"
    ),
    max_size=16,
)


@settings(max_examples=300, deadline=None)
@given(key=st.sampled_from(HASHED), raw=TEXTS)
def test_normalising_twice_changes_nothing(key, raw):
    once = normalise(key, raw)
    assert once is None or (once and normalise(key, once) == once)


@settings(max_examples=300, deadline=None)
@given(key=st.sampled_from(HASHED), raw=TEXTS)
def test_a_value_becomes_64_hex_digits_or_nothing_and_never_the_hash_of_nothing(key, raw):
    found, problems = match({key: raw})
    assert match({key: raw}) == (found, problems)
    for digests in found.values():
        for digest in [digests] if isinstance(digests, str) else digests:
            assert DIGEST.fullmatch(digest)
            assert digest != EMPTY
    assert all(raw not in problem.rule for problem in problems if len(raw) > 12)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*catalogue.USER_DATA, "email", "phone", "nonsense"]),
        st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5)
        | st.lists(TEXTS | st.none() | st.integers(), max_size=3),
    )
)  # fmt: skip
def test_nothing_makes_matching_raise_or_unfit_for_json(user_data):
    found, _problems = match(user_data)
    json.dumps(found, allow_nan=False)
    assert set(found) <= set(catalogue.USER_DATA)
    enough(found)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(HASHED), TEXTS, st.sampled_from([None, "PL", "US"]))
def test_one_value_and_a_list_of_one_are_the_same(key, raw, region):
    one, several = match({key: raw}, region=region), match({key: [raw]}, region=region)
    assert one == several


@given(st.dates(date(1900, 1, 1), date(2020, 12, 31)))
def test_a_date_and_its_texts_are_the_same_day(day):
    expected = f"{day:%Y%m%d}"
    assert normalise("date_of_birth", day) == expected
    assert normalise("date_of_birth", day.isoformat()) == expected
    assert normalise("db", f"{day:%Y}.{day.month}.{day.day}") == expected


# Bad input; the row is that of the table of bad inputs


def later(**delta):
    return (datetime.now(tz=UTC) + timedelta(**delta)).date()


@pytest.mark.parametrize(
    ("key", "raw", "expected"),
    [
        pytest.param("email", " Foo@EXAMPLE.com ", "foo@example.com", id="43: trimmed, lower"),
        pytest.param("email", "foo@", None, id="44: no domain"),
        pytest.param("email", "@x.y", None, id="44: no local part"),
        pytest.param("email", "a b@c.d", None, id="44: a space"),
        pytest.param("email", "a@b@c", None, id="44: two signs"),
        pytest.param("email", "mailto:a@b.co", None, id="45: decided, mailto is left out"),
        pytest.param("email", "A <a@b.co>", None, id="45: decided, a mailbox is left out"),
        pytest.param("email", "\u200ba@b.co\u200b", "a@b.co", id="46: zero width"),
        pytest.param("email", "\xa0a@b.co\ufeff", "a@b.co", id="46: NBSP and BOM"),
        pytest.param("email", "İ@x.com", "i̇@x.com", id="47: two code points, as documented"),
        pytest.param("email", "A@MÜNCHEN.de", "a@münchen.de", id="48: decided, IDN as it is"),
        pytest.param("email", "a" * 64, "a" * 64, id="49: digest"),
        pytest.param("email", "A" * 64, "a" * 64, id="50: upper-case digest"),
        pytest.param("email", "a" * 32, None, id="51: MD5"),
        pytest.param("email", "a" * 40, None, id="51: SHA-1"),
        pytest.param("first_name", "a" * 32, None, id="51: MD5 as a name"),
        pytest.param("email", "", None, id="52: empty"),
        pytest.param("email", " \t\n", None, id="52: blank"),
        pytest.param("email", None, None, id="52: None"),
        pytest.param("email", "a.b+c@gmail.com", "a.b+c@gmail.com", id="54: gmail unchanged"),
        pytest.param("phone", "+48 601 234 567", "48601234567", id="55: international"),
        pytest.param("phone", "00 48 601 234 567", "48601234567", id="57: double zero"),
        pytest.param("phone", "+48 (601) 234-567 ext 5", "48601234567", id="58: extension off"),
        pytest.param("phone", "+1-800-FLOWERS", None, id="59: letters"),
        pytest.param("phone", "123", None, id="60: three digits"),
        pytest.param("phone", "+" + "1" * 25, None, id="60: 25 digits"),
        pytest.param("phone", "0000000000", None, id="60: zeros"),
        pytest.param("phone", 601234567, None, id="61: a number"),
        pytest.param("phone", "\uff0b48\uff16\uff10\uff11234567", "48601234567", id="62: wide"),
        pytest.param("date_of_birth", "1990-02-30", None, id="63: no such day"),
        pytest.param("date_of_birth", later(days=3), None, id="63: future"),
        pytest.param("date_of_birth", "02/03/90", None, id="63: two-digit year"),
        pytest.param("date_of_birth", "1899-12-31", None, id="63: too long ago"),
        pytest.param("date_of_birth", "199011", None, id="63: six digits"),
        pytest.param("date_of_birth", date(1990, 2, 3), "19900203", id="64: date"),
        pytest.param("date_of_birth", datetime(1990, 2, 3, 4), "19900203", id="64: datetime"),  # noqa: DTZ001
        pytest.param("gender", "Female", "f", id="65: word"),
        pytest.param("gender", "x", None, id="65: neither"),
        pytest.param("country", "PL", "pl", id="66: code"),
        pytest.param("country", "Poland", None, id="66: decided, names are left out"),
        pytest.param("country", "POL", None, id="66: decided, three letters are left out"),
        pytest.param("country", "UK", "gb", id="66: decided, UK is gb"),
        pytest.param("country", "xx", None, id="66: no country"),
        pytest.param("zip", "1234 AB", "1234ab", id="67: Dutch"),
        pytest.param("zip", "94035-1234", "94035", id="67: American"),
        pytest.param("zip", "\uff11\uff10\uff10\uff0d\uff10\uff10\uff10\uff11", "100", id="67: Japanese, wide"),
        pytest.param("zip", 94035, None, id="67: a number"),
        pytest.param("city", "Łódź", "łódź", id="68: accents stay"),
        pytest.param("city", "New York", "newyork", id="68: spaces go"),
        pytest.param("city", "दिल्ली", "दिल्ली", id="68: marks are letters, too"),
        pytest.param("last_name", "O'Connor-Smith", "oconnorsmith", id="69: punctuation"),
        pytest.param("last_name", "王", "王", id="69: one letter"),
        pytest.param("last_name", "\u2014", None, id="69: a dash is no name"),
        pytest.param("first_name", "A\ud800nna", "anna", id="half a surrogate pair"),
        pytest.param("first_name", "x" * 501, None, id="42: too long"),
        pytest.param("first_name", b"Anna", None, id="bytes"),
        pytest.param("first_name", True, None, id="True"),
        pytest.param("external_id", 17, "17", id="a number as external_id"),
        pytest.param("external_id", uuid.UUID(int=1), str(uuid.UUID(int=1)), id="a UUID"),
        pytest.param("first_name", gettext_lazy("Anna"), "anna", id="a lazy text"),
        pytest.param("gender", enum.Enum("Gender", {"F": "f"}).F, "f", id="an enumeration"),
    ],
)  # fmt: skip
def test_one_value_is_normalised_or_left_out(key, raw, expected):
    assert normalise(key, raw) == expected
    found, problems = match({key: raw})
    wire = next(fact.key for fact in catalogue.USER_DATA.values() if key in (fact.key, fact.name))
    if expected is None:
        assert found == {}
        blank = raw is None or (isinstance(raw, str) and not raw.strip())
        assert [problem.field for problem in problems] == ([] if blank else [key])
    else:
        assert found == {wire: [expected if len(expected) == 64 else sha256(expected)]}
        assert problems == []


@pytest.mark.parametrize("raw", [48601234567, b"48", True, 4.5, object()], ids=lambda raw: type(raw).__name__)  # fmt: skip
def test_a_value_of_a_wrong_type_is_the_developers_mistake(raw):
    (problem,) = problems_of({"phone": raw})
    assert problem.mistake
    assert not problem.fatal


def test_a_phone_number_as_number_gets_a_hint_about_lost_zeros():
    (problem,) = problems_of({"phone": 601234567})
    assert "loses its zeros" in problem.rule


def test_bad_data_is_no_mistake_of_the_developer():
    (problem,) = problems_of({"email": "foo@"})
    assert not problem.mistake
    assert problem.field == "email"
    assert "foo" not in problem.rule


@pytest.mark.parametrize(
    ("name", "hint"),
    [("e_mail", "'email'"), ("emial", "'email'"), ("fbpp", "'fbp'"), ("colour", "")],
)
def test_an_unknown_key_is_named_with_a_hint(name, hint):
    found, (problem,) = match({name: "x"})
    assert found == {}
    assert problem.field == name
    assert problem.mistake
    assert hint in problem.rule


def test_an_unknown_key_that_may_be_personal_is_not_repeated():
    (problem,) = problems_of({"anna@example.com": "x"})
    assert "anna" not in f"{problem.field}{problem.rule}"


def test_several_values_become_sorted_unique_digests():  # row 53
    raw = ["b@example.com", "A@example.com", "a@example.com", "", None, "nonsense"]
    found, problems = match({"email": raw, "em": "c@example.com"})
    assert found == {"em": sorted(sha256(f"{letter}@example.com") for letter in "abc")}
    assert [problem.field for problem in problems] == ["email"]


def test_readable_and_meta_s_names_are_the_same():
    for fact in catalogue.USER_DATA.values():
        assert match({fact.name: "1990"}) == match({fact.key: "1990"})


def test_an_unknown_field_cannot_be_normalised():
    with pytest.raises(EventError):
        normalise("nonsense", "x")


def test_nothing_is_never_hashed():
    with pytest.raises(ValueError, match="never hashed"):
        hash_value("")


def test_hashing_is_sha_256():
    assert hash_value("john_smith@gmail.com") == sha256("john_smith@gmail.com")
    assert hash_value("a" * 64) == "a" * 64


def test_an_e_mail_address_as_external_id_is_sent_and_reported():  # row 70
    found, (problem,) = match({"external_id": "anna@example.com"})
    assert found == {"external_id": [sha256("anna@example.com")]}
    assert problem.field == "external_id"
    assert not problem.mistake


# State and postcode depend on the country


@pytest.mark.parametrize(
    ("state", "country", "expected"),
    [
        ("California", "US", "ca"),
        ("california", None, "california"),
        ("New South Wales", "AU", "newsouthwales"),
        ("TX", "us", "tx"),
        ("Georgia", "GE", "georgia"),
    ],
)
def test_american_states_become_two_letters_only_in_america(state, country, expected):
    found, _problems = match({"country": country, "state": state})
    assert found["st"] == [sha256(expected)]


@pytest.mark.parametrize(
    ("code", "country", "expected"),
    [
        ("940351234", None, "94035"),
        ("940351234", "US", "94035"),
        ("940351234", "SA", "940351234"),
        ("94035", "US", "94035"),
    ],
)
def test_nine_digits_are_cut_unless_the_country_is_another(code, country, expected):
    found, _problems = match({"zip": code, "country": country})
    assert found["zp"] == [sha256(expected)]


# Phone numbers


@pytest.fixture(params=[True, False], ids=["extra phone", "without the extra"])
def extra(request, monkeypatch):
    if request.param:
        pytest.importorskip("phonenumbers")
    monkeypatch.setattr(matching, "HAS_PHONENUMBERS", request.param)
    return request.param


def test_international_numbers_need_neither_region_nor_extra(extra):
    for raw in ("+48 601 234 567", "0048601234567", "(+48) 601 234 567"):
        for region in (None, "PL", "DE"):
            assert only({"phone": raw}, region=region) == [sha256("48601234567")]


def test_a_national_number_is_read_in_its_region(extra):  # row 56
    found, problems = match({"phone": "0151 23456789"}, region="DE")
    if extra:
        assert found == {"ph": [sha256("4915123456789")]}
        assert problems == []
    else:
        assert found == {}
        assert "country code" in problems[0].rule


def test_a_national_number_without_a_region_is_held_back(extra):  # row 56
    found, (problem,) = match({"phone": "0601234567"})
    assert found == {}
    assert problem.field == "phone"
    assert "country code" in problem.rule


def test_bare_digits_are_meta_s_own_form_on_a_site_without_region(extra):
    assert only({"phone": "16505551212"}) == [sha256("16505551212")]
    assert only({"phone": "4792813113"}) == [sha256("4792813113")]


def test_bare_digits_are_national_on_a_site_with_region(extra):
    expected = [sha256("48601234567")] if extra else None
    assert only({"phone": "601 234 567"}, region="PL") == expected
    assert only({"phone": "48601234567"}, region="PL") == expected


def test_the_country_of_the_person_stands_in_for_the_region():
    pytest.importorskip("phonenumbers")
    assert normalise("phone", "(650)555-1212", country="us") == "16505551212"
    assert normalise("phone", "020 7946 0958", country="gb") == "442079460958"


def test_a_foreign_number_that_lost_its_sign_is_recognised():
    pytest.importorskip("phonenumbers")
    assert normalise("phone", "16505551212", region="PL") == "16505551212"


def test_the_zero_between_country_and_number_goes_when_the_region_is_known():
    pytest.importorskip("phonenumbers")
    assert normalise("phone", "+44 (0)20 7946 0958", region="GB") == "442079460958"
    assert normalise("phone", "+44 (0)20 7946 0958") == "4402079460958"  # all libraries agree


@pytest.mark.parametrize("region", ["XX", "poland", ""])
def test_a_region_that_does_not_exist_does_no_harm(region):
    pytest.importorskip("phonenumbers")
    assert normalise("phone", "+48 601 234 567", region=region) == "48601234567"
    match({"phone": "601 234 567"}, region=region)


@pytest.mark.parametrize(("digits", "accepted"), [(6, False), (7, True), (15, True), (16, False)])
@pytest.mark.parametrize("form", ["+{}", "00{}", "(+{})"])
def test_a_phone_number_has_7_to_15_digits(form, digits, accepted):
    number = "4" * digits
    assert normalise("phone", form.format(number)) == (number if accepted else None)


@pytest.mark.parametrize(("length", "accepted"), [(320, True), (321, False)])
def test_an_e_mail_address_has_at_most_320_characters(length, accepted):
    address = "a@b.co".rjust(length, "x")
    assert (normalise("email", address) == address) is accepted


def test_a_hashed_phone_number_is_never_held_back(extra):
    assert only({"phone": "0" * 64}, region="PL") == ["0" * 64]


# What is sent plain


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("fb.1.abc.x", id="81: letters"),
        pytest.param("", id="81: empty"),
        pytest.param("undefined", id="81: undefined"),
        pytest.param("GA1.2.3", id="81: of another tool"),
        pytest.param("fb.1.1736063807103.", id="no payload"),
        pytest.param("fb.1.1736063807103.12345678901234567890", id="20 digits"),
        pytest.param("fb.1.1736063807.1234", id="87: seconds"),
        pytest.param("fb.01.1736063807103.1234", id="index with a zero"),
        pytest.param("fb.1.1736063807103.1234.ZZ", id="appendix of two unknown letters"),
        pytest.param("fb.1.1736063807103.99.!!!!!!!!", id="appendix of other characters"),
        pytest.param("fb.1.1736063807103.1.AQICAQMC.AQICAQMC", id="six parts"),
        pytest.param("fb.1.1736063807103.١٢٣", id="digits of another script"),
        pytest.param("fb.1.1736063807103.12\n34", id="line end"),
        pytest.param("xx.1.1736063807103.99", id="other prefix"),
    ],
)
def test_a_browser_id_that_is_odd_is_left_out(raw):
    assert Fbp.parse(raw) is None
    assert only({"fbp": raw}) is None


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("fb.1.1736063807103." + "a" * 501, id="85: too long"),
        pytest.param("fb.1.1736063807103." + "a" * 4096, id="85: 4 kB"),
        pytest.param("fb.1.1736063807103.a;b", id="85: semicolon"),
        pytest.param("fb.1.1736063807103.<b>", id="85: markup"),
        pytest.param("fb.1.1736063807103.a\r\nb", id="85: CRLF"),
        pytest.param("fb.1.1736063807103.Ab.C.D", id="dots"),
        pytest.param("fb.1.1736063807.abc", id="87: seconds"),
        pytest.param("fb.1.9999999999999.abc", id="87: far future"),
        pytest.param("x.y", id="garbage"),
    ],
)
def test_a_click_id_that_is_odd_is_left_out(raw):
    assert Fbc.parse(raw) is None
    assert only({"fbc": raw}) is None
    assert [problem.field for problem in problems_of({"fbc": raw})] == ["fbc"]


@pytest.mark.parametrize(
    "raw",
    [
        FBP,
        pytest.param(f"{FBP}.AQEAAQMB", id="82: appendix"),
        pytest.param(f"{FBP}.Bg", id="82: old appendix"),
        pytest.param("fb.0.1736063807103.1", id="shortest"),
        pytest.param("fb.2.1736063807103.0123456789012345678", id="19 digits, zero first"),
    ],
)
def test_a_browser_id_is_kept_byte_for_byte(raw):
    assert str(Fbp.parse(raw)) == raw
    assert only({"fbp": raw}) == raw
    assert only({"fbp": Fbp.parse(raw)}) == raw


@pytest.mark.parametrize(
    "raw",
    [
        FBC,
        pytest.param("fb.1.1500000000000.a-b_c", id="83: dash and underscore"),
        pytest.param("fb.1.1500000000000.abcdef", id="84: lower case stays"),
        pytest.param("fb.1.1500000000000.AbCdEf.AQIAAQMC", id="84: case stays"),
        pytest.param("fb.1.1500000000000." + "a" * 500, id="500 characters"),
    ],
)
def test_a_click_id_is_kept_byte_for_byte(raw):
    assert str(Fbc.parse(raw)) == raw
    assert only({"fbc": raw}) == raw


def test_of_two_browser_ids_the_first_valid_one_counts():  # row 86
    assert only({"fbp": ["undefined", FBP, "fb.1.1736063807103.2"]}) == FBP


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("8.8.8.8", "8.8.8.8", id="public"),
        pytest.param(" 8.8.8.8 ", "8.8.8.8", id="spaces"),
        pytest.param("1.2.3.4:5678", "1.2.3.4", id="91: port"),
        pytest.param("[2001:4860:4860::8888]:443", "2001:4860:4860::8888", id="91: port of IPv6"),
        pytest.param("unknown", None, id="91: unknown"),
        pytest.param("<x>", None, id="91: markup"),
        pytest.param("10.1.2.3", None, id="92: private"),
        pytest.param("172.31.0.1", None, id="92: private"),
        pytest.param("172.32.0.1", "172.32.0.1", id="92: just outside"),
        pytest.param("192.168.1.1", None, id="92: private"),
        pytest.param("192.169.1.1", "192.169.1.1", id="92: just outside"),
        pytest.param("127.0.0.1", None, id="92: loopback"),
        pytest.param("0.0.0.0", None, id="92: unspecified"),
        pytest.param("::", None, id="92: unspecified"),
        pytest.param("::1", None, id="92: loopback"),
        pytest.param("100.64.0.1", None, id="92: carrier"),
        pytest.param("100.128.0.1", "100.128.0.1", id="92: just outside"),
        pytest.param("169.254.1.1", None, id="92: link-local"),
        pytest.param("198.18.0.1", None, id="92: benchmark"),
        pytest.param("224.0.0.1", None, id="92: multicast"),
        pytest.param("255.255.255.255", None, id="92: broadcast"),
        pytest.param("fe80::1", None, id="92: link-local"),
        pytest.param("fe80::1%eth0", None, id="92: scope"),
        pytest.param("fd00::1", None, id="92: unique local"),
        pytest.param("ff0e::1", None, id="92: multicast"),
        pytest.param("64:ff9b::808:808", None, id="92: translation"),
        pytest.param("1fff:ffff::1", None, id="92: below global unicast"),
        pytest.param("2000::1", "2000::1", id="92: first global unicast"),
        pytest.param("3fff:ffff::1", "3fff:ffff::1", id="92: last global unicast"),
        pytest.param("4000::1", None, id="92: above global unicast"),
        pytest.param("2001:1ff::1", None, id="92: protocols"),
        pytest.param("2001:200::1", "2001:200::1", id="92: just outside"),
        pytest.param("2001:4860:4860:0:0:0:0:8888", "2001:4860:4860::8888", id="93: short"),
        pytest.param("2A00:1450::1", "2a00:1450::1", id="93: lower"),
        pytest.param("::ffff:8.8.8.8", "8.8.8.8", id="93: mapped"),
        pytest.param("::ffff:10.0.0.1", None, id="93: mapped private"),
        pytest.param("", None, id="94: none"),
        pytest.param("08.8.8.8", None, id="leading zero"),
        pytest.param("8.8.8.8\x00", None, id="NUL"),
        pytest.param("8" * 10_000, None, id="10 kB"),
        pytest.param("203.0.113.7", "203.0.113.7", id="documentation"),
        pytest.param("2001:db8::1", "2001:db8::1", id="documentation, IPv6"),
    ],
)
def test_only_public_addresses_are_sent(raw, expected):
    assert public_ip(raw) == expected
    assert only({"client_ip_address": raw}) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("Mozilla/5.0", "Mozilla/5.0", id="95: usual"),
        pytest.param("", None, id="95: empty"),
        pytest.param("  ", None, id="95: blank"),
        pytest.param("x" * 5000, "x" * 1024, id="95: 5 kB"),
        pytest.param("Mo\x00zi\nlla", "Mozilla", id="95: control characters"),
        pytest.param("Möbius/1.0", "Möbius/1.0", id="95: not Latin"),
        pytest.param("\x00", None, id="95: nothing left"),
    ],
)
def test_a_user_agent_is_cleaned_and_cut(raw, expected):
    assert only({"client_user_agent": raw}) == expected


@pytest.mark.parametrize(
    ("key", "raw", "expected"),
    [
        ("lead_id", 123456789012345, "123456789012345"),
        ("lead_id", "1234567890123456", "1234567890123456"),
        ("lead_id", "12345", None),
        ("fb_login_id", 7, "7"),
        ("fb_login_id", "seven", None),
        ("subscription_id", " S-1 ", "S-1"),
        ("subscription_id", "x" * 501, None),
        ("subscription_id", "   ", None),
    ],
)
def test_other_ids_are_sent_as_texts(key, raw, expected):
    assert only({key: raw}) == expected


# Enough for Meta


@pytest.mark.parametrize(
    ("keys", "accepted"),
    [
        ([], False),
        (["client_user_agent"], False),
        (["ct", "country", "st", "zp", "ge", "client_user_agent"], False),
        (["db", "client_user_agent"], False),
        (["fn", "ge"], False),
        (["ln", "ge"], False),
        (["fn", "ln"], True),
        (["client_ip_address", "client_user_agent"], True),
        (["em"], True),
        (["fbp"], True),
        (["external_id", "country"], True),
        (["nonsense"], False),
    ],
)
def test_meta_accepts_what_is_not_too_broad(keys, accepted):
    assert enough(dict.fromkeys(keys, "x")) is accepted


def test_empty_values_do_not_count():
    assert not enough({"em": [], "fbp": "", "client_user_agent": "x"})


# Against Meta's own library

FIRST = [
    "Anna",
    " MARY ",
    "José",
    "Jose\u0301",
    "Anne Marie",
    "O'Neil",
    "J.",
    "王",
    "Łukasz",
    "Ma\u200bry",
]
LAST = [
    "Smith",
    "Kowalska-Nowak",
    "van der Berg",
    "D'Arcy",
    "García Márquez",
    "Müller",
    "...",
    "Ng",
]
CITY = ["New York", "Łódź", "Washington, D.C.", "29 Palms", "Frankfurt/Main", "L'Anse", "Paris"]
STATE = ["CA", "California", "Bavaria", "N.Y.", "Île-de-France", "12"]
ZIP = ["94035", "94035-1234", "940351234", "M1 1AE", "1234 AB", "1", "01310-100"]
COUNTRY = ["US", "pl", "Germany", "UK", "de", "zz"]
EMAIL = [
    " Foo.Bar@Example.COM ",
    "a@b.co",
    "jürgen@example.de",
    "nobody",
    "x\u200b@y.de",
    "a@b@c.de",
]
PHONE = ["+48 601 234 567", "0048601234567", "601.234.567", "+1 (650) 555-1212 ext 5", "020 7946 0958", "16505551212"]  # fmt: skip
GENDER = ["f", "M", "Female", "x"]
BIRTH = ["19900203", "1990-02-03", "05/06/1990", "1990-02-30"]


def people(count):
    chance = random.Random(20261122)
    for number in range(count):
        yield {
            "em": chance.choice(EMAIL),
            "ph": chance.choice(PHONE),
            "fn": chance.choice(FIRST),
            "ln": chance.choice(LAST),
            "ct": chance.choice(CITY),
            "st": chance.choice(STATE),
            "zp": chance.choice(ZIP),
            "country": chance.choice(COUNTRY),
            "ge": chance.choice(GENDER),
            "db": chance.choice(BIRTH),
            "external_id": f"User {number}",
        }


def is_plain(text):
    return text == unicodedata.normalize("NFC", text) and "\u200b" not in text


REASONS = {
    # name: (keys, whether it explains a difference in (raw, ours, theirs))
    "punctuation": ({"fn", "ln", "ct"}, lambda raw, _ours, _theirs: bool(re.search(r"[^\w]", raw))),
    "digits in a city": ({"ct"}, lambda raw, _ours, _theirs: bool(re.search(r"\d", raw))),
    "external_id": ({"external_id"}, lambda raw, ours, theirs: theirs == [raw] and ours == [sha256(raw)]),
    "date": ({"db"}, lambda raw, _ours, _theirs: raw != "19900203"),
    "gender": ({"ge"}, lambda raw, _ours, _theirs: raw.lower() not in {"f", "m"}),
    "country": ({"country"}, lambda raw, _ours, theirs: theirs is None and raw in {"Germany", "UK", "zz"}),
    "phone": ({"ph"}, lambda raw, _ours, _theirs: bool(re.search(r"[./a-z]", raw)) or raw.startswith("0")),
    "postcode": ({"zp"}, lambda raw, _ours, _theirs: raw == "940351234"),
    "state": ({"st"}, lambda raw, ours, _theirs: raw == "California" and ours == [sha256("ca")]),
    "unicode": ({"fn", "em"}, lambda raw, _ours, _theirs: not is_plain(raw)),
    "empty": ({"zp", "ln", "st", "ct", "em"}, lambda raw, ours, _theirs: ours is None and raw in {"1", "...", "12", "nobody", "a@b@c.de"}),
}  # fmt: skip


def test_differences_from_meta_s_library_are_the_documented_ones():
    section = DOCS.split("## Where we differ from Meta's Python library")[1]
    documented = re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)
    assert sorted(documented) == sorted(REASONS)


@pytest.mark.filterwarnings("ignore")  # of the library and what it draws in
def test_300_people_are_matched_as_meta_s_library_does_save_for_named_reasons():
    normalize = pytest.importorskip("facebook_business.adobjects.serverside.normalize")

    def theirs(key, raw):
        if key == "external_id":
            return [raw]
        try:
            value = normalize.Normalize.normalize(key, raw, True)
        except (TypeError, ValueError):
            return None
        return [value] if value and value != EMPTY else None

    seen, used = 0, set()
    for person in people(300):
        ours = match(person)[0]
        for key, raw in person.items():
            mine, other = ours.get(key), theirs(key, raw)
            seen += 1
            if mine == other:
                continue
            reasons = {
                name
                for name, (keys, explains) in REASONS.items()
                if key in keys and explains(raw, mine, other)
            }
            assert reasons, (key, ascii(raw))
            used |= reasons
    assert seen == 3300
    assert used == set(REASONS)


# Speed does not change what comes out


def test_the_short_way_and_the_careful_way_agree():
    samples = list(people(40))
    plain = {"fbp": FBP, "fbc": FBC, "client_ip_address": "8.8.8.8", "client_user_agent": "x"}
    for person, region in itertools.product([*samples, plain], [None, "PL"]):
        for key, raw in person.items():
            if key != "country":
                assert match({key: raw}, region=region) == match({key: [raw]}, region=region)


def test_without_a_fast_sha_256_the_standard_library_serves(monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(matching.importlib, "import_module", refuse)
    assert matching._sha256_of_python() is hashlib.sha256
