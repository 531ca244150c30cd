from __future__ import annotations

import ipaddress

import pytest

from wagtail_metapixel import conf
from wagtail_metapixel.exceptions import ConfigurationError

PIXEL = "1234567890123456"


@pytest.fixture
def given(settings):
    """Write WAGTAIL_METAPIXEL as a deployment would."""

    def write(**values):
        settings.WAGTAIL_METAPIXEL = values

    return write


def test_every_setting_has_a_default_and_no_other_name_is_known(given):
    given()
    assert {name: conf.get(name) for name in conf.DEFAULTS} == dict(conf.DEFAULTS)
    with pytest.raises(KeyError):
        conf.get("PIXEL_ID")


@pytest.mark.parametrize("value", [None, {}, False])
def test_without_the_dict_all_defaults_hold(settings, value):
    settings.WAGTAIL_METAPIXEL = value
    assert conf.driver() == "thread"


@pytest.mark.parametrize("value", ["thread", ["thread"], 1])
def test_anything_but_a_dict_is_refused_with_an_example(settings, value):
    settings.WAGTAIL_METAPIXEL = value
    with pytest.raises(ConfigurationError, match=r"WAGTAIL_METAPIXEL has to be a dict"):
        conf.get("DELIVERY")


def test_the_dict_is_read_at_use_so_that_overriding_it_works(given):
    given(DELIVERY="worker")
    assert conf.driver() == "worker"
    given(DELIVERY="thread")
    assert conf.driver() == "thread"


# Tokens


def test_a_token_of_the_settings_goes_before_one_of_the_environment(given, monkeypatch):
    monkeypatch.setenv(f"METAPIXEL_ACCESS_TOKEN_{PIXEL}", "from-environment")
    given()
    assert conf.access_token(PIXEL) == "from-environment"
    given(ACCESS_TOKENS={PIXEL: "from-settings"})
    assert conf.access_token(PIXEL) == "from-settings"
    assert conf.access_token("999999") == ""


def test_blanks_around_a_token_are_cut_because_secrets_often_end_in_a_newline(given, monkeypatch):
    monkeypatch.setenv(f"METAPIXEL_ACCESS_TOKEN_{PIXEL}", " token\n")
    given()
    assert conf.access_token(PIXEL) == "token"


@pytest.mark.parametrize("value", ["token", [PIXEL], {1234567890123456: "token"}])
def test_tokens_that_are_no_dict_of_texts_are_refused(given, value):
    given(ACCESS_TOKENS=value)
    with pytest.raises(ConfigurationError, match="ACCESS_TOKENS"):
        conf.access_token(PIXEL)


# Addresses


def test_meta_is_the_default(given):
    given()
    assert conf.graph_url() == "https://graph.facebook.com"
    assert conf.script_url() == "https://connect.facebook.net/en_US/fbevents.js"
    assert conf.sandbox_url() == ""


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8001", "http://localhost:8001/", "http://[::1]:8001"]
)
def test_the_sandbox_takes_the_place_of_the_graph_and_of_the_script(given, url):
    given(SANDBOX=url, GRAPH_URL="https://graph.example.com")
    assert conf.graph_url() == url.rstrip("/")
    assert conf.script_url() == f"{url.rstrip('/')}/en_US/fbevents.js"


def test_a_script_given_explicitly_stays_beside_the_sandbox(given):
    given(SANDBOX="http://127.0.0.1:8001", SCRIPT_URL=conf.META_SCRIPT_URL)
    assert conf.script_url() == conf.META_SCRIPT_URL


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "http://10.0.0.1:8001",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "127.0.0.1:8001",
        "ftp://127.0.0.1",
        "http://",
        "http://[::1",
    ],
)
def test_a_sandbox_elsewhere_is_refused_because_it_would_redirect_a_shops_events(given, url):
    given(SANDBOX=url)
    with pytest.raises(ConfigurationError, match="SANDBOX"):
        conf.graph_url()


@pytest.mark.parametrize("name", ["GRAPH_URL", "SCRIPT_URL"])
@pytest.mark.parametrize(
    "url", ["http://graph.facebook.com", "graph.facebook.com", "https://", "https://[::1", 1]
)
def test_an_address_that_is_not_encrypted_is_refused(given, name, url):
    given(**{name: url})
    with pytest.raises(ConfigurationError, match=name):
        conf.address(name)


@pytest.mark.parametrize("url", ["https://graph.example.com", "http://127.0.0.1:9", ""])
def test_an_address_of_this_machine_need_not_be_encrypted(given, url):
    given(SCRIPT_URL=url)
    assert conf.address("SCRIPT_URL") == url


@pytest.mark.parametrize("version", ["v26.0", "v1.0", "v100.12"])
def test_a_graph_version_looks_like_metas(given, version):
    given(GRAPH_VERSION=version)
    assert conf.graph_version() == version


