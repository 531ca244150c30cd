from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from django.template import engines
from django.template.backends.jinja2 import Jinja2
from django.test import RequestFactory
from django.urls import include, path
from django.views import View
from jinja2 import DebugUndefined, Environment, StrictUndefined
from wagtail.models import Page

from tests.factories import PixelFactory
from tests.test_declarations import HOSTILE
from tests.test_imports import PREPARE, run
from wagtail_metapixel import counters, declarations, keys, site_settings, visitor
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import MetaPixelSettings

DOCS = (Path(__file__).resolve().parents[1] / "docs" / "templates.md").read_text(encoding="utf-8")
EXTENSION = "wagtail_metapixel.jinja2tags.MetaPixelExtension"

PAGE = """<!doctype html><html><head><title>{{ name }}</title>{{ metapixel() }}</head>
<body>
{{ metapixel_event("ViewContent", value=price, currency="EUR", content_name=name) }}
{{ metapixel_ticket("Purchase", 17) }}
</body></html>"""
SAME_PAGE = """{% load metapixel %}<!doctype html><html><head><title>{{ name }}</title>{% metapixel %}</head>
<body>
{% metapixel_event "ViewContent" value=price currency="EUR" content_name=name %}
{% metapixel_ticket "Purchase" 17 %}
</body></html>"""

urlpatterns = [
    path("metapixel/", include("wagtail_metapixel.urls")),
    path("admin/", View.as_view(), name="wagtailadmin_home"),
]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture
def request_(db):
    """A request to a site with a pixel."""
    PixelFactory()
    return RequestFactory().get("/")


def engine(**options):
    options = {"extensions": [EXTENSION], **options}
    return Jinja2({"NAME": "jinja2", "DIRS": [], "APP_DIRS": False, "OPTIONS": options})


def render(template, request=None, *, options=None, **values):
    values = {"name": "Cheese", "price": 5, **values}
    return engine(**(options or {})).from_string(template).render(values, request)


def tree(html):
    return BeautifulSoup(html, "html.parser")


def events(html):
    return [json.loads(script.string) for script in tree(html).select("[data-metapixel-event]")]


def diagnostics():
    return {item.reason for item in counters.waiting() if item.kind == counters.DIAGNOSTIC}


# The same as the tags for Django


@pytest.mark.parametrize("name", ["Cheese", "Käse & <Wein>"])
def test_a_page_is_the_same_bytes_in_either_language(request_, name):
    values = {"name": name, "price": 5}
    same = engines["django"].from_string(SAME_PAGE).render(values, RequestFactory().get("/"))
    assert render(PAGE, request_, **values) == same.strip()
    assert len(events(same)) == 1


def test_the_environment_may_be_the_sites_own_beside_wagtails_extensions(request_):
    extensions = ["wagtail.jinja2tags.core", "wagtail.images.jinja2tags.images", EXTENSION]
    own = engine(extensions=extensions, environment=f"{__name__}.environment_of_the_site")
    html = own.from_string("{{ metapixel() }}").render({}, request_)
    assert tree(html).find(id="metapixel-config")


def environment_of_the_site(**options):
    return Environment(**options)


def test_the_example_of_the_documentation_declares_what_it_says(request_, settings):
    settings.DEBUG = True
    [configuration] = re.findall(r"```python\n(TEMPLATES.*?)```", DOCS, re.DOTALL)
    found = {}
    exec(compile(configuration, "docs/templates.md", "exec"), found)
    [told] = found["TEMPLATES"]
    assert told["BACKEND"] == f"{Jinja2.__module__}.{Jinja2.__name__}"
    documented = engine(**told["OPTIONS"])
    [block] = re.findall(r"```jinja\n(.*?)```", DOCS, re.DOTALL)
    product = Page(pk=5, title="Tea")
    product.price = 7
    html = documented.from_string(block).render({"product": product}, request_)
    assert tree(html).head.find(id="metapixel-config")
    assert [event["event_name"] for event in events(html)] == ["ViewContent"]


@pytest.mark.parametrize("autoescape", [True, False])
@pytest.mark.parametrize("value", HOSTILE[:12], ids=ascii)
def test_markup_is_whole_and_values_are_safe_with_and_without_autoescape(
    request_, value, autoescape
):
    template = "{{ metapixel_event('ViewContent', content_name=value) }}"
    html = render(template, request_, options={"autoescape": autoescape}, value=value)
    assert [tag.name for tag in tree(html).find_all(True)] == ["script"]
    assert events(html)[0]["event_name"] == "ViewContent"


def test_what_a_tag_says_may_be_kept_in_a_variable(request_):
    html = render("{% set e = metapixel_event('Search') %}<p>{{ e }}</p>", request_)
    assert tree(html).p.script["data-metapixel-event"]


def test_a_parameter_may_have_any_name_and_the_event_be_named(request_):
    template = "{{ metapixel_event(event_name='Search', context='a', request='b', tag='c') }}"
    [event] = events(render(template, request_))
    assert event["custom_data"] == {"context": "a", "request": "b", "tag": "c"}


