from __future__ import annotations

import io

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.http import QueryDict
from django.test import Client
from wagtail.contrib.settings.views import get_setting_edit_handler
from wagtail.models import ModelLogEntry, Revision
from wagtail.test.utils.form_data import inline_formset, nested_form_data

from tests.factories import PIXEL_ID, TOKEN, PixelFactory, SettingsFactory, SiteFactory
from wagtail_metapixel import datasets, site_settings
from wagtail_metapixel.choices import MatchingField
from wagtail_metapixel.models import Dataset, MetaPixel, MetaPixelSettings

pytestmark = pytest.mark.django_db

NEW_TOKEN = "EAAnew|token_of-1234.tail"


@pytest.fixture
def site():
    return SiteFactory()


@pytest.fixture
def pixel():
    return PixelFactory()


def address(site):
    return f"/admin/settings/wagtail_metapixel/metapixelsettings/{site.pk}/"


def row(**values):
    """Return what the form of one pixel posts."""
    return {
        "pixel_id": PIXEL_ID,
        "mode": "both",
        "access_token": "",
        "hosts": "testserver",
        "active": "on",
        **values,
    }


def form(*rows, initial=0, **values):
    """Return what the settings page posts."""
    return nested_form_data(
        {
            "enabled": "on",
            "consent_provider": "cookie",
            "consent_statement": "",
            "respect_gpc": "on",
            "phone_region": "",
            "page_view_mirror": "all",
            "content_id_scheme": "pk",
            "content_id_attribute": "sku",
            "content_id_prefix": "",
            "value_includes_tax": "on",
            "value_includes_shipping": "on",
            "value_is_after_discounts": "on",
            "pixels": inline_formset(list(rows), initial=initial),
            **values,
        }
    )


def stored(pixel, **values):
    """Return the row of a pixel that exists already."""
    return row(**{"id": pixel.pk, "pixel_id": pixel.pixel_id, "hosts": pixel.hosts, **values})


def saves(client, site, data):
    """Post the page; it has to be accepted."""
    response = client.post(address(site), data)
    assert response.status_code == 302, errors(response)


def errors(response):
    tree = BeautifulSoup(response.content, "html.parser")
    found = [tag.get_text(" ", strip=True) for tag in tree.select(".error-message, .errorlist li")]
    return " ".join(found)


def complaints(data):
    """Return what the form of the page says about what is posted; faster than the page."""
    instance = MetaPixelSettings(site=SiteFactory())
    owner = get_user_model()(is_superuser=True)
    form_class = get_setting_edit_handler(MetaPixelSettings).get_form_class()
    bound = form_class(data, instance=instance, for_user=owner)
    bound.is_valid()
    rows = [row.errors for row in bound.formsets["pixels"].forms]
    return " ".join(
        text for told in (bound.errors, *rows) for texts in told.values() for text in texts
    )


def html_of(client, site):
    return client.get(address(site)).content.decode()


# A pixel and its token


def test_a_pixel_is_added_with_its_token(admin_client, site):
    saves(admin_client, site, form(row(access_token=NEW_TOKEN)))
    pixel = MetaPixel.objects.get()
    assert (pixel.pixel_id, pixel.hosts, pixel.active) == (PIXEL_ID, "testserver", True)
    assert pixel.stored_access_token() == NEW_TOKEN
    assert pixel.access_token_hint == "tail"
    assert NEW_TOKEN.encode() not in bytes(pixel.access_token_encrypted)
    assert site_settings.current().site(site.pk).pixels[0].pixel_id == PIXEL_ID


def test_the_token_never_stands_in_a_page_again(admin_client, site):
    saves(admin_client, site, form(row(access_token=NEW_TOKEN)))
    html = html_of(admin_client, site)
    assert NEW_TOKEN not in html
    assert "it ends in tail" in html
    wrong = admin_client.post(
        address(site), form(row(access_token="EAAtyped-again"), row(pixel_id="x"))
    )
    assert wrong.status_code == 200
    assert "could not be saved" in wrong.content.decode()
    assert "EAAtyped-again" not in wrong.content.decode()
    assert NEW_TOKEN not in wrong.content.decode()


def test_the_token_stands_in_no_log_no_revision_and_no_export(admin_client, site):
    saves(admin_client, site, form(row(access_token=NEW_TOKEN)))
    out = io.StringIO()
    call_command("dumpdata", stdout=out)
    assert "wagtail_metapixel.metapixel" in out.getvalue()
    assert NEW_TOKEN not in out.getvalue()
    assert ModelLogEntry.objects.exists()
    assert NEW_TOKEN not in str(list(ModelLogEntry.objects.values()))
    assert not Revision.objects.exists()


