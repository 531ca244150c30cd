from __future__ import annotations

import ast
from types import SimpleNamespace

import pytest
from cryptography.fernet import Fernet
from django.core import checks as django_checks
from django.db import connections

from wagtail_metapixel import checks, diagnostics, driver_choice, outbox

OURS = diagnostics.MIDDLEWARE
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


def found(check):
    return {message.id: message for message in check()}


def consent(held):
    return "granted"


no_function = "granted"


@pytest.fixture
def given(settings):
    """Write WAGTAIL_METAPIXEL as a deployment would."""

    def write(**values):
        settings.WAGTAIL_METAPIXEL = values

    return write


def test_a_good_installation_is_silent():
    assert [m for m in django_checks.run_checks() if m.id.startswith("metapixel.")] == []


def test_every_check_is_registered(settings):
    settings.WAGTAIL_METAPIXEL = {"DELIVERY": "x", "SANDBOX": "http://127.0.0.1:1", "Y": 1}
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != OURS]
    ids = {m.id for m in django_checks.run_checks() if m.id.startswith("metapixel.")}
    assert ids == {"metapixel.E001", "metapixel.W001", "metapixel.W002", "metapixel.W004"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCESS_TOKENS", "pasted-token"),
        ("ENCRYPTION_KEYS", ["short"]),
        pytest.param("ENCRYPTION_KEYS", Fernet.generate_key().decode(), id="a key, not a list"),
        ("DELIVERY", "canon"),
        ("GRAPH_URL", "http://graph.facebook.com"),
        ("GRAPH_VERSION", "latest"),
        ("SCRIPT_URL", "http://cdn.example/fbevents.js"),
        ("SCRIPT_PATH", "/assets/part.js"),
        ("SANDBOX", "https://sandbox.example"),
        ("TRUSTED_PROXIES", "1"),
        ("CONSENT_PROVIDER", "nowhere.at_all"),
        ("CONSENT_PROVIDER", f"{__name__}.no_function"),
        ("REQUEST_TIMEOUT", 0),
        ("POLL_INTERVAL", None),
    ],
)
def test_a_setting_that_cannot_be_used_is_an_error_with_a_way_out(given, name, value):
    given(**{name: value})
    [message] = checks.check_settings()
    assert (message.id, message.level) == ("metapixel.E001", django_checks.ERROR)
    assert message.msg.startswith(f'WAGTAIL_METAPIXEL["{name}"] has to ')
    assert message.hint.startswith("Without it, the default holds: ")
    assert "pasted" not in message.msg


@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "ACCESS_TOKENS": {"11111": "token"},
            "ENCRYPTION_KEYS": [Fernet.generate_key().decode()],
            "DELIVERY": "worker",
            "GRAPH_URL": "https://graph.example.com",
            "GRAPH_VERSION": "v27.0",
            "SCRIPT_URL": "https://cdn.example/fbevents.js",
            "SANDBOX": "http://127.0.0.1:8001",
            "TRUSTED_PROXIES": ["10.0.0.0/8"],
            "CONSENT_PROVIDER": f"{__name__}.consent",
            "REQUEST_TIMEOUT": 5,
            "POLL_INTERVAL": 0.5,
        },
    ],
)
def test_settings_that_can_be_used_are_not_mentioned(given, values):
    given(**values)
    assert checks.check_settings() == []


def test_settings_that_are_no_dict_are_one_error_and_break_no_other_check(settings):
    settings.WAGTAIL_METAPIXEL = ["DELIVERY"]
    ours = [m for m in django_checks.run_checks() if m.id.startswith("metapixel.")]
    assert [(m.id, bool(m.hint)) for m in ours] == [("metapixel.E001", True)]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ACCES_TOKENS", 'Did you mean "ACCESS_TOKENS"?'),
        ("TRUSTED_PROXY", 'Did you mean "TRUSTED_PROXIES"?'),
        ("XYZ", "Known: ACCESS_TOKENS"),
    ],
)
def test_a_setting_that_nobody_knows_is_a_warning_with_the_nearest_name(given, name, hint):
    given(**{name: 1})
    message = found(checks.check_settings)["metapixel.W001"]
    assert name in message.msg
    assert message.hint.startswith(hint)


def test_a_missing_middleware_is_a_warning(settings):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != OURS]
    message = found(checks.check_installation)["metapixel.W002"]
    assert OURS in message.hint


@pytest.mark.parametrize(
    "above",
    [SESSIONS, "django.middleware.cache.UpdateCacheMiddleware", "wagtailcache.cache.Update"],
)
def test_a_middleware_below_sessions_or_a_cache_is_a_warning(settings, above):
    others = [name for name in settings.MIDDLEWARE if name not in {OURS, SESSIONS}]
    settings.MIDDLEWARE = [above, OURS, *others]
    message = found(checks.check_installation)["metapixel.W002"]
    assert above in message.msg
    assert "cookies" in message.hint


