from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from django.http import HttpResponse
from django.template import Context, Template, TemplateSyntaxError, engines
from django.test import Client, RequestFactory
from django.urls import include, path
from wagtail.models import Page

from tests.factories import PixelFactory, SettingsFactory
from tests.test_declarations import HOSTILE
from wagtail_metapixel import counters, declarations, keys, site_settings, visitor
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import MetaPixelSettings

PAGE = """{% load metapixel %}<!doctype html><html><head><title>{{ name }}</title>{% metapixel %}</head>
<body><h1>{{ name }}</h1>
{% metapixel_event "ViewContent" value=price currency="EUR" content_name=name contents=contents %}
{% metapixel_event "Search" search_string=name %}
<footer></footer></body></html>"""
DOCS = (Path(__file__).resolve().parents[1] / "docs" / "templates.md").read_text(encoding="utf-8")
CONTENTS = [{"id": "a-1", "quantity": 1, "item_price": 5}]


def render(template, request=None, **values):
    context = {"name": "Cheese", "price": 5, "contents": CONTENTS, **values}
    return engines["django"].from_string("{% load metapixel %}" + template).render(context, request)


def page(request):
    return HttpResponse(render(PAGE, request))


async def async_page(request):
    return HttpResponse(render(PAGE, request))


urlpatterns = [
    path("page/", page),
    path("async/", async_page),
    path("admin/", page, name="wagtailadmin_home"),
    path("metapixel/", include("wagtail_metapixel.urls")),
]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture
def request_(db):
    """A request to a site with a pixel."""
    PixelFactory()
    return RequestFactory().get("/")


def diagnostics():
    return {item.reason for item in counters.waiting()}


def skeleton(html):
    """Return the tree of a page without its texts."""
    return [(tag.name, sorted(tag.attrs), len(list(tag.parents))) for tag in tree(html).find_all(True)]  # fmt: skip


def tree(html):
    return BeautifulSoup(html, "html.parser")


# A page


def test_a_page_holds_its_scripts_and_its_events(request_):
    found = tree(render(PAGE, request_))
    assert found.head.find(id="metapixel-config")
    names = [json.loads(s.string)["event_name"] for s in found.select("[data-metapixel-event]")]
    assert names == ["ViewContent", "Search"]


def test_a_warm_page_asks_the_database_nothing(request_, django_assert_num_queries):
    site_settings.refresh()
    client = Client()
    client.get("/page/")
    with django_assert_num_queries(0):
        response = client.get("/page/")
    assert response.content.count(b"data-metapixel-event=") == 2


def test_a_page_is_the_same_bytes_for_every_visitor_and_sets_no_cookie(request_):
    visits = [
        ("/page/", {}),
        ("/page/?fbclid=AbC&utm_source=x&q=</script>", {}),
        ("/page/", {"Cookie": "metapixel_consent=granted.1; _fbp=fb.1.1700000000000.1"}),
        ("/page/", {"Cookie": "metapixel_consent=denied; metapixel_off=; _fbc=</script>"}),
        ("/page/", {"User-Agent": "</script>", "Referer": "https://evil.example/</script>"}),
        ("/page/", {"Sec-GPC": "1", "Accept-Language": "de", "X-Forwarded-For": "198.51.100.1"}),
    ]  # fmt: skip
    responses = [Client().get(address, headers=headers) for address, headers in visits]
    assert len({response.content for response in responses}) == 1
    for response in responses:
        assert not response.cookies
        assert "Cookie" not in response.get("Vary", "")
        assert "Cache-Control" not in response


def test_an_async_page_needs_no_database_either(request_):
    site_settings.refresh()
    assert Client().get("/async/").content == Client().get("/page/").content


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_hostile_product_name_leaves_the_tree_of_the_page_alone(request_, value):
    assert skeleton(
        render(PAGE, request_, name=value, contents=[{"id": value, "quantity": 1}])
    ) == (skeleton(render(PAGE, RequestFactory().get("/"))))


