from __future__ import annotations

import base64
import json
from functools import partial

import pytest
from bs4 import BeautifulSoup
from django.contrib.staticfiles.finders import find
from django.db import transaction
from django.http import HttpResponse
from django.test import RequestFactory

from wagtail_metapixel import browser, counters, keys, visitor
from wagtail_metapixel.choices import ConsentProvider
from wagtail_metapixel.events import Event
from wagtail_metapixel.site_settings import PixelConfig, SiteConfig, Snapshot

PIXEL = PixelConfig(pixel_id="11111", hosts=frozenset({"testserver"}), events=None)
SITE = SiteConfig(
    site_pk=1,
    hostname="testserver",
    port=80,
    is_default=True,
    consent_provider="cookie",
    pixels=(PIXEL,),
)


def ask(method="post", **headers):
    """Return the capture of a request with these headers."""
    return visitor.capture(RequestFactory().generic(method.upper(), "/cart/", headers=headers))


def copy_of(number, **params):
    """Return the browser copy of an event as track() makes it."""
    return {"i": f"{number:032x}", "n": "AddToCart", "p": params, "t": 1700000000, "x": ["11111"]}


def decoded(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def attached(held, response=None):
    response = response or HttpResponse()
    browser.attach(response, held)
    return response


def echo_cookies(response):
    return {name: morsel for name, morsel in response.cookies.items() if name.startswith("metapixel_e_")}  # fmt: skip


# What a page holds


def parsed(site=SITE, host="testserver"):
    return BeautifulSoup(browser.head_markup(site, host), "html.parser")


@pytest.fixture(autouse=True)
def rendered(monkeypatch):
    """What is kept with the snapshot; these tests bring one without a database."""
    snapshot = Snapshot()
    monkeypatch.setattr(browser, "current", lambda: snapshot)
    return snapshot.rendered


def test_the_head_holds_what_the_script_has_to_know():
    config = json.loads(parsed().find(id="metapixel-config").string)
    assert config == {
        "pixels": [{"id": "11111", "events": None}],
        "echoes": "metapixel_e_",
        "collect": "/metapixel/collect/",
        "echo": "/metapixel/echo/",
        "ticket": "/metapixel/ticket/",
        "consent": "/metapixel/consent/",
        "provider": "cookie",
        "script": "https://connect.facebook.net/en_US/fbevents.js",
        "page_view": True,
        "gpc": True,
    }


@pytest.mark.parametrize("provider", ["cookie", "function", "not_required"])
def test_the_core_script_comes_last_and_the_consent_cookie_only_where_it_is_used(provider):
    found = parsed(SITE._replace(consent_provider=provider)).find_all("script", src=True)
    names = [script["src"].rsplit("/", 1)[1] for script in found]
    assert names[-1] == "metapixel.js"
    assert ("consent_cookie.js" in names) is (provider != "function")


OTHER_TOOLS = sorted(set(ConsentProvider.values) - {"", "cookie", "not_required"})


@pytest.mark.parametrize("provider", OTHER_TOOLS)
def test_another_tool_brings_its_own_small_file_and_no_others(provider):
    names = browser.scripts(SITE._replace(consent_provider=provider), [PIXEL])
    told = [name for name in names if name.startswith("consent_")]
    assert told == names[:2] == ["consent_watch.js", f"consent_{provider}.js"]
    assert all(find(f"wagtail_metapixel/{name}") for name in names[:2])


def test_a_provider_of_another_release_brings_no_file():
    site = SITE._replace(consent_provider="gone-in-this-release")
    assert not [name for name in browser.scripts(site, [PIXEL]) if name.startswith("consent_")]


@pytest.mark.parametrize("provider", ["cookie", "not_required", "function"])
def test_who_needs_no_names_is_told_none(provider):
    config = browser.page_config(SITE._replace(consent_provider=provider), [PIXEL])
    assert config["provider"] == provider
    assert not {"tool", "choice"} & config.keys()


def test_a_page_tells_the_script_what_the_tool_calls_advertising():
    site = SITE._replace(consent_provider="onetrust", consent_category="C0004")
    assert browser.page_config(site, [PIXEL])["tool"] == {"category": "C0004"}


def test_a_page_tells_the_purposes_and_numbers_of_tcf():
    site = SITE._replace(
        consent_provider="tcf", consent_category="1,3,4,7", consent_ac_provider_id=89
    )
    assert browser.page_config(site, [PIXEL])["tool"] == {
        "purposes": [1, 3, 4, 7],
        "vendor": None,
        "provider": 89,
    }


def test_only_the_tool_whose_cookie_no_script_may_read_gets_an_address_to_ask(monkeypatch):
    monkeypatch.setattr(browser, "endpoint", lambda name: f"/here/{name}/")
    told = {
        provider: browser.page_config(SITE._replace(consent_provider=provider), []).get("choice")
        for provider in OTHER_TOOLS
    }
    assert told.pop("django_cookie_consent") == "/here/choice/"
    assert set(told.values()) == {None}


def test_every_script_is_a_deferred_file_and_nothing_is_inline():
    for script in parsed().find_all("script"):
        is_file = script.get("src", "").startswith("/static/") and script.has_attr("defer")
        is_data = script.get("type") == "application/json"
        assert is_file != is_data


@pytest.mark.parametrize(
    ("site", "host"),
    [
        (SITE._replace(enabled=False), "testserver"),
        (SITE._replace(pixels=()), "testserver"),
        (SITE._replace(consent_provider=""), "testserver"),
        (SITE, "staging.example"),
    ],
)
def test_a_page_holds_nothing_where_nothing_may_be_sent(site, host):
    assert browser.head_markup(site, host) == ""


def test_a_page_lists_only_the_pixels_and_events_of_its_host():
    other = PIXEL._replace(pixel_id="22222", hosts=frozenset({"other.example"}))
    some = PIXEL._replace(pixel_id="33333", events=frozenset({"Purchase", "Lead"}))
    config = json.loads(parsed(SITE._replace(pixels=(PIXEL, other, some))).find("script").string)
    assert config["pixels"] == [
        {"id": "11111", "events": None},
        {"id": "33333", "events": ["Lead", "Purchase"]},
    ]


def scripts_of(*modes):
    pixels = tuple(PIXEL._replace(pixel_id=f"1111{n}", mode=mode) for n, mode in enumerate(modes))
    found = parsed(SITE._replace(pixels=pixels)).find_all("script", src=True)
    return [script["src"].rsplit("/", 1)[1] for script in found]


def test_a_pixel_that_is_in_no_browser_is_printed_with_no_events():
    some = PIXEL._replace(pixel_id="33333", mode="server", events=frozenset({"Lead"}))
    site = SITE._replace(pixels=(PIXEL._replace(mode="browser"), some))
    config = json.loads(parsed(site).find("script").string)
    assert config["pixels"] == [{"id": "11111", "events": None}, {"id": "33333", "events": []}]


def test_where_no_pixel_is_in_the_browser_the_page_holds_nothing_that_loads_metas_script():
    assert "meta_script.js" not in scripts_of("server", "server")
    assert {"first_party_cookies.js", "metapixel.js"} <= set(scripts_of("server"))
    assert "meta_script.js" in scripts_of("server", "both")
    assert "meta_script.js" in scripts_of("browser")


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("limited_data_use", "ldu"),
        ("data_layer", "data_layer"),
        ("load_before_consent", "early"),
        ("automatic_events", "auto_config"),
    ],
)
def test_a_page_says_what_the_owner_switched_on(choice, name):
    assert browser.page_config(SITE._replace(**{choice: True}), [PIXEL])[name] is True
    assert name not in browser.page_config(SITE, [PIXEL])


