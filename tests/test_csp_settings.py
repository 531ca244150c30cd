from __future__ import annotations

import re
from pathlib import Path

import pytest
from csp.constants import NONCE

from wagtail_metapixel import csp_settings

DJANGO = csp_settings.DJANGO_MIDDLEWARE
DJANGO_CSP = "csp.middleware.CSPMiddleware"
META = "https://www.facebook.com"
ALL_OF_METAS = {
    "script-src": ["'self'", "https://connect.facebook.net"],
    "img-src": [META],
    "connect-src": ["'self'", META, "https://connect.facebook.net"],
    "frame-src": [META],
    "form-action": [META],
}


@pytest.fixture
def use(settings):
    """Install a middleware and write settings."""

    def write(middleware, **values):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
        for name, value in values.items():
            setattr(settings, name, value)

    return write


def complaints():
    return [
        each for policy in csp_settings.set_policies() for each in csp_settings.complaints(policy)
    ]


def policy():
    [found] = csp_settings.set_policies()
    return found


# What a page needs


def needed():
    found = {}
    for need in csp_settings.needs():
        found.setdefault(need.directive, set()).add(need.source)
    return found


def test_a_page_needs_metas_hosts_and_its_own():
    assert needed() == {name: set(sources) for name, sources in ALL_OF_METAS.items()}


@pytest.mark.parametrize("static_url", ["/static/", "https://cdn.example/static/"])
def test_a_page_without_metas_script_needs_its_own_files_and_addresses_only(settings, static_url):
    settings.STATIC_URL = static_url
    files = "'self'" if static_url == "/static/" else "https://cdn.example"
    assert csp_settings.as_text(meta_script=False) == f"script-src {files}; connect-src 'self'"


SANDBOX = "http://127.0.0.1:8001"


@pytest.mark.parametrize(
    "ours", [{"SANDBOX": SANDBOX}, {"SCRIPT_URL": f"{SANDBOX}/en_US/fbevents.js"}]
)
def test_where_the_sandboxs_script_is_used_a_page_needs_the_sandbox_instead(settings, ours):
    settings.WAGTAIL_METAPIXEL = ours
    assert needed() == {
        "script-src": {"'self'", SANDBOX},
        "img-src": {SANDBOX},
        "connect-src": {"'self'", SANDBOX},
        "frame-src": {SANDBOX},
        "form-action": {SANDBOX},
    }


def test_a_sandbox_under_metas_names_needs_what_meta_needs(settings):
    settings.WAGTAIL_METAPIXEL = {
        "SANDBOX": SANDBOX,
        "SCRIPT_URL": "https://connect.facebook.net/en_US/fbevents.js",
    }
    assert needed() == {name: set(sources) for name, sources in ALL_OF_METAS.items()}


def test_metas_script_from_elsewhere_still_reports_to_meta(settings):
    settings.WAGTAIL_METAPIXEL = {"SCRIPT_URL": "https://cdn.example/fbevents.js"}
    assert needed()["script-src"] == {
        "'self'",
        "https://cdn.example",
        "https://connect.facebook.net",
    }
    assert needed()["img-src"] == {META}


@pytest.mark.parametrize(
    ("static_url", "source"),
    [
        ("/static/", "'self'"),
        ("static/", "'self'"),
        ("https://cdn.example/static/", "https://cdn.example"),
        ("//cdn.example/static/", "https://cdn.example"),
        (None, "'self'"),
    ],
)
def test_our_own_files_come_from_where_static_files_are(settings, static_url, source):
    settings.STATIC_URL = static_url
    assert needed()["script-src"] == {source, "https://connect.facebook.net"}


# Which policy is read


@pytest.mark.parametrize(
    "values",
    [
        {"SECURE_CSP": {"img-src": ["'none'"]}},
        {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"img-src": ["'none'"]}}},
        {"CSP_IMG_SRC": ["'none'"]},
    ],
)
def test_a_policy_whose_middleware_is_not_installed_is_not_sent(settings, values):
    for name, value in values.items():
        setattr(settings, name, value)
    assert csp_settings.set_policies() == []


@pytest.mark.parametrize("middleware", [DJANGO, DJANGO_CSP])
@pytest.mark.parametrize("value", [None, {}, "default-src 'self'"])
def test_a_middleware_without_a_policy_sends_none(use, middleware, value):
    name = "SECURE_CSP" if middleware == DJANGO else "CONTENT_SECURITY_POLICY"
    use(middleware, **{name: value})
    assert csp_settings.set_policies() == []


@pytest.mark.parametrize(
    "middleware", [DJANGO_CSP, "csp.contrib.rate_limiting.RateLimitedCSPMiddleware"]
)
def test_django_csp_is_known_by_both_its_middlewares(use, middleware):
    use(middleware, CONTENT_SECURITY_POLICY={"DIRECTIVES": {}})
    assert policy().directives == {"default-src": ("'self'",)}


