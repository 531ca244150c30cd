"""The one reader of ``settings.WAGTAIL_METAPIXEL``.

Values are read at use, never at import, so ``override_settings`` works and nothing here needs the
app registry. :data:`DEFAULTS` is the list of all settings; the README's table is tested against it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.http.request import validate_host
from django.utils.module_loading import import_string

from wagtail_metapixel.access_tokens import is_well_formed
from wagtail_metapixel.exceptions import ConfigurationError

SETTING = "WAGTAIL_METAPIXEL"
TOKEN_ENVIRONMENT_PREFIX = "METAPIXEL_ACCESS_TOKEN_"
DRIVERS = ("thread", "worker", "tasks", "celery")

SECONDS_MAX: Mapping[str, int] = {"REQUEST_TIMEOUT": 30, "POLL_INTERVAL": 600}
"""A request has to end well before the lease of its rows: another worker would send them again."""
KEYS_DAYS_MIN = 63
DAYS_MAX = 36_500

META_GRAPH_URL = "https://graph.facebook.com"
META_SCRIPT_URL = "https://connect.facebook.net/en_US/fbevents.js"

DEFAULTS: Mapping[str, Any] = {
    "ACCESS_TOKENS": {},
    "ENCRYPTION_KEYS": [],
    "DELIVERY": "thread",
    "GRAPH_URL": META_GRAPH_URL,
    "GRAPH_VERSION": "v26.0",
    "SCRIPT_URL": "",
    "SCRIPT_PATH": "",
    "SANDBOX": "",
    "TRUSTED_PROXIES": 0,
    "CONSENT_PROVIDER": "",
    "CONTENT_ID_FUNCTION": "",
    "USER_DATA_FUNCTION": "",
    "COOKIE_DOMAIN": "",
    "INJECT": False,
    "REQUEST_TIMEOUT": 10.0,
    "POLL_INTERVAL": 1.0,
    "REQUESTS_PER_ADDRESS": 300,
    "REQUESTS_PER_SITE": 12_000,
    "PAGE_EVENTS_WAITING": 100_000,
    "RETENTION": {"sent": 7, "unsent": 30, "keys": 70, "proofs": 1095, "counters": 400},
}
"""Every setting with its default."""

# With a dot inside and a last label that is no number: browsers refuse anything else, and the cookie
# with it. Of the suffixes below which everybody registers, the most widespread ones.
# Compiled at their first use.
_DOMAIN = (
    r"\.?(?!(?:ac|co|com|edu|gov|net|org)\.[a-z]{2}\Z)"
    r"(?=.{3,253}\Z)(?:[a-z0-9-]{1,63}\.)+(?![0-9]+\Z)[a-z0-9-]{2,63}"
)
# No segment begins with a dot: collectstatic leaves those out.
_SCRIPT_PATH = r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*\.js"
_VERSION = r"v\d{1,3}\.\d{1,2}"

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def get(name: str) -> Any:
    """Return the setting ``name`` or its default. ``KeyError`` for a name that does not exist."""
    default = DEFAULTS[name]
    return given().get(name, default)


def given() -> Mapping[str, Any]:
    """Return the dict as the deployment wrote it, empty when there is none."""
    value = getattr(settings, SETTING, None) or {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{SETTING} has to be a dict, like {SETTING} = {{}}.")
    return value


def access_token(pixel_id: str) -> str:
    """Return the token the deployment fixed for ``pixel_id``, or ``""``.

    ``WAGTAIL_METAPIXEL["ACCESS_TOKENS"]`` goes before the environment variable
    ``METAPIXEL_ACCESS_TOKEN_<pixel id>``.
    """
    fixed = access_tokens().get(pixel_id) or os.environ.get(
        f"{TOKEN_ENVIRONMENT_PREFIX}{pixel_id}", ""
    )
    token = str(fixed).strip()
    if token and not is_well_formed(token):
        raise ConfigurationError(
            f"The access token of pixel {pixel_id} in the deployment's settings is not one line of "
            "letters and digits: copy it again, without blanks or quotes."
        )
    return token


def access_tokens() -> Mapping[str, str]:
    """Return the tokens by pixel id, as the deployment wrote them."""
    tokens = get("ACCESS_TOKENS")
    if isinstance(tokens, Mapping) and all(isinstance(key, str) for key in tokens):
        return tokens
    raise ConfigurationError(
        f'{SETTING}["ACCESS_TOKENS"] has to be a dict of texts, like '
        '{"<pixel id>": "<access token>"}.'
    )


def sandbox_url() -> str:
    """Return the sandbox's address without a trailing slash, or ``""`` when Meta is meant.

    Only an address of this machine is accepted: a sandbox is no way to redirect a shop's events.
    """
    url = str(get("SANDBOX")).rstrip("/")
    if url and not is_loopback(url):
        raise ConfigurationError(
            f'{SETTING}["SANDBOX"] has to be an http address of this machine, '
            'like "http://127.0.0.1:8001".'
        )
    return url


def is_loopback(url: str) -> bool:
    """Tell whether ``url`` is an http(s) address of this machine."""
    parts = _parts(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket without its other half
        return urlsplit("")


def graph_url() -> str:
    """Return the base address of the Graph API: the sandbox when one is set, else Meta's."""
    return sandbox_url() or address("GRAPH_URL").rstrip("/")


def graph_version() -> str:
    """Return the Graph API version, like ``"v26.0"``."""
    version = str(get("GRAPH_VERSION"))
    if not re.fullmatch(_VERSION, version):
        raise ConfigurationError(f'{SETTING}["GRAPH_VERSION"] has to look like "v26.0".')
    return version


