from __future__ import annotations

import ast
import asyncio
import base64
import json
import re
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth import alogin, get_user_model, login, logout
from django.contrib.auth.signals import user_logged_in
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template import engines
from django.test import AsyncClient, Client, RequestFactory
from django.urls import include, path
from rest_framework.decorators import api_view
from rest_framework.response import Response as WrappedResponse

from tests.factories import PixelFactory
from wagtail_metapixel import middleware, site_settings, visitor
from wagtail_metapixel.middleware import MetaPixelMiddleware
from wagtail_metapixel.models import OutboxEvent
from wagtail_metapixel.tracking import atrack, track

COOKIES = {"metapixel_consent": "granted.1", "_fbp": "fb.1.1700000000000.1"}
CONSENT = {"Cookie": "; ".join(f"{name}={value}" for name, value in COOKIES.items())}
OURS = "wagtail_metapixel.middleware.MetaPixelMiddleware"


def add_to_cart(request):
    track("AddToCart", request, value=5, currency="EUR")
    if "redirect" in request.GET:
        return HttpResponseRedirect("/cart/")
    return HttpResponse("ok", headers=dict(request.GET.items()))


async def async_add_to_cart(request):
    await atrack("AddToCart", request, value=5, currency="EUR")
    return HttpResponse("ok")


@api_view(["POST"])
def wrapped_add_to_cart(request):
    track("AddToCart", request, value=5, currency="EUR")
    return WrappedResponse({"ok": True})


def page(request):
    """A page that a cache may keep, although an event happens on it."""
    track("AddToCart", request, value=5, currency="EUR")
    return HttpResponse("page")


def thank_you(request):
    tag = "{% load metapixel %}{% metapixel_ticket 'Purchase' 17 %}"
    return HttpResponse(engines["django"].from_string(tag).render({}, request))


def streaming(request):
    track("AddToCart", request, value=5, currency="EUR")
    return StreamingHttpResponse(iter([b"o", b"k"]))


HTML = "<html><head><title>Tea</title></head><body>Tea</body></html>"


def html(request):
    """A page whose template nobody can edit."""
    response = HttpResponse(HTML, headers=dict(request.GET.items()))
    if request.META.get("HTTP_X_ECHO"):
        track("AddToCart", request, value=5, currency="EUR")
    return response


async def async_html(request):
    return HttpResponse(HTML)


def tagged(request):
    """A page that printed the pixel by itself."""
    page = "{% load metapixel %}<html><head>{% metapixel %}</head></html>"
    return HttpResponse(engines["django"].from_string(page).render({}, request))


def fails(request):
    track("AddToCart", request, value=5, currency="EUR")
    raise RuntimeError("the shop's own fault")


def sign_in(request):
    user = get_user_model().objects.get(username=request.GET.get("who", "jane"))
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse("ok")


def sign_out(request):
    logout(request)
    return HttpResponse("ok")


