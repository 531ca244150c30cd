from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from wagtail.models import Site

from tests.factories import (
    PIXEL_ID,
    TOKEN,
    OutboxEventFactory,
    PixelFactory,
    SettingsFactory,
    SiteFactory,
)
from tests.visits import bearer
from wagtail_metapixel import (
    conf,
    counters,
    datasets,
    diagnostics,
    graph_api,
    outbox,
    site_settings,
    visitor,
)
from wagtail_metapixel.choices import PixelMode
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.diagnosis import Level
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.graph_api import Answer, Kind
from wagtail_metapixel.models import Counter, State

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def only_our_site():
    Site.objects.all().delete()


def answer(held):
    return "granted"


def lines(**kwargs):
    return list(diagnostics.examine(network=False, **kwargs))


def one(text, findings=None):
    """Return the one finding that says ``text``."""
    found = [f for f in (findings or lines()) if text in f.fact]
    assert len(found) == 1, [f.fact for f in findings or lines()]
    return found[0]


def problems():
    return [finding for finding in lines() if finding.level is Level.PROBLEM]


def test_a_good_installation_has_no_problem():
    PixelFactory()
    assert problems() == []
    assert {finding.level for finding in lines()} == {Level.OK}


def test_every_problem_says_what_to_do():
    SettingsFactory()
    PixelFactory(settings=SettingsFactory(site=SiteFactory(hostname="b")), token="", hosts="c")
    OutboxEventFactory(recorded_at=timezone.now() - timedelta(hours=1))
    assert len(problems()) == 4
    assert all(finding.advice.endswith((".", "?")) for finding in problems())


# The deployment


def test_the_sandbox_is_told(settings):
    settings.WAGTAIL_METAPIXEL = {"SANDBOX": "http://127.0.0.1:8001"}
    settings.DEBUG = True
    finding = one("Events go to the sandbox at http://127.0.0.1:8001/v26.0, not to Meta.")
    assert finding.level is Level.NOTE


def test_the_sandbox_in_production_is_a_problem(settings):
    settings.WAGTAIL_METAPIXEL = {"SANDBOX": "http://127.0.0.1:8001"}
    finding = one("not to Meta, although DEBUG is off.")
    assert (finding.level, "SANDBOX" in finding.advice) == (Level.PROBLEM, True)


def test_pixels_that_are_not_active_are_told_apart_from_none():
    SettingsFactory()
    assert one("No pixel is set.").level is Level.PROBLEM
    PixelFactory(active=False)
    finding = one("No pixel is active.")
    assert "Tick Active" in finding.advice


def test_wagtails_settings_have_to_be_installed(monkeypatch):
    monkeypatch.setattr(diagnostics.apps, "is_installed", lambda name: "settings" not in name)
    assert one("wagtail.contrib.settings is not installed").level is Level.PROBLEM


def test_meta_is_told():
    assert one("Events go to https://graph.facebook.com/v26.0.").level is Level.OK


def test_a_missing_middleware_is_a_problem(settings):
    settings.MIDDLEWARE = []
    assert one("MetaPixelMiddleware is missing").level is Level.PROBLEM


@pytest.mark.urls("wagtail.documents.urls")
def test_missing_addresses_are_a_problem():
    assert one("not in the URL configuration").level is Level.PROBLEM


@pytest.mark.parametrize(
    ("name", "how"), [("thread", "a thread in"), ("worker", "manage.py metapixel")]
)
def test_the_driver_is_told(settings, name, how):
    settings.WAGTAIL_METAPIXEL = {"DELIVERY": name}
    assert one(f"Events are sent by {how}").level is Level.OK


def test_a_database_that_bears_no_thread_is_a_problem(monkeypatch):
    monkeypatch.setattr(outbox, "bears_second_writer", lambda using: False)
    finding = one("The delivery thread does not run")
    assert (finding.level, "IMMEDIATE" in finding.advice) == (Level.PROBLEM, True)


