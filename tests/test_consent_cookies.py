"""Each tool's cookie as it travels: what is a yes, what is a no, and that nothing else is either."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from django.http.cookie import parse_cookie
from hypothesis import given
from hypothesis import strategies as st

from wagtail_metapixel import consent_cookies
from wagtail_metapixel.consent_cookies import (
    LENGTH_MAX,
    cookiebot,
    cookieyes,
    django_cookie_consent,
    mirror,
    onetrust,
    wagtail_tag_manager,
)

STAMP = "stamp:%27Oaq3+QuxyTcJo/KpRLdIlxJQ==%27"
COOKIEBOT = (
    "CookieConsent={{" + STAMP + "%2Cnecessary:true%2Cpreferences:false%2Cstatistics:true"
    "%2Cmarketing:{}%2Cmethod:%27explicit%27%2Cver:1%2Cutc:1751699978305%2Cregion:%27de%27}}"
)
CLOSED = "OptanonAlertBoxClosed=2026-07-15T07:20:51.814Z"
ONETRUST = (
    "OptanonConsent=isGpcEnabled=0&datestamp=Mon+Jul+15+2026+07%3A20%3A51+GMT%2B0200"
    "+(Central+European+Summer+Time)&version=202405.2.0&isIABGlobal=false&hosts=&consentId=7cbc60b3"
    "&interactionCount=1&groups=C0001%3A1%2CBG1%3A0%2CC0004%3A{}&AwaitingReconsent=false; " + CLOSED
)
COOKIEYES = (
    "cookieyes-consent=consentid:OHNOck5kY2gz,consent:yes,action:yes,necessary:yes,functional:yes,"
    "analytics:no,performance:no,advertisement:{}"
)
ANSWERED = {"id": "1b2c", "set_timestamp": 1767225600.5, "refresh_timestamp": 1767225600.5}
ACCEPTED = "2026-02-01T10:00:00.123456+00:00"


def wtm(marketing, meta=ANSWERED):
    """Return the cookie of wagtail-tag-manager as Python's cookies write it, in quotes."""
    kept = {"meta": meta, "state": {"necessary": "true", "marketing": marketing}}
    return f'wtm="{encoded(json.dumps(kept, separators=(",", ":"), sort_keys=True).encode())}"'


def encoded(value):
    return quote(base64.b64encode(value).decode())


def django_groups(marketing):
    return f'cookie_consent="social=-1|marketing={marketing}"'


READERS = {
    "cookiebot": (cookiebot, "CookieConsent", "marketing"),
    "onetrust": (onetrust, "OptanonConsent", "C0004"),
    "cookieyes": (cookieyes, "cookieyes-consent", "advertisement"),
    "wagtail_tag_manager": (wagtail_tag_manager, "wtm", "marketing"),
    "django_cookie_consent": (django_cookie_consent, "cookie_consent", "marketing"),
    "mirror": (mirror, "metapixel_choice", "0a1b2c3d"),
}
YES = {
    "cookiebot": COOKIEBOT.format("true"),
    "onetrust": ONETRUST.format(1),
    "cookieyes": COOKIEYES.format("yes"),
    "wagtail_tag_manager": wtm("true"),
    "django_cookie_consent": django_groups(ACCEPTED),
    "mirror": "metapixel_choice=granted.0a1b2c3d",
}
NO = {
    "cookiebot": COOKIEBOT.format("false"),
    "onetrust": ONETRUST.format(0),
    "cookieyes": COOKIEYES.format("no"),
    "wagtail_tag_manager": wtm("false"),
    "django_cookie_consent": django_groups("-1"),
    "mirror": "metapixel_choice=denied.0a1b2c3d",
}
TOOLS = sorted(READERS)


def read(tool, header, category=None):
    reader, _name, usual = READERS[tool]
    return reader(parse_cookie(header), usual if category is None else category)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_yes_a_no_and_no_cookie(tool):
    answers = [read(tool, header) for header in (YES[tool], NO[tool], "", "a=b")]
    assert answers == [True, False, None, None]


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    "category", ["", "other", "C00", "C0004:1", "method", "stamp", "__class__"]
)
def test_a_category_the_cookie_does_not_answer_is_unknown(tool, category):
    assert read(tool, YES[tool], category) is None