def test_the_ticket_keeps_its_page_out_of_caches(request_):
    html = render("{{ metapixel_ticket(event_name='Purchase', key=17) }}", request_)
    assert "data-metapixel-ticket" in html
    assert visitor.capture(request_).no_store


def test_the_ticket_takes_the_parameters_of_its_event(request_):
    template = "{{ metapixel_ticket('Purchase', 17, value=5, currency='EUR', status=nowhere) }}"
    text = json.loads(BeautifulSoup(render(template, request_), "html.parser").script.string)
    site = visitor.capture(request_).site()
    assert keys.read_ticket(text, site.site_pk, max_age=60)["p"] == {"value": 5, "currency": "EUR"}


def test_the_head_is_printed_once_also_across_languages(request_):
    assert render("{{ metapixel() }}", request_)
    assert render("{{ metapixel() }}", request_) == ""
    assert diagnostics() == {"{% metapixel %} stands twice on a page"}


def test_the_image_for_browsers_without_scripts_is_printed_once(request_):
    MetaPixelSettings.objects.update(consent_provider="not_required")
    site_settings.refresh()
    html = render("{{ metapixel_noscript() }}{{ metapixel_noscript() }}", request_)
    assert [img["src"] for img in tree(html).noscript.find_all("img")] == ["/metapixel/noscript/"]
    assert len(tree(html).find_all("noscript")) == 1


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("undefined", [None, DebugUndefined, StrictUndefined])
def test_a_variable_that_is_not_there_is_empty_as_in_djangos_templates(
    request_, settings, undefined, debug
):
    settings.DEBUG = debug
    options = {"undefined": undefined} if undefined else {}
    template = "{{ metapixel_event('ViewContent', content_name=nowhere, content_category='x') }}"
    [event] = events(render(template, request_, options=options))
    assert event["custom_data"] == {"content_category": "x"}


# Mistakes


MISUSES = [
    "{{ metapixel('ViewContent') }}",
    "{{ metapixel_event() }}",
    "{{ metapixel_event('ViewContent', 'x') }}",
    "{{ metapixel_event(value=5) }}",
    "{{ metapixel_event('Purchase', value=5, currency='EUR') }}",
    "{{ metapixel_event(nowhere) }}",
    "{{ metapixel_ticket('Purchase') }}",
    "{{ metapixel_ticket('Purchase', 17, 'EUR') }}",
    "{{ metapixel_ticket('Purchase', 17, value=5, currency='EUR', opt_out=True) }}",
    "{{ metapixel_ticket('Purchase', nowhere) }}",
]


@pytest.mark.parametrize("template", MISUSES)
def test_a_developers_mistake_raises_while_debugging(request_, settings, template):
    settings.DEBUG = True
    with pytest.raises(EventError):
        render(template, request_)


@pytest.mark.parametrize("template", MISUSES)
def test_a_developers_mistake_costs_no_page_in_production(request_, caplog, template):
    assert render(f"a{template}b", request_) == "ab"
    [reason] = diagnostics()
    assert reason in caplog.text


@pytest.mark.parametrize("debug", [True, False])
def test_a_fault_of_our_own_costs_no_page(request_, settings, monkeypatch, caplog, debug):
    def fail(*args):
        raise RuntimeError("jane@example.com")

    settings.DEBUG = debug
    monkeypatch.setattr(declarations, "page_event", fail)
    assert render("a{{ metapixel_event('ViewContent') }}b", request_) == "ab"
    assert "RuntimeError" in caplog.text
    assert "jane@example.com" not in caplog.text


# Where nothing is printed


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("metapixel()", "metapixel"),
        ("metapixel_event('ViewContent')", "metapixel_event"),
        ("metapixel_ticket('Purchase', 17)", "metapixel_ticket"),
    ],
)
@pytest.mark.parametrize("values", [{}, {"request": None}, {"request": "GET /"}], ids=str)
@pytest.mark.parametrize("debug", [True, False])
def test_a_template_without_a_request_holds_nothing_and_is_counted(
    settings, debug, values, call, name
):
    settings.DEBUG = debug
    assert engine().from_string("{{ " + call + " }}").render(values) == ""
    assert diagnostics() == {f"{name}: no request in the context"}


def test_wagtails_preview_of_a_page_holds_nothing(request_):
    root = Page.objects.order_by("depth").first()
    dummy = root.make_preview_request(request_, "").context_data["request"]
    assert render(PAGE, dummy).count("<script") == 0


def test_a_page_of_the_admin_holds_nothing(request_):
    assert render(PAGE, RequestFactory().get("/admin/pages/")).count("<script") == 0


# No dependency


def test_a_site_without_jinja2_renders_its_pages():
    found = run(
        f"""{PREPARE}
sys.modules["jinja2"] = None
django.setup()
from wagtail_metapixel import checks, injection, middleware, mixins, views
from wagtail_metapixel.templatetags import metapixel
print(json.dumps([name for name in sys.modules if name.endswith("jinja2tags")]))
"""
    )
    assert found == []
