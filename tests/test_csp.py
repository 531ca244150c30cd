from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagtail_metapixel import csp
from wagtail_metapixel.csp import SELF, Need

HITS = "https://www.facebook.com/tr/"
PIXEL = "https://connect.facebook.net/signals/config/1"
SANDBOX = "http://127.0.0.1:8001/tr/"


# What a source list covers


@pytest.mark.parametrize(
    ("source", "url", "covered"),
    [
        # Keywords, nonces and hashes name no address.
        ("'none'", HITS, False),
        ("'self'", HITS, False),
        ("'unsafe-inline'", HITS, False),
        ("'nonce-www.facebook.com'", HITS, False),
        ("'sha256-www.facebook.com'", HITS, False),
        # Schemes
        ("https:", HITS, True),
        ("HTTPS:", HITS, True),
        ("http:", HITS, True),
        ("https:", SANDBOX, False),
        ("http:", SANDBOX, True),
        ("data:", HITS, False),
        ("wss:", HITS, True),
        ("ws:", SANDBOX, True),
        # Hosts
        ("*", HITS, True),
        ("*", SANDBOX, True),
        ("*", "data:x", False),
        ("https://www.facebook.com", HITS, True),
        ("https://WWW.Facebook.com", HITS, True),
        ("http://www.facebook.com", HITS, True),
        ("www.facebook.com", HITS, True),
        ("https://facebook.com", HITS, False),
        ("https://www.facebook.com.example", HITS, False),
        ("https://www.facebook.co", HITS, False),
        ("https://wwwxfacebook.com", HITS, False),
        ("https://*.facebook.com", HITS, True),
        ("*.facebook.com", HITS, True),
        ("https://*.facebook.com", "https://facebook.com/tr/", False),
        ("https://*.facebook.com", "https://a.b.facebook.com/tr/", True),
        ("https://*.facebook.com", "https://evilfacebook.com/tr/", False),
        ("https://*.facebook.net", HITS, False),
        ("https://*.com", HITS, True),
        ("https://*", HITS, True),
        ("https://*", SANDBOX, False),
        ("wss://www.facebook.com", HITS, True),
        ("ftp://www.facebook.com", HITS, False),
        # Ports
        ("https://www.facebook.com:443", HITS, True),
        ("https://www.facebook.com:*", HITS, True),
        ("http://www.facebook.com:80", HITS, True),
        ("https://www.facebook.com:444", HITS, False),
        ("http://127.0.0.1:8001", SANDBOX, True),
        ("127.0.0.1:8001", SANDBOX, True),
        ("http://127.0.0.1", SANDBOX, False),
        ("http://127.0.0.1:*", SANDBOX, True),
        ("http://127.0.0.1:80", SANDBOX, False),
        ("localhost:*", SANDBOX, False),
        ("http://[::1]:8001", "http://[::1]:8001/tr/", True),
        ("*", "https://www.facebook.com:99999999/", True),
        ("https://www.facebook.com:*", "https://www.facebook.com:99999999/", True),
        ("https://www.facebook.com", "https://www.facebook.com:99999999/", False),
        # Paths
        ("https://www.facebook.com/", HITS, True),
        ("https://www.facebook.com/tr/", HITS, True),
        ("https://www.facebook.com/tr", HITS, False),
        ("https://www.facebook.com/TR/", HITS, False),
        ("https://www.facebook.com/%74r/", HITS, True),
        ("https://www.facebook.com/privacy/", HITS, False),
        ("https://connect.facebook.net/en_US/", PIXEL, False),
        ("https://connect.facebook.net/signals/", PIXEL, True),
        ("https://connect.facebook.net/signals/config/1", PIXEL, True),
        ("https://connect.facebook.net/signals/config", PIXEL, False),
        # What is no source at all
        ("", HITS, False),
        ("https://", HITS, False),
        ("www.facebook.com?x", HITS, False),
        ("https://*facebook.com", HITS, False),
        ("https://www.*.com", HITS, False),
    ],
)
def test_a_source_covers_an_address_as_in_a_browser(source, url, covered):
    assert csp.covers([source], url) is covered


SOURCES = st.sampled_from(
    ["'self'", "'none'", "https:", "*", "data:", "*.facebook.com", "https://shop.example", "x:1"]
)


@given(st.lists(SOURCES), st.lists(SOURCES), st.sampled_from([HITS, PIXEL, SANDBOX]))
def test_a_list_covers_what_one_of_its_sources_covers(some, others, url):
    assert csp.covers(some + others, url) is (csp.covers(some, url) or csp.covers(others, url))


HOSTS = st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5}){0,3}", fullmatch=True)


@given(HOSTS, st.sampled_from(["http", "https"]), st.integers(1, 65535), st.text("/ab", max_size=5))
def test_an_origin_covers_all_its_own_addresses_and_no_other_host(host, scheme, port, path):
    origin = f"{scheme}://{host}:{port}"
    assert csp.covers([origin], f"{origin}/{path}")
    assert not csp.covers([origin], f"{scheme}://x{host}:{port}/{path}")


@given(st.text(max_size=20))
def test_no_text_breaks_the_matching(source):
    csp.covers([source], HITS)


# Which directive speaks