def test_where_the_owner_chose_fields_the_browser_asks_who_signed_in():
    site = SITE._replace(browser_matching=("em",))
    assert browser.page_config(site, [PIXEL])["matching"] == "/metapixel/matching/"
    names = browser.scripts(site, [PIXEL])
    assert names.index("advanced_matching.js") == names.index("meta_script.js") - 1
    assert find("wagtail_metapixel/advanced_matching.js")


@pytest.mark.parametrize(
    ("choices", "mode"),
    [
        ({}, "both"),
        ({"browser_matching": ("em",)}, "server"),
        ({"browser_matching": ("em",), "data_layer": True}, "both"),
    ],
)
def test_elsewhere_nobody_is_asked_who_signed_in(choices, mode):
    site, pixels = SITE._replace(**choices), [PIXEL._replace(mode=mode)]
    assert "matching" not in browser.page_config(site, pixels)
    assert "advanced_matching.js" not in browser.scripts(site, pixels)


def test_where_a_tag_manager_is_told_nothing_of_metas_is_loaded_early():
    site = SITE._replace(load_before_consent=True, data_layer=True)
    assert "early" not in browser.page_config(site, [PIXEL])


def test_the_sandbox_brings_its_own_script(settings):
    settings.WAGTAIL_METAPIXEL = {"SANDBOX": "http://127.0.0.1:8001"}
    script = json.loads(parsed().find("script").string)["script"]
    assert script == "http://127.0.0.1:8001/en_US/fbevents.js"