def test_a_middleware_that_only_sounds_alike_is_not_django_csps(use):
    use("shop_csp.middleware.CSPMiddleware", CONTENT_SECURITY_POLICY={"DIRECTIVES": {}})
    assert csp_settings.set_policies() == []


def test_two_middlewares_are_two_policies(use):
    use(DJANGO, SECURE_CSP={"img-src": ["*"]}, SECURE_CSP_REPORT_ONLY={"img-src": ["*"]})
    use(DJANGO_CSP, CONTENT_SECURITY_POLICY={"DIRECTIVES": {}})
    found = [(each.setting, each.is_enforced) for each in csp_settings.set_policies()]
    assert found == [
        ("SECURE_CSP", True),
        ("SECURE_CSP_REPORT_ONLY", False),
        ('CONTENT_SECURITY_POLICY["DIRECTIVES"]', True),
    ]


def test_a_django_csp_policy_that_only_reports_is_known(use):
    use(DJANGO_CSP, CONTENT_SECURITY_POLICY_REPORT_ONLY={"DIRECTIVES": {}})
    assert policy().is_enforced is False


def test_the_older_settings_are_read_where_the_dict_is_not_there(use):
    use(DJANGO_CSP, CSP_IMG_SRC=("'self'",), CSP_SCRIPT_SRC="'self' https:", CSP_FONT_SRC=["x"])
    assert policy().directives == {
        "default-src": ("'self'",),
        "img-src": ("'self'",),
        "script-src": ("'self'", "https:"),
    }
    assert policy().is_enforced


def test_the_older_settings_may_only_report(use):
    use(DJANGO_CSP, CSP_IMG_SRC=("'self'",), CSP_REPORT_ONLY=True)
    assert policy().is_enforced is False


def test_the_older_settings_are_not_sent_beside_the_dict(use):
    use(
        DJANGO_CSP,
        CSP_IMG_SRC=["'none'"],
        CONTENT_SECURITY_POLICY={"DIRECTIVES": {"img-src": ["*"]}},
    )
    assert policy().directives["img-src"] == ("*",)


@pytest.mark.parametrize(
    ("value", "sources"),
    [
        (["'self'", "https:"], ("'self'", "https:")),
        (("https:",), ("https:",)),
        ({"https:", "'self'"}, ("'self'", "https:")),
        ("'self'  https:", ("'self'", "https:")),
        (["'self' https:"], ("'self'", "https:")),
        ([], ()),
        (True, ()),
    ],
)
def test_every_way_to_write_sources_is_read(use, value, sources):
    use(DJANGO_CSP, CONTENT_SECURITY_POLICY={"DIRECTIVES": {"IMG-SRC": value}})
    assert policy().directives["img-src"] == sources


@pytest.mark.parametrize("value", [None, False])
def test_a_directive_that_is_switched_off_is_not_there(use, value):
    use(DJANGO_CSP, CONTENT_SECURITY_POLICY={"DIRECTIVES": {"default-src": value}})
    assert policy().directives == {}


def test_django_leaves_out_a_directive_without_sources(use):
    use(DJANGO, SECURE_CSP={"img-src": [], "font-src": ["x"]})
    assert policy().directives == {"font-src": ("x",)}


# What is wrong with it


def test_the_full_policy_has_nothing_wrong(use):
    use(DJANGO, SECURE_CSP={"default-src": ["'none'"], **ALL_OF_METAS})
    assert complaints() == []


@pytest.mark.parametrize(
    ("directive", "source"),
    [(directive, source) for directive, sources in ALL_OF_METAS.items() for source in sources],
)
def test_each_source_that_is_missing_is_named_with_its_directive(use, directive, source):
    kept = [each for each in ALL_OF_METAS[directive] if each != source]
    use(DJANGO, SECURE_CSP={**ALL_OF_METAS, directive: kept or ["'none'"]})
    [complaint] = complaints()
    assert complaint.kind == "source"
    assert complaint.fact == f"SECURE_CSP lacks {source} in {directive}."
    assert complaint.advice == "Write: " + policy().line(directive, [*kept, source])


@pytest.mark.parametrize(
    ("middleware", "values", "line"),
    [
        (DJANGO, {"SECURE_CSP": {"img-src": ["x"]}}, f'"img-src": ["x", "{META}"],'),
        (
            DJANGO,
            {"SECURE_CSP": {"img-src": ["x", "<CSP_NONCE_SENTINEL>"]}},
            f'"img-src": ["x", CSP.NONCE, "{META}"],',
        ),
        (
            DJANGO_CSP,
            {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"default-src": None, "img-src": [NONCE]}}},
            f'"img-src": [NONCE, "{META}"],',
        ),
        (
            DJANGO_CSP,
            {"CSP_DEFAULT_SRC": None, "CSP_IMG_SRC": ("x",)},
            f'CSP_IMG_SRC = ["x", "{META}"]',
        ),
    ],
)
def test_the_line_is_in_the_settings_own_syntax(use, middleware, values, line):
    use(middleware, **values)
    assert [complaint.advice for complaint in complaints()] == [f"Write: {line}"]