@pytest.mark.parametrize(("days", "level"), [(0, Level.PROBLEM), (8, Level.OK)])
def test_a_proxy_that_nobody_declared_is_a_problem_of_this_week(days, level):
    Counter.objects.create(
        day=timezone.now().date() - timedelta(days),
        kind=counters.DIAGNOSTIC,
        reason=visitor.UNDECLARED_PROXY,
        count=3,
    )
    [finding] = [f for f in lines() if f.subject == "proxies"]
    assert finding.level is level
    assert ("TRUSTED_PROXIES" in finding.advice) is (level is Level.PROBLEM)


def test_declared_proxies_are_told(settings):
    settings.WAGTAIL_METAPIXEL = {"TRUSTED_PROXIES": ["10.0.0.0/8"]}
    assert one("Trusted proxies: ['10.0.0.0/8'].").level is Level.OK


# Settings that cannot be used


@pytest.mark.parametrize(
    ("name", "value", "subject"),
    [
        ("POLL_INTERVAL", "a", "delivery"),
        ("REQUEST_TIMEOUT", 0, "delivery"),
        ("DELIVERY", "x", "delivery"),
        ("GRAPH_VERSION", "latest", "graph"),
        ("SANDBOX", "https://elsewhere.example", "graph"),
        ("SCRIPT_URL", "http://elsewhere.example", "csp"),
        ("TRUSTED_PROXIES", "1", "proxies"),
        ("CONSENT_PROVIDER", "no.such.function", "testserver:80"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_problem_and_names_what_does_not_work(
    settings, name, value, subject
):
    PixelFactory(settings=SettingsFactory(consent_provider="function"))
    settings.WAGTAIL_METAPIXEL = {"CONSENT_PROVIDER": f"{__name__}.answer"}
    usual = {finding.subject for finding in lines()}
    settings.WAGTAIL_METAPIXEL = settings.WAGTAIL_METAPIXEL | {name: value}
    found = lines()
    rule = f'WAGTAIL_METAPIXEL["{name}"] has to '
    [problem] = [f for f in found if f.level is Level.PROBLEM]
    assert problem.subject == "settings"
    assert problem.fact.startswith(rule)
    assert problem.advice.startswith("Without it, the default holds: ")
    notes = [f for f in found if f.level is Level.NOTE and rule in f.fact]
    assert subject in {note.subject for note in notes}
    assert {f.subject for f in found} >= usual


def test_no_line_calls_well_what_a_setting_keeps_from_working(settings):
    PixelFactory(settings=SettingsFactory(consent_provider="function"))
    settings.WAGTAIL_METAPIXEL = {"POLL_INTERVAL": "a", "CONSENT_PROVIDER": "no.such.function"}
    well = " ".join(finding.fact for finding in lines() if finding.level is Level.OK)
    assert "Events are sent by" not in well
    assert "Consent:" not in well
    assert "Nothing waits." in well


def test_settings_that_are_no_dict_leave_the_lines_that_need_none(settings):
    PixelFactory()
    settings.WAGTAIL_METAPIXEL = "x"
    assert len(problems()) == 1
    well = {finding.subject for finding in lines() if finding.level is Level.OK}
    assert well == {"tables", "apps", "middleware", "addresses", "outbox"}


def test_a_setting_that_nobody_knows_is_a_problem_with_the_nearest_name(settings):
    settings.WAGTAIL_METAPIXEL = {"TRUSTED_PROXY": 1}
    finding = one('WAGTAIL_METAPIXEL["TRUSTED_PROXY"] is not a setting.')
    assert (finding.level, finding.advice) == (
        Level.PROBLEM,
        'Did you mean "TRUSTED_PROXIES"?',
    )


def test_a_wrong_setting_that_the_settings_lines_do_not_know_is_a_problem(monkeypatch):
    def graph_url():
        raise ConfigurationError("GRAPH has to be mended.")

    monkeypatch.setattr(conf, "graph_url", graph_url)
    finding = one("GRAPH has to be mended.")
    assert (finding.level, finding.subject) == (Level.PROBLEM, "graph")


@pytest.mark.parametrize("part", ["middleware", "waiting", "refused", "held_back", "addresses"])
def test_a_part_that_breaks_is_one_problem_and_leaves_the_others(monkeypatch, part):
    PixelFactory()
    usual = len(lines())

    def broken():
        raise OSError("password=secret")

    monkeypatch.setattr(diagnostics, part, broken)
    [problem] = problems()
    assert problem.fact == "This could not be examined: OSError."
    assert "secret" not in problem.advice
    assert len(lines()) >= usual


def test_a_site_that_breaks_leaves_the_other_sites(monkeypatch):
    PixelFactory()
    PixelFactory(settings=SettingsFactory(site=SiteFactory(hostname="b")), hosts="b")
    tokens = iter([OSError, lambda _pixel_id: TOKEN])

    def access_token(pixel_id):
        answer = next(tokens)(pixel_id)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(site_settings, "access_token", access_token)
    found = lines()
    [problem] = [finding for finding in found if finding.level is Level.PROBLEM]
    assert problem.fact == "This could not be examined: OSError."
    assert one("It sends for testserver.", found).level is Level.OK
    assert one("It sends for b.", found).level is Level.OK


def test_a_database_that_does_not_answer_is_a_line(monkeypatch):
    def away(*_args, **_kwargs):
        raise OperationalError("could not connect as shop with password secret")

    monkeypatch.setattr(connection.introspection, "table_names", away)
    [finding] = diagnostics.examine(network=False)
    assert (finding.level, finding.subject) == (Level.PROBLEM, "tables")
    assert "OperationalError" in finding.fact
    assert "secret" not in str(finding)


# The Content Security Policy

POLICY = {"default-src": ["'self'"]}
CONNECT = (
    """Write: "connect-src": ["'self'", "https://www.facebook.com", """
    '"https://connect.facebook.net"],'
)


def csp_lines():
    return [finding for finding in lines() if finding.subject == "csp"]


@pytest.fixture
def with_django_csp(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "csp.middleware.CSPMiddleware"]
    return settings


def test_without_a_policy_the_sources_are_told_for_whoever_sends_one():
    [finding] = csp_lines()
    assert finding.level is Level.OK
    assert finding.fact == (
        "No CSP found in the settings; if a proxy sends one, it needs: "
        "script-src 'self' https://connect.facebook.net; img-src https://www.facebook.com; "
        "connect-src 'self' https://www.facebook.com https://connect.facebook.net; "
        "frame-src https://www.facebook.com; form-action https://www.facebook.com"
    )


def test_a_policy_that_lets_all_through_is_ok(with_django_csp):
    with_django_csp.CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"default-src": ["'self'", "https:"]}}
    [finding] = csp_lines()
    assert finding.level is Level.OK
    assert "lets through all that pages need" in finding.fact


def test_each_directive_that_lacks_a_source_is_a_problem_with_the_line(with_django_csp):
    with_django_csp.CONTENT_SECURITY_POLICY = {"DIRECTIVES": POLICY}
    found = csp_lines()
    assert {finding.level for finding in found} == {Level.PROBLEM}
    assert [finding.advice for finding in found] == [
        """Write: "script-src": ["'self'", "https://connect.facebook.net"],""",
        """Write: "img-src": ["'self'", "https://www.facebook.com"],""",
        CONNECT,
        """Write: "frame-src": ["'self'", "https://www.facebook.com"],""",
    ]


def test_a_policy_that_only_reports_is_a_note(with_django_csp):
    with_django_csp.CONTENT_SECURITY_POLICY_REPORT_ONLY = {"DIRECTIVES": POLICY}
    found = csp_lines()
    assert {finding.level for finding in found} == {Level.NOTE}
    assert len(found) == 4


def test_a_complaint_whose_check_is_silenced_is_a_note(with_django_csp):
    with_django_csp.CONTENT_SECURITY_POLICY = {"DIRECTIVES": POLICY}
    with_django_csp.SILENCED_SYSTEM_CHECKS = ["metapixel.W006"]
    assert {finding.level for finding in csp_lines()} == {Level.NOTE}


OURS = "script-src 'self'; connect-src 'self'"


def shop(hostname="localhost", *modes, **choices):
    """Make a site with a pixel of each of these modes."""
    owner = SettingsFactory(site=SiteFactory(hostname=hostname), **choices)
    for number, mode in enumerate(modes):
        PixelFactory(settings=owner, mode=mode, pixel_id=f"{PIXEL_ID}{number}")


def test_where_no_pixel_is_in_the_browser_metas_sources_are_not_wanted():
    shop("a", PixelMode.SERVER, PixelMode.SERVER)
    shop("b", PixelMode.SERVER)
    [finding] = csp_lines()
    assert finding.fact.endswith(f"it needs: {OURS}")


def test_where_the_tag_manager_is_told_metas_sources_are_not_wanted():
    shop("a", PixelMode.BOTH, data_layer=True)
    [finding] = csp_lines()
    assert finding.fact.endswith(f"it needs: {OURS}")


@pytest.mark.parametrize("mode", [PixelMode.BOTH, PixelMode.BROWSER])
def test_one_pixel_in_the_browser_is_enough_to_want_metas_sources(mode):
    shop("a", PixelMode.SERVER)
    shop("b", PixelMode.SERVER, mode)
    [finding] = csp_lines()
    assert "connect.facebook.net" in finding.fact


def test_a_site_that_is_switched_off_or_has_no_pixel_wants_no_sources_of_meta():
    shop("a", PixelMode.SERVER)
    shop("b", PixelMode.BOTH, enabled=False)
    shop("c")
    [finding] = csp_lines()
    assert finding.fact.endswith(f"it needs: {OURS}")


def test_while_no_pixel_is_set_metas_sources_are_wanted_for_the_first():
    shop("a")
    shop("b", PixelMode.SERVER, enabled=False)
    [finding] = csp_lines()
    assert "connect.facebook.net" in finding.fact


def test_a_policy_without_meta_is_enough_where_only_the_server_sends(with_django_csp):
    shop("a", PixelMode.SERVER)
    with_django_csp.CONTENT_SECURITY_POLICY = {"DIRECTIVES": POLICY}
    [finding] = csp_lines()
    assert (finding.level, "lets through all" in finding.fact) == (Level.OK, True)


def test_our_own_sources_are_wanted_also_where_only_the_server_sends(with_django_csp):
    shop("a", PixelMode.SERVER)
    with_django_csp.CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"default-src": ["'none'"]}}
    assert [(finding.level, finding.advice) for finding in csp_lines()] == [
        (Level.PROBLEM, """Write: "script-src": ["'self'"],"""),
        (Level.PROBLEM, """Write: "connect-src": ["'self'"],"""),
    ]


