from __future__ import annotations

import base64

import pytest
from django.test import RequestFactory

from wagtail_metapixel import conf, consent, visitor
from wagtail_metapixel.choices import USUAL_CATEGORIES, ConsentProvider
from wagtail_metapixel.consent import Choice, Reason
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.site_settings import PixelConfig, SiteConfig
from wagtail_metapixel.visitor import Visitor

PIXEL = PixelConfig(pixel_id="11111", hosts=frozenset({"testserver"}), events=None)
SITE = SiteConfig(
    site_pk=1,
    hostname="testserver",
    port=80,
    is_default=True,
    consent_provider="cookie",
    pixels=(PIXEL,),
    own_hosts=frozenset({"testserver"}),
)
GRANTED = "metapixel_consent=granted.0123abcd"


def ask(cookie="", host="testserver", **headers):
    request = RequestFactory().get("/", headers={"Host": host, "Cookie": cookie, **headers})
    return visitor.capture(request)


def provider(held):
    """A site's own function; answers what the header says."""
    answer = held.header("Answer")
    if answer == "raise":
        raise RuntimeError("jane@example.com")
    return {"none": None, "true": True, "list": ["granted"]}.get(answer, answer)


@pytest.fixture
def own_function(settings):
    settings.WAGTAIL_METAPIXEL = {"CONSENT_PROVIDER": f"{__name__}.provider"}


# The table: what is asked, in which order, and what stands in the way


@pytest.mark.parametrize(
    ("site", "event_name", "held", "reason"),
    [
        (None, "PageView", ask(GRANTED), Reason.NO_SITE),
        (SITE._replace(enabled=False), "PageView", ask(GRANTED), Reason.DISABLED),
        (SITE._replace(pixels=()), "PageView", ask(GRANTED), Reason.UNSET),
        (SITE, "PageView", ask(GRANTED, host="staging.example"), Reason.HOST),
        (SITE._replace(pixels=(PIXEL._replace(events=frozenset({"Lead"})),)), "PageView", ask(GRANTED), Reason.NO_PIXEL),
        (SITE, "PageView", ask(f"{GRANTED}; metapixel_off="), Reason.STAFF),
        (SITE, "PageView", ask(f"{GRANTED}; metapixel_off=", sec_gpc="1"), Reason.STAFF),
        (SITE, "PageView", ask(GRANTED, sec_gpc="1"), Reason.GPC),
        (SITE._replace(consent_provider=""), "PageView", ask(GRANTED), Reason.NO_PROVIDER),
        (SITE, "PageView", ask(), Reason.UNKNOWN),
        (SITE, "PageView", ask("metapixel_consent=denied"), Reason.DENIED),
        (SITE, "PageView", None, Reason.NO_VISITOR),
        (SITE, "PageView", ask(GRANTED), None),
        (SITE, None, ask(GRANTED), None),
        (SITE, "PageView", ask(GRANTED, sec_gpc="0"), None),
        (SITE._replace(respect_gpc=False), "PageView", ask(GRANTED, sec_gpc="1"), None),
    ],
)  # fmt: skip
def test_the_gate_is_closed_unless_every_question_is_answered_with_yes(
    site, event_name, held, reason
):
    decision = consent.decide(site, event_name, held=held)
    assert decision.reason == reason
    assert decision.allowed is (reason is None)


def test_an_open_gate_tells_the_proof_and_the_pixels_that_send():
    other = PIXEL._replace(pixel_id="22222", hosts=frozenset({"other.example"}))
    decision = consent.decide(SITE._replace(pixels=(PIXEL, other)), "PageView", held=ask(GRANTED))
    assert decision.choice is Choice.GRANTED
    assert decision.proof == "0123abcd"
    assert decision.pixels == (PIXEL,)


# Our own cookie