async def async_sign_in(request):
    user = await get_user_model().objects.aget(username="jane")
    await alogin(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse("ok")


urlpatterns = [
    path("add/", add_to_cart),
    path("async/add/", async_add_to_cart),
    path("wrapped/add/", wrapped_add_to_cart),
    path("page/", page),
    path("thank-you/", thank_you),
    path("streaming/", streaming),
    path("fails/", fails),
    path("html/", html),
    path("async/html/", async_html),
    path("tagged/", tagged),
    path("sign-in/", sign_in),
    path("sign-out/", sign_out),
    path("async/sign-in/", async_sign_in),
    path("admin/html/", html),
    path("admin/", html, name="wagtailadmin_home"),
    path("metapixel/", include("wagtail_metapixel.urls")),
]

pytestmark = pytest.mark.urls(__name__)
committed = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def pixel(db):
    return PixelFactory()


def post(address="/add/", **headers):
    return Client().post(address, headers={**CONSENT, **headers})


def decoded(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def cookies_of(response):
    return [
        decoded(morsel.value)
        for name, morsel in response.cookies.items()
        if name.startswith("metapixel_e_")
    ]


def header_of(response):
    return decoded(response["Metapixel-Echo"]) if "Metapixel-Echo" in response else []


def commit_at_the_end(get_response):
    """Stand in for the commit of ATOMIC_REQUESTS inside the transaction of a test."""

    def run(request):
        start = len(connection.run_on_commit)
        response = get_response(request)
        callbacks, connection.run_on_commit[start:] = connection.run_on_commit[start:], []
        for _savepoints, callback, _robust in callbacks:
            callback()
        return response

    return run


@pytest.fixture
def commits(settings, pixel):
    """Let what a view registered with on_commit run when the view is done."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.commit_at_the_end"]


# The echo of an event, sync


@committed
def test_an_event_recorded_in_a_view_comes_back_with_its_response(pixel):
    response = post()
    row = OutboxEvent.objects.get()
    [copy] = cookies_of(response)
    assert (copy["i"], copy["n"], copy["x"]) == (row.event_id, "AddToCart", [pixel.pixel_id])
    assert copy["p"] == {"value": 5, "currency": "EUR"}
    assert set(response["Cache-Control"].split(", ")) == {"private", "no-store"}


@pytest.mark.parametrize(
    ("address", "headers", "carrier"),
    [
        ("/add/", {}, "cookie"),
        ("/add/", {"Sec-Fetch-Mode": "navigate"}, "cookie"),
        ("/add/", {"HX-Request": "true"}, "header"),
        ("/add/", {"Sec-Fetch-Mode": "cors"}, "header"),
        ("/wrapped/add/", {"Sec-Fetch-Mode": "cors"}, "header"),
        ("/async/add/", {}, "cookie"),
        ("/add/?redirect=1", {}, "cookie"),
        ("/add/?redirect=1", {"Sec-Fetch-Mode": "cors"}, "cookie"),
        ("/add/?HX-Redirect=/cart/", {"HX-Request": "true"}, "cookie"),
        ("/streaming/", {}, "cookie"),
    ],
)
def test_the_echo_takes_the_carrier_that_reaches_the_page(commits, address, headers, carrier):
    response = post(address, **headers)
    found = {"cookie": cookies_of(response), "header": header_of(response)}
    other = {"cookie": "header", "header": "cookie"}[carrier]
    assert [copy["n"] for copy in found[carrier]] == ["AddToCart"]
    assert found[other] == []


def test_an_error_page_still_carries_what_was_committed_before(commits):
    client = Client(raise_request_exception=False)
    response = client.post("/fails/", headers=CONSENT)
    assert response.status_code == 500
    assert [copy["n"] for copy in cookies_of(response)] == ["AddToCart"]


def test_without_consent_there_is_neither_row_nor_echo(commits):
    response = Client().post("/add/")
    assert not OutboxEvent.objects.exists()
    assert not response.cookies
    assert "Cache-Control" not in response


def test_without_the_middleware_the_event_is_recorded_and_not_echoed(rf, commits):
    request = rf.post("/add/", headers=CONSENT)
    response = commit_at_the_end(add_to_cart)(request)
    assert OutboxEvent.objects.count() == 1
    assert visitor.capture(request).echo == []
    assert not response.cookies


# Caches


def test_an_ordinary_answer_gets_no_cookie_and_no_header(pixel):
    for response in (Client().get("/page/"), Client().get("/nowhere/")):
        assert not response.cookies
        assert "Cache-Control" not in response
        assert "Vary" not in response


def test_a_page_with_a_ticket_may_not_be_stored(pixel):
    assert set(Client().get("/thank-you/")["Cache-Control"].split(", ")) == {"private", "no-store"}


@pytest.fixture
def page_cache(settings, commits):
    """Django's full-page cache, where our documentation puts it: below our middleware."""
    place = settings.MIDDLEWARE.index(OURS) + 1
    update, fetch = (f"django.middleware.cache.{n}CacheMiddleware" for n in ("Update", "FetchFrom"))
    names = [name for name in settings.MIDDLEWARE if "Session" not in name and "auth" not in name]
    names = [name for name in names if "csrf" not in name and "messages" not in name]
    settings.MIDDLEWARE = [*names[:place], update, *names[place:-1], fetch, names[-1]]
    cache.clear()
    yield
    cache.clear()


def test_a_cache_below_never_stores_an_echo(page_cache):
    first = Client().get("/page/", headers=CONSENT)
    assert cookies_of(first)
    second = Client().get("/page/", headers=CONSENT)
    assert OutboxEvent.objects.count() == 1, "the second answer came from the cache"
    assert second.content == first.content
    assert not second.cookies
    assert "no-store" not in second["Cache-Control"]


def test_a_cache_below_never_stores_a_ticket(page_cache):
    first, second = (Client().get("/thank-you/") for _ in range(2))
    assert b"data-metapixel-ticket" in first.content
    assert "Age" not in second
    assert "no-store" in second["Cache-Control"]


# Async


def test_the_middleware_is_async_where_its_neighbour_is():
    async def neighbour(request):
        return HttpResponse("ok")

    instance = MetaPixelMiddleware(neighbour)
    assert iscoroutinefunction(instance)
    assert not iscoroutinefunction(MetaPixelMiddleware(lambda request: HttpResponse("ok")))


@committed
def test_an_async_server_echoes_too(pixel):
    client = AsyncClient()
    client.cookies.load(COOKIES)
    response = async_to_sync(client.post)("/async/add/", headers={"HX-Request": "true"})
    assert [copy["i"] for copy in header_of(response)] == [OutboxEvent.objects.get().event_id]


def test_an_async_request_reads_the_settings_before_its_view(pixel):
    async def view(request):
        return HttpResponse(str(visitor.capture(request).site().site_pk))

    site_settings.clear()
    respond = MetaPixelMiddleware(view)
    response = async_to_sync(respond)(RequestFactory().get("/"))
    assert response.content == str(pixel.settings.site_id).encode()


def test_a_warm_async_request_asks_the_database_nothing(pixel, monkeypatch):
    async def view(request):
        return HttpResponse("ok")

    site_settings.refresh()
    asked = []
    monkeypatch.setattr(site_settings, "_read", lambda: asked.append(1))
    asyncio.run(MetaPixelMiddleware(view)(RequestFactory().get("/")))
    assert asked == []


# Staff


@pytest.mark.django_db
@pytest.mark.parametrize(("superuser", "marked"), [(True, True), (False, False)])
def test_a_login_marks_the_browser_of_who_may_enter_the_admin(rf, superuser, marked):
    make = get_user_model().objects
    user = (make.create_superuser if superuser else make.create_user)("jo", "jo@example.com", "x")

    def view(request):
        user_logged_in.send(type(user), request=request, user=user)
        return HttpResponse("ok")

    response = MetaPixelMiddleware(view)(rf.post("/login/"))
    assert (visitor.OFF_COOKIE in response.cookies) is marked
    if marked:
        assert response.cookies[visitor.OFF_COOKIE].value == ""


def test_staff_are_known_on_all_hosts_of_the_cookies_domain(rf, settings):
    settings.WAGTAIL_METAPIXEL = {"COOKIE_DOMAIN": "example.com"}
    settings.ALLOWED_HOSTS = ["admin.example.com"]

    def login(request):
        visitor.capture(request).is_staff = True
        return HttpResponse()

    response = MetaPixelMiddleware(login)(rf.post("/", headers={"Host": "admin.example.com"}))
    assert response.cookies["metapixel_off"]["domain"] == "example.com"


@pytest.mark.parametrize("user", [None, object()])
def test_an_odd_user_can_still_log_in(rf, user):
    middleware.notice_staff(rf.post("/login/"), user)
    middleware.notice_staff(None, user)


def test_a_browser_of_staff_records_nothing(commits):
    response = post(Cookie=f"{CONSENT['Cookie']}; metapixel_off=")
    assert not OutboxEvent.objects.exists()
    assert not response.cookies


# Visitors who sign in


@pytest.fixture
def chosen(pixel):
    """A site whose owner chose a field to be told by the browser, and its one customer."""
    pixel.settings.browser_matching = ["em"]
    pixel.settings.save()
    site_settings.refresh()
    get_user_model().objects.create_user("jane", "jane@example.com", "x")
    return pixel.settings


def is_private(response):
    return set(response["Cache-Control"].split(", ")) == {"private", "no-store"}


def test_a_login_marks_the_browser_without_a_value(chosen, settings):
    response = Client().post("/sign-in/")
    cookie = response.cookies["metapixel_user"]
    assert (cookie.value, cookie["path"], cookie["samesite"]) == ("", "/", "Lax")
    assert cookie["max-age"] == settings.SESSION_COOKIE_AGE
    assert not cookie["httponly"], "our script reads it"
    assert not cookie["secure"]
    assert not cookie["domain"]
    assert is_private(response)


def test_an_encrypted_login_marks_for_encrypted_pages_only(chosen):
    assert Client().post("/sign-in/", secure=True).cookies["metapixel_user"]["secure"]


def test_the_mark_lasts_as_long_as_the_session(chosen, settings):
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = True
    cookie = Client().post("/sign-in/").cookies["metapixel_user"]
    assert (cookie["max-age"], cookie["expires"]) == ("", "")


def test_the_mark_stands_on_the_domain_of_our_cookies(chosen, settings):
    settings.WAGTAIL_METAPIXEL = {"COOKIE_DOMAIN": "shop.example"}
    chosen.site.hostname = "www.shop.example"
    chosen.site.save()
    client = Client(SERVER_NAME="www.shop.example")
    assert client.post("/sign-in/").cookies["metapixel_user"]["domain"] == "shop.example"
    assert client.post("/sign-out/").cookies["metapixel_user"]["domain"] == "shop.example"


def test_an_async_login_marks_too(chosen):
    response = async_to_sync(AsyncClient().post)("/async/sign-in/")
    assert response.cookies["metapixel_user"].value == ""
    assert is_private(response)


def test_a_logout_takes_the_mark_away(chosen):
    client = Client()
    client.post("/sign-in/")
    response = client.post("/sign-out/")
    assert response.cookies["metapixel_user"]["max-age"] == 0
    assert is_private(response)


def test_a_logout_without_a_mark_sets_no_cookie(chosen):
    client = Client()
    client.post("/sign-in/")
    del client.cookies["metapixel_user"]
    response = client.post("/sign-out/")
    assert "metapixel_user" not in response.cookies
    assert "Cache-Control" not in response


def test_a_mark_of_a_site_that_no_longer_wants_it_goes_with_the_logout(chosen):
    client = Client()
    client.post("/sign-in/")
    chosen.browser_matching = []
    chosen.save()
    assert client.post("/sign-out/").cookies["metapixel_user"]["max-age"] == 0


def test_where_the_owner_chose_no_field_nobody_is_marked(chosen):
    chosen.browser_matching = []
    chosen.save()
    response = Client().post("/sign-in/")
    assert "metapixel_user" not in response.cookies
    assert "Cache-Control" not in response


def test_staff_are_not_marked_and_lose_the_mark_of_a_customer(chosen):
    get_user_model().objects.create_superuser("boss", "boss@example.com", "x")
    client = Client()
    assert "metapixel_user" not in client.post("/sign-in/?who=boss").cookies
    client.cookies["metapixel_user"] = ""
    assert client.post("/sign-in/?who=boss").cookies["metapixel_user"]["max-age"] == 0


@pytest.mark.parametrize("notice", [middleware.notice_login, middleware.notice_logout])
@pytest.mark.parametrize("request_", [None, object()])
def test_an_odd_login_or_logout_goes_on(notice, request_):
    notice(request=request_, user=None)


def test_a_mark_that_cannot_be_set_costs_no_login(chosen, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise RuntimeError("jane@example.com")

    monkeypatch.setattr(middleware.browser, "set_cookie", fail)
    assert Client().post("/sign-in/").status_code == 200
    assert "RuntimeError" in caplog.text
    assert "jane@example.com" not in caplog.text


def test_pages_are_the_same_for_whoever_has_signed_in(chosen, settings, django_assert_num_queries):
    settings.WAGTAIL_METAPIXEL = {"INJECT": True}
    client = Client()
    client.post("/sign-in/")
    stranger = Client().get("/html/")
    with django_assert_num_queries(0):
        response = client.get("/html/")
    assert response.content == stranger.content
    assert b"/metapixel/matching/" in response.content
    assert not response.cookies
    assert "Vary" not in response


# Never in the way


def test_a_fault_of_our_own_costs_no_response(pixel, monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError("jane@example.com")

    monkeypatch.setattr(middleware.browser, "attach", fail)
    assert Client().get("/nowhere/").status_code == 404
    assert "RuntimeError" in caplog.text
    assert "jane@example.com" not in caplog.text


# The pixel in pages whose templates have no tag


@pytest.fixture
def inject(settings, commits):
    """Let the middleware put the pixel into pages, as the documentation says."""
    docs = Path(__file__).resolve().parents[1] / "docs" / "templates.md"
    [line] = re.findall(
        r"^WAGTAIL_METAPIXEL = (.*)$", docs.read_text(encoding="utf-8"), re.MULTILINE
    )
    settings.WAGTAIL_METAPIXEL = ast.literal_eval(line)
    site_settings.refresh()


def pixels_in(response):
    return response.content.count(b'id="metapixel-config"')


@pytest.mark.parametrize("address", ["/html/", "/async/html/"])
def test_a_page_without_the_tag_gets_what_the_tag_would_print(inject, address):
    response = Client().get(address)
    tagged = Client().get("/tagged/").content.partition(b"<head>")[2].partition(b"</head>")[0]
    assert response.content.decode() == HTML.replace("</head>", f"{tagged.decode()}\n</head>")
    assert response["Content-Length"] == str(len(response.content))


def test_an_async_server_puts_it_in_too(inject):
    response = async_to_sync(AsyncClient().get)("/async/html/")
    assert pixels_in(response) == 1


def test_without_the_setting_pages_stay_as_they_are(commits):
    assert Client().get("/html/").content.decode() == HTML


def test_a_page_that_has_it_already_gets_no_second_one(inject):
    assert pixels_in(Client().get("/tagged/")) == 1


@pytest.mark.parametrize("method", ["head", "post", "put", "options"])
def test_only_an_answer_to_get_is_changed(inject, method):
    response = getattr(Client(), method)("/html/")
    assert pixels_in(response) == 0
    assert response["Content-Length"] == str(len(HTML))


def test_an_htmx_request_gets_the_bytes_of_all_others(inject):
    """A cache above would hand the answer to anybody."""
    asked = Client().get("/html/", headers={"HX-Request": "true", "HX-Boosted": "true"})
    assert asked.content == Client().get("/html/").content


@pytest.mark.parametrize("address", ["/admin/", "/admin/html/"])
def test_the_admin_stays_as_it_is(inject, address):
    assert Client().get(address).content.decode() == HTML


@pytest.mark.parametrize("attribute", ["is_preview", "is_dummy"])
def test_a_preview_stays_as_it_is(rf, inject, attribute):
    request = rf.get("/html/")
    setattr(request, attribute, True)
    assert MetaPixelMiddleware(html)(request).content.decode() == HTML


def test_the_bytes_put_in_are_the_same_for_every_visitor(inject):
    site_settings.refresh()
    visits = [
        ("/html/", {}),
        ("/html/?fbclid=AbC&q=</head>", {}),
        ("/html/", {"Cookie": "metapixel_consent=denied; metapixel_off=; _fbc=</head>"}),
        ("/html/", {"User-Agent": "</script>", "Referer": "https://evil.example/</script>"}),
        ("/html/", {"Sec-GPC": "1", "Accept-Language": "de"}),
    ]  # fmt: skip
    responses = [Client().get(address, headers=headers) for address, headers in visits]
    assert len({response.content for response in responses}) == 1
    for response in responses:
        assert not response.cookies
        assert "Vary" not in response
        assert "Cache-Control" not in response


def test_a_page_gets_it_without_a_query(inject, django_assert_num_queries):
    Client().get("/html/")
    with django_assert_num_queries(0):
        assert pixels_in(Client().get("/html/")) == 1


@pytest.mark.parametrize("address", ["/html/", "/tagged/"])
def test_a_page_out_of_a_cache_below_is_the_same_page(inject, page_cache, address):
    first, second = (Client().get(address) for _ in range(2))
    assert "Age" in second, "the second answer came from the cache"
    assert first.content == second.content
    assert pixels_in(second) == 1


@pytest.fixture
def conditional(settings):
    """Django's ConditionalGetMiddleware, below ours, names the bytes before they are changed."""
    place = settings.MIDDLEWARE.index(OURS) + 1
    name = "django.middleware.http.ConditionalGetMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:place], name, *settings.MIDDLEWARE[place:]]


def test_a_browser_asks_for_the_bytes_it_got_and_not_for_those_below(conditional, inject, settings):
    plain = Client().get("/admin/")["ETag"]
    etag = Client().get("/html/")["ETag"]
    assert etag != plain
    again = Client().get("/html/", headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
    settings.WAGTAIL_METAPIXEL = {"INJECT": True, "SCRIPT_URL": "https://cdn.example/fbevents.js"}
    changed = Client().get("/html/", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed["ETag"] != etag


def test_a_page_with_an_echo_is_sent_whole_whoever_has_it(inject):
    headers = {**CONSENT, "Sec-Fetch-Mode": "cors", "X-Echo": "1", "If-None-Match": "*"}
    response = Client().get('/html/?ETag="a"', headers=headers)
    assert response.status_code == 200
    assert header_of(response)
    assert pixels_in(response) == 1


def test_a_site_that_may_not_send_gets_nothing_put_in(inject):
    assert Client(SERVER_NAME="staging.example").get("/html/").content.decode() == HTML


def test_a_fault_while_putting_it_in_costs_no_page(inject, monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError("jane@example.com")

    monkeypatch.setattr(middleware.declarations, "head", fail)
    response = Client().get("/html/", headers={**CONSENT, "X-Echo": "1"})
    assert response.content.decode() == HTML
    assert cookies_of(response)
    assert "RuntimeError" in caplog.text
    assert "jane@example.com" not in caplog.text
