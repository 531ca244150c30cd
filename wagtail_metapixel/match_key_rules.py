"""What the linter finds in ``user_data``: match keys, cookies, the client's address and agent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from wagtail_metapixel import catalogue, digests, match_keys, personal_data
from wagtail_metapixel.redaction import shown_word
from wagtail_metapixel.subjects import Subject, written

EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

# Match keys

_DIGEST = re.compile(rf"{digests.DIGEST.pattern}{digests.MARK}")
_SHORTEST_DIGEST = 33
"""A shorter text of hex digits may be a name or a telephone number."""


def _is_too_little(subject: Subject) -> bool:
    keys = {key for key in subject.user_data if _is_usable(subject, key)}
    return not subject.emptied and (
        not keys or any(keys <= broad for broad in match_keys.INVALID_USER_DATA_SETS)
    )


def _is_usable(subject: Subject, key: str) -> bool:
    """Tell whether Meta can match anybody by what ``key`` holds."""
    known = match_keys.USER_DATA.get(key)
    if known is None:
        return False
    if key == "client_ip_address":
        return subject.address is not None
    if key in _COOKIES:
        return bool(_created(subject, key)) and bool(
            _SURE_COOKIE.match(subject.user_data[key])  # of the form that Meta writes itself
        )
    values = [value for value in _values(subject.user_data[key]) if value not in (None, "", [])]
    if known.hashed == "required":
        return any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in values)
    if known.hashed == "forbidden":
        return any(not digests.ANY_CASE.fullmatch(written(value)) for value in values)
    return bool(values)


def _values(given: Any) -> list[Any]:
    return given if isinstance(given, list) and given else [given]


# What Meta refuses to read: a value of another kind

_DIGITS = {"fb_login_id": re.compile("[0-9]+"), "lead_id": re.compile("[0-9]{15,17}")}


def _is_unreadable(key: str, value: Any) -> bool:
    if key in _DIGITS:
        number = isinstance(value, str | int) and not isinstance(value, bool)
        return not (number and _DIGITS[key].fullmatch(written(value)))
    return not isinstance(value, str)


def _unreadable_match_keys(subject: Subject) -> Iterator[str]:
    for key, given in subject.user_data.items():
        known = match_keys.USER_DATA.get(key)
        if known is None:
            continue
        values = given if isinstance(given, list) else [given]
        if (isinstance(given, list) and not known.many) or any(
            value is not None and _is_unreadable(key, value) for value in values
        ):
            yield f"user_data.{key}"


# What is personal in a key that is sent as it is

_READ_ELSEWHERE = frozenset({"client_ip_address", "client_user_agent", "fbc", "fbp"})


def _personal_match_keys(subject: Subject) -> Iterator[str]:
    for key, given in subject.user_data.items():
        known = match_keys.USER_DATA.get(key)
        if known is None or known.hashed != "forbidden" or key in _READ_ELSEWHERE:
            continue
        texts = list(personal_data.texts(given))
        if any(personal_data.has_email(text) or personal_data.has_phone(text) for text in texts):
            yield f"user_data.{key}"


# Digests


def _digest_fault(value: Any) -> str:
    """Return the code of what is wrong with a digest, ``""`` when nothing is."""
    if not isinstance(value, str):
        return ""  # match_key_unreadable says it
    if value == EMPTY_HASH or value.startswith(f"{EMPTY_HASH}."):
        return "match_key_empty_hash"
    if _DIGEST.fullmatch(value):
        return ""
    if not digests.HEX.fullmatch(value) or value.isdigit():
        return "match_key_unhashed"
    if len(value) in digests.FOREIGN_LENGTHS:
        return "match_key_foreign_digest"
    return "match_key_malformed" if len(value) >= _SHORTEST_DIGEST else "match_key_unhashed"


def _external_id_fault(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if text.startswith(EMPTY_HASH):
        return "match_key_empty_hash"
    personal = personal_data.has_email(text) or personal_data.has_phone(text)
    return "match_key_unhashed" if personal else ""


def _fault(key: str, value: Any) -> str:
    known = match_keys.USER_DATA.get(key)
    if known is None or key == "client_user_agent":
        return ""
    if value in (None, []) or (isinstance(value, str) and not value.strip()):
        return "match_key_blank"
    if known.hashed == "required":
        return _digest_fault(value)
    return _external_id_fault(value) if key == "external_id" else ""


def _match_keys_with(code: str) -> Callable[[Subject], Iterator[str]]:
    def fields(subject: Subject) -> Iterator[str]:
        for key, given in subject.user_data.items():
            if any(_fault(key, value) == code for value in _values(given)):
                yield f"user_data.{key}"

    return fields


def _unknown_match_keys(subject: Subject) -> Iterator[str]:
    unknown = (key for key in subject.user_data if key not in match_keys.USER_DATA)
    return (f"user_data.{shown_word(key)}" for key in unknown)


def _lacks_agent(subject: Subject) -> bool:
    given = subject.user_data.get("client_user_agent")
    return subject.is_website and not subject.emptied and given is None


def _has_bad_agent(subject: Subject) -> bool:
    given = subject.user_data.get("client_user_agent")
    return isinstance(given, str) and (not given.strip() or bool(_DIGEST.fullmatch(given)))


_SERVER_AGENT = re.compile(
    r"(python|aiohttp|httpx|curl|wget|go-http-client|okhttp|axios|node|undici|got|guzzle|guzzlehttp"
    r"|php|symfony|java|apache-httpclient|jersey|ruby|faraday|rest-client|libwww-perl|lwp|postman"
    r"|postmanruntime|insomnia|stripe|paypal|adyen|klarna|mollie|braintree|shopify|zapier|django"
    r"|wagtail|wordpress)(?![a-z])",
    re.IGNORECASE,
)


def _is_agent_of_a_server(subject: Subject) -> bool:
    given = subject.user_data.get("client_user_agent")
    return isinstance(given, str) and _SERVER_AGENT.match(given.strip()) is not None


_MARK = r"(?:\.(?:[A-Za-z0-9_-]{8}|AQ|Ag|Aw|BA|BQ|Bg))?"
_COOKIES = {
    "fbp": re.compile(rf"fb\.[0-9]{{1,2}}\.([0-9]{{10,13}})\.[0-9]{{1,19}}{_MARK}", re.ASCII),
    "fbc": re.compile(rf"fb\.[0-9]{{1,2}}\.([0-9]{{10,13}})\.[A-Za-z0-9_-]{{1,500}}{_MARK}"),
}
_SURE_COOKIE = re.compile(r"fb\.[0-9]\.[0-9]{13}\.")
_SECONDS_DIGITS = 10
_MILLISECONDS_DIGITS = 13


def _created(subject: Subject, key: str) -> str | None:
    """Return the digits of the cookie's creation time, ``""`` when it is no such cookie."""
    given = subject.user_data.get(key)
    if not isinstance(given, str) or not given:
        return None
    match = _COOKIES[key].fullmatch(given)
    known = match and len(match[1]) in {_SECONDS_DIGITS, _MILLISECONDS_DIGITS}
    return match[1] if match and known else ""