@pytest.mark.parametrize(
    ("value", "choice", "proof"),
    [
        ("granted.0123abcd", Choice.GRANTED, "0123abcd"),
        ("granted", Choice.GRANTED, ""),
        ("granted.<script>", Choice.GRANTED, ""),
        (f"granted.{'a' * 99}", Choice.GRANTED, "a" * 32),
        ("denied", Choice.DENIED, ""),
        ("denied.x", Choice.DENIED, ""),
        ("Granted", Choice.UNKNOWN, ""),
        ("yes", Choice.UNKNOWN, ""),
        ("not_required", Choice.UNKNOWN, ""),
        ("", Choice.UNKNOWN, ""),
    ],
)
def test_our_cookie_says_granted_or_denied_and_nothing_else(value, choice, proof):
    assert consent.ask(ask(f"metapixel_consent={value}"), SITE) == (choice, proof)


# Not required


NOT_REQUIRED = SITE._replace(consent_provider="not_required")


def test_where_none_is_required_nobody_has_to_be_asked():
    decision = consent.decide(NOT_REQUIRED, "PageView", held=ask())
    assert (decision.allowed, decision.choice) == (True, Choice.NOT_REQUIRED)


def test_who_need_not_be_asked_may_still_object():
    held = ask("metapixel_consent=denied")
    assert consent.decide(NOT_REQUIRED, "PageView", held=held).reason is Reason.DENIED


@pytest.mark.parametrize("chosen", ["cookie", "function", "", "gone-in-this-release"])
def test_not_required_counts_only_where_the_owner_chose_it(own_function, chosen):
    site = SITE._replace(consent_provider=chosen)
    person = Visitor(site_pk=1, host="testserver", consent="not_required")
    for kept in (
        {"visitor": person},
        {"stated": "not_required"},
        {"held": ask(Answer="not_required")},
    ):
        assert not consent.decide(site, "PageView", **kept).allowed


# A function of the site's own


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("granted", None),
        ("denied", Reason.DENIED),
        ("unknown", Reason.UNKNOWN),
        ("maybe", Reason.UNKNOWN),
        ("none", Reason.UNKNOWN),
        ("true", Reason.UNKNOWN),
        ("list", Reason.UNKNOWN),
        ("raise", Reason.UNKNOWN),
    ],
)
def test_only_a_clear_yes_of_the_sites_function_opens_the_gate(own_function, answer, reason):
    site = SITE._replace(consent_provider="function")
    assert consent.decide(site, "PageView", held=ask(Answer=answer)).reason is reason


def test_a_function_that_raises_is_logged_without_what_it_said(own_function, caplog):
    consent.ask(ask(Answer="raise"), SITE._replace(consent_provider="function"))
    assert "RuntimeError" in caplog.text
    assert "jane@example.com" not in caplog.text


@pytest.mark.parametrize("path", ["", "nowhere.at_all", "os.sep", "no dots"])
def test_a_function_that_is_not_there_is_a_no(settings, path):
    settings.WAGTAIL_METAPIXEL = {"CONSENT_PROVIDER": path}
    site = SITE._replace(consent_provider="function")
    assert consent.decide(site, "PageView", held=ask(GRANTED)).reason is Reason.UNKNOWN


def test_a_path_that_leads_to_no_function_is_a_configuration_error(settings):
    settings.WAGTAIL_METAPIXEL = {"CONSENT_PROVIDER": "os.sep"}
    with pytest.raises(ConfigurationError, match="CONSENT_PROVIDER"):
        conf.function("CONSENT_PROVIDER")


# Other people's tools; their cookies are read in test_consent_cookies


