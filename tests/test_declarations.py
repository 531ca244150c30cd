from __future__ import annotations

import hashlib
import json
from decimal import Decimal

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import Group
from django.test import RequestFactory
from django.urls import include, path
from django.views import View
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import PixelFactory, SettingsFactory, SiteFactory
from wagtail_metapixel import (
    counters,
    declarations,
    door,
    keys,
    site_settings,
    unanswered,
    visitor,
)
from wagtail_metapixel.catalogue import STANDARD_EVENTS
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import InstallationKey
from wagtail_metapixel.order_totals import OrderTotal

urlpatterns = [
    path("admin/", View.as_view(), name="wagtailadmin_home"),
    path("django-admin/", include(([path("", View.as_view(), name="index")], "admin"))),
]

pytestmark = pytest.mark.django_db

PAGE_EVENTS = [name for name, event in STANDARD_EVENTS.items() if event.born == "browser"]
ACTION_EVENTS = [name for name, event in STANDARD_EVENTS.items() if event.born == "server"]

HOSTILE = [
    "</script>",
    "</script><script>alert(1)</script>",
    "</SCRIPT >",
    "</script/x>",
    "</scr\x00ipt>",
    "<script>",
    "<script src=//evil.example>",
    "<!--",
    "-->",
    "<!--<script>",
    "--!>",
    "<![CDATA[",
    "]]>",
    "]]]]><![CDATA[>",
    "<svg onload=alert(1)>",
    "<img src=x onerror=alert(1)>",
    "<style>",
    "</style>",
    "</title>",
    "<textarea>",
    "<plaintext>",
    "<base href=//evil.example>",
    "&lt;/script&gt;",
    "&quot;",
    "&#x3c;/script&#x3e;",
    "&amp;",
    "\u2028",
    "\u2029",
    "\u0085",
    "\ufeff",
    "\u202e</script>",
    "\uff1c/script\uff1e",
    '"',
    "'",
    "`",
    "\\",
    '\\"',
    "\\u003c/script\\u003e",
    '"}</script>',
    '","custom_data":{"value":0},"x":"',
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "${alert(1)}",
    "{{constructor.constructor('alert(1)')()}}",
    "{% load metapixel %}",
    "\r\nSet-Cookie: a=b",
    "\x00\x01\x1b[31m",
    "\u0000",
    "😀 \u202d",
    "ÄÖÜ",
    "a" * 5000,
]


@pytest.fixture
def site():
    PixelFactory()
    return SiteFactory()


def ask(path="/", **headers):
    return RequestFactory().get(path, headers=headers)


def script_of(markup):
    """Return the one script that the markup is, or fail."""
    tree = BeautifulSoup(f"<div>{markup}</div><p></p>", "html.parser")
    assert [tag.name for tag in tree.find_all(True)] == ["div", "script", "p"]
    assert [getattr(child, "name", None) for child in tree.div.children] == ["script"]
    return tree.script


def declared(markup):
    return json.loads(script_of(markup).string)


def diagnostics():
    return [item.reason for item in counters.waiting() if item.kind == counters.DIAGNOSTIC]


# What stands in the page


def test_a_page_event_says_its_name_and_its_parameters_in_metas_words(site):
    params = {
        "value": Decimal("19.90"),
        "currency": "eur",
        "content_name": "Käse & Wein",
        "contents": [{"id": "a-1", "quantity": 2, "item_price": Decimal("9.95")}],
    }
    found = declared(declarations.page_event(ask(), "ViewContent", params))
    assert found == {
        "event_name": "ViewContent",
        "custom_data": {
            "value": 19.9,
            "currency": "EUR",
            "content_name": "Käse & Wein",
            "contents": [{"id": "a-1", "quantity": 2, "item_price": 9.95}],
            "content_ids": ["a-1"],
            "content_type": "product",
            "num_items": 2,
        },
    }


@pytest.mark.parametrize("name", PAGE_EVENTS)
def test_every_event_that_belongs_to_a_page_may_be_declared(site, name):
    assert declared(declarations.page_event(ask(), name, {})) == {"event_name": name}


def test_an_event_of_the_sites_own_may_be_declared(site):
    assert declared(declarations.page_event(ask(), "ReadRecipe", {}))["event_name"] == "ReadRecipe"


@pytest.mark.parametrize("name", ACTION_EVENTS)
def test_what_the_server_did_cannot_be_declared(site, name):
    with pytest.raises(EventError, match=rf"track\('{name}'"):
        declarations.page_event(ask(), name, {})