UNKNOWN = [
    # Nobody answered: assumed by the tool, or written before the question
    ("cookiebot", COOKIEBOT.format("true").replace("explicit", "implied")),
    ("cookiebot", COOKIEBOT.format("true").replace("%2Cmethod:%27explicit%27", "")),
    ("cookiebot", "CookieConsent=-1"),
    ("cookiebot", "CookieConsent=0"),
    ("onetrust", ONETRUST.format(1).replace(f"; {CLOSED}", "")),
    ("onetrust", ONETRUST.format(1).replace(CLOSED, "OptanonAlertBoxClosed=")),
    ("onetrust", ONETRUST.format(1).replace(CLOSED, "OptanonAlertBoxClosed=true")),
    ("onetrust", ONETRUST.format(1).replace("07-15T", "13-45T")),
    ("onetrust", ONETRUST.format(1).replace("Reconsent=false", "Reconsent=true")),
    ("cookieyes", COOKIEYES.format("yes").replace("action:yes", "action:no")),
    ("cookieyes", COOKIEYES.format("yes").replace("action:yes", "action:")),
    ("cookieyes", COOKIEYES.format("yes").replace("action:yes,", "")),
    ("cookieyes", COOKIEYES.format("yes").replace("consent:yes", "consent:no")),
    ("wagtail_tag_manager", wtm("true", {})),
    ("wagtail_tag_manager", wtm("false", {"id": "", "set_timestamp": 0})),
    ("wagtail_tag_manager", wtm("true", {"set_timestamp": "1767225600"})),
    ("wagtail_tag_manager", wtm("true", {"set_timestamp": True})),
    ("wagtail_tag_manager", wtm("true", None)),
    ("wagtail_tag_manager", wtm("unset")),
    ("wagtail_tag_manager", wtm("pending")),
    # Another word, another type, another case
    ("cookiebot", COOKIEBOT.format("True")),
    ("cookiebot", COOKIEBOT.format("1")),
    ("cookiebot", COOKIEBOT.format("%27true%27")),
    ("cookiebot", COOKIEBOT.format("")),
    ("onetrust", ONETRUST.format(2)),
    ("onetrust", ONETRUST.format("true")),
    ("onetrust", ONETRUST.format("")),
    ("onetrust", ONETRUST.format(11)),
    ("cookieyes", COOKIEYES.format("Yes")),
    ("cookieyes", COOKIEYES.format("true")),
    ("cookieyes", COOKIEYES.format("yes:yes")),
    ("wagtail_tag_manager", wtm(True)),
    ("wagtail_tag_manager", wtm(["true"])),
    ("wagtail_tag_manager", wtm({})),
    ("wagtail_tag_manager", "wtm=marketing:true|necessary:true"),
    ("django_cookie_consent", django_groups("")),
    ("django_cookie_consent", django_groups("1")),
    ("django_cookie_consent", django_groups("true")),
    ("django_cookie_consent", django_groups("2026-02-30T10:00:00")),
    ("django_cookie_consent", django_groups("2026-02-01")),
    ("django_cookie_consent", django_groups(ACCEPTED + "x")),
    ("django_cookie_consent", django_groups("2026-02-01T10:00:00" + "9" * 99)),
    ("django_cookie_consent", django_groups("٢٠٢٦-02-01T10:00:00")),
    *(
        ("mirror", f"metapixel_choice={value}")
        for value in (
            "granted", "granted.", "granted.0a1b2c3e", "granted.0a1b2c3d.x", "Granted.0a1b2c3d",
            "granted ok.0a1b2c3d", "yes.0a1b2c3d", "unknown.0a1b2c3d", "not_required.0a1b2c3d", "",
        )
    ),
    # Said twice
    ("cookiebot", COOKIEBOT.format("false%2Cmarketing:true")),
    ("onetrust", ONETRUST.format("0%2CC0004%3A1")),
    ("onetrust", ONETRUST.format("0&groups=C0004%3A1")),
    ("cookieyes", COOKIEYES.format("no,advertisement:yes")),
    ("django_cookie_consent", django_groups(f"-1|marketing={ACCEPTED}")),
    # One part of it is not what the tool writes
    ("cookiebot", COOKIEBOT.format("true").replace("ver:1", "ver:x")),
    ("cookiebot", COOKIEBOT.format("true").replace("ver:1", "")),
    ("cookiebot", COOKIEBOT.format("true").replace("{", "")),
    ("cookiebot", COOKIEBOT.format("true").replace("%27de", "%FF%FE")),
    ("cookiebot", "CookieConsent=" + "{%7D" * 300),
    ("onetrust", ONETRUST.format(1).replace("BG1%3A0", "BG1")),
    ("onetrust", ONETRUST.format(1).replace("BG1%3A0", "%FF%3A0")),
    ("onetrust", "OptanonConsent=" + "a=b&" * 200 + f"groups=C0004%3A1; {CLOSED}"),
    ("cookieyes", COOKIEYES.format("yes").replace("consentid", "consent id")),
    ("cookieyes", "cookieyes-consent=%7B%22accept%22:%22yes%22%2C%22advertisement%22:%22yes%22%7D"),
    ("django_cookie_consent", django_groups(f"{ACCEPTED}|half")),
    ("django_cookie_consent", django_groups(f"{ACCEPTED}|a=b=c")),
    *(
        ("wagtail_tag_manager", f"wtm={value}")
        for value in (
            "%", "%%%", "====", "e30", "bnVsbA==", encoded(b"[]"), encoded(b"1"), encoded(b'"true"'),
            encoded(b"\xff\xfe"), encoded(b"NaN"), encoded(b"[" * 5000), encoded(b'{"a":' * 1000),
            encoded(b'{"meta": 1, "state": 2}'), encoded(b'{"meta": {}}'),
            encoded(b'{"meta": {"set_timestamp": NaN}, "state": {"marketing": "true"}}'),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "header"), UNKNOWN, ids=[f"{tool}-{at}" for at, (tool, _header) in enumerate(UNKNOWN)]
)
def test_everything_else_is_unknown(tool, header):
    assert read(tool, header) is None


@pytest.mark.parametrize("tool", TOOLS)
def test_a_value_longer_than_any_browser_keeps_is_not_read(tool):
    _reader, name, category = READERS[tool]
    cookies = parse_cookie(YES[tool])
    padded = {**cookies, name: cookies[name] + " " * LENGTH_MAX}
    assert READERS[tool][0](padded, category) is None


@pytest.mark.parametrize("tool", TOOLS)
def test_half_a_cookie_never_says_anything_else_than_the_whole(tool):
    reader, name, category = READERS[tool]
    for header, whole in ((YES[tool], True), (NO[tool], False)):
        cookies = parse_cookie(header)
        value = cookies[name]
        for cut in range(len(value)):
            assert reader({**cookies, name: value[:cut]}, category) in {None, whole}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_other_tools_wrote_is_not_an_answer(tool):
    others = "; ".join(header for other, header in YES.items() if other != tool)
    assert read(tool, others) is None


@pytest.mark.parametrize("tool", TOOLS)
@given(texts=st.lists(st.text(max_size=200), min_size=2, max_size=2))
def test_random_text_is_never_a_yes(tool, texts):
    reader, name, category = READERS[tool]
    # Beside what else the tool needs: only its own words are random.
    cookies = {**parse_cookie(YES[tool]), name: "x".join(texts)}
    assert reader(cookies, category) is not True


# Without the digit that OneTrust writes for a yes: with it, a no may well become one.
SPLINTERS = st.text(st.characters(exclude_characters="1"), max_size=3)


@pytest.mark.parametrize("tool", TOOLS)
@given(at=st.integers(min_value=0, max_value=300), put=SPLINTERS)
def test_a_no_with_a_splinter_in_it_is_never_a_yes(tool, at, put):
    reader, name, category = READERS[tool]
    cookies = parse_cookie(NO[tool])
    value = cookies[name]
    at = min(at, len(value))
    splintered = {**cookies, name: value[:at] + put + value[at:]}
    assert reader(splintered, category) is not True


@pytest.mark.parametrize("piece", ["{", "%", "a:b,", "'", "=|", "[", "a=b&", "A"])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_cookie_made_to_take_long_is_unknown(tool, piece):
    reader, name, category = READERS[tool]
    value = piece * (LENGTH_MAX // len(piece))
    assert reader({**parse_cookie(YES[tool]), name: value}, category) is None


def test_the_stored_name_and_word_of_django_cookie_consent_are_its_own_settings(settings):
    settings.COOKIE_CONSENT_NAME = "choices"
    settings.COOKIE_CONSENT_DECLINE = "no"
    assert read("django_cookie_consent", f'choices="marketing={ACCEPTED}"') is True
    assert read("django_cookie_consent", "choices=marketing=no") is False
    assert read("django_cookie_consent", "choices=marketing=-1") is None
    assert read("django_cookie_consent", YES["django_cookie_consent"]) is None


def test_an_onetrust_account_with_numbers_of_its_own():
    header = f"OptanonConsent=groups=1%3A1%2C4%3A1%2C0_123%3A0; {CLOSED}"
    assert [read("onetrust", header, name) for name in ("4", "0_123", "0")] == [True, False, None]


def test_a_cookie_that_came_encoded_as_a_whole_is_read_alike():
    value = COOKIEYES.format("yes").partition("=")[2]
    assert read("cookieyes", f"cookieyes-consent={quote(value)}") is True


def test_the_mirror_is_named_as_the_browser_writes_it():
    assert consent_cookies.MIRROR_COOKIE == "metapixel_choice"