# A site


def test_no_site_is_a_problem():
    assert one("There is no Wagtail site.").level is Level.PROBLEM


def test_a_site_switched_off_is_a_note_and_nothing_more():
    PixelFactory(settings=SettingsFactory(enabled=False), token="")
    assert one("Switched off in the settings.").level is Level.NOTE
    assert problems() == []


def test_a_site_without_a_pixel_is_a_problem():
    SiteFactory()
    assert one("No pixel is set.").level is Level.PROBLEM


@pytest.mark.parametrize(
    ("provider", "level", "fact"),
    [
        ("", Level.PROBLEM, "No consent choice is made"),
        ("cookie", Level.OK, "Consent: A banner of this site"),
        ("function", Level.NOTE, "window.metapixelConsent"),
        ("not_required", Level.OK, "Consent: not required here, as its owner states."),
    ],
)
def test_where_consent_comes_from_is_told(provider, level, fact):
    PixelFactory(settings=SettingsFactory(consent_provider=provider))
    assert one(fact).level is level


def test_a_function_of_the_sites_own_is_enough(settings):
    settings.WAGTAIL_METAPIXEL = {"CONSENT_PROVIDER": f"{__name__}.answer"}
    PixelFactory(settings=SettingsFactory(consent_provider="function"))
    assert one("Consent: A function of this site").level is Level.OK


