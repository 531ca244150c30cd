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

logger = logging.getLogger("wagtail_metapixel")


def user_data(request: HttpRequest, site: SiteConfig) -> dict[str, Any]:
    """Return the hashed match keys of whoever is signed in, as far as the owner chose them.

    ``{}`` for strangers. Never raises: a function of the site's that fails costs these keys only.
    """
    if not site.browser_matching:
        return {}
    try:
        # In a savepoint: a query that fails would spoil the caller's own transaction.
        with savepoint_if_inside(router.db_for_read(get_user_model()) or "default"):
            user = getattr(request, "user", None)
            found = _matched(user, site) if user is not None and user.is_authenticated else {}
    except Exception as error:  # noqa: BLE001 - whatever a function of the site's raises
        logger.error("The signed-in visitor could not be read: %s", type(error).__name__)
        counters.add(counters.Item(counters.FAILED, f"signed_in: {type(error).__name__}"))
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