@pytest.mark.urls("wagtail.documents.urls")
def test_missing_addresses_are_a_warning():
    message = found(checks.check_installation)["metapixel.W003"]
    assert 'include("wagtail_metapixel.urls")' in message.hint


@pytest.mark.parametrize(("debug", "warned"), [(True, False), (False, True)])
def test_the_sandbox_without_debug_is_a_warning(given, settings, debug, warned):
    settings.DEBUG = debug
    given(SANDBOX="http://127.0.0.1:8001")
    messages = found(checks.check_sandbox)
    assert ("metapixel.W004" in messages) is warned
    assert all("SANDBOX" in message.hint for message in messages.values())


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("celeri", "'thread'. Did you mean \"celery\"?"),
        (" Threads", "'thread'. Did you mean \"thread\"?"),
        ("rabbit", "'thread'."),
        (None, "'thread'."),
    ],
)
def test_a_misspelt_driver_is_an_error_that_names_the_near_miss(given, value, advice):
    given(DELIVERY=value)
    [message] = checks.check_settings()
    assert "'thread', 'worker', 'tasks', 'celery'" in message.msg
    assert message.hint == f"Without it, the default holds: {advice}"


@pytest.mark.parametrize(
    ("vendor", "options", "delivery", "warned"),
    [
        ("sqlite", {}, "thread", True),
        ("sqlite", {"transaction_mode": "DEFERRED"}, "thread", True),
        ("sqlite", {"transaction_mode": "IMMEDIATE"}, "thread", False),
        ("sqlite", {}, "worker", True),
        ("sqlite", {"transaction_mode": "IMMEDIATE"}, "worker", False),
        ("sqlite", {}, "nonsense", False),
        ("postgresql", {}, "thread", False),
    ],
)
def test_a_second_writer_on_a_deferred_sqlite_is_a_warning_with_the_line_to_add(
    given, monkeypatch, vendor, options, delivery, warned
):
    given(DELIVERY=delivery)
    connection = connections["default"]
    monkeypatch.setattr(type(connection), "vendor", vendor)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    messages = found(checks.check_delivery)
    assert ("metapixel.W005" in messages) is warned
    assert all("IMMEDIATE" in message.hint for message in messages.values())


def test_a_driver_that_lacks_something_is_an_error_with_the_line_to_type(given, monkeypatch):
    given(DELIVERY="celery")
    monkeypatch.setattr(driver_choice.importlib.util, "find_spec", lambda name: None)
    message = found(checks.check_delivery)["metapixel.E002"]
    assert message.level == django_checks.ERROR
    assert message.hint == 'Run: pip install "wagtail-metapixel[celery]"'


# The Content Security Policy

DJANGO = "django.middleware.csp.ContentSecurityPolicyMiddleware"


WHERE_NONE = (
    "Where no page loads Meta's script (each pixel sends from the server only, or events go to the "
    'tag manager), silence it: SILENCED_SYSTEM_CHECKS = ["metapixel.W006"].'
)


@pytest.fixture
def with_csp(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, DJANGO]
    return settings


def test_each_directive_that_lacks_a_source_is_a_warning_with_the_line_to_write(with_csp):
    with_csp.SECURE_CSP = {
        "default-src": ["'none'"],
        "script-src": ["'self'", "https://connect.facebook.net"],
        "img-src": ["'self'"],
        "connect-src": ["'self'", "https:"],
        "form-action": ["'self'"],
    }
    messages = checks.check_csp()
    assert {(m.id, m.level) for m in messages} == {("metapixel.W006", django_checks.WARNING)}
    assert [(m.msg, m.hint) for m in messages] == [
        (
            "SECURE_CSP lacks https://www.facebook.com in img-src.",
            f"""Write: "img-src": ["'self'", "https://www.facebook.com"],\n{WHERE_NONE}""",
        ),
        (
            "SECURE_CSP lacks https://www.facebook.com in frame-src.",
            f"""Write: "frame-src": ["https://www.facebook.com"],\n{WHERE_NONE}""",
        ),
        (
            "SECURE_CSP lacks https://www.facebook.com in form-action.",
            f"""Write: "form-action": ["'self'", "https://www.facebook.com"],\n{WHERE_NONE}""",
        ),
    ]