@pytest.mark.parametrize("name", [*HOSTILE[:12], "purchase", "view content", "", None, 7])
def test_a_name_that_is_no_event_cannot_be_declared(site, name):
    with pytest.raises(EventError, match="event_name"):
        declarations.page_event(ask(), name, {})


# Nothing in a parameter can change the page


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_hostile_value_leaves_the_tree_alone_and_survives_as_text(site, value):
    params = {
        "content_name": value,
        "search_string": value,
        "own": [value],
        "contents": [{"id": value, "quantity": 1, "title": value}],
    }
    markup = declarations.page_event(ask(), "ViewContent", params)
    data = declared(markup).get("custom_data", {})
    script = script_of(markup)
    assert keys.declaration_is_ours(script.string, script["data-metapixel-event"], site.pk)
    kept = data.get("content_name", "")
    assert kept == value.strip()[:500] or not value.isprintable()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    params=st.dictionaries(
        st.one_of(st.sampled_from(["value", "currency", "contents", "own"]), st.text()),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=5,
    )
)  # fmt: skip
def test_no_parameter_whatsoever_breaks_the_page(site, params):
    script = script_of(declarations.page_event(ask(), "ViewContent", params))
    assert json.loads(script.string)["event_name"] == "ViewContent"
    assert keys.declaration_is_ours(script.string, script["data-metapixel-event"], site.pk)


def test_a_declaration_that_grew_too_long_is_cut_to_what_matters(site):
    contents = [{"id": f"sku-{n:05}", "quantity": 1} for n in range(400)]
    params = {"contents": contents, "value": 5, "currency": "EUR", "content_name": "ü" * 500}
    markup = declarations.page_event(ask(), "ViewContent", params)
    assert len(script_of(markup).string.encode()) <= declarations.DECLARATION_BYTES
    assert declared(markup)["custom_data"]["value"] == 5
    assert "contents" not in declared(markup)["custom_data"]
    assert "declaration: longer than 4 kB, cut" in diagnostics()


def test_what_only_the_server_may_know_is_not_declared(site):
    params = {"value": 5, "net_revenue": 3, "currency": "EUR"}
    assert "net_revenue" not in declarations.page_event(ask(), "ViewContent", params)


@pytest.mark.parametrize("debug", [True, False])
def test_a_developers_mistake_raises_while_debugging_and_costs_one_parameter_later(
    site, settings, debug
):
    settings.DEBUG = debug
    params = {"value": "1.234,50", "currency": "EUR", "content_name": "x"}
    if debug:
        with pytest.raises(EventError, match="value"):
            declarations.page_event(ask(), "ViewContent", params)
    else:
        data = declared(declarations.page_event(ask(), "ViewContent", params))["custom_data"]
        assert data == {"currency": "EUR", "content_name": "x"}
    assert any(reason.startswith("value: ") for reason in diagnostics())


# The signature


def test_one_changed_byte_breaks_the_signature(site):
    script = script_of(declarations.page_event(ask(), "ViewContent", {"content_name": "x"}))
    text, signature = script.string, script["data-metapixel-event"]
    assert keys.declaration_is_ours(text, signature, site.pk)
    for place in range(0, len(text), 7):
        changed = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        assert not keys.declaration_is_ours(changed, signature, site.pk)
    assert not keys.declaration_is_ours(text, signature[:-1], site.pk)
    assert not keys.declaration_is_ours(text, "", site.pk)


@pytest.mark.parametrize(
    ("text", "signature"), [("\ud800", "x"), ("x", "\ud800"), ("", ""), (":", ":")]
)
def test_odd_texts_are_simply_not_ours(text, signature):
    assert not keys.declaration_is_ours(text, signature, 1)


def test_a_declaration_of_another_site_is_not_ours(site):
    script = script_of(declarations.page_event(ask(), "ViewContent", {}))
    assert not keys.declaration_is_ours(script.string, script["data-metapixel-event"], site.pk + 1)


def test_a_cached_page_outlives_a_rotation_of_the_secret(site, settings):
    script = script_of(declarations.page_event(ask(), "ViewContent", {}))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one, and long enough for everybody's taste"
    assert keys.declaration_is_ours(script.string, script["data-metapixel-event"], site.pk)
    renewed = script_of(declarations.page_event(ask(), "ViewContent", {}))
    assert renewed["data-metapixel-event"] != script["data-metapixel-event"]


