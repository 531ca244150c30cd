"""What Meta takes but warns about: the sandbox's edition of the Diagnostics tab."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.checking import is_amount
from wagtail_metapixel.sandbox.custom_data import is_currency
from wagtail_metapixel.sandbox.records import Copy, Record

_COOKIE: Final = re.compile(r"fb\.\d\.\d{13}\.[^.\s]+(\.([A-Za-z0-9_-]{8}|AQ|Ag|Aw|BA|BQ|Bg))?")
_BROWSER_ID: Final = re.compile(r"fb\.\d\.\d{13}\.\d+(\.[A-Za-z0-9_-]{2,8})?")
_PRIVATE: Final = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/127",
        "fc00::/7",
        "fe80::/10",
    )
]
_EMPTY_DIGEST: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_ADDRESS: Final = re.compile(r"[^\s@=&/]+@[^\s@&/]+\.[^\s@&/]+")


class Diagnostic(NamedTuple):
    """``level`` is ``warning`` for a fault, ``advice`` for what would only make events better."""

    level: str
    title: str
    text: str


CATALOGUE: Final = {
    "missing_event_id": Diagnostic(
        "warning",
        "No event_id",
        "Meta cannot see that the browser's and the server's copy are one event. Send the same"
        " event_id on both.",
    ),
    "event_id_in_custom_data": Diagnostic(
        "warning", "event_id in custom_data", "It belongs beside event_name; there, Meta reads it."
    ),
    "missing_event_source_url": Diagnostic(
        "warning", "No event_source_url", "Website events need the address of the visitor's page."
    ),
    "missing_client_user_agent": Diagnostic(
        "warning", "No client_user_agent", "Website events need the visitor's user agent."
    ),
    "invalid_client_ip_address": Diagnostic(
        "warning", "Invalid client_ip_address", "Expected one IPv4 or IPv6 address."
    ),
    "private_client_ip_address": Diagnostic(
        "warning",
        "Private client_ip_address",
        "This is the address of a proxy or of your own network, not the visitor's. Leave it out"
        " or configure your trusted proxies.",
    ),
    "invalid_fbp": Diagnostic(
        "warning", "Invalid fbp", "Expected fb.<index>.<milliseconds>.<random number>."
    ),
    "invalid_fbc": Diagnostic(
        "warning", "Invalid fbc", "Expected fb.<index>.<milliseconds>.<fbclid, unchanged>."
    ),
    "unhashed": Diagnostic(
        "warning",
        "Unhashed data received",
        "A match key arrived in plain text. Hash it with SHA-256 before it leaves the page.",
    ),
    "empty_hash": Diagnostic(
        "warning", "Hash of nothing", "A match key is the hash of an empty text. Leave it out."
    ),
    "unknown_user_data": Diagnostic(
        "warning", "Unknown match key", "user_data has a key Meta does not document."
    ),
    "invalid_value": Diagnostic(
        "warning", "Invalid or missing value", "Expected a number of 0 or more."
    ),
    "invalid_currency": Diagnostic(
        "warning", "Invalid or missing currency", "Expected a code of ISO 4217, such as EUR."
    ),
    "missing_content": Diagnostic(
        "advice", "No contents", "Catalogue ads need contents or content_ids on this event."
    ),
    "unknown_content_type": Diagnostic(
        "warning", "Unknown content_type", "Shops use product or product_group."
    ),
    "name_case": Diagnostic(
        "warning",
        "Not a standard event",
        "The name looks like a standard event but is spelled differently, so Meta takes it for a"
        " custom event.",
    ),
    "reserved_name": Diagnostic(
        "warning", "Reserved name", "Meta uses this event name itself. Choose another."
    ),
    "personal_url": Diagnostic(
        "warning",
        "Personal data in an address",
        "A page address holds what looks like an e-mail address. Meta restricts such data.",
    ),
    "late": Diagnostic(
        "advice", "Sent late", "Events help most when they arrive within an hour of happening."
    ),
    "very_late": Diagnostic(
        "warning", "Sent very late", "The event happened more than a day before it was sent."
    ),
    "ldu_without_ip": Diagnostic(
        "warning",
        "Limited Data Use without a place",
        "Country and state are left to Meta, which then needs client_ip_address.",
    ),
    "repeated_event_id": Diagnostic(
        "warning",
        "Same event_id for many events",
        "Several visitors or pages sent this event_id. Is it part of a cached page?",
    ),
    "matched_without_event_id": Diagnostic(
        "advice",
        "Deduplicated without event_id",
        "Only fbp or external_id showed that both copies are one event. That works when the"
        " browser's copy comes first, and not otherwise.",
    ),
    "copies_differ": Diagnostic(
        "warning",
        "The copies differ",
        "Browser and server report different facts about one event. Meta keeps only one copy.",
    ),
    "counted_again": Diagnostic(
        "warning",
        "Counted a second time",
        "This event_id came more than 48 hours ago. Meta counts the event again.",
    ),
    "identical_values": Diagnostic(
        "warning",
        "Same value for every event",
        "The last ten events of this name had one and the same value. Is it a constant?",
    ),
}


def explain(code: str, channel: str) -> dict[str, str]:
    """One diagnostic as JSON: ``code``, ``channel``, ``level``, ``title`` and ``text``."""
    level, title, text = CATALOGUE[code]
    return {"code": code, "channel": channel, "level": level, "title": title, "text": text}


def copy_diagnostics(copy: Copy) -> list[str]:
    """Codes of what Meta would warn about, looking at one copy alone."""
    return [code for code, applies in _COPY_RULES.items() if applies(copy)]


def record_diagnostics(record: Record) -> list[str]:
    """Codes of what shows only when the copies, or several events, are compared."""
    found = sorted(record.notes)
    if record.matched_by == "fallback":
        found.append("matched_without_event_id")
    if _repeated(record):
        found.append("repeated_event_id")
    return found


def _repeated(record: Record) -> bool:
    browser = [copy for copy in record.copies if copy.channel == "browser"]
    people = {copy.user_data["fbp"] for copy in browser if "fbp" in copy.user_data}
    return len(people) > 1 or len({copy.event_source_url for copy in browser}) > 1


def _is_web_server(copy: Copy) -> bool:
    return copy.channel == "server" and copy.action_source == "website"


def _has_bad_address(copy: Copy) -> bool:
    return "client_ip_address" in copy.user_data and _address(copy) is None


def _has_private_address(copy: Copy) -> bool:
    address = _address(copy)
    # Every browser hit reaches the sandbox from an address of this machine.
    return copy.channel == "server" and address is not None and any(address in n for n in _PRIVATE)


def _address(copy: Copy) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = str(copy.user_data.get("client_ip_address", ""))
    # Meta's parameter builder may append a dot and eight characters to the address.
    for candidate in (text, text[:-9] if text[-9:-8] == "." else ""):
        try:
            return ipaddress.ip_address(candidate)
        except ValueError:
            continue
    return None


def _malformed(pattern: re.Pattern[str], key: str) -> Callable[[Copy], bool]:
    def applies(copy: Copy) -> bool:
        return key in copy.user_data and not pattern.fullmatch(str(copy.user_data[key]))

    return applies


def _has_empty_hash(copy: Copy) -> bool:
    return any(
        _EMPTY_DIGEST in (value if isinstance(value, list) else [value])
        for value in copy.user_data.values()
    )


def _has_bad_value(copy: Copy) -> bool:
    value = copy.custom_data.get("value")
    if value is None:
        return copy.event_name in rules.VALUE_EVENTS
    return not is_amount(value) or float(value) < 0


def _has_bad_currency(copy: Copy) -> bool:
    needed = "currency" in copy.custom_data or "value" in copy.custom_data
    needed = needed or copy.event_name in rules.VALUE_EVENTS
    return needed and not is_currency(copy.custom_data.get("currency"))


def _lacks_content(copy: Copy) -> bool:
    named = copy.custom_data.get("contents") or copy.custom_data.get("content_ids")
    return copy.event_name in rules.CATALOG_EVENTS and not named


def _has_unknown_content_type(copy: Copy) -> bool:
    content_type = copy.custom_data.get("content_type")
    return bool(content_type) and content_type not in rules.PRODUCT_TYPES | rules.VERTICAL_TYPES


_FOLDED_NAMES: Final = {name.lower() for name in rules.STANDARD_EVENTS}


def _is_misspelled(copy: Copy) -> bool:
    folded = re.sub(r"[\s_-]", "", copy.event_name).lower()
    return folded in _FOLDED_NAMES and copy.event_name not in rules.STANDARD_EVENTS


def _has_personal_url(copy: Copy) -> bool:
    return any(
        _ADDRESS.search(_readable(url)) for url in (copy.event_source_url, copy.referrer_url)
    )


def _readable(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote(f"{parts.path}&{parts.query}&{parts.fragment}")


def _delay(copy: Copy) -> float:
    return copy.received - copy.event_time if copy.event_time else 0


def _lacks_place(copy: Copy) -> bool:
    limited = _is_web_server(copy) and "LDU" in copy.data_processing_options
    placed = any(option not in {"LDU", "0"} for option in copy.data_processing_options)
    return limited and not placed and "client_ip_address" not in copy.user_data


def _lacks(key: str) -> Callable[[Copy], bool]:
    return lambda copy: _is_web_server(copy) and key not in copy.user_data


_COPY_RULES: Final[dict[str, Callable[[Copy], Any]]] = {
    "missing_event_id": lambda copy: not copy.event_id,
    "event_id_in_custom_data": lambda copy: "event_id" in copy.custom_data,
    "missing_event_source_url": lambda copy: _is_web_server(copy) and not copy.event_source_url,
    "missing_client_user_agent": _lacks("client_user_agent"),
    "invalid_client_ip_address": _has_bad_address,
    "private_client_ip_address": _has_private_address,
    "invalid_fbp": _malformed(_BROWSER_ID, "fbp"),
    "invalid_fbc": _malformed(_COOKIE, "fbc"),
    "unhashed": lambda copy: copy.unhashed,
    "empty_hash": _has_empty_hash,
    "unknown_user_data": lambda copy: copy.user_data.keys() - rules.MATCH_KEYS.keys(),
    "invalid_value": _has_bad_value,
    "invalid_currency": _has_bad_currency,
    "missing_content": _lacks_content,
    "unknown_content_type": _has_unknown_content_type,
    "name_case": _is_misspelled,
    "reserved_name": lambda copy: copy.event_name in rules.RESERVED_EVENTS,
    "personal_url": _has_personal_url,
    "late": lambda copy: rules.FRESH_FOR < _delay(copy) <= rules.STALE_AFTER,
    "very_late": lambda copy: _delay(copy) > rules.STALE_AFTER,
    "ldu_without_ip": _lacks_place,
}