def test_strict_dynamic_and_trusted_types_have_warnings_of_their_own(with_csp):
    with_csp.SECURE_CSP = {
        "script-src": ["'strict-dynamic'", "'nonce-abc'"],
        "connect-src": ["*"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["shop"],
    }
    messages = found(checks.check_csp)
    assert sorted(messages) == ["metapixel.W007", "metapixel.W008"]
    assert "nonce" in messages["metapixel.W007"].msg
    assert """["'nonce-abc'", "'self'", "https://connect""" in messages["metapixel.W007"].hint
    write, silence = messages["metapixel.W008"].hint.split("\n")
    assert write == 'Write: "trusted-types": ["shop", "metapixel"],'
    assert silence.endswith('SILENCED_SYSTEM_CHECKS = ["metapixel.W008"].')


def test_a_source_of_our_own_files_is_never_to_be_silenced(with_csp):
    with_csp.SECURE_CSP = {"connect-src": ["https://connect.facebook.net"]}
    [message] = checks.check_csp()
    assert "lacks 'self' and" in message.msg
    assert "SILENCED" not in message.hint


@pytest.mark.parametrize("policy", [None, {}, {"SECURE_CSP_REPORT_ONLY": {"img-src": ["'none'"]}}])
def test_no_policy_and_one_that_only_reports_are_no_warning(with_csp, policy):
    for name, value in (policy or {}).items():
        setattr(with_csp, name, value)
    assert checks.check_csp() == []


def test_the_check_of_the_policy_is_silent_while_a_setting_cannot_be_used(given, with_csp):
    with_csp.SECURE_CSP = {"img-src": ["'none'"]}
    given(SCRIPT_URL="http://elsewhere.example")
    assert checks.check_csp() == []


def test_the_check_of_the_policy_is_registered_and_asks_no_database(with_csp):
    with_csp.SECURE_CSP = {"img-src": ["'none'"]}
    assert [m for m in django_checks.run_checks() if m.id == "metapixel.W006"]


# The limits


@pytest.mark.parametrize(
    ("backend", "fact"),
    [
        ("dummy.DummyCache", "counted nowhere"),
        ("locmem.LocMemCache", "counted by each process for itself"),
    ],
)
def test_a_deployment_is_told_of_a_cache_that_is_too_weak_for_the_limits(settings, backend, fact):
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    assert fact in found(checks.check_cache)["metapixel.W009"].msg
    told = django_checks.run_checks(
        tags=[django_checks.Tags.security], include_deployment_checks=True
    )
    assert "metapixel.W009" in {message.id for message in told}


@pytest.mark.parametrize("backend", ["db.DatabaseCache", "redis.RedisCache", "filebased.X"])
def test_a_cache_that_processes_share_is_good_enough(settings, backend):
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    assert checks.check_cache() == []


def test_names_of_scripts_that_nobody_finds_are_a_warning_with_the_line_to_type(given, settings):
    def told():
        return django_checks.run_checks(tags=[django_checks.Tags.staticfiles])

    given(SCRIPT_PATH="assets/part-{}.js")
    before = list(settings.STATICFILES_FINDERS)
    warning = found(checks.check_script_names)["metapixel.W010"]
    assert "SCRIPT_PATH" in warning.msg
    name, line = warning.hint.split(" = ")
    assert name == "STATICFILES_FINDERS"
    assert [m.id for m in told()] == ["metapixel.W010"]
    typed = ast.literal_eval(line)
    assert typed == [*before, checks.SCRIPT_FINDER]
    settings.STATICFILES_FINDERS = typed
    assert told() == []


@pytest.mark.parametrize("value", ["", "assets/part.js"])
def test_without_usable_names_of_scripts_no_finder_is_asked_for(given, value):
    given(SCRIPT_PATH=value)
    assert checks.check_script_names() == []


@pytest.mark.parametrize("version", [(3, 35, 0), (3, 51, 2)])
def test_sqlite_of_today_is_fit_for_the_outbox(monkeypatch, version):
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")
    monkeypatch.setattr(
        connections["default"], "Database", SimpleNamespace(sqlite_version_info=version)
    )
    assert found(checks.check_database) == {}


@pytest.mark.parametrize(
    ("vendor", "name", "shown"),
    [
        ("sqlite", "SQLite", "SQLite 3.34.1"),
        ("mysql", "MySQL", "MySQL"),
        ("oracle", "Oracle", "Oracle"),
    ],
)
def test_the_outbox_cannot_live_just_anywhere(monkeypatch, vendor, name, shown):
    connection = connections["default"]
    monkeypatch.setattr(connection, "vendor", vendor)
    monkeypatch.setattr(connection, "display_name", name)
    monkeypatch.setattr(connection, "Database", SimpleNamespace(sqlite_version_info=(3, 34, 1)))
    error = found(checks.check_database)["metapixel.E003"]
    assert error.msg == f"The outbox cannot live in {shown}."
    assert "PostgreSQL, or SQLite 3.35.0" in error.hint


def test_no_database_at_all_is_no_mistake_of_the_outboxs(monkeypatch):
    """As where an image is built."""
    monkeypatch.setattr(connections["default"], "vendor", "unknown")
    assert found(checks.check_database) == {}
    monkeypatch.setattr(outbox, "alias", lambda using=None: "nowhere")
    assert found(checks.check_database) == {}


def test_without_wagtails_settings_no_page_of_the_admin_can_be_shown(monkeypatch):
    assert found(checks.check_installed_apps) == {}
    monkeypatch.setattr(diagnostics.apps, "is_installed", lambda name: "settings" not in name)
    error = found(checks.check_installed_apps)["metapixel.E004"]
    assert "the whole Wagtail admin fails" in error.msg
    assert error.hint == 'INSTALLED_APPS += ["wagtail.contrib.settings"]'
