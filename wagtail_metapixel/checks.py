"""System checks ``metapixel.E001`` and on. An id is never used for a second meaning.

Checks run with commands, while this module is imported by each process of a server: what only a
check needs is imported where it is used.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning  # noqa: A004 - Django's name
from django.db import connections

from wagtail_metapixel import conf, outbox, script_files
from wagtail_metapixel.exceptions import ConfigurationError

if TYPE_CHECKING:
    from wagtail_metapixel.csp_settings import Complaint

OLDEST_SQLITE = (3, 35, 0)
"""Since then it has ``RETURNING``; Django 6.1 asks for 3.37."""
SCRIPT_FINDER = "wagtail_metapixel.finders.ScriptFinder"


def register_all() -> None:
    """Register all checks with Django."""
    checks.register(check_settings, Tags.compatibility)
    checks.register(check_installed_apps, Tags.compatibility)
    checks.register(check_installation, Tags.compatibility)
    checks.register(check_sandbox, Tags.security)
    checks.register(check_delivery, Tags.compatibility)
    checks.register(check_database, Tags.compatibility)
    checks.register(check_csp, Tags.security)
    checks.register(check_script_names, Tags.staticfiles)
    checks.register(check_cache, Tags.security, deploy=True)


def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    """E001: a setting cannot be used. W001: a setting nobody knows."""
    from wagtail_metapixel import deployment  # noqa: PLC0415

    return [
        Warning(mistake.fact, hint=mistake.advice, id="metapixel.W001")
        if mistake.is_unknown
        else Error(mistake.fact, hint=mistake.advice, id="metapixel.E001")
        for mistake in deployment.mistakes()
    ]


def check_installed_apps(**_kwargs: Any) -> list[CheckMessage]:
    """E004: Wagtail's settings are not installed, and no page of its admin can be shown."""
    from wagtail_metapixel import diagnostics  # noqa: PLC0415
    from wagtail_metapixel.diagnosis import Level  # noqa: PLC0415

    finding = diagnostics.installed_apps()
    if finding.level is not Level.PROBLEM:
        return []
    return [Error(finding.fact, hint=finding.advice, id="metapixel.E004")]


def check_installation(**_kwargs: Any) -> list[CheckMessage]:
    """W002: the middleware is missing or too low. W003: our addresses are missing."""
    from wagtail_metapixel import diagnostics  # noqa: PLC0415
    from wagtail_metapixel.diagnosis import Level  # noqa: PLC0415

    numbered = {"middleware": "metapixel.W002", "addresses": "metapixel.W003"}
    findings = (diagnostics.middleware(), diagnostics.addresses())
    return [
        Warning(finding.fact, hint=finding.advice, id=numbered[finding.subject])
        for finding in findings
        if finding.level is Level.PROBLEM
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


def check_delivery(**_kwargs: Any) -> list[CheckMessage]:
    """E002: the driver lacks a package or a setting. W005, W011: the thread may not run here."""
    from wagtail_metapixel import driver_choice  # noqa: PLC0415

    try:
        driver = conf.driver()
    except ConfigurationError:
        return []
    return [
        (Error if each.is_error else Warning)(each.fact, hint=each.advice, id=each.check_id)
        for each in driver_choice.obstacles(driver, using=outbox.alias())
    ]


def check_database(**_kwargs: Any) -> list[CheckMessage]:
    """E003: the database of the outbox cannot tell which rows a statement changed."""
    alias = outbox.alias()
    if alias not in connections:
        return []
    connection: Any = connections[alias]
    # No database at all, as where an image is built, is no mistake of the outbox's.
    if connection.vendor in {"postgresql", "unknown"}:
        return []
    name = connection.display_name
    if connection.vendor == "sqlite":
        version = connection.Database.sqlite_version_info
        if version >= OLDEST_SQLITE:
            return []
        name = "SQLite " + ".".join(map(str, version))
    return [
        Error(
            f"The outbox cannot live in {name}.",
            hint=(
                f"It needs PostgreSQL, or SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer. With "
                "several databases, DATABASE_ROUTERS may send the models of wagtail_metapixel to "
                "another one than the shop's."
            ),
            id="metapixel.E003",
        )
    ]


def check_csp(**_kwargs: Any) -> list[CheckMessage]:
    """W006: the policy lacks a source. W007: 'strict-dynamic'. W008: Trusted Types.

    By the settings alone, whether or not a pixel is set and ``DEBUG`` is on: a policy is best
    mended before the pixel is there. What only reports blocks nothing and is not mentioned.

    Whether any page loads Meta's script stands in the database, which a check may not ask. Nor does
    it look at what this process remembers of it: a process that has just begun remembers nothing.
    The doctor knows; here the hint says when to silence the check.
    """
    from wagtail_metapixel import csp_settings  # noqa: PLC0415

    try:
        return [
            _csp_warning(complaint, csp_settings.CHECK_IDS[complaint.kind])
            for policy in csp_settings.set_policies()
            if policy.is_enforced
            for complaint in csp_settings.complaints(policy)
        ]
    except ConfigurationError:
        return []


def check_cache(**_kwargs: Any) -> list[CheckMessage]:
    """W009, with ``check --deploy``: the limits of our addresses are counted nowhere, or apart."""
    backend = settings.CACHES["default"]["BACKEND"]
    fact = {
        "django.core.cache.backends.dummy.DummyCache": "counted nowhere: the default cache keeps "
        "nothing.",
        "django.core.cache.backends.locmem.LocMemCache": "counted by each process for itself: the "
        "default cache is the memory of one.",
    }.get(backend)
    if fact is None:
        return []
    return [
        Warning(
            f"The limits of requests to our addresses are {fact}",
            hint=(
                'Set CACHES["default"] to a cache that all processes share, such as Redis; with '
                'one process, silence it: SILENCED_SYSTEM_CHECKS = ["metapixel.W009"].'
            ),
            id="metapixel.W009",
        )
    ]


def check_script_names(**_kwargs: Any) -> list[CheckMessage]:
    """W010: the scripts have names of the site's own, and nobody finds them under these."""
    finders = [*settings.STATICFILES_FINDERS]
    if not script_files.pattern() or SCRIPT_FINDER in finders:
        return []
    line = json.dumps([*finders, SCRIPT_FINDER])
    return [
        Warning(
            f'{conf.SETTING}["SCRIPT_PATH"] is set, but no finder of static files knows it.',
            hint=f"STATICFILES_FINDERS = {line}",
            id="metapixel.W010",
        )
    ]


def _csp_warning(complaint: Complaint, check_id: str) -> Warning:
    exception = (
        "Where no page loads Meta's script (each pixel sends from the server only, or events go to "
        f'the tag manager), silence it: SILENCED_SYSTEM_CHECKS = ["{check_id}"].'
    )
    lines = [complaint.advice, exception] if complaint.is_for_meta else [complaint.advice]
    return Warning(complaint.fact, hint="\n".join(lines), id=check_id)