@pytest.mark.parametrize(
    ("kwargs", "fact"),
    [
        ({}, "Products go by their primary key; the value of an order is with tax, with shipping,"),
        (
            {"content_id_scheme": "attribute", "content_id_attribute": "stock.sku"},
            "Products go by their stock.sku;",
        ),
        ({"content_id_prefix": "shop-"}, 'their primary key with "shop-" before it;'),
        ({"content_id_scheme": "function"}, "Products go by a function of this site;"),
        ({"value_includes_tax": False}, "is without tax, with shipping, after discounts."),
        ({"value_includes_shipping": False}, "is with tax, without shipping, after discounts."),
        ({"value_is_after_discounts": False}, "with tax, with shipping, before discounts."),
    ],
)
def test_how_products_and_orders_are_told_is_told(settings, kwargs, fact):
    settings.WAGTAIL_METAPIXEL = {"CONTENT_ID_FUNCTION": f"{__name__}.answer"}
    PixelFactory(settings=SettingsFactory(**kwargs))
    assert one(fact).level is Level.OK


def test_a_missing_function_for_ids_is_a_problem():
    PixelFactory(settings=SettingsFactory(content_id_scheme="function"))
    assert "CONTENT_ID_FUNCTION" in one("Product ids come from a function").advice


def test_advanced_matching_that_is_off_is_a_note():
    PixelFactory(settings=SettingsFactory(advanced_matching=False))
    assert one("Advanced matching is off").level is Level.NOTE