def test_a_blank_token_keeps_the_stored_one(admin_client, pixel):
    site = pixel.settings.site
    saves(admin_client, site, form(stored(pixel, hosts="testserver\nb.example"), initial=1))
    pixel.refresh_from_db()
    assert (pixel.stored_access_token(), pixel.hosts) == (TOKEN, "testserver\nb.example")


def test_a_new_token_takes_the_place_of_the_stored_one(admin_client, pixel):
    data = form(stored(pixel, access_token=NEW_TOKEN), initial=1)
    saves(admin_client, pixel.settings.site, data)
    pixel.refresh_from_db()
    assert pixel.stored_access_token() == NEW_TOKEN


def test_a_token_is_removed_only_on_request(admin_client, pixel):
    data = form(stored(pixel, clear_access_token="on"), initial=1)
    saves(admin_client, pixel.settings.site, data)
    pixel.refresh_from_db()
    assert (pixel.access_token_encrypted, pixel.access_token_hint) == (None, "")


@pytest.mark.parametrize(
    "typed",
    [f"Bearer {NEW_TOKEN}", f"bearer   {NEW_TOKEN}", f"  {NEW_TOKEN}\n", f" Bearer {NEW_TOKEN} "],
)
def test_what_is_pasted_around_a_token_is_cut(admin_client, site, typed):
    saves(admin_client, site, form(row(access_token=typed)))
    assert MetaPixel.objects.get().stored_access_token() == NEW_TOKEN


@pytest.mark.parametrize(
    "typed",
    [
        "EAA\nBearer: x",
        "EAA\r\nX-Header: 1",
        '"EAAquoted"',
        "'EAAquoted'",
        "EAA token",
        "EAA\u200btoken",
        "EAAtokän",
        "EAA\x00token",
        "<script>",
        "EAA" + "x" * 10_000,
    ],
)
def test_what_cannot_be_a_token_is_refused_and_not_repeated(typed):
    told = complaints(form(row(access_token=typed)))
    assert told
    assert typed.strip() not in told


def test_a_browser_is_asked_not_to_fill_in_a_password_of_its_own(admin_client, pixel):
    tree = BeautifulSoup(html_of(admin_client, pixel.settings.site), "html.parser")
    [field] = tree.select("input[name=pixels-0-access_token]")
    assert (field["type"], field["autocomplete"], field.get("value")) == (
        "password",
        "new-password",
        None,
    )


def test_removing_a_token_is_offered_only_where_one_is_stored(admin_client, pixel):
    tree = BeautifulSoup(html_of(admin_client, pixel.settings.site), "html.parser")
    offered = [field["name"] for field in tree.select("input[name$=clear_access_token]")]
    assert offered == ["pixels-0-clear_access_token"]  # and not in the empty row for a new pixel


def test_a_token_fixed_by_the_deployment_cannot_be_changed_here(admin_client, pixel, settings):
    settings.WAGTAIL_METAPIXEL = {"ACCESS_TOKENS": {PIXEL_ID: "fixed-by-deployment"}}
    site = pixel.settings.site
    html = html_of(admin_client, site)
    tree = BeautifulSoup(html, "html.parser")
    for name in ("access_token", "clear_access_token"):
        assert tree.select_one(f"input[name=pixels-0-{name}]").has_attr("disabled")
    assert "Fixed by the deployment" in html
    assert "fixed-by-deployment" not in html
    for crafted in ({"access_token": NEW_TOKEN}, {"clear_access_token": "on"}):
        saves(admin_client, site, form(stored(pixel, **crafted), initial=1))
        pixel.refresh_from_db()
        assert pixel.stored_access_token() == TOKEN


# Ids and hosts


@pytest.mark.parametrize(
    "typed",
    ["", "abc", "1234", "12 34567", "../1234567", "1" * 21, "\uff11\uff12\uff13\uff14\uff15\uff16"],
)
def test_what_cannot_be_a_pixel_id_is_refused(typed):
    assert complaints(form(row(pixel_id=typed)))


def test_blanks_around_a_pixel_id_are_cut(admin_client, site):
    saves(admin_client, site, form(row(pixel_id=f" {PIXEL_ID}\n")))
    assert MetaPixel.objects.get().pixel_id == PIXEL_ID


def test_a_pixel_listed_twice_is_refused_and_nothing_is_lost(admin_client, pixel):
    site = pixel.settings.site
    data = form(
        stored(pixel, hosts="first.example"), row(hosts="second.example"), initial=1,
        consent_statement="typed meanwhile",
    )  # fmt: skip
    response = admin_client.post(address(site), data)
    html = response.content.decode()
    assert response.status_code == 200
    assert "This pixel id is listed twice." in html
    for typed in ("first.example", "second.example", "typed meanwhile"):
        assert typed in html
    again = MetaPixel.objects.get()
    assert (again.hosts, again.stored_access_token()) == ("testserver", TOKEN)


