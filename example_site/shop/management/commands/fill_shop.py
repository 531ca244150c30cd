"""``manage.py fill_shop``: pages, products, an admin, and the settings of the pixel."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand
from django.db import transaction
from wagtail.models import Page, Site

from shop import stock
from shop.models import CategoryPage, ContactField, ContactPage, HomePage, ProductPage, TextPage
from wagtail_metapixel.models import MetaPixel, MetaPixelSettings

PIXEL_ID = "1234567890123456"


class Command(BaseCommand):
    """Fill the example shop. Running it again repairs what is missing and repeats nothing."""

    help = __doc__

    def handle(self, *_args, **_options):
        with transaction.atomic():
            home = fill_home()
            fill_shelves(home)
            fill_notices(home)
            fill_contact(home)
            fill_pixel(fill_site(home))
            fill_admin()
        self.stdout.write(
            f"The shop is filled: {settings.EXAMPLE_SHOP}/ and /admin/ (admin, admin)"
        )


def page(parent, model, slug, **fields):
    """Return the page ``slug`` below ``parent``, made or brought up to date."""
    found = model.objects.child_of(parent).filter(slug=slug).first()
    if found is None:
        return parent.add_child(instance=model(slug=slug, **fields))
    for name, value in fields.items():
        setattr(found, name, value)
    found.save()
    return found


def fill_home():
    root = Page.get_first_root_node()
    return page(root, HomePage, "shop", title="Linden & Salt", **stock.HOME)


def fill_shelves(home):
    for shelf in stock.SHELVES:
        category = page(
            home,
            CategoryPage,
            shelf["slug"],
            title=shelf["title"],
            intro=shelf["intro"],
            show_in_menus=True,
        )
        for product in shelf["products"]:
            page(category, ProductPage, **product)


def fill_notices(home):
    for notice in stock.NOTICES:
        page(home, TextPage, show_in_menus=True, **notice)


def fill_contact(home):
    contact = page(home, ContactPage, "contact", **stock.CONTACT)
    if not contact.form_fields.exists():
        for order, field in enumerate(stock.CONTACT_FIELDS):
            ContactField.objects.create(page=contact, sort_order=order, **field)


def fill_site(home):
    """Point the default site at ``home``, and remove the page Wagtail begins with."""
    shop = urlsplit(settings.EXAMPLE_SHOP)
    site, _created = Site.objects.update_or_create(
        is_default_site=True,
        defaults={
            "hostname": shop.hostname,
            "port": shop.port or (443 if shop.scheme == "https" else 80),
            "root_page_id": home.pk,
            "site_name": settings.WAGTAIL_SITE_NAME,
        },
    )
    for welcome in Page.objects.filter(depth=2, slug="home").exclude(pk=home.pk):
        welcome.delete()
    return site


def fill_pixel(site):
    """What somebody would enter in the Wagtail admin. Kept when it is there already."""
    pixel_settings, _created = MetaPixelSettings.objects.get_or_create(
        site=site,
        defaults={"consent_provider": "cookie", "advanced_matching": True, "phone_region": "DE"},
    )
    if not pixel_settings.pixels.exists():
        hosts = f"{site.hostname}\nlocalhost"
        MetaPixel.objects.create(settings=pixel_settings, pixel_id=PIXEL_ID, hosts=hosts)


def fill_admin():
    users = get_user_model()
    if not users.objects.filter(username="admin").exists():
        users.objects.create_superuser("admin", "admin@linden-and-salt.example", "admin")