COOKIES = {
    "cookiebot": "CookieConsent={{stamp:%27x%27%2Cmarketing:{}%2Cmethod:%27explicit%27%2Cver:1}}",
    "onetrust": (
        "OptanonConsent=groups=C0001%3A1%2CC0004%3A{}; "
        "OptanonAlertBoxClosed=2026-07-15T07:20:51.814Z"
    ),
    "cookieyes": "cookieyes-consent=consent:yes,action:yes,advertisement:{}",
    "wagtail_tag_manager": "wtm={}",
    "django_cookie_consent": 'cookie_consent="marketing={}"',
    "tcf": "metapixel_choice={}.{}",
    "function": "metapixel_choice={}.{}",
}
WORDS = {
    "cookiebot": ("true", "false"),
    "onetrust": ("1", "0"),
    "cookieyes": ("yes", "no"),
    "wagtail_tag_manager": tuple(
        base64.b64encode(
            b'{"meta":{"set_timestamp":1767225600},"state":{"marketing":"%s"}}' % word
        ).decode()
        for word in (b"true", b"false")
    ),
    "django_cookie_consent": ("2026-02-01T10:00:00+00:00", "-1"),
    "tcf": ("granted", "denied"),
    "function": ("granted", "denied"),
}
TOOLS = sorted(COOKIES)


def of_tool(tool, **choices):
    category = USUAL_CATEGORIES.get(tool, "")
    site = SITE._replace(consent_provider=tool, consent_category=category, consent_vendor_id=891)
    return site._replace(**choices)


def kept(tool, *, yes, site=None):
    mirror = (site or of_tool(tool)).consent_mirror
    return COOKIES[tool].format(WORDS[tool][0 if yes else 1], mirror)


def test_each_tool_of_the_admin_is_tested_here():
    own = {"", "cookie", "not_required"}
    assert set(TOOLS) == set(ConsentProvider.values) - own


@pytest.mark.parametrize("tool", TOOLS)
def test_the_cookie_of_the_sites_tool_decides(tool):
    reasons = [
        consent.decide(of_tool(tool), "PageView", held=ask(cookie)).reason
        for cookie in (kept(tool, yes=True), kept(tool, yes=False), "", "a=b")
    ]
    assert reasons == [None, Reason.DENIED, Reason.UNKNOWN, Reason.UNKNOWN]


@pytest.mark.parametrize("tool", TOOLS)
def test_only_the_sites_own_tool_is_asked(tool):
    cookies = [kept(other, yes=True) for other in TOOLS if other != tool]
    held = ask("; ".join([*cookies, GRANTED]))
    assert consent.ask(held, of_tool(tool)) == (Choice.UNKNOWN, "")


@pytest.mark.parametrize("tool", TOOLS)
def test_an_opt_out_signal_and_a_staff_browser_come_before_the_tool(tool):
    held = ask(kept(tool, yes=True), sec_gpc="1")
    assert consent.decide(of_tool(tool), "PageView", held=held).reason is Reason.GPC
    held = ask(f"{kept(tool, yes=True)}; metapixel_off=")
    assert consent.decide(of_tool(tool), "PageView", held=held).reason is Reason.STAFF


@pytest.mark.parametrize("tool", TOOLS)
def test_a_withdrawal_told_to_us_counts_beside_the_tool(tool):
    held = ask(f"{kept(tool, yes=True)}; metapixel_consent=denied")
    assert consent.ask(held, of_tool(tool))[0] is Choice.DENIED


@pytest.mark.parametrize("tool", TOOLS)
def test_a_grant_told_to_us_does_not(tool):
    assert consent.ask(ask(GRANTED), of_tool(tool))[0] is Choice.UNKNOWN
    held = ask(f"{kept(tool, yes=False)}; {GRANTED}")
    assert consent.ask(held, of_tool(tool))[0] is Choice.DENIED


@pytest.mark.parametrize("tool", sorted(set(TOOLS) - {"tcf", "function"}))
def test_a_site_without_a_category_grants_nothing(tool):
    held = ask(kept(tool, yes=True))
    assert consent.ask(held, of_tool(tool, consent_category=""))[0] is Choice.UNKNOWN


def test_tcf_without_a_number_is_unknown_whatever_the_mirror_says():
    site = of_tool("tcf", consent_vendor_id=None)
    assert consent.ask(ask(kept("tcf", yes=True, site=site)), site)[0] is Choice.UNKNOWN
    named = site._replace(consent_ac_provider_id=89)
    assert consent.ask(ask(kept("tcf", yes=True, site=named)), named)[0] is Choice.GRANTED


