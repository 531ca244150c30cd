from __future__ import annotations

import time
import uuid

import pytest
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.http import HttpRequest
from django.test import RequestFactory
from wagtail.models import Locale, Site

from tests.factories import PIXEL_ID, TOKEN, PixelFactory, SettingsFactory, SiteFactory
from tests.visits import bearer
from wagtail_metapixel import site_settings, visitor
from wagtail_metapixel.choices import PageViewMirror
from wagtail_metapixel.models import InstallationKey, MetaPixel
from wagtail_metapixel.site_settings import SiteConfig, Snapshot

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(monkeypatch):
    """A clock of our own: call it with the seconds to move on."""
    now = [1000.0]
    monkeypatch.setattr(site_settings.time, "monotonic", lambda: now[0])

    def move(seconds):
        now[0] += seconds

    return move


def config(site):
    return site_settings.current().site(site.pk)


# What a snapshot holds


def test_a_site_without_settings_has_no_pixel_and_no_consent_provider():
    site = SiteFactory()
    found = config(site)
    assert (found.pixels, found.consent_provider, found.own_hosts) == ((), "", {"testserver"})


def test_a_snapshot_holds_the_choices_of_the_owner_and_no_token():
    pixel = PixelFactory(
        hosts="testserver\nShop.Example\n",
        events=["Purchase"],
        settings__respect_gpc=False,
        settings__phone_region="DE",
        settings__page_view_mirror=PageViewMirror.NONE,
    )
    found = config(pixel.settings.site)
    assert found.consent_provider == "cookie"
    assert not found.respect_gpc
    assert found.phone_region == "DE"
    assert not found.mirrors_page_view(str(uuid.uuid4()))
    assert found.own_hosts == {"testserver", "shop.example"}
    assert [p.pixel_id for p in found.pixels_for("shop.example", "Purchase")] == [PIXEL_ID]
    assert found.pixels_for("shop.example", "ViewContent") == ()
    assert found.pixels_for("staging.example") == ()
    assert TOKEN not in repr(site_settings.current())


@pytest.mark.parametrize(
    ("provider", "named", "category"),
    [
        ("cookiebot", "", "marketing"),
        ("cookiebot", "statistics", "statistics"),
        ("onetrust", "", "C0004"),
        ("cookieyes", "", "advertisement"),
        ("wagtail_tag_manager", "", "marketing"),
        ("django_cookie_consent", "", "marketing"),
        ("tcf", "", "1,3,4,7"),
        ("cookie", "", ""),
        ("function", "", ""),
    ],
)
def test_a_category_nobody_named_is_the_usual_one_of_the_tool(provider, named, category):
    row = SettingsFactory(consent_provider=provider, consent_category=named)
    assert config(row.site).consent_category == category


def test_the_numbers_of_tcf_are_there_and_may_be_missing():
    row = SettingsFactory(consent_provider="tcf", consent_vendor_id=891)
    found = config(row.site)
    assert (found.consent_vendor_id, found.consent_ac_provider_id) == (891, None)


@pytest.mark.parametrize(
    ("mode", "in_browser", "on_server"),
    [("both", True, True), ("server", False, True), ("browser", True, False)],
)
def test_the_mode_of_a_pixel_says_who_tells_its_events(mode, in_browser, on_server):
    pixel = PixelFactory(mode=mode)
    [found] = config(pixel.settings.site).pixels
    assert (found.in_browser, found.on_server) == (in_browser, on_server)


@pytest.mark.parametrize(("statement", "is_early"), [("", False), ("  ", False), ("B2B.", True)])
def test_metas_script_is_loaded_before_the_answer_only_where_the_owner_says_why(
    statement, is_early
):
    row = SettingsFactory(load_before_consent=True, consent_statement=statement)
    assert config(row.site).load_before_consent is is_early


def test_what_is_said_of_all_events_of_a_site_is_off_until_its_owner_chose():
    row = SettingsFactory()
    assert (config(row.site).limited_data_use, config(row.site).data_layer) == (False, False)
    row.limited_data_use = row.data_layer = True
    row.save()
    assert (config(row.site).limited_data_use, config(row.site).data_layer) == (True, True)


