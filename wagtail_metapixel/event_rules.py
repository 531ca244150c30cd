"""What the linter finds in one event alone: a table of small functions, one for each code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from wagtail_metapixel import catalogue, match_keys, parameters, personal_data
from wagtail_metapixel.currencies import CURRENCIES
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.personal_data import shown_word
from wagtail_metapixel.subjects import Subject, amount, content_ids, currency, is_id

EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
FRESH_FOR = catalogue.HOUR
STALE_AFTER = catalogue.DAY
ADDRESSES = ("event_source_url", "referrer_url")


def _is_object(subject: Subject, key: str) -> bool:
    return isinstance(subject.raw.get(key, {}), Mapping | None)


# The event

_KNOWN_KEYS = catalogue.EVENT_KEYS | {"received_at"}
_FOLDED_EVENTS = {name.lower(): name for name in catalogue.STANDARD_EVENTS}


def folded(name: str) -> str:
    """Return a name without capitals, spaces and dashes."""
    return re.sub(r"[\s_-]", "", name).lower()


def _unknown_keys(subject: Subject) -> Iterator[str]:
    return (shown_word(key) for key in subject.raw if key not in _KNOWN_KEYS)


def _is_near_miss(subject: Subject) -> bool:
    return folded(subject.name) in _FOLDED_EVENTS and not catalogue.is_standard(subject.name)


def _has_bad_name(subject: Subject) -> bool:
    name = subject.name
    if not name.strip() or _is_near_miss(subject) or name in catalogue.RESERVED_NAMES:
        return False
    try:
        catalogue.check_event_name(name)
    except EventError:
        return True
    return False


def _has_bad_id(subject: Subject) -> bool:
    given = subject.raw.get("event_id")
    if given is None or given == "":
        return False
    text = subject.event_id
    return not isinstance(given, str) or text != text.strip() or len(text) > catalogue.EVENT_ID_MAX


def _has_unknown_source(subject: Subject) -> bool:
    source = subject.raw.get("action_source")
    known = isinstance(source, str) and source in catalogue.ACTION_SOURCES
    return bool(source) and not known


# Time

_MILLISECONDS = 10**11
"""In seconds, this is the year 5138."""


def _is_milliseconds(subject: Subject) -> bool:
    return subject.event_time is not None and subject.event_time >= _MILLISECONDS


def _has_bad_time(subject: Subject) -> bool:
    time = subject.event_time
    return time is None or time <= 0 or time != int(time)


def _is_future(subject: Subject) -> bool:
    return subject.age < -catalogue.FUTURE_TOLERANCE and not _is_milliseconds(subject)


def _delay(subject: Subject) -> float:
    """Return the age of what is lived through at once; shops send their day in one go."""
    known = not _has_bad_time(subject) and subject.max_age == catalogue.MAX_AGE
    return subject.age if known and subject.age <= subject.max_age else 0


# Address

_TECHNICAL_HOST = re.compile(
    r"(^|\.)(stripe|paypal|adyen|klarna|mollie|braintreegateway|checkout|authorize)\.(com|net)$"
)
_TECHNICAL_PATH = re.compile(
    r"/(wp-|django-)?admin(-ajax\.php)?(/|$)|/(api|ajax|webhooks?|ipn|graphql|callback|xhr)(/|$)",
    re.IGNORECASE,
)
_PAYMENT_PATH = re.compile(
    r"/(payments?|paypal|stripe|adyen|klarna|mollie|3ds|psp)(/|$)", re.IGNORECASE
)


def _is_foreign(subject: Subject) -> bool:
    page = subject.page
    return bool(subject.hosts and page and (page.hostname or "") not in subject.hosts)


def _is_technical(subject: Subject) -> bool:
    page = subject.page
    if page is None:
        return False
    host, path = page.hostname or "", page.path
    found = _TECHNICAL_HOST.search(host) or _TECHNICAL_PATH.search(path) or "wc-ajax" in page.query
    return bool(found) or (bool(_PAYMENT_PATH.search(path)) and not _may_be_paying(subject))


def _may_be_paying(subject: Subject) -> bool:
    """Tell whether the event belongs on a page for paying."""
    return subject.name == "AddPaymentInfo" or catalogue.is_page_event(subject.name)


def _addresses_with(wrong: Callable[[str], bool]) -> Callable[[Subject], Iterator[str]]:
    return lambda subject: (key for key in ADDRESSES if wrong(subject.text(key)))


# Money


def _gives(subject: Subject, key: str) -> bool:
    return subject.custom_data.get(key) not in (None, "")


def _needs(subject: Subject, key: str) -> bool:
    event = catalogue.STANDARD_EVENTS.get(subject.name)
    return event is not None and key in event.required


def _has_bad_value(subject: Subject) -> bool:
    given = subject.custom_data.get("value")
    return _gives(subject, "value") and amount(given) is None


def _has_negative_value(subject: Subject) -> bool:
    return (amount(subject.custom_data.get("value")) or 0) < 0


def _lacks_currency(subject: Subject, *, required: bool) -> bool:
    if _gives(subject, "currency") or _needs(subject, "currency") != required:
        return False
    return required or _gives(subject, "value")


# Contents and parameters


def _lacks_content(subject: Subject) -> bool:
    event = catalogue.STANDARD_EVENTS.get(subject.name)
    groups = event.catalogue_ads if event else ()
    return any(not any(subject.custom_data.get(key) for key in group) for group in groups)


def _lacks_content_type(subject: Subject) -> bool:
    event = catalogue.STANDARD_EVENTS.get(subject.name)
    named = any(subject.custom_data.get(key) for key in ("contents", "content_ids"))
    wanted = event is not None and bool(event.catalogue_ads)
    return wanted and named and not subject.custom_data.get("content_type")


def _has_unknown_type(subject: Subject) -> bool:
    given = subject.custom_data.get("content_type")
    return bool(given) and not (isinstance(given, str) and given in parameters.CONTENT_TYPES)


def _has_bad_contents(subject: Subject) -> bool:
    contents = subject.custom_data.get("contents")
    if contents is None:
        return False
    return not isinstance(contents, list) or not all(
        isinstance(item, Mapping) and is_id(item.get("id")) for item in contents
    )


def _has_bad_ids(subject: Subject) -> bool:
    ids = subject.custom_data.get("content_ids")
    return ids is not None and not (isinstance(ids, list) and all(map(is_id, ids)))


def _has_foreign_ids(subject: Subject) -> bool:
    known = subject.content_ids
    return known is not None and any(value not in known for value in content_ids(subject))


_SINGULAR = {folded(name).rstrip("s"): name for name in parameters.PARAMETERS}


def _near_parameters(subject: Subject) -> Iterator[str]:
    for key in subject.custom_data:
        standard = _SINGULAR.get(folded(str(key)).rstrip("s"))
        if standard and key not in parameters.PARAMETERS:
            yield _parameter(key)


def _parameter(key: object) -> str:
    return f"custom_data.{shown_word(key)}"


def _parameters_with(wrong: Callable[[str], bool]) -> Callable[[Subject], Iterator[str]]:
    def fields(subject: Subject) -> Iterator[str]:
        for key, value in subject.custom_data.items():
            if any(map(wrong, personal_data.texts([key, value]))):
                yield _parameter(key)

    return fields


def _personal_parameters(subject: Subject) -> Iterator[str]:
    for key in subject.custom_data:
        if key not in parameters.PARAMETERS and personal_data.is_personal_name(str(key)):
            yield _parameter(key)


# Match keys

_DIGEST = re.compile(r"[0-9a-f]{64}(\.([A-Za-z0-9_-]{8}|AQ|Ag|Aw|BA|BQ|Bg))?")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_FOREIGN_LENGTHS = frozenset({32, 40, 128})
_SHORTEST_DIGEST = 33
"""A shorter text of hex digits may be a name or a telephone number."""


def _is_too_little(subject: Subject) -> bool:
    keys = {key for key, value in subject.user_data.items() if value not in (None, "", [])}
    return not subject.emptied and (
        not keys or any(keys <= broad for broad in match_keys.INVALID_USER_DATA_SETS)
    )


def _values(given: Any) -> list[Any]:
    return given if isinstance(given, list) and given else [given]


def _digest_fault(value: Any) -> str:
    """Return the code of what is wrong with a digest, ``""`` when nothing is."""
    if not isinstance(value, str):
        return "match_key_malformed"
    if value == EMPTY_HASH or value.startswith(f"{EMPTY_HASH}."):
        return "match_key_empty_hash"
    if _DIGEST.fullmatch(value):
        return ""
    if not _HEX.fullmatch(value) or value.isdigit():
        return "match_key_unhashed"
    if len(value) in _FOREIGN_LENGTHS:
        return "match_key_foreign_digest"
    return "match_key_malformed" if len(value) >= _SHORTEST_DIGEST else "match_key_unhashed"


def _external_id_fault(value: Any) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return "match_key_malformed"
    text = str(value)
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
    if given is None:
        return False
    return not isinstance(given, str) or not given.strip() or bool(_DIGEST.fullmatch(given))


_MARK = r"(?:\.(?:[A-Za-z0-9_-]{8}|AQ|Ag|Aw|BA|BQ|Bg))?"
_COOKIES = {
    "fbp": re.compile(rf"fb\.[0-9]{{1,2}}\.([0-9]{{10,13}})\.[0-9]{{1,19}}{_MARK}", re.ASCII),
    "fbc": re.compile(rf"fb\.[0-9]{{1,2}}\.([0-9]{{10,13}})\.[A-Za-z0-9_-]{{1,500}}{_MARK}"),
}
_SECONDS_DIGITS = 10


def _created(subject: Subject, key: str) -> str | None:
    """Return the digits of the cookie's creation time, ``""`` when it is no such cookie."""
    given = subject.user_data.get(key)
    if given in (None, ""):
        return None
    match = _COOKIES[key].fullmatch(given) if isinstance(given, str) else None
    return match[1] if match and len(match[1]) in {10, 13} else ""


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
    return given not in (None, "") and subject.address is None


