from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpResponse
from django.template import engines
from django.test import Client, RequestFactory
from django.urls import include, path

from tests.factories import PIXEL_ID, PixelFactory, SettingsFactory
from wagtail_metapixel import browser, counters, noscript, site_settings
from wagtail_metapixel.choices import PixelMode
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.models import MetaPixel, MetaPixelSettings

TAG = "{% load metapixel %}{% metapixel_noscript %}"
IMAGE = '<noscript><img hidden alt="" width="1" height="1" src="/metapixel/noscript/"></noscript>'
META = f"https://www.facebook.com/tr?id={PIXEL_ID}&ev=PageView&noscript=1"
OTHER = "22222"
CLIENT = Client(enforce_csrf_checks=True)


def page(request):
    return HttpResponse(engines["django"].from_string(TAG).render({}, request))


urlpatterns = [
    path("page/", page),
    path("admin/", page, name="wagtailadmin_home"),
    path("metapixel/", include("wagtail_metapixel.urls")),
]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture
def site():
    """A site whose owner states that nobody has to be asked."""
    PixelFactory(settings=SettingsFactory(consent_provider="not_required"))
    site_settings.refresh()


def change(model=MetaPixelSettings, **values):
    model.objects.update(**values)
    site_settings.refresh()


def rendered(request=None, template=TAG):
    return engines["django"].from_string(template).render({}, request or RequestFactory().get("/"))


def ask(address="/metapixel/noscript/", method="get", cookie="", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return getattr(CLIENT, method)(address, headers={"Cookie": cookie, **headers})


def is_empty(response):
    """Tell whether the answer leads nowhere, sets nothing and may not be kept."""
    kept = set(response["Cache-Control"].split(", ")) == {"private", "no-store"}
    return response.status_code == 204 and not response.content and not response.cookies and kept


def reasons(kind):
    return {item.reason for item in counters.waiting() if item.kind == kind}


# The tag


def test_the_tag_prints_an_image_of_our_own_address_once_a_page(site):
    assert rendered(template=TAG + "{% metapixel_noscript %}") == IMAGE


@pytest.mark.parametrize(
    "values",
    [
        {"consent_provider": "cookie"},
        {"consent_provider": "function"},
        {"consent_provider": ""},
        {"enabled": False},
        {"data_layer": True},
    ],
    ids=str,
)
def test_a_site_that_asks_or_tells_in_another_way_prints_none(site, values):
    change(**values)
    assert rendered() == ""
    assert is_empty(ask())


@pytest.mark.parametrize(
    "values",
    [{"mode": PixelMode.SERVER}, {"hosts": "elsewhere.example"}, {"events": ["Search"]}],
    ids=str,
)
def test_a_pixel_that_no_browser_here_tells_of_page_views_has_none(site, values):
    change(MetaPixel, **values)
    assert rendered() == ""
    assert is_empty(ask())


def test_several_pixels_have_an_image_each(site):
    PixelFactory(pixel_id=OTHER)
    site_settings.refresh()
    assert rendered().count("<noscript>") == 1
    assert rendered().count("<img ") == 2
    for pixel_id in (PIXEL_ID, OTHER):
        address = f"/metapixel/noscript/?pixel={pixel_id}"
        assert f'src="{address}"' in rendered()
        assert parse_qs(urlsplit(ask(address)["Location"]).query)["id"] == [pixel_id]


@pytest.mark.parametrize("query", ["", "?pixel=", "?pixel=33333", "?pixel=https://evil.example"])
def test_a_pixel_that_is_not_the_sites_own_leads_nowhere(site, query):
    PixelFactory(pixel_id=OTHER)
    site_settings.refresh()
    assert is_empty(ask(f"/metapixel/noscript/{query}"))


@pytest.mark.parametrize("attribute", ["is_preview", "is_dummy"])
def test_a_preview_prints_none(site, attribute):
    request = RequestFactory().get("/")
    setattr(request, attribute, True)
    assert rendered(request) == ""


def test_the_admin_prints_none(site):
    assert ask("/page/").content.decode() == IMAGE
    assert ask("/admin/").content == b""


def test_the_bytes_are_the_same_for_every_visitor(site):
    strange = {"cookie": "metapixel_consent=denied; metapixel_off=", "Sec_GPC": "1"}
    assert ask("/page/").content == ask("/page/?pixel=1&fbclid=x", **strange).content
    assert not ask("/page/", **strange).cookies


def test_it_adds_no_query_to_a_page(site, django_assert_num_queries):
    with django_assert_num_queries(0):
        ask("/page/")


def test_without_our_addresses_there_is_none(site, monkeypatch):
    monkeypatch.setattr(browser, "endpoint", lambda _name: "")
    assert rendered() == ""


# The address


@pytest.mark.parametrize("method", ["get", "head"])
def test_it_leads_to_metas_image_and_may_not_be_kept(site, method, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = ask(method=method, Sec_Fetch_Site="same-origin", Sec_Fetch_Dest="image")
    assert (response.status_code, response["Location"]) == (302, META)
    assert set(response["Cache-Control"].split(", ")) == {"private", "no-store"}
    assert not response.cookies
    assert response["Referrer-Policy"] == "strict-origin-when-cross-origin"


def test_a_browser_that_does_not_say_where_it_stands_is_believed(site):
    assert ask()["Location"] == META


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_other_methods_are_refused(site, method):
    response = ask(method=method)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Dest": "document"},
        {"Sec_Fetch_Dest": "empty", "Sec_Fetch_Site": "same-origin"},
        {"Sec_Purpose": "prefetch;prerender"},
    ],
    ids=str,
)
def test_what_is_no_image_of_a_page_of_ours_leads_nowhere(site, headers):
    assert is_empty(ask(**headers))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Sec_GPC": "1"}, Reason.GPC),
        ({"cookie": "metapixel_consent=denied"}, Reason.DENIED),
        ({"cookie": "metapixel_off="}, Reason.STAFF),
    ],
)
def test_who_objects_and_who_is_staff_are_not_told_of(site, headers, reason):
    assert is_empty(ask(**headers))
    assert reasons(counters.WITHHELD) == {reason}