def test_a_mirror_of_other_names_says_nothing():
    held, site = ask(kept("tcf", yes=True)), of_tool("tcf")
    assert consent.ask(held, site)[0] is Choice.GRANTED
    assert consent.ask(held, site._replace(consent_vendor_id=892))[0] is Choice.UNKNOWN
    assert consent.ask(held, site._replace(consent_category="1,3"))[0] is Choice.UNKNOWN


@pytest.mark.parametrize(
    ("cookies", "choice"),
    [
        ("metapixel_consent=denied; metapixel_consent=granted.abc", Choice.DENIED),
        ("metapixel_consent=granted.abc; metapixel_consent=denied", Choice.DENIED),
        ("metapixel_consent=granted.abc; a=1; metapixel_consent=granted.def", Choice.GRANTED),
        ("metapixel_consent=granted.abc; metapixel_consent=x", Choice.UNKNOWN),
        (
            "; ".join(["metapixel_consent=granted.abc"] * 20 + ["metapixel_consent=denied"]),
            Choice.UNKNOWN,
        ),
    ],
)
def test_of_several_cookies_of_one_name_a_no_counts(cookies, choice):
    assert consent.ask(ask(cookies), SITE)[0] is choice


@pytest.mark.parametrize("tool", TOOLS)
def test_of_several_cookies_of_a_tool_a_no_counts(tool):
    yes, no = kept(tool, yes=True), kept(tool, yes=False)
    for header in (f"{yes}; {no}", f"{no}; {yes}"):
        assert consent.ask(ask(header), of_tool(tool))[0] is Choice.DENIED


def test_a_withdrawal_told_to_us_counts_beside_a_function_on_the_server(own_function):
    held = ask("metapixel_consent=denied", Answer="granted")
    assert consent.ask(held, of_tool("function"))[0] is Choice.DENIED
    held = ask("metapixel_consent=denied", Answer="not_required")
    assert consent.ask(held, of_tool("function"))[0] is Choice.DENIED


def test_a_function_on_the_server_counts_and_the_mirror_does_not(own_function):
    site = of_tool("function")
    assert consent.ask(ask(kept("function", yes=True), Answer="denied"), site)[0] is Choice.DENIED
    assert consent.ask(ask(kept("function", yes=False), Answer="granted"), site)[0] is (
        Choice.GRANTED
    )


def test_the_tools_own_word_is_told_without_what_was_told_to_us():
    held = ask(f"{kept('django_cookie_consent', yes=True)}; metapixel_consent=denied")
    assert consent.ask_tool(held, of_tool("django_cookie_consent")) is Choice.GRANTED
    assert consent.ask_tool(ask(GRANTED), SITE) is Choice.UNKNOWN


# Work without a request


@pytest.mark.parametrize(
    ("said", "reason"),
    [("granted", None), ("denied", Reason.DENIED), ("unknown", Reason.UNKNOWN), ("x", Reason.UNKNOWN)],
)  # fmt: skip
def test_a_kept_visitor_and_a_kept_decision_are_taken_at_their_word(said, reason):
    person = Visitor(site_pk=1, host="testserver", consent=said, consent_proof="p")
    decision = consent.decide(SITE, "Purchase", visitor=person)
    assert (decision.reason, decision.proof) == (reason, "p")
    assert consent.decide(SITE, "Purchase", stated=said).reason is reason


def test_a_kept_visitor_of_another_host_is_held_back():
    person = Visitor(site_pk=1, host="staging.example", consent="granted")
    assert consent.decide(SITE, "Purchase", visitor=person).reason is Reason.HOST


@pytest.mark.parametrize(
    ("held", "reason"),
    [(ask(sec_gpc="1"), Reason.GPC), (ask("metapixel_off="), Reason.STAFF), (ask(), None)],
)
def test_a_decision_kept_from_earlier_overrides_neither_opt_out_nor_staff(held, reason):
    assert consent.decide(SITE, "Lead", held=held, stated="granted").reason is reason