# The table

FLAGS: Mapping[str, Callable[[Subject], bool]] = {
    "event_name_missing": lambda subject: not subject.name.strip(),
    "event_name_near_miss": _is_near_miss,
    "event_name_reserved": lambda subject: subject.name in catalogue.RESERVED_NAMES,
    "event_name_invalid": _has_bad_name,
    "event_id_missing": lambda subject: subject.raw.get("event_id") in (None, ""),
    "event_id_malformed": _has_bad_id,
    "event_id_in_custom_data": lambda subject: "event_id" in subject.custom_data,
    "action_source_missing": lambda subject: not subject.raw.get("action_source"),
    "action_source_unknown": _has_unknown_source,
    "event_time_invalid": _has_bad_time,
    "event_time_milliseconds": _is_milliseconds,
    "event_time_future": _is_future,
    "sent_too_late": lambda s: not _has_bad_time(s) and s.age > s.max_age,
    "sent_very_late": lambda subject: _delay(subject) > STALE_AFTER,
    "sent_late": lambda subject: FRESH_FOR < _delay(subject) <= STALE_AFTER,
    "event_source_url_missing": lambda s: s.is_website and not s.raw.get("event_source_url"),
    "event_source_url_invalid": lambda s: bool(s.raw.get("event_source_url")) and s.page is None,
    "event_source_url_host": _is_foreign,
    "event_source_url_technical": _is_technical,
    "value_missing": lambda s: _needs(s, "value") and not _gives(s, "value"),
    "value_invalid": _has_bad_value,
    "value_negative": _has_negative_value,
    "value_without_currency": lambda subject: _lacks_currency(subject, required=False),
    "currency_missing": lambda subject: _lacks_currency(subject, required=True),
    "currency_invalid": lambda s: _gives(s, "currency") and currency(s) not in CURRENCIES,
    "currency_without_value": lambda s: (
        _gives(s, "currency") and not _gives(s, "value") and not _needs(s, "value")
    ),
    "custom_data_malformed": lambda subject: not _is_object(subject, "custom_data"),
    "content_missing": _lacks_content,
    "content_type_missing": _lacks_content_type,
    "content_type_unknown": _has_unknown_type,
    "contents_malformed": _has_bad_contents,
    "content_ids_malformed": _has_bad_ids,
    "content_id_unknown": _has_foreign_ids,
    "user_data_malformed": lambda subject: not _is_object(subject, "user_data"),
    "user_data_insufficient": _is_too_little,
    "user_agent_missing": _lacks_agent,
    "user_agent_invalid": _has_bad_agent,
    "fbp_invalid": _has_bad_cookie("fbp"),
    "fbc_invalid": _has_bad_cookie("fbc"),
    "fbp_seconds": _is_in_seconds("fbp"),
    "fbc_seconds": _is_in_seconds("fbc"),
    "fbp_future": _is_from_the_future("fbp"),
    "fbc_future": _is_from_the_future("fbc"),
    "ip_invalid": _has_bad_address,
    "ip_private": lambda subject: subject.address is not None and not subject.is_public,
}
"""Rules that say yes or no; the field stands with the text."""