# Where nothing is printed, and why


def test_the_head_stands_on_a_page_once(site):
    request = ask()
    assert declarations.head(request)
    assert declarations.head(request) == ""
    assert diagnostics() == ["{% metapixel %} stands twice on a page"]
    assert declarations.head(ask())


@pytest.mark.parametrize("attribute", ["is_preview", "is_dummy"])
def test_a_preview_holds_nothing(site, attribute):
    request = ask()
    setattr(request, attribute, True)
    assert declarations.head(request) == ""
    assert declarations.page_event(request, "ViewContent", {}) == ""
    assert declarations.ticket(request, "Purchase", 17) == ""
    assert not visitor.capture(request).no_store
    assert diagnostics() == []


@pytest.mark.parametrize("address", ["/admin/", "/admin/pages/3/", "/django-admin/"])
@pytest.mark.urls(__name__)
def test_the_admin_holds_nothing(site, address):
    assert declarations.head(ask(address)) == ""
    assert declarations.page_event(ask(address), "ViewContent", {}) == ""
    assert declarations.ticket(ask(address), "Purchase", 17) == ""
    assert diagnostics() == []


@pytest.mark.parametrize("address", ["/", "/shop/admin/", "/administrator/"])
@pytest.mark.urls(__name__)
def test_a_page_beside_the_admin_is_a_page(site, address):
    assert declarations.head(ask(address))


@pytest.mark.urls("wagtail.admin.urls")
def test_an_admin_at_the_root_does_not_silence_the_shop(site):
    assert declarations.head(ask("/"))


def test_a_host_that_no_pixel_sends_for_holds_nothing_and_says_why(site):
    SiteFactory(hostname="staging.example")
    SettingsFactory(site__hostname="staging.example")
    request = ask(host="staging.example")
    assert declarations.head(request) == ""
    assert declarations.page_event(request, "ViewContent", {}) == ""
    assert diagnostics() == [Reason.NO_PIXEL]


def test_a_copy_of_the_shop_under_another_name_holds_nothing(site):
    site.hostname = "staging.example"
    site.save()
    assert declarations.head(ask(host="staging.example")) == ""
    assert diagnostics() == [Reason.HOST]


def test_a_host_that_django_does_not_allow_holds_nothing(site, settings):
    settings.ALLOWED_HOSTS = ["testserver"]
    request = ask(host="evil.example")
    assert declarations.head(request) == ""
    assert declarations.page_event(request, "ViewContent", {}) == ""
    assert declarations.ticket(request, "Purchase", 17) == ""
    assert set(diagnostics()) == {Reason.NO_SITE}


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"enabled": False}, Reason.DISABLED), ({"consent_provider": ""}, Reason.NO_PROVIDER)],
)
def test_a_site_that_may_not_send_says_why(change, reason):
    PixelFactory(settings=SettingsFactory(**change))
    assert declarations.head(ask()) == ""
    assert diagnostics() == [reason]


def test_an_event_the_owner_did_not_choose_is_not_declared():
    PixelFactory(events=["Purchase"])
    assert declarations.head(ask())
    assert declarations.page_event(ask(), "ViewContent", {}) == ""


# The ticket


def test_a_ticket_names_the_event_of_the_order_and_nothing_else(site):
    request = ask()
    script = script_of(declarations.ticket(request, "Purchase", ("order", 17)))
    claims = keys.read_ticket(json.loads(script.string), site.pk, max_age=60)
    key = bytes(InstallationKey.objects.get().key)
    assert claims == {"n": "Purchase", "i": keys.event_id(key, site.pk, ("order", 17), "Purchase")}
    assert visitor.capture(request).no_store


def test_an_order_that_was_not_saved_gets_no_ticket(site):
    with pytest.raises(EventError, match="key"):
        declarations.ticket(ask(), "Purchase", SettingsFactory.build(site=None))


def claims_of(markup, site):
    return keys.read_ticket(json.loads(script_of(markup).string), site.pk, max_age=60)