def test_the_ticket_of_an_order_keeps_its_page_out_of_djangos_cache(request_):
    assert "data-metapixel-ticket" in render("{% metapixel_ticket 'Purchase' 17 %}", request_)
    assert request_._cache_update_cache is False
    assert request_._wagtailcache_update is False


def test_the_ticket_takes_the_parameters_of_its_event(request_):
    tag = "{% metapixel_ticket 'Purchase' 17 value=total currency='EUR' contents=lines %}"
    lines = [{"id": "</script>", "quantity": 1, "item_price": 5}]
    text = json.loads(tree(render(tag, request_, total=5, lines=lines)).script.string)
    site = visitor.capture(request_).site()
    found = keys.read_ticket(text, site.site_pk, max_age=60)["p"]
    assert (found["value"], found["currency"], found["contents"]) == (5, "EUR", lines)


def test_the_examples_of_the_documentation_declare_what_they_say(request_, settings):
    settings.DEBUG = True
    page, kept, plain = re.findall(r"```django\n(.*?)```", DOCS, re.DOTALL)
    product = Page(pk=5, title="Tea")
    product.price = 7
    found = tree(render(page, request_, product=product))
    assert found.head.find(id="metapixel-config")
    [event] = found.body.select("[data-metapixel-event]")
    assert json.loads(event.string)["event_name"] == "ViewContent"
    found = tree(render(kept, request_, query="tea"))
    assert json.loads(found.script.string)["custom_data"] == {"search_string": "tea"}
    MetaPixelSettings.objects.update(consent_provider="not_required")
    site_settings.refresh()
    assert tree(render(plain, RequestFactory().get("/"))).body.noscript.img


# Twice, elsewhere, not at all


def test_the_head_is_printed_once_however_often_it_is_asked_for(request_):
    found = tree(render("{% metapixel %}{% metapixel %}", request_))
    assert len(found.select("#metapixel-config")) == 1
    assert diagnostics() == {"{% metapixel %} stands twice on a page"}


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("{% metapixel %}", "metapixel"),
        ("{% metapixel_event 'ViewContent' %}", "metapixel_event"),
        ("{% metapixel_ticket 'Purchase' 17 %}", "metapixel_ticket"),
    ],
)
@pytest.mark.parametrize("debug", [True, False])
def test_a_template_without_a_request_holds_nothing_and_is_counted(settings, debug, tag, name):
    settings.DEBUG = debug
    assert Template("{% load metapixel %}" + tag).render(Context()) == ""
    assert diagnostics() == {f"{name}: no request in the context"}


def test_a_page_of_a_site_without_settings_or_pixel_holds_nothing():
    assert render("{% metapixel %}", RequestFactory().get("/")) == ""
    SettingsFactory()
    assert render("{% metapixel %}", RequestFactory().get("/")) == ""


def test_wagtails_preview_of_a_page_holds_nothing(request_):
    root = Page.objects.order_by("depth").first()
    dummy = root.make_preview_request(request_, "").context_data["request"]
    assert dummy.is_preview
    assert render(PAGE, dummy).count("<script") == 0


# Mistakes


MISTAKES = [
    "{% metapixel_event 'Purchase' value=5 currency='EUR' %}",
    "{% metapixel_event 'purchase' %}",
    "{% metapixel_event undefined %}",
    "{% metapixel_event 'ViewContent' value='1.234,50' currency='EUR' %}",
    "{% metapixel_ticket 'Purchase' undefined %}",
    "{% metapixel_ticket 'Purchase' 17 value=5 currency='EUR' opt_out=True %}",
]


@pytest.mark.parametrize("template", MISTAKES)
def test_a_developers_mistake_raises_while_debugging(request_, settings, template):
    settings.DEBUG = True
    with pytest.raises(EventError):
        render(template, request_)


@pytest.mark.parametrize("template", MISTAKES)
def test_a_developers_mistake_costs_no_page_in_production(request_, template):
    found = tree(render(template, request_))
    assert all("Purchase" not in script.string for script in found.find_all("script"))
    assert len(diagnostics()) == 1


