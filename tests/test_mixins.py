from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from django.core.cache import cache
from django.http import HttpResponse
from django.template import engines
from django.template.backends.jinja2 import Jinja2
from django.test import Client, RequestFactory
from django.test.utils import isolate_apps
from django.urls import include, path, re_path
from wagtail import models as wagtail_models
from wagtail.contrib.routable_page.models import RoutablePageMixin
from wagtail.contrib.routable_page.models import path as route
from wagtail.models import Page

from tests.factories import PixelFactory
from wagtail_metapixel import counters, site_settings
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.mixins import MetaPixelPageMixin

TAG = """{% load metapixel %}<html><head><title>{{ page.title }}</title>
{% metapixel %}
</head><body></body></html>"""
JINJA2 = (
    "<html><head><title>{{ page.title }}</title>\n{{ metapixel() }}\n</head><body></body></html>"
)
NO_TAG = "<html><head><title>{{ page.title }}</title>\n</head><body></body></html>"


def from_django(text):
    return engines["django"].from_string(text)


def from_jinja2(text):
    options = {"extensions": ["wagtail_metapixel.jinja2tags.MetaPixelExtension"]}
    engine = Jinja2({"NAME": "jinja2", "DIRS": [], "APP_DIRS": False, "OPTIONS": options})
    return engine.from_string(text)


with isolate_apps("wagtail"):
    known = [*wagtail_models.PAGE_MODEL_CLASSES]

    class ProductPage(MetaPixelPageMixin, Page):
        """A page whose event is made by a method."""

        told = ("ViewContent", {"content_name": "Tea", "value": 5, "currency": "EUR"})
        text = TAG

        def metapixel_event(self, request):
            return self.told

        def get_template(self, request, *args, **kwargs):
            return from_django(self.text)

        class Meta:
            app_label = "wagtailcore"
            proxy = True

    class ContactPage(MetaPixelPageMixin, Page):
        """A page whose event is written down."""

        metapixel_event_name = "Contact"
        metapixel_event_params = {"content_category": "help"}

        class Meta:
            app_label = "wagtailcore"
            proxy = True

    class TeaPage(MetaPixelPageMixin, RoutablePageMixin, Page):
        """A page with addresses below its own."""

        def metapixel_event(self, request):
            match = request.routable_resolver_match
            return ("ViewContent", match.kwargs) if match.kwargs else None

        def get_template(self, request, *args, **kwargs):
            return from_django(TAG)

        @route("")
        def everything(self, request):
            return self.render(request)

        @route("of/<slug:content_category>/")
        def of_a_kind(self, request, content_category):
            return self.render(request)

        class Meta:
            app_label = "wagtailcore"
            proxy = True

    # Wagtail lists page types apart from Django's registry; other tests are not to meet ours.
    wagtail_models.PAGE_MODEL_CLASSES[:] = known

DOCS = (Path(__file__).resolve().parents[1] / "docs" / "templates.md").read_text(encoding="utf-8")


def product(**attributes):
    page = ProductPage(title="Tea")
    for name, value in attributes.items():
        setattr(page, name, value)
    return page


def serve_product(request, kind):
    return product(text={"tag": TAG, "none": NO_TAG}[kind]).serve(request)


def serve_tea(request, rest=""):
    page = TeaPage(title="Tea", live=True)
    found = page.route(request, [part for part in rest.split("/") if part])
    return page.serve(request, *found.args)


urlpatterns = [
    path("metapixel/", include("wagtail_metapixel.urls")),
    path("product/<kind>/", serve_product),
    re_path(r"^tea/(?P<rest>.*)$", serve_tea),
]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture(autouse=True)
def clean_counters(db):
    PixelFactory()
    counters.clear()
    cache.clear()
    yield
    counters.clear()
    cache.clear()


@pytest.fixture
def inject(settings):
    settings.WAGTAIL_METAPIXEL = {"INJECT": True}


def ask(path="/", **headers):
    return RequestFactory().get(path, headers=headers)


def served(page, request=None, **options):
    response = page.serve(request or ask(), **options)
    return response.render() if hasattr(response, "render") else response


def events(response):
    found = BeautifulSoup(response.content, "html.parser").select("[data-metapixel-event]")
    return [json.loads(script.string) for script in found]