def test_a_ticket_with_parameters_signs_them_as_track_would_say_them(site):
    owner = SettingsFactory(site=site)
    owner.content_id_prefix, owner.value_includes_shipping = "tea_", False
    owner.save()
    params = {
        "value": OrderTotal(total=Decimal("54.90"), shipping=Decimal("4.90")),
        "currency": "eur",
        "contents": [{"id": Group(pk=5), "quantity": 2, "item_price": Decimal("25.00")}],
        "net_revenue": 7,
        "order_id": "LS-1",
    }
    claims = claims_of(declarations.ticket(ask(), "Purchase", ("order", 17), **params), site)
    key = bytes(InstallationKey.objects.get().key)
    assert claims["i"] == keys.event_id(key, site.pk, ("order", 17), "Purchase")
    assert claims["k"] == unanswered.order_digest(("order", 17))
    problems = []
    applied = site_settings.current().site(site.pk).applied(params, problems)
    expected, _wrong = build_custom_data("Purchase", applied)
    assert expected.pop("net_revenue") == 7
    assert claims["p"] == expected
    assert (expected["value"], expected["contents"][0]["id"]) == (50, "tea_5")


def test_a_ticket_whose_parameters_meta_would_reject_goes_without_them(site):
    claims = claims_of(declarations.ticket(ask(), "Purchase", 17, value=5), site)
    assert set(claims) == {"n", "i"}
    assert any("currency" in reason for reason in diagnostics())


@pytest.mark.parametrize("limit", ["opt_out", "data_processing_options"])
def test_a_ticket_says_nothing_that_only_the_server_can_say(site, limit):
    told = {"opt_out": True, "data_processing_options": ["LDU"]}[limit]
    with pytest.raises(EventError, match=limit):
        declarations.ticket(ask(), "Purchase", 17, value=5, currency="EUR", **{limit: told})


def test_a_mistake_in_a_ticket_raises_while_debugging(site, settings):
    settings.DEBUG = True
    with pytest.raises(EventError, match="value"):
        declarations.ticket(ask(), "Purchase", 17, value="1.234,50", currency="EUR")


def test_a_ticket_always_fits_into_a_post(site):
    noise = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(300)]
    contents = [{"id": text, "quantity": 1, "item_price": 1} for text in noise]
    markup = declarations.ticket(
        ask(), "Purchase", 17, value=300, currency="EUR", contents=contents
    )
    assert len(json.loads(script_of(markup).string)) <= door.TEXT_MAX == 4096
    told = claims_of(markup, site)["p"]
    assert (told["value"], told["currency"], told.get("contents")) == (300, "EUR", None)
    assert diagnostics() == ["ticket: longer than 4 kB, cut"]


# The same for everybody


def test_the_bytes_do_not_depend_on_the_visitor(site):
    visitors = [
        ask(),
        ask("/?fbclid=AbC&utm_source=x"),
        ask(Cookie="_fbp=fb.1.1700000000000.1; metapixel_consent=granted.1; sessionid=x"),
        ask(Cookie="metapixel_consent=denied; metapixel_off="),
        ask(User_Agent="curl/8", Accept_Language="de", Sec_GPC="1"),
        ask(Referer="https://www.facebook.com/", X_Forwarded_For="198.51.100.1"),
    ]
    pages = {
        declarations.head(request) + declarations.page_event(request, "ViewContent", {"a": "b"})
        for request in visitors
    }
    assert len(pages) == 1


def test_a_warm_page_asks_the_database_nothing(site, django_assert_num_queries):
    site_settings.refresh()
    with django_assert_num_queries(0):
        request = ask()
        assert declarations.head(request)
        for name in ("ViewContent", "Search", "ReadRecipe"):
            assert declarations.page_event(request, name, {"content_name": name})
        assert declarations.ticket(request, "Purchase", 17)


# What the owner decided, and what a page cannot say


def test_a_page_event_calls_products_and_totals_as_the_owner_chose(site):
    owner = SettingsFactory(site=site)
    owner.content_id_prefix, owner.value_includes_shipping = "tea_", False
    owner.save()
    params = {
        "content_ids": Group(pk=5),
        "value": OrderTotal(total=25, shipping=5),
        "currency": "EUR",
    }
    found = declared(declarations.page_event(ask(), "ViewContent", params))["custom_data"]
    assert (found["content_ids"], found["value"]) == (["tea_5"], 20)


@pytest.mark.parametrize(
    "limit",
    [
        {"opt_out": True},
        {"opt_out": 0},
        {"data_processing_options": ["LDU"]},
        {"original_event_data": {"event_name": "Purchase", "order_id": "1"}},
    ],
)
def test_a_page_never_declares_an_event_without_the_limit_it_was_given(site, limit):
    with pytest.raises(EventError, match="report it with track"):
        declarations.page_event(ask(), "ViewContent", limit)