def script_url() -> str:
    """Return the address of ``fbevents.js``; the sandbox has one of its own."""
    if explicit := address("SCRIPT_URL"):
        return explicit
    sandbox = sandbox_url()
    return f"{sandbox}/en_US/fbevents.js" if sandbox else META_SCRIPT_URL


def script_path() -> str:
    """Return the static path of our scripts with ``{}`` for a number; ``""``: our own names."""
    path = get("SCRIPT_PATH")
    if isinstance(path, str) and (not path or _is_script_path(path)):
        return path
    raise ConfigurationError(
        f'{SETTING}["SCRIPT_PATH"] has to be a path of plain characters with one {{}} in it, '
        'without a slash in front, that ends in .js, like "assets/part-{}.js".'
    )


def _is_script_path(path: str) -> bool:
    numbered = path.replace("{}", "1")
    is_plain = re.fullmatch(_SCRIPT_PATH, numbered, re.ASCII) is not None
    return is_plain and path.count("{}") == 1 and ".." not in path


def address(name: str) -> str:
    """Return the address set for ``name``: encrypted, or of this machine, or the default."""
    url = str(get(name))
    parts = _parts(url)
    if url == DEFAULTS[name] or is_loopback(url) or (parts.scheme == "https" and parts.hostname):
        return url
    raise ConfigurationError(f'{SETTING}["{name}"] has to be an address that begins with https://.')


def trusted_proxies() -> int | Networks:
    """Return how many proxies stand before the shop, or their networks."""
    value = get("TRUSTED_PROXIES")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, (list, tuple)):
        try:
            return tuple(ipaddress.ip_network(_text(network)) for network in value)
        except (TypeError, ValueError):
            pass
    raise ConfigurationError(
        f'{SETTING}["TRUSTED_PROXIES"] has to be a number of proxies, like 1, '
        'or a list of their networks, like ["10.0.0.0/8"].'
    )


def _text(value: object) -> str:
    if not isinstance(value, str):  # ip_network() takes a number for an address
        raise TypeError
    return value


def serves(host: str) -> bool:
    """Tell whether this deployment answers for ``host``, by Django's ``ALLOWED_HOSTS``."""
    allowed = settings.ALLOWED_HOSTS
    if settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]
    return validate_host(host, allowed)


def driver() -> str:
    """Return the name of the delivery driver."""
    name = str(get("DELIVERY"))
    if name not in DRIVERS:
        raise ConfigurationError(
            f'{SETTING}["DELIVERY"] has to be one of {", ".join(map(repr, DRIVERS))}.'
        )
    return name


def function(name: str) -> Callable[..., Any] | None:
    """Return the function whose dotted path is set for ``name``, ``None`` when none is."""
    path = str(get(name))
    if not path:
        return None
    rule = f'{SETTING}["{name}"] has to be the dotted path of a function'
    try:
        found = import_string(path)
    except Exception as error:  # noqa: BLE001 - the module may raise what it likes
        raised = type(error).__name__
        raise ConfigurationError(f"{rule}; importing it raised {raised}.") from None
    if not callable(found):
        raise ConfigurationError(f"{rule}; what is there cannot be called.")
    return cast(Callable[..., Any], found)


def cookie_domain() -> str | None:
    """Return the domain of our own cookies; ``None``: each host keeps its own.

    Never that of the session cookie: a login that two sites share is no word about their consent.
    """
    given = get("COOKIE_DOMAIN")
    if not given:
        return None
    domain = given.lower() if isinstance(given, str) else ""
    if not re.fullmatch(_DOMAIN, domain):
        raise ConfigurationError(
            f'{SETTING}["COOKIE_DOMAIN"] has to be a domain of your own, like "example.com".'
        )
    return domain.lstrip(".")


def count(name: str) -> int:
    """Return the whole number of 0 or more set for ``name``."""
    value = get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f'{SETTING}["{name}"] has to be a whole number, 0 or more.')
    return value


def flag(name: str) -> bool:
    """Return whether ``name`` is switched on."""
    value = get(name)
    if not isinstance(value, bool):
        raise ConfigurationError(f'{SETTING}["{name}"] has to be True or False.')
    return value


def retention() -> Mapping[str, int]:
    """Return for how many days each kind of row is kept; what is not set keeps its default.

    Keys, and withdrawals with them, outlive the longest that an event may wait: 62 days.
    """
    value, known = get("RETENTION"), DEFAULTS["RETENTION"]
    days = value.items() if isinstance(value, Mapping) else [("", 0)]
    if not all(
        name in known and type(number) is int and 1 <= number <= DAYS_MAX for name, number in days
    ):
        raise ConfigurationError(
            f'{SETTING}["RETENTION"] has to be a dict of whole numbers of days, 1 to {DAYS_MAX}, '
            f"for any of {', '.join(map(repr, known))}."
        )
    if value.get("keys", KEYS_DAYS_MIN) < KEYS_DAYS_MIN:
        raise ConfigurationError(
            f'{SETTING}["RETENTION"] has to keep "keys" for {KEYS_DAYS_MIN} days or more: an event '
            "may wait for 62."
        )
    return {**known, **value}


def seconds(name: str) -> float:
    """Return the number of seconds set for ``name``: above 0, and no more than it may be."""
    value, most = get(name), SECONDS_MAX[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
        raise ConfigurationError(
            f'{SETTING}["{name}"] has to be a number of seconds above 0, {most} at most.'
        )
    return float(value)