def names(response):
    return [event["event_name"] for event in events(response)]


def diagnostics():
    return [item.reason for item in counters.waiting() if item.kind == counters.DIAGNOSTIC]


# What a page declares


def test_a_page_served_declares_its_event_with_the_tag_of_the_head():
    [event] = events(served(product()))
    data = {"content_name": "Tea", "value": 5, "currency": "EUR"}
    assert event == {"event_name": "ViewContent", "custom_data": data}


def test_a_template_of_jinja2_declares_the_same_bytes(monkeypatch):
    expected = served(product()).content
    monkeypatch.setattr(ProductPage, "get_template", lambda *args: from_jinja2(JINJA2))
    assert served(product()).content == expected


def test_attributes_do_where_the_event_is_always_the_same(monkeypatch):
    monkeypatch.setattr(ContactPage, "get_template", lambda *args: from_django(TAG))
    [event] = events(served(ContactPage(title="Help")))
    assert event == {"event_name": "Contact", "custom_data": {"content_category": "help"}}


def test_the_mixin_alone_declares_nothing():
    assert MetaPixelPageMixin().metapixel_event(ask()) is None
    assert names(served(product(told=None))) == []


def test_a_page_that_is_served_in_its_own_way_is_found_in_the_context(monkeypatch):
    def serve(self, request):
        context = self.get_context(request)
        return HttpResponse(self.get_template(request).render(context, request))

    monkeypatch.setattr(ProductPage, "serve", serve)
    assert names(product().serve(ask())) == ["ViewContent"]


def test_the_page_that_is_served_goes_before_another_of_the_context(monkeypatch):
    other = product(told=("Search", {}))
    monkeypatch.setattr(
        ProductPage, "get_context", lambda self, request, **kwargs: {"page": other, "request": request}
    )  # fmt: skip
    assert names(served(product())) == ["ViewContent"]


def test_a_page_served_in_the_place_of_another_declares_its_own(inject):
    inner = product(text=NO_TAG)

    class Outer:
        def serve(self, request):
            return inner.serve(request)

    class Alias(MetaPixelPageMixin, Outer):
        metapixel_event_name = "Search"

    assert names(served(Alias())) == ["ViewContent"]


@pytest.mark.parametrize(
    ("address", "expected"), [("/tea/", []), ("/tea/of/green/", [{"content_category": "green"}])]
)
def test_a_routable_page_says_what_each_of_its_addresses_is(address, expected):
    found = events(Client().get(address))
    assert [event["custom_data"] for event in found] == expected


def test_a_page_that_asks_for_its_password_is_not_shown(settings):
    settings.WAGTAIL_PASSWORD_REQUIRED_TEMPLATE = from_django(TAG)
    request = ask()
    response = product().serve_password_required_response(request, None, "/password/").render()
    assert b"metapixel-config" in response.content
    assert events(response) == []


# The pixel is put in by the middleware


def test_the_event_of_a_page_is_put_in_with_the_pixel(inject):
    with_tag, without = (Client().get(f"/product/{kind}/") for kind in ("tag", "none"))
    assert events(without) == events(with_tag)
    assert names(without) == ["ViewContent"]
    for response in (with_tag, without):
        assert response.content.count(b"metapixel-config") == 1


def test_a_page_without_the_tag_declares_nothing_unless_it_gets_the_pixel():
    response = Client().get("/product/none/")
    assert b"<script" not in response.content


def test_a_finished_response_gets_its_event_too(inject):
    class Finished:
        def serve(self, request):
            return HttpResponse(NO_TAG)

    class Shown(MetaPixelPageMixin, Finished):
        metapixel_event_name = "Search"

    assert names(Shown().serve(ask())) == ["Search"]
    assert names(Shown().serve(RequestFactory().post("/"))) == []


@pytest.mark.parametrize("kind", ["tag", "none"])
def test_a_page_out_of_a_cache_declares_the_same_bytes(inject, settings, kind):
    ours = "wagtail_metapixel.middleware.MetaPixelMiddleware"
    update, fetch = (f"django.middleware.cache.{n}CacheMiddleware" for n in ("Update", "FetchFrom"))
    settings.MIDDLEWARE = [ours, update, fetch]
    first, second = (Client().get(f"/product/{kind}/") for _ in range(2))
    assert "Age" in second, "the second answer came from the cache"
    assert names(second) == ["ViewContent"]
    assert first.content == second.content


