from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from wagtail.models import Page, Site

from wagtail_metapixel.models import MetaPixel, MetaPixelSettings

pytestmark = pytest.mark.django_db


def everything():
    return (
        list(Page.objects.order_by("pk").values_list("pk", "url_path", "title")),
        list(MetaPixelSettings.objects.values()),
        list(MetaPixel.objects.values()),
        Site.objects.count(),
    )


def test_filling_again_repeats_nothing():
    before = everything()

    call_command("fill_shop", stdout=io.StringIO())

    assert everything() == before


def test_filling_again_keeps_what_the_owner_changed():
    MetaPixelSettings.objects.update(consent_provider="not_required")
    MetaPixel.objects.update(pixel_id="5555555555")

    call_command("fill_shop", stdout=io.StringIO())

    assert MetaPixelSettings.objects.get().consent_provider == "not_required"
    assert MetaPixel.objects.get().pixel_id == "5555555555"


def test_filling_repairs_what_was_removed():
    Page.objects.get(slug="harbour-mug").delete()

    call_command("fill_shop", stdout=io.StringIO())

    assert Page.objects.filter(slug="harbour-mug").exists()


def test_pixel_sends_for_the_hosts_of_the_demo():
    assert MetaPixel.objects.get().hosts.split() == ["127.0.0.1", "localhost"]
    assert Site.objects.get().hostname == "127.0.0.1"


def test_admin_can_sign_in(client):
    assert client.login(username="admin", password="admin")


def test_models_and_migrations_agree():
    call_command("makemigrations", "shop", "payment", check=True, dry_run=True, verbosity=0)
