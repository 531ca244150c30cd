"""Who may change what of which site, by posts that no browser would make."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from wagtail.models import GroupSitePermission

from tests.factories import PIXEL_ID, TOKEN, PixelFactory, SettingsFactory, SiteFactory
from tests.test_admin import NEW_TOKEN, address, errors, form, html_of, row, stored
from wagtail_metapixel.admin import permissions
from wagtail_metapixel.models import MetaPixel

pytestmark = pytest.mark.django_db

CHANGE, CHANGE_TOKEN = "change_metapixelsettings", "change_token_metapixelsettings"


@pytest.fixture
def group():
    group = Group.objects.create(name="Marketing")
    group.permissions.add(Permission.objects.get(codename="access_admin"))
    return group


@pytest.fixture
def client(group):
    user = get_user_model().objects.create_user("ed", "ed@example.com", "x")
    user.groups.add(group)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def pixel():
    return PixelFactory()


def grant(group, codename, site=None):
    """Allow a group something, on one site or on all."""
    permission = Permission.objects.get(codename=codename)
    if site is None:
        group.permissions.add(permission)
    else:
        GroupSitePermission.objects.create(group=group, site=site, permission=permission)


def token():
    return MetaPixel.objects.get().stored_access_token()


@pytest.mark.parametrize(
    "posted",
    [{}, {"access_token": NEW_TOKEN}, {"access_token": " "}, {"clear_access_token": "on"}],
    ids=["as the page posts it", "another token", "a blank", "removed"],
)
def test_without_the_right_the_token_stays_whatever_is_posted(client, group, pixel, posted):
    grant(group, CHANGE)
    data = form(stored(pixel, hosts="new.example", **posted), initial=1)
    assert client.post(address(pixel.settings.site), data).status_code == 302
    assert MetaPixel.objects.get().hosts == "new.example"
    assert token() == TOKEN


def test_without_the_right_the_page_says_so_and_tells_no_part_of_the_token(client, group, pixel):
    grant(group, CHANGE)
    tree = BeautifulSoup(html_of(client, pixel.settings.site), "html.parser")
    assert tree.select_one("[name=pixels-0-access_token]").has_attr("disabled")
    assert "You have no right to change it" in tree.get_text(" ")
    assert f"ends in {TOKEN[-4:]}" not in tree.get_text(" ")


def test_without_the_right_a_stored_token_serves_no_other_pixel(client, group, pixel):
    grant(group, CHANGE)
    data = form(stored(pixel, pixel_id="9999999999"), initial=1)
    assert client.post(address(pixel.settings.site), data).status_code == 302
    assert MetaPixel.objects.get().pixel_id == PIXEL_ID


def test_without_the_right_a_pixel_with_a_token_is_not_taken_away(client, group, pixel):
    grant(group, CHANGE)
    data = form(stored(pixel, DELETE="on"), initial=1)
    response = client.post(address(pixel.settings.site), data)
    assert "You have no right to remove a pixel" in errors(response)
    assert token() == TOKEN


def test_without_the_right_a_pixel_is_added_without_a_token(client, group):
    grant(group, CHANGE)
    data = form(row(access_token=NEW_TOKEN))
    assert client.post(address(SiteFactory()), data).status_code == 302
    assert token() == ""


def test_without_the_right_a_pixel_without_a_token_is_changed_and_taken_away(client, group):
    pixel = PixelFactory(token="")
    grant(group, CHANGE)
    site = pixel.settings.site
    client.post(address(site), form(stored(pixel, pixel_id="9999999999"), initial=1))
    assert MetaPixel.objects.get().pixel_id == "9999999999"
    client.post(address(site), form(stored(pixel, DELETE="on"), initial=1))
    assert not MetaPixel.objects.exists()


@pytest.mark.parametrize("everywhere", [True, False], ids=["on all sites", "on this site"])
def test_with_the_right_a_token_is_changed(client, group, pixel, everywhere):
    site = pixel.settings.site
    for codename in (CHANGE, CHANGE_TOKEN):
        grant(group, codename, None if everywhere else site)
    data = form(stored(pixel, access_token=NEW_TOKEN), initial=1)
    assert client.post(address(site), data).status_code == 302
    assert token() == NEW_TOKEN


def test_the_right_on_one_site_counts_for_no_other(client, group, pixel):
    other = SiteFactory(hostname="other.example")
    grant(group, CHANGE)
    grant(group, CHANGE_TOKEN, other)
    data = form(stored(pixel, access_token=NEW_TOKEN), initial=1)
    assert client.post(address(pixel.settings.site), data).status_code == 302
    assert token() == TOKEN
    data = form(row(access_token=NEW_TOKEN))
    assert client.post(address(other), data).status_code == 302
    added = MetaPixel.objects.get(settings__site=other)
    assert added.stored_access_token() == NEW_TOKEN


def test_a_row_of_another_site_cannot_be_posted_here(client, group, pixel):
    other = SettingsFactory(site=SiteFactory(hostname="other.example")).site
    for codename in (CHANGE, CHANGE_TOKEN):
        grant(group, codename, other)
    data = form(stored(pixel, access_token=NEW_TOKEN), initial=1)
    client.post(address(other), data)
    assert MetaPixel.objects.get(pk=pixel.pk).stored_access_token() == TOKEN
    assert MetaPixel.objects.get(pk=pixel.pk).settings.site == pixel.settings.site


def test_the_token_right_alone_opens_no_page(client, group, pixel):
    grant(group, CHANGE_TOKEN)
    site = pixel.settings.site
    data = form(stored(pixel, access_token=NEW_TOKEN), initial=1)
    assert client.get(address(site)).status_code == 302
    assert client.post(address(site), data).status_code == 302
    assert token() == TOKEN


def test_nobody_is_allowed_anything():
    assert not permissions.is_allowed(None, permissions.CHANGE_TOKEN, SiteFactory())


# What a group's page grants


def group_page(group):
    return f"/admin/groups/edit/{group.pk}/"


def posted(page, **ticks):
    """Return what a group's page posts, with some of our ticks changed."""
    tree = BeautifulSoup(page.content, "html.parser")
    data = {}
    for field in tree.select("form input[name]"):
        if field.get("type") not in {"checkbox", "radio"}:
            data[field["name"]] = field.get("value", "")
        elif field.has_attr("checked"):
            data.setdefault(field["name"], []).append(field.get("value", "on"))
    for name, ticked in ticks.items():
        data.pop(name, None)
        if ticked:
            data[name] = "on"
    return data