def test_scripts_bear_the_names_that_the_site_chose_at_once(settings):
    ours = {script["src"] for script in parsed().find_all("script", src=True)}
    settings.WAGTAIL_METAPIXEL = {"SCRIPT_PATH": "assets/part-{}.js"}
    named = {script["src"] for script in parsed().find_all("script", src=True)}
    assert all(path.startswith("/static/wagtail_metapixel/") for path in ours)
    assert all(path.startswith("/static/assets/part-") for path in named)
    assert len(named) == len(ours)


@pytest.mark.urls("wagtail.documents.urls")
def test_without_our_addresses_the_head_still_stands():
    assert json.loads(parsed().find("script").string)["collect"] == ""


def test_strange_hosts_do_not_fill_the_memory(rendered):
    for number in range(50):
        browser.head_markup(SITE, f"host-{number}.example")
    assert len(rendered) == 1


def test_a_page_names_the_domain_of_the_cookies_only_where_it_covers_the_host(settings):
    settings.WAGTAIL_METAPIXEL = {"COOKIE_DOMAIN": "example.com"}
    hosts = ("shop.example.com", "example.com", "shop.example.org", "badexample.com")
    site = SITE._replace(pixels=(PIXEL._replace(hosts=frozenset(hosts)),))
    told = {
        host: json.loads(parsed(site, host).find(id="metapixel-config").string).get("domain")
        for host in hosts
    }
    assert told == {
        "shop.example.com": "example.com",
        "example.com": "example.com",
        "shop.example.org": None,
        "badexample.com": None,
    }


def test_hosts_below_one_domain_share_what_is_kept_in_memory(settings, rendered):
    settings.WAGTAIL_METAPIXEL = {"COOKIE_DOMAIN": "example.com"}
    hosts = [f"{number}.example.{end}" for number in range(50) for end in ("com", "org")]
    site = SITE._replace(pixels=(PIXEL._replace(hosts=frozenset(hosts)),))
    for host in hosts:
        browser.head_markup(site, host)
    assert len(rendered) == 2


def test_an_island_cannot_end_its_script():
    assert "<" not in browser.island("</script><!--")
    assert json.loads(browser.island("</script>\u2028&")) == "</script>\u2028&"


def test_a_declaration_carries_the_signature_of_its_text():
    found = BeautifulSoup(browser.declaration_markup('{"event_name":"X"}', SITE), "html.parser")
    script = found.find("script")
    assert keys.declaration_is_ours(script.string, script["data-metapixel-event"], 1)


# Which carrier


@pytest.mark.parametrize(
    "headers",
    [
        {"HX-Request": "true"},
        {"Turbo-Frame": "cart"},
        {"X-Requested-With": "XMLHttpRequest"},
        {"Sec-Fetch-Mode": "cors"},
    ],
)
def test_code_that_asked_gets_the_echo_in_a_header(headers):
    held = ask(**headers)
    held.echo += [copy_of(1, value=2.5), copy_of(2)]
    response = attached(held)
    assert decoded(response["Metapixel-Echo"]) == [copy_of(1, value=2.5), copy_of(2)]
    assert not response.cookies


