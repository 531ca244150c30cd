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
PHONE = re.compile(r"(?<![\w+])\+[1-9](?:[ ./()-]{0,2}[0-9]){6,14}(?![0-9])")
"""A telephone number in its international form."""

DEFAULT_KEEP_QUERY = frozenset({"fbclid", "utm_*"})
"""Query parameters of an address that Meta gets to see; a final ``*`` stands for anything."""

_BASE = re.compile(
    r"([Hh][Tt][Tt][Pp][Ss]?)://(?:[^/]*@)?(\[[0-9A-Fa-f:.]+\]|[^\W_][\w.-]*)(:[0-9]{1,5})?(/.*)?"
)
_SECRETS = frozenset(
    "activate confirm confirmemail verify verification verifyemail unsubscribe unsubscribeme"
    " magiclink onetimelogin acceptinvite resetpassword passwordreset setpassword".split()
)
"""Parts of a path that are followed by something only one person should know."""
_NOUNS = frozenset("activation confirmation invitation invite invites recover reset token".split())
"""Parts that may also name what a shop sells: behind them only what looks like a key is left out."""
_BESIDE_SECRETS = frozenset(
    "accept account address done e email link login mail password user".split()
)
"""Words that one of them may stand beside, as in ``password-reset``."""
_SIGNS = _SECRETS | _NOUNS | {"magic", "password", "login"}
_LONG = 20
"""Characters from which on a part of a path may be a token."""
_LONG_RUN = re.compile(r"[A-Za-z0-9_-]{20,}")
_DASHES = re.compile(r"[_-]+")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_VOWELS = frozenset("aeiouyAEIOUY")
_CAPITALS = 0.7
"""What a letter of ``RTX`` and ``NVIDIA`` counts; a token has a few in a row, too."""
_SPEAKING = 0.7
"""The part of a product's characters that stand in words and numbers, at least.

Of 100 random tokens of 16 bytes one has as many, of 2,000 of 32 bytes one.
"""
_SECRET_WORDS_MAX = 3
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{32,}|(?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{24,}")
_KEY_PIECE = re.compile(r"[^\W_]+")
_KEY_MIN = 6
_KEY_LETTERS_MIN = 16
_KEY_VOWELS = 0.2
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
    if value in _harmless:
        return str(value)
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
    if _is_ordinary(path):
        return path
    kept: list[str] = []
    behind_noun = False
    for segment in path.split("/"):
        plain = _plain(segment)
        if _is_personal(plain) or _is_secret(plain):
            continue
        if behind_noun and _may_be_key(plain):
            break
        kept.append(segment)
        if _announces_secret(plain):
            break
        behind_noun = behind_noun or "".join(_words(plain)) in _NOUNS
    cleaned = "/".join(kept)
    return cleaned if len(kept) == path.count("/") + 1 else cleaned.rstrip("/") + "/"


def _is_personal(plain: str) -> bool:
    return bool(("@" in plain and EMAIL.search(plain)) or ("+" in plain and PHONE.search(plain)))


def _is_ordinary(path: str) -> bool:
    """Tell at a glance that nothing in ``path`` can be private, as in nearly all of a shop."""
    if "@" in path or "%" in path or "+" in path:
        return False
    words = _words(path)
    if len(max(words, key=len)) >= _LONG or not _SIGNS.isdisjoint(words):
        return False
    return path.islower() or len(max(path.split("/"), key=len)) < _LONG


def _words(path: str) -> list[str]:
    return path.lower().replace("_", "-").replace("/", "-").split("-")


def _announces_secret(segment: str) -> bool:
    """Tell ``password-reset``, ``magic-link`` and ``confirm_email`` from ``invitation-cards``."""
    words = [word for word in _words(segment) if word]
    if "".join(words) in _SECRETS:
        return True
    return (
        1 < len(words) <= _SECRET_WORDS_MAX
        and not (_SECRETS | _NOUNS).isdisjoint(words)
        and set(words) <= _SECRETS | _NOUNS | _BESIDE_SECRETS
    )


def _may_be_key(segment: str) -> bool:
    """Tell ``MQ``, ``c1-5f3a`` and ``k7p2qx`` from ``rustic-kraft`` and ``office-2021``."""
    if segment != segment.lower():
        return True
    pieces = _KEY_PIECE.findall(segment)
    if sum(not piece.isalpha() and not piece.isdigit() for piece in pieces) > 1:
        return True
    return any(map(_is_key_piece, pieces))


def _is_key_piece(piece: str) -> bool:
    if not piece.isalpha():
        return len(piece) >= _KEY_MIN
    vowels = sum(map(_VOWELS.__contains__, piece))
    return len(piece) >= _KEY_LETTERS_MIN and vowels < _KEY_VOWELS * len(piece)


def _is_secret(segment: str) -> bool:
    """Tell whether a part of a path looks like a token: long, and no words."""
    if len(segment) < _LONG:
        return False
    if _HEXADECIMAL.search(segment):
        return True
    return any(map(_holds_random, _LONG_RUN.findall(segment)))


def _holds_random(run: str) -> bool:
    if _is_random(run):
        return True
    parts = _DASHES.split(run)
    return len(parts) > 1 and any(_is_random(part) for part in parts if len(part) >= _LONG)


def _is_random(run: str) -> bool:
    """Tell a token from ``iPhone15ProMax256GBBlackTitanium``, which is words and numbers."""
    if run == run.lower() or run == run.upper():
        return False
    pieces = _PIECE.findall(run)
    return sum(map(_speaking, pieces)) < _SPEAKING * sum(map(len, pieces))


def _speaking(piece: str) -> float:
    """Return how many characters of ``piece`` chance would hardly have put side by side."""
    size = len(piece)
    if piece.isdigit():
        return size if size > 1 else 0
    if piece.isupper():
        return _CAPITALS * size if size > 2 else 0
    return size if size > 2 and not _VOWELS.isdisjoint(piece) else 0


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
    if not 0 < len(value) <= _QUERY_VALUE_MAX or not value.isprintable():
        return False
    # A plus is a blank in a query; one before a telephone number was meant as a plus.
    plain = _plain(value.replace("+", " "))
    return not _is_personal(plain) and not PHONE.match(value)


def _plain(text: str) -> str:
    """Return ``text`` without its escapes; what went through a redirect may have them twice."""
    for _ in range(_ESCAPES_MAX):
        if "%" not in text:
            break
        text = unquote(text)
    return text
