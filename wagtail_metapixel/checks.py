"""System checks ``metapixel.E001`` and on. An id is never used for a second meaning."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning  # noqa: A004 - Django's name
from django.db import connections

from wagtail_metapixel import conf, keys, outbox
from wagtail_metapixel.exceptions import ConfigurationError

_READERS: Mapping[str, Callable[[], Any]] = {
    "ACCESS_TOKENS": conf.access_tokens,
    "ENCRYPTION_KEYS": lambda: keys.encrypt(b""),
    "DELIVERY": conf.driver,
    "GRAPH_URL": lambda: conf.address("GRAPH_URL"),
    "GRAPH_VERSION": conf.graph_version,
    "SCRIPT_URL": lambda: conf.address("SCRIPT_URL"),
    "SANDBOX": conf.sandbox_url,
    "TRUSTED_PROXIES": conf.trusted_proxies,
    "CONSENT_PROVIDER": lambda: conf.function("CONSENT_PROVIDER"),
    "CONTENT_ID_FUNCTION": lambda: conf.function("CONTENT_ID_FUNCTION"),
    "REQUEST_TIMEOUT": lambda: conf.seconds("REQUEST_TIMEOUT"),
    "POLL_INTERVAL": lambda: conf.seconds("POLL_INTERVAL"),
}


def register_all() -> None:
    """Register all checks with Django."""
    checks.register(check_settings, Tags.compatibility)
    checks.register(check_installation, Tags.compatibility)
    checks.register(check_sandbox, Tags.security)
    checks.register(check_thread, Tags.compatibility)


def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    """E001: a setting cannot be used. W001: a setting nobody knows."""
    try:
        given = conf.given()
    except ConfigurationError as error:
        return [Error(str(error), hint="Without it, all defaults hold.", id="metapixel.E001")]
    messages: list[CheckMessage] = [_unknown(name) for name in given if name not in conf.DEFAULTS]
    for name in given:
        try:
            _READERS.get(name, lambda: None)()
        except ConfigurationError as error:
            hint = f"Without it, the default holds: {conf.DEFAULTS[name]!r}."
            messages.append(Error(str(error), hint=hint, id="metapixel.E001"))
    return messages


def check_installation(**_kwargs: Any) -> list[CheckMessage]:
    """W002: the middleware is missing or too low. W003: our addresses are missing."""
    # Checks run with commands, and a server's processes start sooner without.
    from wagtail_metapixel import diagnostics  # noqa: PLC0415

    numbered = {"middleware": "metapixel.W002", "addresses": "metapixel.W003"}
    findings = (diagnostics.middleware(), diagnostics.addresses())
    return [
        Warning(finding.fact, hint=finding.advice, id=numbered[finding.subject])
        for finding in findings
        if finding.level is diagnostics.Level.PROBLEM
    ]


def check_sandbox(**_kwargs: Any) -> list[CheckMessage]:
    """W004: events go to the sandbox although ``DEBUG`` is off."""
    try:
        is_used = bool(conf.get("SANDBOX"))
    except ConfigurationError:
        return []
    if settings.DEBUG or not is_used:
        return []
    return [
        Warning(
            "Events go to the sandbox, not to Meta, although DEBUG is off.",
            hint=f'Remove "SANDBOX" from {conf.SETTING} in production.',
            id="metapixel.W004",
        )
    ]


def check_thread(**_kwargs: Any) -> list[CheckMessage]:
    """W005: the delivery thread may not run on this database."""
    using = outbox.alias()
    try:
        wanted = conf.driver() == "thread"
    except ConfigurationError:
        return []
    if not wanted or using not in connections or outbox.bears_second_writer(using):
        return []
    return [
        Warning(
            "The delivery thread does not start: on SQLite a second writer would make the shop's "
            "own transactions fail.",
            hint=(
                f'Add "OPTIONS": {{"transaction_mode": "IMMEDIATE", "timeout": 20}} to '
                f'DATABASES["{using}"], or set {conf.SETTING}["DELIVERY"] = "worker".'
            ),
            id="metapixel.W005",
        )
    ]


def _unknown(name: str) -> CheckMessage:
    close = difflib.get_close_matches(name, conf.DEFAULTS, n=1)
    hint = f'Did you mean "{close[0]}"?' if close else f"Known: {', '.join(conf.DEFAULTS)}."
    return Warning(f'{conf.SETTING}["{name}"] is not a setting.', hint=hint, id="metapixel.W001")