@pytest.mark.parametrize("kind", ["tag", "none"])
def test_the_bytes_are_the_same_for_every_visitor(inject, kind):
    site_settings.refresh()
    visits = [
        {},
        {"Cookie": "metapixel_consent=granted.1; _fbp=fb.1.1700000000000.1"},
        {"User-Agent": "</script>", "Referer": "https://evil.example/", "Sec-GPC": "1"},
    ]
    pages = [Client().get(f"/product/{kind}/", headers=headers) for headers in visits]
    assert len({page.content for page in pages}) == 1


# Previews


@pytest.mark.parametrize("text", [TAG, NO_TAG], ids=["tag", "none"])
def test_a_preview_neither_declares_nor_asks(inject, settings, text):
    settings.DEBUG = True
    page = product(text=text, told="nonsense, and an error where it is asked for")
    response = page.make_preview_request(ask())
    assert response.status_code == 200
    assert b"<script" not in response.content


def test_a_preview_that_serves_the_page_declares_nothing(inject, monkeypatch):
    monkeypatch.setattr(
        ProductPage, "serve_preview", lambda self, request, mode: self.serve(request)
    )
    for text in (TAG, NO_TAG):
        assert b"<script" not in product(text=text).make_preview_request(ask()).content


# Mistakes of the shop


class Broken(Exception):
    pass


def broken(self, request):
    raise Broken("jane@example.com")


@pytest.mark.parametrize("kind", ["tag", "none"])
def test_a_page_whose_method_fails_is_shown_in_production(inject, monkeypatch, caplog, kind):
    monkeypatch.setattr(ProductPage, "metapixel_event", broken)
    response = Client().get(f"/product/{kind}/")
    assert response.status_code == 200
    assert response.content.count(b"metapixel-config") == 1
    assert events(response) == []
    assert diagnostics() == ["ProductPage.metapixel_event: raised Broken"]
    assert "raised Broken" in caplog.text
    assert "jane@example.com" not in caplog.text


@pytest.mark.parametrize("kind", ["tag", "none"])
def test_a_page_whose_method_fails_says_so_while_debugging(inject, settings, monkeypatch, kind):
    settings.DEBUG = True
    monkeypatch.setattr(ProductPage, "metapixel_event", broken)
    with pytest.raises(EventError, match="raised Broken") as caught:
        Client().get(f"/product/{kind}/")
    assert isinstance(caught.value.__cause__, Broken)


def test_a_setting_that_cannot_be_used_costs_no_page(settings):
    settings.WAGTAIL_METAPIXEL = {"INJECT": "yes"}
    assert names(Client().get("/product/tag/")) == ["ViewContent"]


def test_the_mixin_asks_for_no_column():
    fields = {field.name for field in ProductPage._meta.get_fields()}
    assert fields == {field.name for field in Page._meta.get_fields()}


def test_the_page_types_of_the_documentation_declare_what_it_says(monkeypatch, settings):
    settings.DEBUG = True
    section = DOCS.split("## Page types")[1].split("\n## ")[0]
    known = [*wagtail_models.PAGE_MODEL_CLASSES]
    found = {"__name__": "wagtail.documented"}
    with isolate_apps("wagtail"):
        for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            exec(compile(block, "docs/templates.md", "exec"), found)
    wagtail_models.PAGE_MODEL_CLASSES[:] = known
    told = []
    for name, values in [("ProductPage", {"pk": 5, "price": 7}), ("ContactPage", {})]:
        monkeypatch.setattr(found[name], "get_template", lambda *args: from_django(TAG))
        told += events(served(found[name](title="Tea", **values)))
    data = {"content_name": "Tea", "content_ids": ["5"], "content_type": "product"}
    data |= {"value": 7, "currency": "EUR", "contents": [{"id": "5", "quantity": 1}]}
    assert told == [{"event_name": "ViewContent", "custom_data": data}, {"event_name": "Contact"}]