def test_a_pixel_that_is_not_active_is_not_there():
    pixel = PixelFactory(active=False)
    assert config(pixel.settings.site).pixels == ()


def test_a_pixel_without_hosts_sends_for_the_host_of_its_site():
    pixel = PixelFactory(hosts="")
    assert config(pixel.settings.site).pixels[0].hosts == {"testserver"}


def test_the_installation_key_is_made_once_and_kept():
    SiteFactory()
    InstallationKey.objects.all().delete()
    first = site_settings.refresh().installation_key
    assert len(first) == 32
    assert site_settings.refresh().installation_key == first


# How long it lives


def test_a_warm_snapshot_costs_no_query(clock, django_assert_num_queries):
    site = PixelFactory().settings.site
    config(site)
    clock(9.9)
    with django_assert_num_queries(0):
        config(site)


def test_after_ten_seconds_the_settings_are_read_anew(clock):
    pixel = PixelFactory()
    config(pixel.settings.site)
    MetaPixel.objects.update(active=False)  # as another process would: no signal here
    clock(9.9)
    assert config(pixel.settings.site).pixels
    clock(0.1)
    assert not config(pixel.settings.site).pixels


@pytest.mark.parametrize("change", ["pixel", "settings", "site", "delete"])
def test_what_is_saved_in_this_process_is_seen_at_once(change):
    pixel = PixelFactory()
    site = pixel.settings.site
    config(site)
    if change == "pixel":
        pixel.active = False
        pixel.save()
    elif change == "settings":
        pixel.settings.enabled = False
        pixel.settings.save()
    elif change == "site":
        site.hostname = "new.example"
        site.save()
    else:
        pixel.delete()
    found = config(site)
    assert not (found.pixels_for("testserver") and found.enabled and found.hostname == "testserver")


def test_one_page_view_in_ten_is_a_sample():
    site = SiteConfig(1, "shop.example", 80, True, page_view_mirror=PageViewMirror.SAMPLED)
    ids = [str(uuid.UUID(int=number, version=4)) for number in range(1000)]
    assert sum(map(site.mirrors_page_view, ids)) == 100


@pytest.mark.parametrize("error", [DatabaseError, InterfaceError])
def test_with_the_database_away_the_old_snapshot_serves(clock, monkeypatch, caplog, error):
    pixel = PixelFactory()
    config(pixel.settings.site)

    def away():
        raise error("server closed the connection: host=db user=shop")

    monkeypatch.setattr(site_settings, "_read", away)
    clock(3600)
    assert config(pixel.settings.site).pixels
    assert error.__name__ in caplog.text
    assert "user=shop" not in caplog.text


def test_with_deployment_settings_that_are_none_there_are_no_sites(settings, caplog):
    PixelFactory()
    settings.WAGTAIL_METAPIXEL = ["SANDBOX"]
    assert site_settings.current().sites == ()
    assert "ConfigurationError" in caplog.text


def test_with_the_database_away_from_the_start_there_are_no_sites(monkeypatch):
    def away():
        raise DatabaseError

    monkeypatch.setattr(site_settings, "_read", away)
    assert site_settings.current().sites == ()


def test_a_failing_read_leaves_the_callers_transaction_usable(monkeypatch):
    SiteFactory()

    def fail(alias):
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    monkeypatch.setattr(InstallationKey, "ensure", fail)
    InstallationKey.objects.all().delete()
    with transaction.atomic():
        assert site_settings.refresh().sites == ()
        assert Site.objects.exists()


# Which site