# A pixel


def test_a_pixel_that_sends_for_its_site_is_ok():
    PixelFactory(hosts="testserver\nshop.example")
    assert one("It sends for shop.example, testserver.").level is Level.OK


def test_a_pixel_that_sends_for_other_hosts_only_is_a_problem():
    PixelFactory(hosts="shop.example")
    assert one("but the site is testserver").level is Level.PROBLEM


def test_a_pixel_without_a_token_is_a_problem():
    PixelFactory(token="")
    finding = one("No access token")
    assert f"METAPIXEL_ACCESS_TOKEN_{PIXEL_ID}" in finding.advice


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("both", "Mode: Browser and server."),
        ("server", "Mode: Server only"),
        ("browser", "Mode: Browser only"),
    ],
)
def test_who_tells_the_events_of_a_pixel_is_told(mode, told):
    PixelFactory(mode=mode)
    assert one(told).level is Level.OK
    assert problems() == []


def test_a_pixel_that_the_server_tells_nothing_needs_no_token():
    PixelFactory(mode="browser", token="")
    datasets.pause(PIXEL_ID, 600, "No access token.", using="default")
    assert problems() == []


@pytest.mark.parametrize(
    ("choice", "told"), [("limited_data_use", "Limited Data Use"), ("data_layer", "dataLayer")]
)
def test_what_is_said_of_all_events_of_a_site_is_told(choice, told):
    pixel = PixelFactory()
    assert told not in str(lines())
    setattr(pixel.settings, choice, True)
    pixel.settings.save()
    assert one(told).level is Level.OK


def test_a_token_that_no_key_opens_is_a_problem_of_its_own(settings):
    PixelFactory()
    settings.SECRET_KEY = "another one, as after a restore on another machine"
    assert "ENCRYPTION_KEYS" in one("cannot be opened").advice


def test_a_pause_tells_its_reason():
    PixelFactory()
    datasets.pause(PIXEL_ID, 3600, "Error validating access token", using="default")
    finding = one("Sending is paused: Error validating access token")
    assert finding.level is Level.PROBLEM


@pytest.mark.parametrize(
    ("answer", "level", "fact"),
    [
        (Answer(kind=Kind.ACCEPTED), Level.OK, "Meta answers for this pixel and token."),
        (Answer(kind=Kind.ACCESS, code=190, message="expired"), Level.PROBLEM, "refuses the token"),
        (Answer(kind=Kind.ACCESS, code=100, message="no read"), Level.NOTE, "proves nothing"),
        (Answer(kind=Kind.TRANSIENT, message="timed out"), Level.PROBLEM, "does not answer"),
    ],
)
def test_meta_is_asked_about_each_pixel(monkeypatch, answer, level, fact):
    asked = []

    def get_pixel(pixel_id, token):
        asked.append((pixel_id, bearer(token)))
        return answer

    monkeypatch.setattr(graph_api, "get_pixel", get_pixel)
    PixelFactory()
    findings = list(diagnostics.examine())
    assert one(fact, findings).level is level
    assert asked == [(PIXEL_ID, TOKEN)]
    assert TOKEN not in str(findings)