def test_two_sites_may_send_to_one_pixel(admin_client, pixel):
    other = SiteFactory(hostname="other.example")
    saves(admin_client, other, form(row(hosts="other.example")))
    assert MetaPixel.objects.filter(pixel_id=PIXEL_ID).count() == 2


@pytest.mark.parametrize("typed", ["", "  \n "])
def test_a_pixel_without_hosts_gets_the_host_of_its_site(admin_client, site, typed):
    saves(admin_client, site, form(row(hosts=typed)))
    assert MetaPixel.objects.get().hosts == "testserver"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://Shop.example/path/?q=1", "shop.example"),
        ("shop.example:8000", "shop.example"),
        ("a.example, \n", None),
        ("a.example b.example\r\na.example", "a.example\nb.example"),
        ("müller.example", "xn--mller-kva.example"),
        ("http://[", None),
        ("*.example", None),
        ("<b>", None),
    ],
)
def test_hosts_are_kept_as_a_browser_names_them(admin_client, site, typed, kept):
    if kept is None:
        assert "one host name a line" in complaints(form(row(hosts=typed)))
    else:
        saves(admin_client, site, form(row(hosts=typed)))
        assert MetaPixel.objects.get().hosts == kept


def test_ticked_events_are_kept_and_none_ticked_means_all(admin_client, site):
    saves(admin_client, site, {**form(row()), "pixels-0-events": ["Purchase", "Lead"]})
    pixel = MetaPixel.objects.get()
    assert pixel.events == ["Purchase", "Lead"]
    tree = BeautifulSoup(html_of(admin_client, site), "html.parser")
    ticked = [box["value"] for box in tree.select("input[name=pixels-0-events][checked]")]
    assert set(ticked) == {"Purchase", "Lead"}
    saves(admin_client, site, form(stored(pixel), initial=1))
    assert MetaPixel.objects.get().events == []


def test_an_event_that_meta_does_not_know_cannot_be_ticked():
    data = QueryDict(mutable=True)
    data.update({**form(row()), "pixels-0-events": "purchase"})
    assert "purchase" in complaints(data)


@pytest.mark.parametrize("mode", ["both", "server", "browser"])
def test_who_tells_the_events_of_a_pixel_is_chosen(admin_client, site, mode):
    saves(admin_client, site, form(row(mode=mode)))
    assert MetaPixel.objects.get().mode == mode


def test_a_mode_that_does_not_exist_is_refused(db):
    assert "not one of the available choices" in complaints(form(row(mode="nobody")))


def test_limited_data_use_and_the_tag_manager_are_switched_on(admin_client, site):
    saves(admin_client, site, form(row(), limited_data_use="on", data_layer="on"))
    saved = MetaPixelSettings.for_site(site)
    assert (saved.limited_data_use, saved.data_layer) == (True, True)


def test_fields_told_by_the_browser_are_ticked(admin_client, site):
    saves(admin_client, site, {**form(row()), "browser_matching": ["em", "external_id"]})
    assert site_settings.current().site(site.pk).browser_matching == ("em", "external_id")
    tree = BeautifulSoup(html_of(admin_client, site), "html.parser")
    boxes = tree.select("input[type=checkbox][name=browser_matching]")
    assert [box["value"] for box in boxes if box.has_attr("checked")] == ["em", "external_id"]
    assert tuple(box["value"] for box in boxes) == tuple(MatchingField.values)
    saves(admin_client, site, form())
    assert site_settings.current().site(site.pk).browser_matching == ()


def test_what_meta_does_not_match_by_cannot_be_ticked():
    data = QueryDict(mutable=True)
    data.update({**form(row()), "browser_matching": "client_ip_address"})
    assert "client_ip_address" in complaints(data)


def test_metas_automatic_events_are_off_until_they_are_chosen(admin_client, site):
    saves(admin_client, site, form(row()))
    assert site_settings.current().site(site.pk).automatic_events is False
    saves(admin_client, site, form(automatic_events="on"))
    assert site_settings.current().site(site.pk).automatic_events is True


def test_a_pixel_can_be_taken_away(admin_client, pixel):
    saves(admin_client, pixel.settings.site, form(stored(pixel, DELETE="1"), initial=1))
    assert not MetaPixel.objects.exists()
    assert site_settings.current().site(pixel.settings.site_id).pixels == ()