HOSTS = [
    "testserver",
    "testserver:8000",
    "testserver:443",
    "TestServer",
    "other.example",
    "other.example:8000",
    "other.example:9999",
    "lonely.example",
    "lonely.example:8080",
    "unknown.example",
    "127.0.0.1:8000",
    "[::1]:8000",
    "testserver.",
]
SITES = {
    "a default and ports": [
        ("testserver", 80, True),
        ("other.example", 8000, False),
        ("other.example", 443, False),
        ("lonely.example", 443, False),
    ],
    "the default on a port": [("testserver", 80, False), ("testserver", 8000, True)],
    "no default": [("testserver", 80, False), ("testserver", 8000, False), ("lonely.example", 80, False)],
    "only a default": [("shop.example", 80, True)],
    "none": [],
}  # fmt: skip


@pytest.mark.parametrize("sites", SITES.values(), ids=SITES)
def test_a_host_belongs_to_the_site_that_wagtail_would_serve(sites):
    Site.objects.all().delete()
    for hostname, port, is_default in sites:
        SiteFactory(hostname=hostname, port=port, is_default_site=is_default)
    ours, wagtails = {}, {}
    for host in HOSTS:
        request = RequestFactory().get("/", headers={"host": host})
        found = visitor.capture(request).site()
        ours[host] = found and found.site_pk
        site = Site.find_for_request(request)
        wagtails[host] = site and site.pk
    assert ours == wagtails


def test_a_host_that_django_does_not_allow_belongs_to_no_site(settings):
    SiteFactory(is_default_site=not Site.objects.filter(is_default_site=True).exists())
    settings.ALLOWED_HOSTS = ["shop.example"]
    request = RequestFactory().get("/", headers={"host": "evil.example"})
    assert visitor.capture(request).site() is None
    assert visitor.capture(HttpRequest()).site() is None


# Tokens


def test_the_deployments_token_goes_before_the_stored_one(settings):
    PixelFactory()
    assert bearer(site_settings.access_token(PIXEL_ID)) == TOKEN
    settings.WAGTAIL_METAPIXEL = {"ACCESS_TOKENS": {PIXEL_ID: "fixed"}}
    assert bearer(site_settings.access_token(PIXEL_ID)) == "fixed"


def test_a_token_that_no_key_opens_counts_as_none(settings):
    PixelFactory()
    settings.SECRET_KEY = "another one, as after a restore on another machine"
    assert bearer(site_settings.access_token(PIXEL_ID)) == ""


def test_of_two_sites_with_one_pixel_the_token_that_can_be_read_is_used():
    PixelFactory(token="")
    second = SettingsFactory(site=SiteFactory(hostname="second.example"))
    PixelFactory(settings=second, hosts="second.example")
    assert bearer(site_settings.access_token(PIXEL_ID)) == TOKEN


@pytest.mark.parametrize(("sandbox", "same"), [("http://127.0.0.1:8001", True), ("", False)])
@pytest.mark.django_db
def test_while_trying_out_both_names_of_this_machine_are_one(settings, sandbox, same):
    settings.WAGTAIL_METAPIXEL = {"SANDBOX": sandbox}
    site_pk = PixelFactory(hosts="localhost").settings.site_id
    site_settings.clear()
    site = site_settings.current().site(site_pk)
    assert bool(site.pixels_for("127.0.0.1")) is same
    assert site.pixels_for("localhost")
    assert not site.pixels_for("shop.example")


def test_what_is_saved_while_another_thread_reads_is_not_overlooked(monkeypatch):
    read = site_settings._read

    def slow():
        snapshot = read()
        PixelFactory()  # saved, so that all is to be read anew, but not by the reading under way
        return snapshot

    monkeypatch.setattr(site_settings, "_read", slow)
    assert not any(site.pixels for site in site_settings.current().sites)
    monkeypatch.setattr(site_settings, "_read", read)
    assert any(site.pixels for site in site_settings.current().sites)


@pytest.mark.django_db(transaction=True)
def test_what_is_read_before_the_commit_is_forgotten_at_the_commit():
    Locale.objects.get_or_create(language_code="en")
    with transaction.atomic():
        PixelFactory()
        # As another thread would, which does not see it yet.
        site_settings._latest = Snapshot(taken_at=time.monotonic())
        assert site_settings.current().sites == ()
    assert any(site.pixels for site in site_settings.current().sites)