def test_a_host_that_no_pixel_sends_for_leads_nowhere(site, settings):
    settings.ALLOWED_HOSTS = ["staging.example"]
    assert is_empty(ask(Host="staging.example"))


def test_limited_use_is_said_in_the_address(site):
    change(limited_data_use=True)
    assert ask()["Location"] == f"{META}&dpo=LDU&dpoco=0&dpost=0"


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"SANDBOX": "http://127.0.0.1:8001"}, "http://127.0.0.1:8001/tr?id="),
        ({"SCRIPT_URL": "http://localhost:9/fb.js"}, "http://localhost:9/tr?id="),
        ({"SCRIPT_URL": "https://cdn.example/fb.js"}, "https://www.facebook.com/tr?id="),
        (
            {"SANDBOX": "http://127.0.0.1:8001", "SCRIPT_URL": "https://cdn.example/fb.js"},
            "https://www.facebook.com/tr?id=",
        ),
    ],
    ids=str,
)
def test_the_image_is_where_the_script_reports_to(site, settings, options, start):
    settings.WAGTAIL_METAPIXEL = options
    assert ask()["Location"].startswith(start)


def test_an_address_is_limited_as_at_all_our_addresses(site, settings):
    settings.WAGTAIL_METAPIXEL = {"REQUESTS_PER_SITE": 2}
    statuses = [ask().status_code for _ in range(3)]
    assert statuses == [302, 302, 204]
    assert reasons(counters.REFUSED) == {"too many requests of one site in a minute"}


def test_a_fault_of_our_own_leads_nowhere(site, monkeypatch, caplog):
    def fail(*_args, **_kwargs):
        raise RuntimeError("secret")

    monkeypatch.setattr(noscript.consent, "decide", fail)
    assert is_empty(ask())
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_it_is_open_where_every_other_page_asks_for_a_login(site, settings):
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert Client().get("/metapixel/noscript/")["Location"] == META