@pytest.mark.parametrize("version", ["26.0", "v26", "latest", "v26.0/..", "v26.0\n", "V26.0", 26.0])
def test_another_graph_version_is_refused_because_it_changes_the_path(given, version):
    given(GRAPH_VERSION=version)
    with pytest.raises(ConfigurationError, match="GRAPH_VERSION"):
        conf.graph_version()


# Proxies, driver, seconds


def test_proxies_are_a_number_or_their_networks(given):
    given(TRUSTED_PROXIES=2)
    assert conf.trusted_proxies() == 2
    given(TRUSTED_PROXIES=["10.0.0.0/8", "2001:db8::/32"])
    expected = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32"))
    assert conf.trusted_proxies() == expected


@pytest.mark.parametrize("value", [-1, True, "1", None, 1.0, ["10.0.0.1/8"], ["proxy"], [None]])
def test_other_proxies_are_refused(given, value):
    given(TRUSTED_PROXIES=value)
    with pytest.raises(ConfigurationError, match="TRUSTED_PROXIES"):
        conf.trusted_proxies()


@pytest.mark.parametrize("value", ["Thread", "celeri", None])
def test_an_unknown_driver_is_refused_with_the_names_that_exist(given, value):
    given(DELIVERY=value)
    with pytest.raises(ConfigurationError, match="'thread', 'worker', 'tasks', 'celery'"):
        conf.driver()


@pytest.mark.parametrize("value", [0, -1, None, True, "10", float("nan"), float("inf"), 31])
def test_a_time_that_would_wait_for_ever_or_not_at_all_is_refused(given, value):
    given(REQUEST_TIMEOUT=value)
    with pytest.raises(ConfigurationError, match="REQUEST_TIMEOUT"):
        conf.seconds("REQUEST_TIMEOUT")


def test_a_time_may_be_whole_or_a_fraction(given):
    given(REQUEST_TIMEOUT=5, POLL_INTERVAL=0.25)
    assert (conf.seconds("REQUEST_TIMEOUT"), conf.seconds("POLL_INTERVAL")) == (5.0, 0.25)


# On and off


def test_nothing_is_put_into_pages_unless_the_deployment_says_so(given):
    given()
    assert conf.flag("INJECT") is False
    given(INJECT=True)
    assert conf.flag("INJECT") is True


@pytest.mark.parametrize("value", [1, 0, "True", "", None, []])
def test_a_switch_is_true_or_false(given, value):
    given(INJECT=value)
    with pytest.raises(ConfigurationError, match="INJECT"):
        conf.flag("INJECT")


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        ("", None),
        ("example.com", "example.com"),
        (".Shop.Example.co.uk", "shop.example.co.uk"),
        ("co-op.uk", "co-op.uk"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("shop.com.de", "shop.com.de"),
    ],
)
def test_the_domain_of_the_cookies_is_read_without_its_dot(given, value, domain):
    given(COOKIE_DOMAIN=value)
    assert conf.cookie_domain() == domain


UNUSABLE_DOMAINS = (
    "localhost", "com", "co.uk", ".co.uk", "com.au", "127.0.0.1", "10.1", "::1", "a b.com",
    "https://example.com", "example.com/", "example.com:80", "exa mple.com; Secure", "..", "a..com",
    "é.com", "x" * 64 + ".com", ("a." * 130) + "com", 7, ["example.com"], True,
)  # fmt: skip


@pytest.mark.parametrize("value", UNUSABLE_DOMAINS)
def test_a_domain_on_which_browsers_keep_no_cookie_is_refused(given, value):
    given(COOKIE_DOMAIN=value)
    with pytest.raises(ConfigurationError, match="COOKIE_DOMAIN"):
        conf.cookie_domain()


def test_a_login_that_hosts_share_is_no_word_about_our_cookies(settings):
    settings.SESSION_COOKIE_DOMAIN = "example.com"
    assert conf.cookie_domain() is None


@pytest.mark.parametrize(
    "value", ["", "{}.js", "assets/part-{}.js", "a.b/{}/x_1.min.js", "assets/part{}.JS.js"]
)
def test_the_path_of_the_scripts_is_given_back_as_it_stands(given, value):
    given(SCRIPT_PATH=value)
    assert conf.script_path() == value


UNUSABLE_PATHS = (
    "assets/part.js", "{}/{}.js", "part-{}", "part-{}.css", "/part-{}.js", "../part-{}.js",
    "a/../{}.js", "a..{}.js", "a//{}.js", "./{}.js", ".a/{}.js", "part-{0}.js", "{{}}.js",
    "part {}.js", "part-{}.js?v=1", "https://cdn.example/{}.js", "a\\{}.js", "é{}.js", '"{}.js',
    "part-{}.js\n", ["{}.js"], 7, None, True,
)  # fmt: skip


@pytest.mark.parametrize("value", UNUSABLE_PATHS)
def test_a_path_that_cannot_number_scripts_is_refused_with_an_example(given, value):
    given(SCRIPT_PATH=value)
    with pytest.raises(ConfigurationError, match=r'"SCRIPT_PATH".*"assets/part-\{\}\.js"'):
        conf.script_path()