def test_offline_asks_nobody(monkeypatch):
    monkeypatch.delattr(graph_api, "get_pixel")
    PixelFactory()
    assert lines()


# What waits, and what was held back


def test_an_empty_outbox_is_ok():
    assert one("Nothing waits.").level is Level.OK


@pytest.mark.parametrize(("minutes", "level"), [(9, Level.OK), (11, Level.PROBLEM)])
def test_what_waits_for_long_is_a_problem(minutes, level):
    OutboxEventFactory.create_batch(3, recorded_at=timezone.now() - timedelta(minutes=minutes))
    assert one("3 events wait").level is level


def test_what_ended_badly_is_told_with_its_reason():
    OutboxEventFactory.create_batch(2, state=State.REJECTED, reason="value: is required")
    OutboxEventFactory(state=State.SENT)
    OutboxEventFactory(state=State.DEAD, reason="given up")
    notes = [f.fact for f in lines() if f.subject == "outbox" and f.level is Level.NOTE]
    assert notes == ["2 rejected: value: is required", "1 given up: given up"]


def test_what_waits_says_for_what():
    OutboxEventFactory()
    OutboxEventFactory(reason="This deployment does not serve shop.example.")
    notes = [f.fact for f in lines() if f.subject == "outbox" and f.level is Level.NOTE]
    assert notes == ["1 waiting: This deployment does not serve shop.example."]


def test_what_was_held_back_this_week_is_told():
    today = timezone.now().date()
    for days, count in ((0, 2), (6, 3), (8, 100)):
        Counter.objects.create(
            day=today - timedelta(days), kind="withheld", reason="consent unknown", count=count
        )
    assert one("5 x consent unknown").level is Level.NOTE


REFUSED = {"another origin": "Host header", "no site": "Settings > Sites", "not JSON": ""}


@pytest.mark.parametrize("reason", [*REFUSED, "too many requests of one address in a minute"])
def test_requests_refused_lately_are_told(reason):
    Counter.objects.create(day=timezone.now().date(), kind=counters.REFUSED, reason=reason, count=7)
    finding = one(f"7 from browsers were refused since yesterday: 7 x {reason}.")
    assert finding.level is Level.NOTE
    assert REFUSED.get(reason, "REQUESTS_PER_ADDRESS") in finding.advice
    assert bool(finding.advice) is (reason != "not JSON")


def test_requests_refused_long_ago_and_those_of_staff_are_not_told():
    today = timezone.now().date()
    for days, reason in ((3, "no site"), (0, "staff")):
        Counter.objects.create(
            day=today - timedelta(days), kind=counters.REFUSED, reason=reason, count=1
        )
    assert [f for f in lines() if f.subject == "requests"] == []


def test_before_migrate_the_doctor_says_so_and_asks_no_further(monkeypatch):
    introspection = connection.introspection
    monkeypatch.setattr(introspection, "table_names", lambda *_args, **_kwargs: ["auth_user"])
    (finding,) = diagnostics.examine(network=False)
    assert (finding.level, finding.subject) == (Level.PROBLEM, "tables")
    assert "manage.py migrate" in finding.advice


def test_a_reason_counted_twice_is_told_once_with_what_to_do():
    today = timezone.now().date()
    for kind in ("withheld", "diagnostic"):
        Counter.objects.create(day=today, kind=kind, reason=str(Reason.HOST), count=3)
    told = [finding for finding in lines() if str(Reason.HOST) in finding.fact]
    assert [finding.fact for finding in told] == [f"3 x {Reason.HOST}"]
    assert "host name its pixel lists" in told[0].advice