@pytest.mark.parametrize(
    ("directive", "present", "speaks"),
    [
        ("img-src", {"img-src", "default-src"}, "img-src"),
        ("img-src", {"default-src"}, "default-src"),
        ("img-src", {"script-src"}, None),
        ("script-src", {"script-src-elem", "script-src", "default-src"}, "script-src-elem"),
        ("script-src", {"script-src-attr", "default-src"}, "default-src"),
        ("frame-src", {"frame-src", "child-src", "default-src"}, "frame-src"),
        ("frame-src", {"child-src", "default-src"}, "child-src"),
        ("frame-src", {"default-src"}, "default-src"),
        ("connect-src", {"default-src"}, "default-src"),
        ("form-action", {"default-src"}, None),
        ("form-action", {"form-action"}, "form-action"),
    ],
)
def test_the_nearest_directive_speaks(directive, present, speaks):
    assert csp.speaking(dict.fromkeys(present, ()), directive) == speaks


# What a policy lacks

NEEDS = [
    Need("script-src", SELF, ""),
    Need("script-src", "https://connect.facebook.net", PIXEL),
    Need("img-src", "https://www.facebook.com", HITS),
    Need("frame-src", "https://www.facebook.com", HITS),
    Need("form-action", "https://www.facebook.com", HITS),
]


def lacking(policy, **kwargs):
    return {lack.directive: lack.sources for lack in csp.lacks(policy, NEEDS, **kwargs)}


def written(policy):
    return {lack.directive: lack.wanted for lack in csp.lacks(policy, NEEDS)}


@pytest.mark.parametrize("policy", [{}, {"default-src": ["*"]}, {"style-src": ["'none'"]}])
def test_what_nothing_forbids_is_allowed(policy):
    assert lacking(policy) == {}


def test_default_src_speaks_for_all_but_forms():
    assert lacking({"default-src": ["'none'"]}) == {
        "script-src": (SELF, "https://connect.facebook.net"),
        "img-src": ("https://www.facebook.com",),
        "frame-src": ("https://www.facebook.com",),
    }


def test_an_empty_directive_allows_nothing():
    assert lacking({"form-action": []}) == {"form-action": ("https://www.facebook.com",)}


def test_the_line_to_write_keeps_what_is_there_and_drops_none():
    policy = {
        "default-src": ["'none'"],
        "script-src-elem": ["'self'"],
        "img-src": ["data:"],
        "child-src": ["https://video.example"],
        "form-action": ["'NONE'"],
    }
    assert written(policy) == {
        "script-src-elem": ("'self'", "https://connect.facebook.net"),
        "img-src": ("data:", "https://www.facebook.com"),
        "frame-src": ("https://video.example", "https://www.facebook.com"),
        "form-action": ("https://www.facebook.com",),
    }


@pytest.mark.parametrize(
    ("sources", "is_there"),
    [
        (["'self'"], True),
        (["'SELF'"], True),
        (["https:"], True),
        (["*"], True),
        (["https://shop.example"], True),
        (["https://shop.example:8443/static/"], True),
        (["*.shop.example"], False),
        (["https://*.example"], True),
        (["https://other.example"], False),
        (["data:"], False),
        (["'none'"], False),
        ([], False),
    ],
)
def test_self_may_be_written_as_a_host_of_the_shops_own(sources, is_there):
    policy = {"script-src": [*sources, "https://connect.facebook.net"]}
    found = lacking(policy, own_hosts=["shop.example"])
    assert found == ({} if is_there else {"script-src": (SELF,)})


@given(
    st.dictionaries(
        st.sampled_from(["default-src", "script-src", "img-src", "child-src", "form-action"]),
        st.lists(SOURCES, max_size=3),
    )
)
def test_a_policy_mended_as_told_lacks_nothing(policy):
    mended = policy | written(policy)
    assert csp.lacks(mended, NEEDS) == []


def test_strict_dynamic_is_left_to_its_own_complaint():
    policy = {"script-src": ["'Strict-Dynamic'", "'nonce-x'"]}
    assert csp.is_strict_dynamic(policy)
    assert lacking(policy) == {}
    assert not csp.is_strict_dynamic({"script-src": [SELF], "style-src": ["'strict-dynamic'"]})
    assert csp.is_strict_dynamic({"default-src": ["'strict-dynamic'"]})
    assert not csp.is_strict_dynamic({})


@pytest.mark.parametrize(
    ("policy", "blocks"),
    [
        ({}, False),
        ({"require-trusted-types-for": ["'script'"]}, False),
        ({"trusted-types": ["shop"]}, False),
        ({"require-trusted-types-for": ["'script'"], "trusted-types": ["shop"]}, True),
        ({"require-trusted-types-for": ["'script'"], "trusted-types": ["'none'"]}, True),
        ({"require-trusted-types-for": ["'script'"], "trusted-types": []}, True),
        ({"require-trusted-types-for": ["'script'"], "trusted-types": ["metapixel"]}, False),
        ({"require-trusted-types-for": ["'script'"], "trusted-types": ["*"]}, False),
        ({"require-trusted-types-for": [], "trusted-types": ["shop"]}, False),
    ],
)
def test_trusted_types_need_our_policys_name(policy, blocks):
    assert csp.blocks_trusted_types(policy) is blocks


@pytest.mark.parametrize(
    ("own_hosts", "missing"), [(["www.shop.example"], 0), (["other.example"], 1), ([], 1)]
)
def test_an_address_of_the_sites_own_is_what_self_means(own_hosts, missing):
    url = "https://www.shop.example/static/metapixel.js"
    need = csp.Need("script-src", "https://www.shop.example", url)
    assert len(csp.lacks({"script-src": ["'self'"]}, [need], own_hosts)) == missing
