from __future__ import annotations

import pytest
from django.test import RequestFactory

from wagtail_metapixel import conf, consent, visitor
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
        (SITE._replace(pixels=()), "PageView", ask(GRANTED), Reason.NO_PIXEL),
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