def test_a_page_event_says_where_it_was_by_itself(site):
    params = {"referrer_url": "https://other.example/", "content_name": "Tea"}
    found = declared(declarations.page_event(ask(), "ViewContent", params))
    assert found["custom_data"] == {"content_name": "Tea"}


# The guard of all tags


def returns(request, /, name, *, also=""):
    return f"{name}{also}"


def guarded(*args, **params):
    return declarations.guarded("metapixel_event", ask(), returns, *args, **params)


def test_what_a_tag_returns_is_printed():
    assert guarded("a", also="b") == "ab"


@pytest.mark.parametrize(
    ("args", "params"), [((), {}), (("a", "b"), {}), (("a",), {"other": 1})], ids=str
)
def test_arguments_a_tag_does_not_take_are_a_developers_mistake(settings, args, params, caplog):
    assert guarded(*args, **params) == ""
    [reason] = diagnostics()
    assert reason.startswith("metapixel_event: ")
    assert reason in caplog.text
    settings.DEBUG = True
    with pytest.raises(EventError, match="metapixel_event: "):
        guarded(*args, **params)


@pytest.mark.parametrize("debug", [True, False])
def test_a_type_error_inside_is_no_mistake_of_the_caller(settings, debug):
    def fails(request, /):
        raise TypeError("jane@example.com")

    settings.DEBUG = debug
    assert declarations.guarded("metapixel", ask(), fails) == ""
    assert [(item.kind, item.reason) for item in counters.waiting()] == [
        (counters.FAILED, "metapixel: TypeError")
    ]


# The page that is being served


class Told:
    """Stands for a page of the shop."""

    def __init__(self, told):
        self.told = told

    def metapixel_event(self, request):
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


def names_in(markup):
    scripts = BeautifulSoup(markup, "html.parser").select("[data-metapixel-event]")
    return [json.loads(script.string)["event_name"] for script in scripts]


def page_head(request, **variables):
    return declarations.page_head(request, variables.get)


VIEW = Told(("ViewContent", {"content_name": "Tea"}))
SEARCH = Told(("Search", {}))


def test_the_head_brings_the_event_of_the_page_that_is_served(site):
    request = ask()
    declarations.now_serving(request, VIEW)
    markup = page_head(request, page=SEARCH)
    assert markup.startswith(declarations.head(ask()))
    assert names_in(markup) == ["ViewContent"]


@pytest.mark.parametrize("name", ["page", "self"])
def test_else_it_is_the_page_of_the_template(site, name):
    assert names_in(page_head(ask(), **{name: VIEW})) == ["ViewContent"]


@pytest.mark.parametrize("page", [None, "", 7, {"metapixel_event": 1}, object(), Told(None)])
def test_a_page_that_declares_nothing_leaves_the_head_as_it_is(site, page):
    assert page_head(ask(), page=page) == declarations.head(ask())


def test_the_event_of_a_page_is_declared_once(site):
    request = ask()
    declarations.now_serving(request, VIEW)
    assert names_in(declarations.served_event(request)) == ["ViewContent"]
    assert declarations.served_event(request, {"page": VIEW}.get) == ""
    assert names_in(page_head(request, page=VIEW)) == []


def test_where_nobodys_event_belongs_the_template_changes_nothing(site):
    request = ask()
    declarations.now_serving(request, None)
    assert names_in(page_head(request, page=VIEW)) == []


@pytest.mark.parametrize(
    "told",
    [
        KeyError("jane@example.com"),
        "ViewContent",
        ("ViewContent",),
        ("ViewContent", None),
        ("ViewContent", {}, {}),
        ("Purchase", {"value": 5, "currency": "EUR"}),
        ("view content", {}),
        (None, {}),
        ("ViewContent", {"opt_out": True}),
    ],
    ids=ascii,
)
def test_a_page_that_declares_nonsense_costs_its_event_alone(site, settings, caplog, told):
    assert page_head(ask(), page=Told(told)) == declarations.head(ask())
    assert len(diagnostics()) == 1
    assert "jane@example.com" not in caplog.text + diagnostics()[0]
    settings.DEBUG = True
    with pytest.raises(EventError):
        page_head(ask(), page=Told(told))


@pytest.mark.parametrize("attribute", ["is_preview", "is_dummy"])
def test_a_preview_does_not_even_ask_the_page(site, settings, attribute):
    settings.DEBUG = True
    request = ask()
    setattr(request, attribute, True)
    declarations.now_serving(request, Told(KeyError()))
    assert page_head(request) == ""
    assert declarations.served_event(request) == ""