# Consent and data


@pytest.mark.parametrize("statement", ["", "  "])
def test_not_required_wants_the_owners_word_for_it(statement):
    data = form(consent_provider="not_required", consent_statement=statement)
    assert complaints(data) == "Say why visitors of this site need not be asked."


def test_loading_before_the_answer_wants_the_owners_word_for_it():
    data = form(load_before_consent="on", consent_statement=" ")
    assert complaints(data) == "Say why Meta's script may be loaded before the visitor agrees."


@pytest.mark.parametrize("tool", ["cookiebot", "not_required"])
def test_loading_before_the_answer_is_refused_where_it_would_do_nothing(tool):
    data = form(consent_provider=tool, load_before_consent="on", consent_statement="Firms only.")
    assert complaints(data) == "Only with a banner of this site, through our own cookie."


def test_loading_before_the_answer_is_kept_with_it(admin_client, site):
    saves(admin_client, site, form(load_before_consent="on", consent_statement="Firms only."))
    assert MetaPixelSettings.objects.get().load_before_consent


def test_not_required_with_the_owners_word_is_kept(admin_client, site):
    statement = "Only members, who agreed in their contract."
    saves(admin_client, site, form(consent_provider="not_required", consent_statement=statement))
    settings = MetaPixelSettings.objects.get()
    assert (settings.consent_provider, settings.consent_statement) == ("not_required", statement)


@pytest.mark.parametrize(
    "choices",
    [
        {"consent_provider": "cookiebot"},
        {"consent_provider": "cookiebot", "consent_category": "statistics"},
        {"consent_provider": "onetrust", "consent_category": "4"},
        {"consent_provider": "cookieyes", "consent_category": "my-ads"},
        {"consent_provider": "wagtail_tag_manager", "consent_category": "marketing"},
        {"consent_provider": "django_cookie_consent", "consent_category": "social_media"},
        {"consent_provider": "tcf", "consent_vendor_id": 891},
        {"consent_provider": "tcf", "consent_category": "1,2,11", "consent_ac_provider_id": 89},
        {"consent_provider": "function"},
    ],
)
def test_the_names_a_consent_tool_needs_are_kept(admin_client, site, choices):
    saves(admin_client, site, form(**{k: str(v) for k, v in choices.items()}))
    saved = MetaPixelSettings.for_site(site)
    assert {name: getattr(saved, name) for name in choices} == choices


ALWAYS_ON = "Nobody is asked about this category, so it says nothing about consent."
NO_CATEGORIES = "Leave this empty: what was chosen above knows no categories."
ONE_NUMBER = "With TCF one of the two numbers is needed: whom the visitor allows."


@pytest.mark.parametrize(
    ("provider", "choices", "complaint"),
    [
        ("cookiebot", {"consent_category": "necessary"}, ALWAYS_ON),
        ("onetrust", {"consent_category": "C0001"}, ALWAYS_ON),
        ("onetrust", {"consent_category": "1"}, ALWAYS_ON),
        ("cookieyes", {"consent_category": "necessary"}, ALWAYS_ON),
        ("wagtail_tag_manager", {"consent_category": "necessary"}, ALWAYS_ON),
        ("cookiebot", {"consent_category": "ads"}, "Cookiebot has: preferences,"),
        ("cookieyes", {"consent_category": "ads,more"}, "Name one category."),
        ("onetrust", {"consent_category": "C0004 "}, ""),
        ("onetrust", {"consent_category": "C 4"}, "Only letters, digits"),
        ("onetrust", {"consent_category": "<b>"}, "Only letters, digits"),
        ("cookie", {"consent_category": "marketing"}, NO_CATEGORIES),
        ("function", {"consent_category": "marketing"}, NO_CATEGORIES),
        ("", {"consent_category": "marketing"}, NO_CATEGORIES),
        ("tcf", {}, ONE_NUMBER),
        ("tcf", {"consent_vendor_id": "0"}, "Ensure this value is greater"),
        ("tcf", {"consent_vendor_id": "65536"}, "Ensure this value is less"),
        ("tcf", {"consent_vendor_id": "Meta"}, "Enter a whole number."),
        ("tcf", {"consent_vendor_id": "1", "consent_category": "1,12"}, "Write the numbers"),
        ("tcf", {"consent_vendor_id": "1", "consent_category": "ads"}, "Write the numbers"),
        ("cookiebot", {"consent_vendor_id": "1"}, "Only for IAB TCF v2."),
        ("cookiebot", {"consent_ac_provider_id": "1"}, "Only for IAB TCF v2."),
    ],
)
def test_names_that_could_grant_nothing_or_too_much_are_refused(provider, choices, complaint):
    told = complaints(form(consent_provider=provider, **choices))
    assert told.startswith(complaint)
    assert bool(told) is bool(complaint)


