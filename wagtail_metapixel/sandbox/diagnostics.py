"""What Meta takes but warns about: the sandbox's edition of the Diagnostics tab."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from wagtail_metapixel import linter
from wagtail_metapixel.sandbox.records import Copy, Record


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
        "A page address holds what looks like an e-mail address or a telephone number. Meta"
        " restricts such data.",
    ),
    "secret_url": Diagnostic(
        "warning",
        "A secret in an address",
        "A page address holds what looks like a password, a token or a key. Leave it out.",
    ),
    "technical_url": Diagnostic(
        "advice",
        "Not a page of the shop's",
        "event_source_url looks like a payment, admin or technical address. Take the page the"
        " visitor acted on.",
    ),
    "personal_parameter": Diagnostic(
        "warning",
        "Personal data in a parameter",
        "A parameter holds, or is named like, something personal. Only hashed match keys may.",
    ),
    "misspelled_parameter": Diagnostic(
        "warning",
        "Not a parameter of Meta's",
        "A name looks like one of Meta's parameters but is spelled differently, so Meta does not"
        " read it.",
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
    faults = linter.faults(_event(copy), browser=copy.channel == "browser", now=copy.received)
    found = {code for code, names in _DECIDED_BY_LINTER.items() if not names.isdisjoint(faults)}
    if copy.unhashed:
        found.add("unhashed")
    if _lacks_place(copy):
        found.add("ldu_without_ip")
    return [code for code in CATALOGUE if code in found]


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


def _event(copy: Copy) -> dict[str, Any]:
    return {
        "event_name": copy.event_name,
        "event_id": copy.event_id,
        "event_time": copy.event_time,
        "action_source": copy.action_source,
        "event_source_url": copy.event_source_url or None,
        "referrer_url": copy.referrer_url,
        "custom_data": copy.custom_data,
        "user_data": copy.user_data,
    }


def _lacks_place(copy: Copy) -> bool:
    options = copy.data_processing_options
    limited = copy.channel == "server" and copy.action_source == "website" and "LDU" in options
    placed = any(option not in {"LDU", "0"} for option in options)
    return limited and not placed and "client_ip_address" not in copy.user_data


_DECIDED_BY_LINTER: Final[dict[str, frozenset[str]]] = {
    "missing_event_id": frozenset({"event_id_missing"}),
    "event_id_in_custom_data": frozenset({"event_id_in_custom_data"}),
    "missing_event_source_url": frozenset({"event_source_url_missing"}),
    "missing_client_user_agent": frozenset({"user_agent_missing"}),
    "invalid_client_ip_address": frozenset({"ip_invalid"}),
    "private_client_ip_address": frozenset({"ip_private"}),
    "invalid_fbp": frozenset({"fbp_invalid", "fbp_seconds"}),
    "invalid_fbc": frozenset({"fbc_invalid", "fbc_seconds"}),
    "unhashed": frozenset({"match_key_personal"}),
    "empty_hash": frozenset({"match_key_empty_hash"}),
    "unknown_user_data": frozenset({"match_key_unknown"}),
    "invalid_value": frozenset(
        {"value_missing", "value_invalid", "value_negative", "purchase_value_negative"}
    ),
    "invalid_currency": frozenset(
        {"currency_missing", "currency_invalid", "value_without_currency"}
    ),
    "missing_content": frozenset({"content_missing"}),
    "unknown_content_type": frozenset({"content_type_unknown"}),
    "name_case": frozenset({"event_name_near_miss"}),
    "reserved_name": frozenset({"event_name_reserved"}),
    "personal_url": frozenset({"url_email", "url_phone", "url_account_number"}),
    "secret_url": frozenset({"url_secret"}),
    "technical_url": frozenset({"event_source_url_technical"}),
    "personal_parameter": frozenset(
        {
            "parameter_email",
            "parameter_phone",
            "parameter_account_number",
            "parameter_personal_name",
        }
    ),
    "misspelled_parameter": frozenset({"parameter_near_miss"}),
    "late": frozenset({"sent_late"}),
    "very_late": frozenset({"sent_very_late", "sent_too_late"}),
}
"""The linter's codes behind each of ours, where both mean the same."""