FIELDS: Mapping[str, Callable[[Subject], Iterable[str]]] = {
    "event_key_unknown": _unknown_keys,
    "url_email": _addresses_with(personal_data.url_has_email),
    "url_phone": _addresses_with(personal_data.url_has_phone),
    "url_secret": _addresses_with(personal_data.url_has_secret),
    "parameter_near_miss": _near_parameters,
    "parameter_email": _parameters_with(personal_data.has_email),
    "parameter_phone": _parameters_with(personal_data.has_phone),
    "parameter_personal_name": _personal_parameters,
    "match_key_unknown": _unknown_match_keys,
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
"""Rules that name the fields at fault."""


SERVER_ONLY = frozenset(
    code
    for code in (*FLAGS, *FIELDS)
    if code.startswith(("action_source", "event_time", "sent_", "user_", "ip_"))
) | {"event_key_unknown", "event_source_url_missing", "match_key_unhashed"}
"""What says nothing about a browser's copy: Meta's script adds times, addresses and hashes."""


def faults(subject: Subject, *, browser: bool = False) -> Iterator[tuple[str, str]]:
    """Yield ``(code, field)`` of all that is wrong with one event; a flag's field is ``""``."""
    skipped = SERVER_ONLY if browser else frozenset()
    for code, applies in FLAGS.items():
        if code not in skipped and applies(subject):
            yield code, ""
    for code, fields in FIELDS.items():
        if code not in skipped:
            for field in fields(subject):
                yield code, field
