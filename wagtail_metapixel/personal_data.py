"""Where somebody's e-mail address, telephone number or secret may have slipped in.

Used to warn, and to keep such things out of warnings. Everything here may be wrong in single cases;
what is sent about a person on purpose goes through ``matching``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from wagtail_metapixel import addresses, catalogue, match_keys

READ_MAX = 2000
"""Characters of one text that are looked at, and parts of one object."""

_PHONE = re.compile(
    r"(?<![\w+])(?:\+[1-9](?:[ ./()-]{0,2}[0-9]){6,14}"
    r"|\([0-9]{3}\)[ -]?[0-9]{3}[ -][0-9]{4}|[0-9]{3}([-. ])[0-9]{3}\1[0-9]{4})(?![0-9])"
)
_LOG_IN = re.compile(r"https?://[^/@:]*:[^/@]+@", re.IGNORECASE)
_PHONE_WORDS = frozenset({"phone", "telephone", "tel", "mobile", "phonenumber", "cellphone"})
_SECRET_WORDS = frozenset(
    "token accesstoken authtoken idtoken refreshtoken csrfmiddlewaretoken jwt password passwd pwd"
    " secret clientsecret apikey sessionid session otp signature".split()
)
_PERSONAL_NAMES = frozenset(
    {match.key for match in match_keys.USER_DATA.values() if match.hashed == "required"}
    | {match.name.replace("_", "") for match in match_keys.USER_DATA.values()}
    | _PHONE_WORDS
    | {"emailaddress", "mail", "username", "fullname", "surname", "lastname", "firstname", "ip"}
    | {"dob", "birthday", "birthdate", "street", "address", "ssn"}
) - {"city", "state", "zip", "country", "ct", "st", "pageid"}  # ordinary in travel and property


def has_email(text: str) -> bool:
    """Tell whether ``text`` holds an e-mail address, percent-encoded once or twice or not."""
    text = text[:READ_MAX]
    if "@" not in text and "%" not in text:
        return False
    plain = unquote(unquote(text))
    return "@" in plain and addresses.EMAIL.search(plain) is not None


def has_phone(text: str) -> bool:
    """Tell whether ``text`` holds a number written as only telephone numbers are."""
    return _PHONE.search(text[:READ_MAX]) is not None


def is_personal_name(key: str) -> bool:
    """Tell whether a parameter of this name would hold something personal."""
    return _bare(key) in _PERSONAL_NAMES


def url_has_email(url: str) -> bool:
    """Tell whether an address holds an e-mail address behind its host."""
    try:
        parts = urlsplit(url[:READ_MAX])
    except ValueError:
        return has_email(url)
    return has_email(f"{parts.path}?{parts.query}#{parts.fragment}")


def url_has_phone(url: str) -> bool:
    """Tell whether an address holds a telephone number, by its form or its parameter's name."""
    return has_phone(unquote(url[:READ_MAX])) or any(
        _bare(name) in _PHONE_WORDS and sum(map(str.isdigit, value)) >= 7
        for name, value in _query(url)
    )


def url_has_secret(url: str) -> bool:
    """Tell whether a path or a query holds what only one person should know."""
    if any(value and _bare(name) in _SECRET_WORDS for name, value in _query(url)):
        return True
    base = url.partition("#")[0].partition("?")[0]
    if _LOG_IN.match(base):
        return True
    cleaned = addresses.clean_url(base, keep_query=frozenset())
    if cleaned is None or len(base) >= catalogue.URL_MAX or has_email(base):
        return False
    return cleaned.rstrip("/").count("/") < base.rstrip("/").count("/")


def _query(url: str) -> Iterator[tuple[str, str]]:
    query = url[:READ_MAX].partition("#")[0].partition("?")[2]
    for pair in query.split("&"):
        name, _equals, value = pair.partition("=")
        yield unquote(name), unquote(value)


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def texts(value: Any) -> Iterator[str]:
    """Yield the texts inside a JSON value, keys included."""
    waiting, budget = [value], READ_MAX
    while waiting and budget:
        budget -= 1
        found = waiting.pop()
        if isinstance(found, str):
            yield found
        elif isinstance(found, Mapping):
            waiting += [part for pair in list(found.items())[:budget] for part in pair]
        elif isinstance(found, list | tuple):
            waiting += found[:budget]


# What may be shown of an event

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]{0,49}")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NUMBER = re.compile(r"[0-9.:-]{7,20}")


def shown_word(word: object) -> str:
    """Return the name of an event or a key, ``"?"`` when it may be somebody's number or address."""
    harmless = isinstance(word, str) and _WORD.fullmatch(word)
    return str(word) if harmless and sum(map(str.isdigit, str(word))) < 7 else "?"


def shown_id(event_id: str) -> str:
    """Return an opaque event id, ``""`` when it may be somebody's number or address."""
    return event_id if _ID.fullmatch(event_id) and not _NUMBER.fullmatch(event_id) else ""
