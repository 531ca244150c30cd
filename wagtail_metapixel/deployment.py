"""What is wrong in ``settings.WAGTAIL_METAPIXEL``, setting by setting."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from wagtail_metapixel import conf, keys
from wagtail_metapixel.exceptions import ConfigurationError

_READERS: Mapping[str, Callable[[], Any]] = {
    "ACCESS_TOKENS": lambda: [conf.access_token(pixel_id) for pixel_id in conf.access_tokens()],
    "ENCRYPTION_KEYS": lambda: keys.encrypt(b""),
    "DELIVERY": conf.driver,
    "GRAPH_URL": lambda: conf.address("GRAPH_URL"),
    "GRAPH_VERSION": conf.graph_version,
    "SCRIPT_URL": lambda: conf.address("SCRIPT_URL"),
    "SCRIPT_PATH": conf.script_path,
    "SANDBOX": conf.sandbox_url,
    "TRUSTED_PROXIES": conf.trusted_proxies,
    "CONSENT_PROVIDER": lambda: conf.function("CONSENT_PROVIDER"),
    "CONTENT_ID_FUNCTION": lambda: conf.function("CONTENT_ID_FUNCTION"),
    "USER_DATA_FUNCTION": lambda: conf.function("USER_DATA_FUNCTION"),
    "COOKIE_DOMAIN": conf.cookie_domain,
    "INJECT": lambda: conf.flag("INJECT"),
    "REQUEST_TIMEOUT": lambda: conf.seconds("REQUEST_TIMEOUT"),
    "POLL_INTERVAL": lambda: conf.seconds("POLL_INTERVAL"),
    "REQUESTS_PER_ADDRESS": lambda: conf.count("REQUESTS_PER_ADDRESS"),
    "REQUESTS_PER_SITE": lambda: conf.count("REQUESTS_PER_SITE"),
    "PAGE_EVENTS_WAITING": lambda: conf.count("PAGE_EVENTS_WAITING"),
    "RETENTION": conf.retention,
}


_CHOICES: Mapping[str, Sequence[str]] = {"DELIVERY": conf.DRIVERS}


class Mistake(NamedTuple):
    """One setting that cannot be used, or that nobody knows."""

    fact: str
    """Names the setting and the rule, never the value."""
    advice: str
    is_unknown: bool = False


def mistakes() -> Iterator[Mistake]:
    """Examine every setting that is given. Never raises."""
    try:
        given = conf.given()
    except ConfigurationError as error:
        yield Mistake(str(error), "Without it, all defaults hold.")
        return
    yield from (_unknown(name) for name in given if name not in conf.DEFAULTS)
    for name in given:
        try:
            _READERS.get(name, lambda: None)()
        except ConfigurationError as error:
            yield Mistake(str(error), _without(name) + _near_miss(name, given[name]))
        except Exception as error:  # noqa: BLE001 - whatever an odd type of value brings about
            fact = f'{conf.SETTING}["{name}"] cannot be read: {type(error).__name__}.'
            yield Mistake(fact, _without(name))


def _without(name: str) -> str:
    return f"Without it, the default holds: {conf.DEFAULTS[name]!r}."


def _near_miss(name: str, value: object) -> str:
    close = difflib.get_close_matches(str(value).strip().lower(), _CHOICES.get(name, ()), n=1)
    return f' Did you mean "{close[0]}"?' if close else ""


def _unknown(key: object) -> Mistake:
    name = str(key)
    close = difflib.get_close_matches(name, conf.DEFAULTS, n=1)
    advice = f'Did you mean "{close[0]}"?' if close else f"Known: {', '.join(conf.DEFAULTS)}."
    return Mistake(f'{conf.SETTING}["{name}"] is not a setting.', advice, is_unknown=True)