def test_a_wrong_number_has_one_complaint():
    told = complaints(form(consent_provider="tcf", consent_vendor_id="Meta"))
    assert told == "Enter a whole number."


@pytest.mark.parametrize("region", ["de", "D", "49", "DEU"])
def test_a_phone_region_is_two_capital_letters(region):
    assert complaints(form(phone_region=region))


def test_a_fresh_site_sends_nothing_until_its_owner_chose(admin_client, site):
    assert admin_client.get(address(site)).status_code == 200
    fresh = MetaPixelSettings.objects.get()
    assert (fresh.consent_provider, fresh.advanced_matching, fresh.respect_gpc) == ("", False, True)


# What saving does elsewhere


def test_saving_ends_the_pause_of_the_pixels_of_this_site_only(
    admin_client, pixel, django_capture_on_commit_callbacks
):
    other = PixelFactory(
        pixel_id="22222", settings=SettingsFactory(site=SiteFactory(hostname="other.example"))
    )
    for paused in (pixel, other):
        datasets.pause(paused.pixel_id, 3600, "access", using="default")
    with django_capture_on_commit_callbacks(execute=True):
        saves(admin_client, pixel.settings.site, form(stored(pixel), initial=1))
        assert not Dataset.objects.filter(paused_until=None).exists(), "not before the commit"
    assert Dataset.objects.get(pixel_id=PIXEL_ID).paused_until is None
    assert Dataset.objects.get(pixel_id="22222").paused_until is not None


def test_a_pixel_saved_by_code_ends_its_pause_too(pixel, django_capture_on_commit_callbacks):
    datasets.pause(PIXEL_ID, 3600, "access", using="default")
    with django_capture_on_commit_callbacks(execute=True):
        pixel.settings.save()
    assert Dataset.objects.get().paused_until is None
    datasets.pause(PIXEL_ID, 3600, "access", using="default")
    with django_capture_on_commit_callbacks(execute=True):
        pixel.save()
    assert Dataset.objects.get().paused_until is None


def test_a_pause_that_cannot_be_ended_costs_no_setting(
    pixel, monkeypatch, django_capture_on_commit_callbacks
):
    def fail(*args, **kwargs):
        raise RuntimeError

    monkeypatch.setattr(datasets, "resume", fail)
    pixel.hosts = "new.example"
    with django_capture_on_commit_callbacks(execute=True):
        pixel.save()
    assert MetaPixel.objects.get().hosts == "new.example"


# Who may


def test_an_editor_without_the_permission_sees_and_changes_nothing(site):
    editor = get_user_model().objects.create_user("ed", "ed@example.com", "x")
    group = Group.objects.create(name="Editors of pages")
    group.permissions.add(Permission.objects.get(codename="access_admin"))
    editor.groups.add(group)
    client = Client()
    client.force_login(editor)
    assert client.get(address(site)).status_code == 302
    assert client.post(address(site), form(row())).status_code == 302
    assert not MetaPixel.objects.exists()


def test_the_page_stands_in_the_settings_menu_with_its_help(admin_client, site):
    html = html_of(admin_client, site)
    assert "metapixel_doctor" in html
    assert "Meta Pixel" in html


# Products and values


def test_the_owner_decides_what_a_product_is_called_and_what_an_order_is_worth(admin_client, site):
    choices = {
        "content_id_scheme": "attribute",
        "content_id_attribute": "stockrecord.partner_sku",
        "content_id_prefix": "shop_",
    }
    data = form(**choices)
    del data["value_includes_tax"]
    saves(admin_client, site, data)
    saved = MetaPixelSettings.for_site(site)
    assert {name: getattr(saved, name) for name in choices} == choices
    assert (saved.value_includes_tax, saved.value_includes_shipping) == (False, True)


@pytest.mark.parametrize(
    ("choices", "complaint"),
    [
        (
            {"content_id_scheme": "attribute", "content_id_attribute": ""},
            "Name the field that holds the id.",
        ),
        ({"content_id_attribute": "delete()"}, "Write the name of a field"),
        ({"content_id_attribute": "_meta"}, "Write the name of a field"),
        ({"content_id_prefix": "my shop"}, "Only printable ASCII"),
        (
            {"content_id_scheme": "function"},
            "No function is named in the settings (CONTENT_ID_FUNCTION).",
        ),
    ],
)
def test_a_scheme_that_could_name_no_product_is_refused(db, choices, complaint):
    assert complaints(form(**choices)).startswith(complaint)