@pytest.mark.parametrize(
    ("headers", "status", "answer"),
    [
        ({}, 200, {}),
        ({"Sec-Fetch-Mode": "navigate"}, 200, {}),
        ({"Sec-Fetch-Mode": "navigate"}, 302, {}),
        ({"Sec-Fetch-Mode": "cors"}, 303, {}),
        ({"HX-Request": "true"}, 302, {}),
        ({"HX-Request": "true"}, 200, {"HX-Redirect": "/cart/"}),
        ({"HX-Request": "true"}, 200, {"HX-Refresh": "true"}),
        ({"HX-Request": "true"}, 200, {"HX-Location": "/cart/"}),
    ],
)
def test_a_browser_that_moves_on_gets_the_echo_in_cookies(headers, status, answer):
    held = ask(**headers)
    held.echo.append(copy_of(1, value=2.5))
    response = attached(held, HttpResponse(status=status, headers=answer))
    assert "Metapixel-Echo" not in response
    [(name, cookie)] = echo_cookies(response).items()
    assert name == "metapixel_e_00000000"
    assert decoded(cookie.value) == copy_of(1, value=2.5)
    assert (cookie["path"], cookie["max-age"], cookie["samesite"]) == ("/", 1800, "Lax")
    assert not cookie["httponly"]


@pytest.mark.parametrize("secure", [True, False])
def test_the_cookie_is_secure_where_the_page_is(secure):
    held = visitor.capture(RequestFactory().get("/", secure=secure))
    held.echo.append(copy_of(1))
    [cookie] = echo_cookies(attached(held)).values()
    assert bool(cookie["secure"]) is secure


# How much


def size_of(response):
    return sum(len(name) + len(cookie.value) for name, cookie in echo_cookies(response).items())


def numbered(count, length):
    return [{**copy_of(n << 96), "p": {"content_name": "x" * length}} for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("domain", "host", "kept"),
    [
        ("example.com", "shop.example.com", "example.com"),
        (".Example.com", "EXAMPLE.com:8000", "example.com"),
        ("", "shop.example.com", ""),
        ("example.com", "shop.example.org", ""),
        ("example.com", "badexample.com", ""),
        ("co.uk", "shop.co.uk", ""),
        ("localhost", "localhost", ""),
        ("127.0.0.1", "127.0.0.1", ""),
        (7, "shop.example.com", ""),
    ],
)
def test_a_cookie_of_ours_stands_on_the_domain_set_for_all_where_that_covers_the_host(
    settings, domain, host, kept
):
    settings.ALLOWED_HOSTS = ["*"]
    settings.WAGTAIL_METAPIXEL = {"COOKIE_DOMAIN": domain}
    held = ask(Host=host)
    held._site = SITE
    held.echo.append(copy_of(1))
    response = attached(held)
    browser.delete_cookie(response, held, "_fbp")
    told = [morsel["domain"] for morsel in response.cookies.values()]
    assert told == [kept, kept]


def test_on_a_shared_domain_an_echo_bears_its_site(settings):
    settings.ALLOWED_HOSTS = ["*"]
    settings.WAGTAIL_METAPIXEL = {"COOKIE_DOMAIN": "example.com"}
    held = ask(Host="shop.example.com")
    held._site = SITE
    held.echo.append(copy_of(1))
    (name,) = attached(held).cookies
    config = browser.page_config(SITE, [PIXEL], "example.com")
    assert name.startswith(config["echoes"])
    assert not name.startswith(
        browser.page_config(SITE._replace(site_pk=99), [PIXEL], "example.com")["echoes"]
    )


def test_a_domain_found_by_the_browser_counts_only_where_none_is_set_for_all(settings):
    settings.ALLOWED_HOSTS = ["*"]
    found = []
    for domain in ("", "www.shop.example"):
        settings.WAGTAIL_METAPIXEL = {"COOKIE_DOMAIN": domain}
        response = HttpResponse()
        held = ask(Host="www.shop.example")
        browser.set_cookie(response, held, "_fbp", "1", max_age=1, domain="shop.example")
        found.append(response.cookies["_fbp"]["domain"])
    assert found == ["shop.example", "www.shop.example"]


