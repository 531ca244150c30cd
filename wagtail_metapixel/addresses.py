"""Addresses of pages, in the form in which Meta may be told of them.

A path or a query may hold what is nobody's business: an e-mail address, the token of a password
reset, somebody's name and password. What is left out here reaches no table either.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from wagtail_metapixel import catalogue
from wagtail_metapixel.catalogue import LIST_MAX

_IMAGE = r"[0-9](?:\.[0-9])?x\.(?i:png|jpe?g|gif|webp|avif|svg)(?!\.?[\w-])"
"""The end of ``mug@2x.png``, a picture for screens with twice the points."""
EMAIL = re.compile(rf"[\w.+-]+@(?!{_IMAGE})[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{{2,}}")
"""What looks like an e-mail address inside another text."""

DEFAULT_KEEP_QUERY = frozenset({"fbclid", "utm_*"})
"""Query parameters of an address that Meta gets to see; a final ``*`` stands for anything."""

_BASE = re.compile(
    r"([Hh][Tt][Tt][Pp][Ss]?)://(?:[^/]*@)?(\[[0-9A-Fa-f:.]+\]|[^\W_][\w.-]*)(:[0-9]{1,5})?(/.*)?"
)
_SECRETS = frozenset(
    "reset activate activation confirm confirmation verify verification unsubscribe invite"
    " invitation token magiclink".split()
)
"""Parts of a path that are followed by something only one person should know."""
_BESIDE_SECRETS = frozenset("account address done e email link login mail password user".split())
"""Words that one of them may stand beside, as in ``password-reset``."""
_SIGNS = _SECRETS | {"magic"}
_LONG_RUN = re.compile(r"[A-Za-z0-9]{20,}")
_WORD = re.compile(r"[A-Z]?[a-z]{2,}")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")
_WORDY = 0.6
"""The part of a product's letters that stand in words, at least. A token has a fifth of them."""
_SECRET_WORDS_MAX = 3
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{32,}")
_CLICK_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
_HOST_MAX = 253
"""Characters of a name in the DNS."""
_QUERY_VALUE_MAX = 200
_HARMLESS_MAX = 1000
_ESCAPES_MAX = 3
_SAFE = "/%:@!$&'()*+,;=~-._?"


def clean_url(value: object, *, keep_query: frozenset[str] | None) -> str | None:
    """Return an absolute http(s) address that may be told to Meta, or ``None``.

    Leaves out the user's name and password, the fragment, every query parameter not named in
    ``keep_query`` (``None``: :data:`DEFAULT_KEEP_QUERY`), and parts of the path that look like an
    e-mail address or a secret.
    """
    if not isinstance(value, str):
        return None
    text, _hash, _fragment = value.strip().partition("#")
    base, _mark, query = text.partition("?")
    cleaned = base if base in _harmless else _clean_base(base)
    if cleaned is None or not query:
        return cleaned
    kept = _kept(query, DEFAULT_KEEP_QUERY if keep_query is None else keep_query)
    return cleaned if len(cleaned) + len(kept) > catalogue.URL_MAX else cleaned + kept


_harmless: set[str] = set()
"""Addresses that were clean as they came. A shop has few pages, and many events on each."""


def _clean_base(base: str) -> str | None:
    match = _BASE.fullmatch(base) if base.isprintable() and "\\" not in base else None
    if match is None:
        return None
    scheme, host, port, path = match.groups()
    if len(host) > _HOST_MAX:
        return None
    path = _without_secrets(path) if path else "/"
    if not path.isascii() or " " in path:
        path = quote(path, safe=_SAFE)
    origin = f"{scheme.lower()}://{host.lower()}{port or ''}"
    if len(origin) + len(path) > catalogue.URL_MAX:
        path = path[: path.rfind("/", 0, catalogue.URL_MAX - len(origin)) + 1] or "/"
    cleaned = f"{origin}{path}"
    if cleaned == base:
        if len(_harmless) >= _HARMLESS_MAX:
            _harmless.clear()
        _harmless.add(base)
    return cleaned


def _without_secrets(path: str) -> str:
    words = _words(path)
    if (
        "@" not in path
        and "%" not in path
        and _SIGNS.isdisjoint(words)
        and len(max(words, key=len)) < 20
    ):
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        plain = _plain(segment)
        if EMAIL.search(plain) or _is_secret(plain):
            continue
        kept.append(segment)
        if _announces_secret(plain):
            break
    cleaned = "/".join(kept)
    return cleaned if len(kept) == path.count("/") + 1 else cleaned.rstrip("/") + "/"


def _words(path: str) -> list[str]:
    return path.lower().replace("_", "-").replace("/", "-").split("-")


def _announces_secret(segment: str) -> bool:
    """Tell ``reset``, ``magic-link`` and ``confirm_email`` from ``invitation-cards``."""
    words = [word for word in _words(segment) if word]
    if "".join(words) in _SECRETS:
        return True
    return (
        1 < len(words) <= _SECRET_WORDS_MAX
        and not _SECRETS.isdisjoint(words)
        and set(words) <= _SECRETS | _BESIDE_SECRETS
    )


def _is_secret(segment: str) -> bool:
    """Tell whether a part of a path looks like a token: long, and no words."""
    return bool(_HEXADECIMAL.search(segment)) or any(map(_is_random, _LONG_RUN.findall(segment)))


def _is_random(run: str) -> bool:
    """Tell a token from ``iPhone15ProMax256GBBlackTitanium``, whose letters stand in words."""
    if run.isalpha() or run.isdigit() or run == run.lower() or run == run.upper():
        return False
    in_words = sum(map(len, filter(_VOWEL.search, _WORD.findall(run))))
    return in_words < _WORDY * sum(map(str.isalpha, run))


@lru_cache(maxsize=8)
def _prefixes(keep: frozenset[str]) -> tuple[str, ...]:
    return tuple(name[:-1] for name in keep if name.endswith("*"))


def _kept(query: str, keep: frozenset[str]) -> str:
    prefixes = _prefixes(keep)
    kept: dict[str, str] = {}
    for pair in query.split("&", LIST_MAX):
        name, _equals, value = pair.partition("=")
        wanted = name in keep or (name.startswith(prefixes) and name.isidentifier())
        if wanted and name not in kept and _is_harmless(name, value):
            kept[name] = pair
    text = f"?{'&'.join(kept.values())}" if kept else ""
    plain = text.isascii() and text.isprintable() and " " not in text
    return text if plain else quote(text, safe=_SAFE)


def _is_harmless(name: str, value: str) -> bool:
    if name == "fbclid":
        return bool(_CLICK_ID.fullmatch(value))
    if value.isalnum():
        return len(value) <= _QUERY_VALUE_MAX
    return (
        0 < len(value) <= _QUERY_VALUE_MAX
        and value.isprintable()
        and not EMAIL.search(_plain(value.replace("+", " ")))
    )


def _plain(text: str) -> str:
    """Return ``text`` without its escapes; what went through a redirect may have them twice."""
    for _ in range(_ESCAPES_MAX):
        if "%" not in text:
            break
        text = unquote(text)
    return text