MISUSES = [
    "{% metapixel 'ViewContent' %}",
    "{% metapixel_event %}",
    "{% metapixel_event 'ViewContent' 'x' %}",
    "{% metapixel_event value=5 %}",
    "{% metapixel_event value=5 'ViewContent' %}",
    "{% metapixel_event 'ViewContent' value=5 value=6 %}",
    "{% metapixel_event 'ViewContent' value=price|no_such_filter %}",
    "{% metapixel_event 'ViewContent' value= %}",
    "{% metapixel_ticket 'Purchase' %}",
    "{% metapixel_ticket 'Purchase' 17 'EUR' %}",
]


@pytest.mark.parametrize("template", MISUSES)
def test_a_tag_that_cannot_be_read_is_a_syntax_error_while_debugging(settings, template):
    settings.DEBUG = True
    with pytest.raises(TemplateSyntaxError):
        Template("{% load metapixel %}" + template)


@pytest.mark.parametrize("template", MISUSES)
def test_a_tag_that_cannot_be_read_costs_no_page_in_production(request_, caplog, template):
    assert render(f"a{template}b", request_) == "ab"
    [item] = counters.waiting()
    assert item.kind == counters.DIAGNOSTIC
    assert item.reason in caplog.text
    name = template.split()[1]
    assert f"{name} printed nothing" in caplog.text


class Fragile:
    @property
    def price(self):
        raise LookupError("jane@example.com")


def test_an_argument_that_cannot_be_read_raises_while_debugging(request_, settings):
    settings.DEBUG = True
    with pytest.raises(LookupError):
        render(
            "{% metapixel_event 'ViewContent' value=product.price %}", request_, product=Fragile()
        )


def test_an_argument_that_cannot_be_read_costs_no_page_in_production(request_, caplog):
    template = "a{% metapixel_event 'ViewContent' value=product.price %}b"
    assert render(template, request_, product=Fragile()) == "ab"
    assert diagnostics() == {"metapixel_event: its arguments raised LookupError"}
    assert "jane@example.com" not in caplog.text


def test_what_a_tag_says_may_be_kept_in_a_variable(request_):
    template = "{% metapixel_event 'ViewContent' as event %}<p>{{ event }}</p>"
    found = tree(render(template, request_))
    assert found.p.script["data-metapixel-event"]
    template = "{% metapixel_event as event %}<p>{{ event }}</p>"
    assert render(template, request_) == "<p></p>"


def test_a_parameter_may_have_any_name(request_):
    template = "{% metapixel_event 'ViewContent' context='a' request='b' tag='c' function='d' %}"
    data = json.loads(tree(render(template, request_)).script.string)["custom_data"]
    assert data == {"context": "a", "request": "b", "tag": "c", "function": "d"}


def test_a_page_of_the_admin_holds_nothing(request_):
    assert render(PAGE, RequestFactory().get("/admin/pages/")).count("<script") == 0
    assert render(PAGE, RequestFactory().get("/administrators/")).count("<script") > 0


@pytest.mark.parametrize("debug", [True, False])
def test_a_fault_of_our_own_costs_no_page(request_, settings, monkeypatch, caplog, debug):
    def fail(*args):
        raise RuntimeError("jane@example.com")

    settings.DEBUG = debug
    monkeypatch.setattr(declarations, "page_event", fail)
    assert render("a{% metapixel_event 'ViewContent' %}b", request_) == "ab"
    assert "RuntimeError" in caplog.text
    assert "jane@example.com" not in caplog.text


def test_with_the_settings_never_read_an_async_page_holds_nothing_and_stands(request_):
    site_settings.clear()

    async def render_in_a_loop():
        return render("a{% metapixel %}b", RequestFactory().get("/"))

    assert asyncio.run(render_in_a_loop()) == "ab"
    assert diagnostics() == {Reason.NO_SITE}
