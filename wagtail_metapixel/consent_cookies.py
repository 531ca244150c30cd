"""What other people's consent tools keep in their first-party cookies, read strictly.

A reader takes a request's cookies and the name that the site's advertising category has in that
tool. It answers ``True`` (the visitor allowed it), ``False`` (refused), or ``None`` for everything
else: no answer yet, another format, half a value, a value too long to be one. A reader never
raises, and no cookie that it does not understand to its last character is a yes.

Formats, their sources and the dates: ``docs/consent.md``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from django.conf import settings

MIRROR_COOKIE = "metapixel_choice"
"""Written by our consent files where the tool's own answer never reaches a server."""
LENGTH_MAX = 8192
"""Longer than any browser keeps (4,096 bytes with the name)."""

Cookies = Mapping[str, str]
Reader = Callable[[Cookies, str], bool | None]

# Compiled at their first use: a site has one tool.
_COOKIEBOT_ITEM = r"([a-z]+):('[^',]*'|true|false|-?[0-9]+)"
_COOKIEYES_ITEM = r"([A-Za-z0-9_-]+):([^,:]*)"
_ONETRUST_GROUP = r"([A-Za-z0-9_.-]+):([01])"
_DJANGO_GROUP = r"([A-Za-z0-9_-]+)=([^=|]*)"
_ISO_TIME = r"(?a)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?"


def mirror(cookies: Cookies, whose: str) -> bool | None:
    """Read the mirror: ``granted`` or ``denied``, a point, and ``whose`` answer it is."""
    choice, _point, written_for = cookies.get(MIRROR_COOKIE, "").partition(".")
    allowed = {"granted": True, "denied": False}.get(choice)
    return allowed if whose and written_for == whose else None


def cookiebot(cookies: Cookies, category: str) -> bool | None:
    """Read ``CookieConsent``: ``{stamp:'…',necessary:true,…,method:'explicit',ver:1,…}``.

    A consent that Cookiebot assumed by itself (``'implied'``: outside the regions where it asks)
    is nobody's answer.
    """
    text = _decoded(cookies, "CookieConsent")
    if not (text.startswith("{") and text.endswith("}")):
        return None
    told = _pairs(_COOKIEBOT_ITEM, text[1:-1].split(","))
    if told.get(category) == "false":
        return False
    return True if told.get(category) == "true" and told.get("method") == "'explicit'" else None


def onetrust(cookies: Cookies, category: str) -> bool | None:
    """Read ``OptanonConsent``: a query string with ``groups=C0001:1,C0004:0``.

    OneTrust writes it with its defaults before anybody answered, so it counts only beside
    ``OptanonAlertBoxClosed``, the time of the answer, and not while it waits to ask again.
    """
    if not _is_time(_decoded(cookies, "OptanonAlertBoxClosed")):
        return None
    try:
        fields = parse_qsl(
            _bounded(cookies, "OptanonConsent"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=100,
        )
    except ValueError:
        return None
    groups = [value for name, value in fields if name == "groups"]
    if len(groups) != 1 or ("AwaitingReconsent", "true") in fields:
        return None
    told = _pairs(_ONETRUST_GROUP, groups[0].split(","))
    return {"1": True, "0": False}.get(told.get(category, ""))


def cookieyes(cookies: Cookies, category: str) -> bool | None:
    """Read ``cookieyes-consent``: ``consentid:…,consent:yes,action:yes,…,advertisement:yes``.

    ``action:yes`` says that the visitor, not a default, decided. Where the law is one of opting
    out, categories are on beside ``consent:no``: nobody's yes.
    """
    told = _pairs(_COOKIEYES_ITEM, _decoded(cookies, "cookieyes-consent").split(","))
    if told.get("action") != "yes":
        return None
    if told.get(category) == "no":
        return False
    return True if told.get(category) == "yes" and told.get("consent") == "yes" else None


def wagtail_tag_manager(cookies: Cookies, category: str) -> bool | None:
    """Read ``wtm``: base64 of ``{"meta": {…, "set_timestamp": …}, "state": {"marketing": "true"}}``.

    The package writes ``"false"``, and for some types ``"true"``, before anybody was asked;
    ``set_timestamp`` is there once somebody answered.
    """
    try:
        kept = json.loads(base64.b64decode(_decoded(cookies, "wtm"), validate=True))
    except (ValueError, RecursionError):
        return None
    meta, state = _object(kept, "meta"), _object(kept, "state")
    answered_at = meta.get("set_timestamp")
    if isinstance(answered_at, bool) or not isinstance(answered_at, (int, float)):
        return None
    answer = state.get(category)
    if not answered_at > 0 or not isinstance(answer, str):
        return None
    return {"true": True, "false": False}.get(answer)


def django_cookie_consent(cookies: Cookies, category: str) -> bool | None:
    """Read ``cookie_consent``: ``group=2026-02-01T10:00:00+00:00|other=-1``.

    The time is the version of the group that was accepted; ``-1`` says declined. The names of the
    cookie and of the refusal are that package's own settings.
    """
    name = getattr(settings, "COOKIE_CONSENT_NAME", "cookie_consent")
    declined = getattr(settings, "COOKIE_CONSENT_DECLINE", "-1")
    version = _pairs(_DJANGO_GROUP, _bounded(cookies, name).split("|")).get(category, "")
    if version == declined:
        return False
    return True if _is_time(version) else None


def _bounded(cookies: Cookies, name: str) -> str:
    value = cookies.get(name, "")
    return value if len(value) <= LENGTH_MAX else ""


def _decoded(cookies: Cookies, name: str) -> str:
    try:
        return unquote(_bounded(cookies, name), errors="strict")
    except ValueError:
        return ""


def _pairs(item: str, parts: Iterable[str]) -> dict[str, str]:
    """Return the pairs, or none at all where one part is malformed or one name stands twice."""
    found: dict[str, str] = {}
    for part in parts:
        match = re.fullmatch(item, part)
        if match is None or match[1] in found:
            return {}
        found[match[1]] = match[2]
    return found


def _object(value: Any, name: str) -> dict[str, Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _is_time(text: str) -> bool:
    if not re.fullmatch(_ISO_TIME, text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