def test_strict_dynamic_says_why_and_names_the_hosts(use):
    use(DJANGO, SECURE_CSP={"default-src": ["'strict-dynamic'", "'none'", "'nonce-x'"]})
    first = complaints()[0]
    assert first.kind == "strict-dynamic"
    assert "no nonce" in first.fact
    assert first.advice == (
        """Name the hosts instead: "script-src": ["'nonce-x'", "'self'", """
        '"https://connect.facebook.net"],'
    )


def test_trusted_types_without_our_policy_are_told(use):
    given = {"require-trusted-types-for": ["'script'"], "trusted-types": ["'none'"]}
    use(DJANGO, SECURE_CSP=given)
    [complaint] = complaints()
    assert (complaint.kind, complaint.advice) == (
        "trusted-types",
        'Write: "trusted-types": ["metapixel"],',
    )


def test_a_page_without_metas_script_makes_no_policy_of_trusted_types(use):
    given = {"require-trusted-types-for": ["'script'"], "trusted-types": ["'none'"]}
    use(DJANGO, SECURE_CSP=given)
    assert list(csp_settings.complaints(policy(), meta_script=False)) == []


def test_complaints_that_fall_away_without_metas_script_are_marked(use):
    given = {
        "default-src": ["'none'"],
        "form-action": ["'self'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": [],
    }
    use(DJANGO, SECURE_CSP=given)
    marked = {each.fact for each in complaints() if each.is_for_meta}
    kept = {
        each.fact.split(" in ")[-1] for each in csp_settings.complaints(policy(), meta_script=False)
    }
    assert kept == {"script-src.", "connect-src."}
    assert {fact.split(" in ")[-1] for fact in marked if " in " in fact} == {
        "img-src.",
        "frame-src.",
        "form-action.",
    }


def test_strict_dynamic_blocks_our_own_files_too(use):
    use(DJANGO, SECURE_CSP={"script-src": ["'strict-dynamic'", "'nonce-x'"]})
    [complaint] = csp_settings.complaints(policy(), meta_script=False)
    assert complaint.advice == (
        """Name the hosts instead: "script-src": ["'nonce-x'", "'self'"],"""
    )
    assert not complaint.is_for_meta


@pytest.mark.parametrize(
    ("allowed", "own"),
    [
        (
            ["shop.example", ".other.example", "*", "[::1]"],
            ["shop.example", "www.other.example", "::1"],
        ),
        ([], []),
    ],
)
def test_own_hosts_are_the_allowed_ones(settings, allowed, own):
    settings.ALLOWED_HOSTS = allowed
    assert csp_settings.own_hosts() == own


def test_self_may_be_an_allowed_host(use, settings):
    settings.ALLOWED_HOSTS = [".shop.example"]
    scripts = ["https://*.shop.example", "https://connect.facebook.net"]
    use(DJANGO, SECURE_CSP={"script-src": scripts})
    assert complaints() == []


# The documentation

PAGE = (Path(__file__).parents[1] / "docs" / "csp.md").read_text(encoding="utf-8")
BLOCKS = dict(
    re.findall(
        r"```(?:python|nginx)\n(SECURE_CSP|CONTENT_SECURITY_POLICY|add_header)(.*?)```",
        PAGE,
        re.DOTALL,
    )
)


@pytest.mark.parametrize(
    ("name", "middleware"), [("SECURE_CSP", DJANGO), ("CONTENT_SECURITY_POLICY", DJANGO_CSP)]
)
def test_a_policy_copied_from_the_documentation_has_nothing_wrong(use, name, middleware):
    values = {}
    exec(f"{name}{BLOCKS[name]}", values)
    use(middleware, **{name: values[name]})
    assert policy().directives["form-action"]
    assert complaints() == []


def test_the_policy_for_nginx_is_the_same(use):
    values = {}
    exec(f"SECURE_CSP{BLOCKS['SECURE_CSP']}", values)
    header = re.search(r'"(.*)"', BLOCKS["add_header"])[1]
    directives = [part.split() for part in header.split(";")]
    assert {name: sources for name, *sources in directives} == values["SECURE_CSP"]


def test_the_table_of_sources_is_the_codes():
    table = PAGE.split("## To copy")[0]
    told, directive = {}, ""
    for name, source in re.findall(r"^\| (?:`([a-z-]+)`)? ?\| `([^`]+)` \|", table, re.MULTILINE):
        directive = name or directive
        told.setdefault(directive, set()).add(source)
    assert told == needed()


def test_every_check_is_documented():
    assert set(re.findall(r"`(metapixel\.W\d+)`", PAGE)) == set(csp_settings.CHECK_IDS.values())
