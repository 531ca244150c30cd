"""What may be told of a signed-in visitor: the same digests from the browser and from the server.

Asked where no cache can keep the answer: behind a POST of our own script, and inside ``track()``.
A page never asks who it is.
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from django.http import HttpRequest

from wagtail_metapixel import conf, counters, keys, matching
from wagtail_metapixel.savepoints import savepoint_if_inside
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import USER_COOKIE, Visitor, capture

logger = logging.getLogger("wagtail_metapixel")


def user_data(request: HttpRequest, site: SiteConfig) -> dict[str, Any]:
    """Return the hashed match keys of whoever is signed in, as far as the owner chose them.

    ``{}`` for strangers, and for a browser without the mark of a login: the same rule holds in the
    browser, so that both copies say the same. Asked once a request. Never raises: a function of
    the site's that fails costs these keys only.
    """
    if not site.browser_matching or USER_COOKIE not in capture(request).cookies:
        return {}
    held = getattr(request, _HELD, None)
    if held is None:
        held = _read(request, site)
        setattr(request, _HELD, held)
    return dict(held)


def with_account(person: Visitor, request: HttpRequest, site: SiteConfig) -> Visitor:
    """Return ``person`` with what may be told of the account that ``request`` has signed in."""
    account = user_data(request, site)
    return person._replace(signed_in=tuple((key, told[0]) for key, told in account.items()))


_HELD = "_metapixel_signed_in"


def _read(request: HttpRequest, site: SiteConfig) -> dict[str, Any]:
    try:
        # In a savepoint: a query that fails would spoil the caller's own transaction.
        with savepoint_if_inside(router.db_for_read(get_user_model()) or "default"):
            user = getattr(request, "user", None)
            found = _matched(user, site) if user is not None and user.is_authenticated else {}
    except Exception as error:  # noqa: BLE001 - whatever a function of the site's raises
        source = "USER_DATA_FUNCTION" if conf.get("USER_DATA_FUNCTION") else "signed_in"
        logger.error("%s failed, so nobody is recognised: %s", source, type(error).__name__)
        counters.add(counters.Item(counters.FAILED, f"{source}: {type(error).__name__}"))
        return {}
    return {key: found[key] for key in site.browser_matching if key in found}


def _matched(user: Any, site: SiteConfig) -> dict[str, Any]:
    found, problems = matching.match(_told(user), region=site.phone_region or None)
    for problem in problems:
        if problem.mistake:
            told = f"USER_DATA_FUNCTION: {problem.field}: {problem.rule}"
            counters.add(counters.Item(counters.DIAGNOSTIC, told))
    # Always ours: what a site's function calls it may be an account number anybody could try.
    return {**found, "external_id": [keys.external_id(current().installation_key, user)]}


def _told(user: Any) -> Any:
    if function := conf.function("USER_DATA_FUNCTION"):
        told = function(user)
        return {} if told is None else told
    fields = (user.get_email_field_name(), "first_name", "last_name")
    names = ("email", "first_name", "last_name")
    return {name: getattr(user, field, "") for name, field in zip(names, fields, strict=True)}
