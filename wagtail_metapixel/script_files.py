"""Our scripts, and the static path under which a page names each of them."""

from __future__ import annotations

from wagtail_metapixel import conf
from wagtail_metapixel.exceptions import ConfigurationError

SCRIPTS = (
    "metapixel.js",
    "first_party_cookies.js",
    "meta_script.js",
    "page_swaps.js",
    "html_attributes.js",
    "single_page.js",
    "advanced_matching.js",
    "consent_cookie.js",
    "consent_watch.js",
    "consent_django_cookie_consent.js",
    "consent_wagtail_tag_manager.js",
    "consent_cookiebot.js",
    "consent_onetrust.js",
    "consent_cookieyes.js",
    "consent_tcf.js",
    "consent_function.js",
)
"""All of them. Their numbers count from 1 and stand in cached pages: new ones are appended."""

FOLDER = "wagtail_metapixel"
_NUMBERS = {name: str(number) for number, name in enumerate(SCRIPTS, start=1)}


def pattern() -> str:
    """Return ``SCRIPT_PATH``, ``""`` where it is not set or cannot be used: checks say so."""
    try:
        return conf.script_path()
    except ConfigurationError:
        return ""


def static_path(name: str) -> str:
    """Return the static path of the script ``name``, like ``"wagtail_metapixel/metapixel.js"``."""
    own = pattern()
    return own.replace("{}", _NUMBERS[name]) if own else f"{FOLDER}/{name}"


def renamed() -> dict[str, str]:
    """Return our own path of each script by the path the site chose; empty where it chose none."""
    if not pattern():
        return {}
    return {static_path(name): f"{FOLDER}/{name}" for name in SCRIPTS}
