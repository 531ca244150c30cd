"""What the linter finds in one event alone: a table of small functions, one for each code."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from wagtail_metapixel import (
    catalogue,
    match_key_rules,
    parameter_rules,
    parameters,
    personal_data,
)
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.redaction import shown_word
from wagtail_metapixel.subjects import Subject, is_text, is_whole

CLOCK_DRIFT = 60
"""Ours: Meta publishes no tolerance for clocks that run ahead."""
FRESH_FOR = catalogue.HOUR
STALE_AFTER = catalogue.DAY
ADDRESSES = ("event_source_url", "referrer_url")


def _is_object(subject: Subject, key: str) -> bool:
    return isinstance(subject.raw.get(key, {}), Mapping | None)


# The event

_KNOWN_KEYS = catalogue.EVENT_KEYS | {"received_at"}


def _unknown_keys(subject: Subject) -> Iterator[str]:
    return (shown_word(key) for key in subject.raw if key not in _KNOWN_KEYS)


_NAMES = frozenset((*catalogue.STANDARD_EVENTS, *catalogue.CUSTOM_EVENTS))


def _is_near_miss(subject: Subject) -> bool:
    name = subject.name[: catalogue.CUSTOM_NAME_MAX]
    return name not in _NAMES and _is_near(name)


@lru_cache(maxsize=256)
def _is_near(name: str) -> bool:
    spelling = catalogue.nearest(name, _NAMES, likeness=1)
    return bool(spelling) or catalogue.event_name_problem(name) is not None


def _is_reserved(subject: Subject) -> bool:
    name = subject.name.lower()
    return any(name == reserved.lower() for reserved in catalogue.RESERVED_NAMES)


def _has_bad_name(subject: Subject) -> bool:
    name = subject.name
    said_elsewhere = (
        not name.strip()
        or len(name) > catalogue.CUSTOM_NAME_MAX
        or _is_near_miss(subject)
        or _is_reserved(subject)
    )
    if said_elsewhere:
        return False
    try:
        catalogue.check_event_name(name)
    except EventError:
        return True
    return False


def _has_bad_id(subject: Subject) -> bool:
    text = subject.text("event_id")
    return text != text.strip() or len(text) > catalogue.EVENT_ID_MAX


def _has_unknown_source(subject: Subject) -> bool:
    source = subject.raw.get("action_source")
    known = isinstance(source, str) and source in catalogue.ACTION_SOURCES
    return bool(source) and not known


# Keys of the event itself, each of the kind that Meta takes


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _one_of(choices: Collection[Any]) -> Callable[[Any], bool]:
    return lambda value: (is_text(value) or is_whole(value)) and value in choices


CHANNELS: Mapping[str, tuple[str, ...]] = {
    "messenger": ("page_id",),
    "instagram": ("ig_account_id",),
    "whatsapp": ("page_id", "whatsapp_business_account_id"),
}
"""Channels of business messaging, and the match keys of which each wants one."""
_KEY_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "event_id": is_text,
    "referrer_url": is_text,
    "opt_out": lambda value: isinstance(value, bool),
    "app_data": _is_mapping,
    "attribution_data": _is_mapping,
    "original_event_data": _is_mapping,
    "advanced_measurement_table": is_text,
    "messaging_channel": _one_of(CHANNELS),
    "customer_segmentation": _one_of(parameters.CUSTOMER_SEGMENTS),
    "data_processing_options": lambda value: value in ([], ["LDU"]),
    "data_processing_options_country": _one_of({0, 1}),
    "data_processing_options_state": _one_of({0, *catalogue.LDU_STATES.values()}),
}
_ORIGINAL_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "event_name": is_text,
    "event_id": is_text,
    "order_id": is_text,
    "event_time": is_whole,
}


def _malformed_keys(subject: Subject) -> Iterator[str]:
    yield from _of_another_kind(subject.raw, _KEY_KINDS)
    original = subject.raw.get("original_event_data")
    if isinstance(original, Mapping):
        for key in _of_another_kind(original, _ORIGINAL_KINDS):
            yield f"original_event_data.{key}"


def _of_another_kind(
    given: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], bool]]
) -> Iterator[str]:
    for key, fits in kinds.items():
        value = given.get(key)
        if value is not None and not fits(value):
            yield key


# What some action sources need

_EXTINFO_ITEMS = 16
_EXTINFO_OS_VERSION = 4
MESSAGING_EVENTS = frozenset(
    {"AddToCart", "InitiateCheckout", "LeadSubmitted", "Purchase", "ViewContent"}
)


def _lacking_keys(subject: Subject) -> Iterator[str]:
    source = subject.raw.get("action_source")
    if source == "app" and not _has_extinfo(subject.raw.get("app_data")):
        yield "app_data.extinfo"
    if source == "business_messaging":
        yield from _lacking_for_messaging(subject)


def _has_extinfo(app_data: Any) -> bool:
    extinfo = app_data.get("extinfo") if isinstance(app_data, Mapping) else None
    return (
        isinstance(extinfo, list)
        and len(extinfo) == _EXTINFO_ITEMS
        and extinfo[0] in ("a2", "i2")
        and extinfo[_EXTINFO_OS_VERSION] not in (None, "")
    )


def _lacking_for_messaging(subject: Subject) -> Iterator[str]:
    if subject.name not in MESSAGING_EVENTS:
        yield "event_name"
    channel = subject.raw.get("messaging_channel")
    if channel is None:
        yield "messaging_channel"
    wanted = CHANNELS.get(channel, ()) if isinstance(channel, str) else ()
    if wanted and not any(subject.user_data.get(key) for key in wanted):
        yield f"user_data.{wanted[-1]}"


# Time

_MILLISECONDS = 10**11
"""In seconds, this is the year 5138."""


def _is_milliseconds(subject: Subject) -> bool:
    return subject.event_time is not None and subject.event_time >= _MILLISECONDS


def _has_bad_time(subject: Subject) -> bool:
    time = subject.event_time
    return time is None or time <= 0 or not isinstance(subject.raw["event_time"], int)


def _is_future(subject: Subject) -> bool:
    return subject.age < -CLOCK_DRIFT and not _is_milliseconds(subject)


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


def _has_bad_page(subject: Subject) -> bool:
    return subject.raw.get("event_source_url") is not None and subject.page is None


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


_PAYING = frozenset({"AddPaymentInfo", "InitiateCheckout", "Purchase"})


def _may_be_paying(subject: Subject) -> bool:
    """Tell whether the event belongs on a page for paying."""
    return subject.name in _PAYING or catalogue.is_page_event(subject.name)


def _addresses_with(wrong: Callable[[str], bool]) -> Callable[[Subject], Iterator[str]]:
    return lambda subject: (key for key in ADDRESSES if wrong(subject.text(key)))


# The tables

_FLAGS: Mapping[str, Callable[[Subject], bool]] = {
    "event_name_missing": lambda subject: not subject.name.strip(),
    "event_name_near_miss": _is_near_miss,
    "event_name_reserved": _is_reserved,
    "event_name_too_long": lambda subject: len(subject.name) > catalogue.CUSTOM_NAME_MAX,
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
    "event_source_url_missing": lambda s: s.is_website and s.raw.get("event_source_url") is None,
    "event_source_url_invalid": _has_bad_page,
    "event_source_url_host": _is_foreign,
    "event_source_url_technical": _is_technical,
    "custom_data_malformed": lambda subject: not _is_object(subject, "custom_data"),
    "user_data_malformed": lambda subject: not _is_object(subject, "user_data"),
}
FLAGS = {**_FLAGS, **parameter_rules.FLAGS, **match_key_rules.FLAGS}
"""Rules that say yes or no; the field stands with the text."""

_FIELDS: Mapping[str, Callable[[Subject], Iterable[str]]] = {
    "event_key_unknown": _unknown_keys,
    "event_key_malformed": _malformed_keys,
    "action_source_incomplete": _lacking_keys,
    "url_email": _addresses_with(personal_data.url_has_email),
    "url_phone": _addresses_with(personal_data.url_has_phone),
    "url_account_number": _addresses_with(personal_data.url_has_account_number),
    "url_secret": _addresses_with(personal_data.url_has_secret),
}
FIELDS = {**_FIELDS, **parameter_rules.FIELDS, **match_key_rules.FIELDS}
"""Rules that name the fields at fault."""


_RULES_OF_THE_SERVER = frozenset(
    code
    for code in (*FLAGS, *FIELDS)
    if code.startswith(("action_source", "event_time", "sent_", "user_", "ip_"))
) | {
    "event_key_unknown", "event_source_url_missing", "match_key_unhashed", "match_key_unreadable",
}  # fmt: skip
"""What says nothing about a browser's copy: Meta's script adds times, addresses and hashes."""


def faults(subject: Subject, *, browser: bool = False) -> Iterator[tuple[str, str]]:
    """Yield ``(code, field)`` of all that is wrong with one event; a flag's field is ``""``."""
    skipped = _RULES_OF_THE_SERVER if browser else frozenset()
    for code, applies in FLAGS.items():
        if code not in skipped and applies(subject):
            yield code, ""
    for code, fields in FIELDS.items():
        if code not in skipped:
            for field in fields(subject):
                yield code, field
