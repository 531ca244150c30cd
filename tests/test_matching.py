"""Matching: vectors, documentation, properties, and what is sent plain."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import json
import re
import unicodedata
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wagtail_metapixel import custom_data, match_keys, matching
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
        data, _problems = custom_data.build_custom_data("Lead", {"currency": vector["raw"]})
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
    # NFC comes first; the documentation's table has the one vector it changes, and one more.
    departure = departures().get((vector["param"], vector["raw"]))
    expected = departure[1] if departure else agreed and unicodedata.normalize("NFC", agreed)
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
        assert f"`{match_keys.USER_DATA[key].name}`" in DOCS


# Properties

HASHED = sorted(key for key, fact in match_keys.USER_DATA.items() if fact.hashed != "forbidden")
TEXTS = st.text(max_size=40) | st.text(
    st.sampled_from(
        "aZ\u00e90\u0663 \u00ad\u200b\u0301@.-'()+\u00df\u0130\u03a3\ud55c\u1112\u1161\u3164\u4e00"
    ),
    max_size=16,
)
COUNTRIES = st.sampled_from([None, "us", "ca", "pl", "zz"])
PLACES = st.sampled_from(
    ["Qu\u00e9bec", "US-CA", "New York", "Poland", "POL", "94035-1234", "Female"]
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HASHED), TEXTS | PLACES, COUNTRIES)
def test_normalising_twice_changes_nothing(key, raw, country):
    once = normalise(key, raw, country=country)
    assert once is None or (once and normalise(key, once, country=country) == once)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(HASHED),
    TEXTS | PLACES,
    st.sampled_from(["NFC", "NFD"]),
    st.sampled_from(["", " ", "\t", "\xa0\n", "\u3000", "\u200b", "\ufeff"]),
)
def test_how_a_text_was_typed_changes_nothing(key, raw, form, blank):
    typed = blank + unicodedata.normalize(form, raw) + blank
    assert normalise(key, typed) == normalise(key, raw)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(HASHED), st.lists(TEXTS | PLACES, max_size=4), st.randoms())
def test_the_order_of_several_values_changes_nothing(key, raw, chance):
    others = chance.sample(raw, len(raw))
    if match_keys.USER_DATA[key].many:
        assert match({key: others})[0] == match({key: [*raw, *raw]})[0] == match({key: set(raw)})[0]


@settings(max_examples=300, deadline=None)
@given(key=st.sampled_from(HASHED), raw=TEXTS | PLACES)
def test_a_value_becomes_64_hex_digits_or_nothing_and_never_the_hash_of_nothing(key, raw):
    found, problems = match({key: raw})
    assert match({key: raw}) == (found, problems)
    for digests in found.values():
        for digest in [digests] if isinstance(digests, str) else digests:
            assert DIGEST.fullmatch(digest)
            assert digest != EMPTY


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*match_keys.USER_DATA, "email", "phone", "nonsense"]),
        st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5)
        | st.lists(TEXTS | st.none() | st.integers(), max_size=3),
    )
)  # fmt: skip
def test_nothing_makes_matching_raise_or_unfit_for_json(user_data):
    found, _problems = match(user_data)
    json.dumps(found, allow_nan=False)
    assert set(found) <= set(match_keys.USER_DATA)
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


# Values that are left out


@pytest.mark.parametrize("raw", [48601234567, b"48", True, 4.5, object()], ids=lambda raw: type(raw).__name__)  # fmt: skip
def test_a_value_of_a_wrong_type_is_the_developers_mistake(raw):
    (problem,) = problems_of({"phone": raw})
    assert problem.mistake
    assert not problem.fatal


def test_bad_data_is_no_mistake_of_the_developer():
    (problem,) = problems_of({"email": "foo@"})
    assert not problem.mistake
    assert problem.field == "email"
    assert "foo" not in problem.rule


@pytest.mark.parametrize(
    ("name", "field", "hint"),
    [
        ("e_mail", "e_mail", "'email'"),
        ("fbpp", "fbpp", "'fbp'"),
        ("firstName", "firstName", "'first_name'"),
        pytest.param("emial", "user_data", "'email'", id="alike, but Emily is as much so"),
        pytest.param("colour", "user_data", "", id="may be anything, so it is not repeated"),
        pytest.param("Kowalska", "user_data", "", id="a person's name"),
        pytest.param("p48601234567", "user_data", "", id="a number"),
    ],
)
def test_an_unknown_key_is_repeated_only_when_it_is_nearly_one(name, field, hint):
    found, (problem,) = match({name: "x"})
    assert found == {}
    assert problem.field == field
    assert problem.mistake
    assert hint in problem.rule
    assert name not in problem.rule
    assert ("did you mean" in problem.rule) is bool(hint)


@pytest.mark.parametrize("key", ["subscription_id", "anon_id", "madid", "page_id", "ctwa_clid"])
def test_an_e_mail_address_is_never_sent_as_a_plain_key(key):
    for raw in ("jane@example.com", ["jane@example.com"], "id jane@example.com"):
        found, (problem,) = match({key: raw})
        assert found == {}
        assert problem.rule.startswith("holds an e-mail address")
        assert (problem.field, problem.mistake) == (key, False)
    assert match({key: "a@b"}) == ({key: "a@b"}, [])


@pytest.mark.parametrize("digest", ["a1" * 32, "A1" * 32])
def test_a_digest_is_never_sent_as_a_plain_key(digest):
    found, (problem,) = match({"subscription_id": digest})
    assert (found, problem.field) == ({}, "subscription_id")
    assert "digest" in problem.rule


@pytest.mark.parametrize("odd", ["\u200b", "\ufeff", "\u00ad"])
@pytest.mark.parametrize(
    "cookie", ["fb.1.1700000000000.{}123", "{}fb.1.1700000000000.123", "fb.1.1700000000000.123{}"]
)
@pytest.mark.parametrize("key", ["fbc", "fbp"])
def test_a_cookie_with_a_character_nobody_sees_is_refused_and_not_mended(key, cookie, odd):
    found, (problem,) = match({key: cookie.format(odd)})
    assert found == {}
    assert problem.field == key
    assert normalise(key, cookie.format(odd)) is None
    assert match({key: cookie.format("")})[0] == {key: cookie.format("")}


class BrokenList(list):
    def __iter__(self):
        raise RuntimeError("not me")


class BrokenDict(dict):
    def items(self):
        raise RuntimeError("not me")


def test_an_object_that_breaks_costs_its_own_key_only():
    for key in ("phone", "country"):
        found, (problem,) = match({key: BrokenList("x"), "fbp": "fb.1.1700000000000.123"})
        assert found == {"fbp": "fb.1.1700000000000.123"}
        assert (problem.field, problem.mistake) == (key, True)
        assert "not me" not in problem.rule
    found, (problem,) = match(BrokenDict(email="a@b.co"))
    assert (found, problem.field, problem.mistake) == ({}, "user_data", True)


def test_several_values_become_sorted_unique_digests():  # row 53
    raw = ["b@example.com", "A@example.com", "a@example.com", "", None, "nonsense"]
    found, problems = match({"email": raw, "em": "c@example.com"})
    assert found == {"em": sorted(sha256(f"{letter}@example.com") for letter in "abc")}
    assert [problem.field for problem in problems] == ["email"]


def test_readable_and_meta_s_names_are_the_same():
    for fact in match_keys.USER_DATA.values():
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


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (["8.8.8.8", "2001:db8::1"], "2001:db8::1"),
        (["10.0.0.1", "8.8.8.8", "9.9.9.9"], "8.8.8.8"),
        (["8.8.8.8", "fe80::1"], "8.8.8.8"),
        (("2001:db8::2", "2001:db8::1"), "2001:db8::2"),
        ({"8.8.8.8", "2001:db8::1"}, "2001:db8::1"),
        ([ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("2001:db8::1")], "2001:db8::1"),
        (["::ffff:8.8.8.8", "10.0.0.1"], "8.8.8.8"),
    ],
)
def test_of_several_addresses_the_first_ipv6_is_sent_else_the_first(raw, expected):
    assert only({"client_ip_address": raw}) == expected


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS if vector["param"] == "client_ip_address"],
    ids=lambda vector: ascii(vector["normalized"]),
)
def test_of_several_addresses_the_one_meta_s_builder_picks_is_sent(vector):
    told = vector["raw"]
    first_hop = (told["xff"] or "").split(",")[0]
    candidates = [told["cookie_fbi"], first_hop, told["remote"]]
    assert only({"client_ip_address": candidates}) == vector["normalized"]


def test_of_a_set_the_same_one_is_sent_in_every_process():
    assert only({"client_ip_address": {"9.9.9.9", "8.8.8.8"}}) == "8.8.8.8"


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


# Speed does not change what comes out


PEOPLE = [
    {
        "em": " Foo.Bar@Example.COM ", "ph": "+48 601 234 567", "fn": "Jose\u0301", "ln": "O'Neil", "ge": "Female",
        "ct": "Frankfurt/Main", "st": "N.Y.", "zp": "94035-1234", "country": "UK", "db": "1990-02-03", "external_id": "User 1",
    },
    {
        "em": "x\u200b@y.de", "ph": "020 7946 0958", "fn": "\u738b", "ln": "...", "ge": "x", "ct": "29 Palms", "st": "12",
        "zp": "1", "country": "Germany", "db": "05/06/1990", "external_id": "a@b.co",
    },
    {
        "em": "A" * 64, "ph": "0" * 64, "fn": "a" * 64 + ".AQICAQMC", "ln": "a" * 32, "ge": "", "ct": " ", "st": "\u4e00",
        "zp": "940351234", "country": "b" * 64, "db": "1990-02-30", "external_id": "x" * 501,
    },
    {"fbp": FBP, "fbc": FBC, "client_ip_address": "8.8.8.8", "client_user_agent": "x", "country": "zz"},
]  # fmt: skip


def test_the_short_way_and_the_careful_way_agree():
    for person, region in itertools.product(PEOPLE, [None, "PL"]):
        for key, raw in person.items():
            assert match({key: raw}, region=region) == match({key: [raw]}, region=region), key
        several = {key: [raw] for key, raw in person.items()}
        assert match(person, region=region) == match(several, region=region)


def test_without_a_fast_sha_256_the_standard_library_serves(monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(matching.importlib, "import_module", refuse)
    assert matching._sha256_of_python() is hashlib.sha256


def test_a_place_that_was_met_before_is_read_the_same_and_as_a_list_of_its_own():
    person = {"city": "New York", "state": "New York", "zip": "100011234", "country": "US"}
    first, _problems = match(person)
    first["ct"].append("spoilt")
    again, _problems = match(person)
    assert again == match({key: [value] for key, value in person.items()})[0]
    elsewhere, _problems = match({**person, "country": "GB"})
    assert elsewhere["st"] != again["st"]
    assert elsewhere["zp"] != again["zp"]
