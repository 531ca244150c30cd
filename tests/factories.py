"""Rows of the package, made with factory-boy; the Wagtail site comes from wagtail-factories."""

from __future__ import annotations

from datetime import timedelta

import factory
from django.utils import timezone
from wagtail.models import Page
from wagtail_factories import SiteFactory as WagtailSiteFactory

from wagtail_metapixel import models

PIXEL_ID = "1234567890123456"
TOKEN = "SANDBOX-TOKEN-1234567890"


class SiteFactory(WagtailSiteFactory):
    """A site at the host of Django's test client."""

    class Meta:
        django_get_or_create = ("hostname", "port")

    hostname = "testserver"
    port = 80
    is_default_site = False
    # The one that the migrations wrote: Wagtail takes longer to make one than most tests to run.
    root_page = factory.LazyFunction(lambda: Page.objects.get(depth=2))


class SettingsFactory(factory.django.DjangoModelFactory):
    """A site whose owner chose our own consent cookie and advanced matching."""

    class Meta:
        model = models.MetaPixelSettings
        django_get_or_create = ("site",)

    site = factory.SubFactory(SiteFactory)
    consent_provider = "cookie"
    advanced_matching = True


class PixelFactory(factory.django.DjangoModelFactory):
    """A pixel with a token that sends for the test client's host."""

    class Meta:
        model = models.MetaPixel
        skip_postgeneration_save = True  # token() saves

    settings = factory.SubFactory(SettingsFactory)
    pixel_id = PIXEL_ID
    hosts = "testserver"

    @factory.post_generation
    def token(self, create, extracted, **_kwargs):
        self.set_access_token(TOKEN if extracted is None else extracted)
        if create:
            self.save()


class OutboxEventFactory(factory.django.DjangoModelFactory):
    """A row that waits, due at once."""

    class Meta:
        model = models.OutboxEvent

    site_pk = factory.LazyAttribute(lambda row: _site_of(row.pixel_id))
    pixel_id = PIXEL_ID
    host = "testserver"
    event_name = "AddToCart"
    event_id = factory.Sequence("{:032x}".format)
    event = factory.LazyAttribute(
        lambda row: (
            b'{"event_name":"%s","event_time":%d,"event_id":"%s","action_source":"website",'
            b'"event_source_url":"https://testserver/"}'
            % (row.event_name.encode(), timezone.now().timestamp(), row.event_id.encode())
        )
    )
    user_data = b'{"client_ip_address":"203.0.113.7","client_user_agent":"Mozilla/5.0"}'
    due_at = factory.LazyFunction(lambda: timezone.now() - timedelta(seconds=5))
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=6))


def _site_of(pixel_id):
    """The site of a pixel that sends for the test client's host, made where there is none."""
    pixel = models.MetaPixel.objects.filter(pixel_id=pixel_id).first()
    return (pixel or PixelFactory(pixel_id=pixel_id)).settings.site_id