def test_a_group_is_granted_the_right_for_a_site_and_loses_it_again(admin_client, group):
    site, _other = SiteFactory(), SiteFactory(hostname="other.example")
    name = f"metapixel_rights-change_token_{site.pk}"
    for ticked in (True, True, False):
        page = admin_client.get(group_page(group))
        response = admin_client.post(group_page(group), posted(page, **{name: ticked}))
        assert response.status_code == 302, errors(response)
        found = GroupSitePermission.objects.filter(permission__codename=CHANGE_TOKEN)
        assert list(found.values_list("group", "site")) == [(group.pk, site.pk)] * ticked


def test_each_tick_of_the_panel_has_a_name_that_is_read_out(admin_client, group):
    site = SiteFactory()
    tree = BeautifulSoup(admin_client.get(group_page(group)).content, "html.parser")
    tick = tree.select_one(f"[name=metapixel_rights-change_token_{site.pk}]")
    label = tree.select_one(f"label[for={tick['id']}]").get_text()
    assert label == f"Change access tokens: {site}"


def test_a_new_group_may_nothing(admin_client):
    page = admin_client.get("/admin/groups/new/")
    assert page.status_code == 200
    data = posted(page) | {"name": "Agency"}
    assert admin_client.post("/admin/groups/new/", data).status_code == 302
    assert not GroupSitePermission.objects.exists()


def test_the_right_can_be_granted_for_all_sites(admin_client, group):
    assert CHANGE_TOKEN in set(permissions.permissions().values_list("codename", flat=True))
    assert (
        "Can change Meta Pixel access tokens"
        in admin_client.get(group_page(group)).content.decode()
    )