def _has_bad_cookie(key: str) -> Callable[[Subject], bool]:
    return lambda subject: _created(subject, key) == ""


def _is_in_seconds(key: str) -> Callable[[Subject], bool]:
    return lambda subject: len(_created(subject, key) or "") == _SECONDS_DIGITS


def _is_from_the_future(key: str) -> Callable[[Subject], bool]:
    def applies(subject: Subject) -> bool:
        latest = (subject.now + catalogue.DAY) * 1000  # a visitor's clock may be wrong by a day
        return int(_created(subject, key) or 0) > latest

    return applies


def _has_bad_address(subject: Subject) -> bool:
    given = subject.user_data.get("client_ip_address")
    return isinstance(given, str) and bool(given) and subject.address is None


# The tables

FLAGS: Mapping[str, Callable[[Subject], bool]] = {
    "user_data_insufficient": _is_too_little,
    "user_agent_missing": _lacks_agent,
    "user_agent_invalid": _has_bad_agent,
    "user_agent_server": _is_agent_of_a_server,
    "fbp_invalid": _has_bad_cookie("fbp"),
    "fbc_invalid": _has_bad_cookie("fbc"),
    "fbp_seconds": _is_in_seconds("fbp"),
    "fbc_seconds": _is_in_seconds("fbc"),
    "fbp_future": _is_from_the_future("fbp"),
    "fbc_future": _is_from_the_future("fbc"),
    "ip_invalid": _has_bad_address,
    "ip_private": lambda subject: subject.address is not None and not subject.is_public,
}

FIELDS: Mapping[str, Callable[[Subject], Iterable[str]]] = {
    "match_key_unknown": _unknown_match_keys,
    "match_key_unreadable": _unreadable_match_keys,
    "match_key_personal": _personal_match_keys,
    **{
        code: _match_keys_with(code)
        for code in (
            "match_key_blank",
            "match_key_unhashed",
            "match_key_foreign_digest",
            "match_key_malformed",
            "match_key_empty_hash",
        )
    },
}