def test_an_event_that_does_not_fit_into_its_cookie_travels_by_its_id():
    held = ask()
    held.echo += [*numbered(1, 2000), {**copy_of(2 << 96), "p": {}}]
    response = attached(held)
    values = [decoded(cookie.value) for cookie in echo_cookies(response).values()]
    assert values[0] == {"i": held.echo[0]["i"]}
    assert values[1] == held.echo[1]


@pytest.mark.parametrize(("count", "length"), [(1, 0), (1, 600), (3, 300), (12, 0), (40, 900)])
def test_all_cookies_together_stay_below_a_kilobyte(count, length):
    held = ask()
    held.echo += numbered(count, length)
    response = attached(held)
    assert 0 < size_of(response) <= 1024
    if count < 12:
        assert len(echo_cookies(response)) == count


@pytest.mark.parametrize(("count", "length"), [(1, 600), (3, 300), (5, 5000), (40, 900)])
def test_the_header_stays_below_a_kilobyte_too(count, length):
    held = ask(HX_Request="true")
    held.echo += numbered(count, length)
    value = attached(held)["Metapixel-Echo"]
    assert len(value) <= 1024
    copies = decoded(value)
    assert [copy["i"] for copy in copies] == [copy["i"] for copy in held.echo][: len(copies)]
    if count <= 5:
        assert len(copies) == count


def test_cookies_that_nobody_took_away_leave_less_room():
    left = "; ".join(f"metapixel_e_{n:08x}={'x' * 230}" for n in range(4))
    held = ask(Cookie=left)
    held.echo += numbered(1, 0)
    assert not echo_cookies(attached(held))


# Caches


def test_an_answer_with_an_echo_is_kept_out_of_every_cache():
    for headers in ({}, {"HX-Request": "true"}):
        held = ask(**headers)
        held.echo.append(copy_of(1))
        assert set(attached(held)["Cache-Control"].split(", ")) == {"private", "no-store"}


def test_a_page_with_a_ticket_is_kept_out_of_every_cache():
    held = ask("get")
    held.no_store = True
    assert set(attached(held)["Cache-Control"].split(", ")) == {"private", "no-store"}


def test_an_ordinary_answer_stays_as_it_is():
    response = attached(ask(), HttpResponse(headers={"Cache-Control": "max-age=60"}))
    assert response.items() == HttpResponse(headers={"Cache-Control": "max-age=60"}).items()
    assert not response.cookies


# Joining the echo


@pytest.mark.django_db
def test_an_event_joins_the_echo_when_its_transaction_is_committed(
    django_capture_on_commit_callbacks,
):
    held = ask()
    event = Event(event_name="AddToCart", event_id="1" * 32, event_time=1, custom_data={"value": 1})
    with django_capture_on_commit_callbacks(execute=True):
        browser.echo_on_commit(held, event, ["11111"], using="default")
        assert held.echo == []
    assert [(copy["i"], copy["p"], copy["x"]) for copy in held.echo] == [
        ("1" * 32, {"value": 1}, ["11111"])
    ]


@pytest.mark.django_db
def test_an_event_that_was_rolled_back_is_never_echoed(django_capture_on_commit_callbacks):
    held = ask()
    event = Event(event_name="AddToCart", event_id="1" * 32, event_time=1)
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        browser.echo_on_commit(held, event, ["11111"], using="default")
        transaction.set_rollback(True)
    assert held.echo == []


@pytest.mark.parametrize("headers", [{}, {"HX_Request": "true"}], ids=["cookies", "header"])
def test_what_finds_no_room_counts_as_told_to_nobody_and_is_counted(headers):
    held = ask(**headers)
    held.echo += numbered(40, 900)
    taken_back = []
    for copy in held.echo:
        held.take_back[copy["i"]] = partial(taken_back.append, copy["i"])
    response = attached(held)
    by_header = response.get("Metapixel-Echo")
    told = len(decoded(by_header) if by_header else echo_cookies(response))
    assert 0 < told < 40
    assert taken_back == [copy["i"] for copy in held.echo[told:]]
    counted = {item.reason: count for item, count in counters.waiting().items()}
    assert counted == {browser.NO_ROOM: 40 - told}
