"""Meta's verdict over one request: all of its events are taken, or none.

Where Meta documents a demand and nobody has seen whether it enforces it, the sandbox takes the
stricter reading: a missing ``action_source``, and an ``event_source_url`` that is not absolute,
are refused here. Where Meta is known to take a thing and to warn of it, so does the sandbox; see
``strictness.py`` for the switch.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.checking import check_choice, check_type, is_deeper, is_integer
from wagtail_metapixel.sandbox.custom_data import check_custom_data
from wagtail_metapixel.sandbox.graph_errors import (
    invalid_call,
    invalid_event,
    invalid_parameter,
    unexpected_key,
)
from wagtail_metapixel.sandbox.user_data import check_user_data


def check_request(params: dict[str, Any], events: list[Any], now: float) -> None:
    """Raise :class:`GraphError` for the first thing wrong with a request of ``events``.

    ``params`` are the other parameters of the call, ``now`` the Unix time in seconds.
    """
    if not 1 <= len(events) <= rules.MAX_EVENTS:
        raise invalid_parameter("$['data']", f"must have 1 to {rules.MAX_EVENTS} events")
    _check_partner_agent(params.get("partner_agent"))
    _check_test_event_code(params.get("test_event_code"))
    for index, event in enumerate(events):
        check_event(event, f"$['data'][{index}]", now)


def check_event(event: Any, path: str, now: float) -> None:
    """Raise :class:`GraphError` unless Meta would take ``event``, which stands at ``path``."""
    if not isinstance(event, dict):
        raise invalid_parameter(path, "must be an object")
    if is_deeper(event, rules.MAX_DEPTH):
        raise invalid_parameter(path, "is nested too deep")
    for key in event:
        if key not in rules.EVENT_KEYS:
            raise unexpected_key(key, path)
    for key in rules.REQUIRED_EVENT_KEYS:
        if event.get(key) is None:
            raise invalid_parameter(f"{path}['{key}']", "is required")
    _check_name(event["event_name"], f"{path}['event_name']")
    check_choice(event["action_source"], rules.ACTION_SOURCES, f"{path}['action_source']")
    _check_time(event["event_time"], event["action_source"], now, f"{path}['event_time']")
    _check_optional(event, path)
    check_user_data(event["user_data"], f"{path}['user_data']")
    custom_data = {} if event.get("custom_data") is None else event["custom_data"]
    check_type(custom_data, "object", f"{path}['custom_data']")
    check_custom_data(event["event_name"], custom_data, f"{path}['custom_data']")
    if event["action_source"] == "app":
        _check_app(event, path)
    if event["action_source"] == "business_messaging":
        _check_messaging(event, event["user_data"])


def _check_partner_agent(value: Any) -> None:
    if value is None:
        return
    letters = sum(c.isascii() and c.isalpha() for c in value) if isinstance(value, str) else 0
    if letters < rules.MIN_PARTNER_AGENT_LETTERS or len(value) > rules.MAX_PARTNER_AGENT:
        raise invalid_call(
            "partner_agent",
            f"must have at least {rules.MIN_PARTNER_AGENT_LETTERS} letters and at most"
            f" {rules.MAX_PARTNER_AGENT} characters",
        )


def _check_test_event_code(value: Any) -> None:
    # Meta publishes neither a form nor a lifetime. An old or misspelled code refuses nothing: the
    # events are processed, and only the page of test events stays empty.
    if value is not None and not isinstance(value, str):
        raise invalid_call("test_event_code", "must be a string")


def _check_name(name: Any, path: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise invalid_parameter(path, "must be a name")
    if len(name) > rules.MAX_EVENT_NAME:
        raise invalid_parameter(path, f"must have at most {rules.MAX_EVENT_NAME} characters")


def _check_time(event_time: Any, action_source: str, now: float, path: str) -> None:
    if not is_integer(event_time):
        raise invalid_parameter(path, "must be Unix seconds as an integer")
    days = rules.ACTION_SOURCES[action_source]
    # Compared, not subtracted: an integer of JSON may be too large for a float.
    if event_time < now - days * rules.DAY:
        raise invalid_event(
            2804003,
            "Event Timestamp Too Old",
            f"The event_time of a {action_source} event may be at most {days} days ago.",
        )
    if event_time > now + rules.FUTURE_TOLERANCE:
        raise invalid_event(
            2804004,
            "Event Timestamp In The Future",
            "The event_time lies in the future. It is in Unix seconds, not milliseconds.",
        )


_OPTIONAL_TYPES = {
    "event_id": "string",
    "event_source_url": "string",
    "referrer_url": "string",
    "opt_out": "boolean",
    "app_data": "object",
    "attribution_data": "object",
    "advanced_measurement_table": "string",
}


def _check_optional(event: dict[str, Any], path: str) -> None:
    for key, value in event.items():
        if key in _OPTIONAL_TYPES and value is not None:
            check_type(value, _OPTIONAL_TYPES[key], f"{path}['{key}']")
    for key in ("messaging_channel", "customer_segmentation"):
        if event.get(key) is not None:
            check_choice(event[key], rules.CHOICES[key], f"{path}['{key}']")
    if event.get("event_source_url") is not None:
        _check_url(event["event_source_url"], f"{path}['event_source_url']")
    _check_original_event(event.get("original_event_data"), f"{path}['original_event_data']")
    _check_data_processing(event, path)


def _check_url(url: str, path: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise invalid_parameter(path, "must be an absolute http or https address")


def _check_original_event(value: Any, path: str) -> None:
    if value is None:
        return
    check_type(value, "object", path)
    for key in ("event_name", "event_id", "order_id"):
        if value.get(key) is not None:
            check_type(value[key], "string", f"{path}['{key}']")
    if value.get("event_time") is not None:
        check_type(value["event_time"], "integer", f"{path}['event_time']")


def _check_data_processing(event: dict[str, Any], path: str) -> None:
    options = event.get("data_processing_options")
    if options is not None and (not isinstance(options, list) or options not in ([], ["LDU"])):
        raise invalid_parameter(f"{path}['data_processing_options']", "must be [] or ['LDU']")
    for key, allowed in (
        ("data_processing_options_country", rules.LDU_COUNTRIES),
        ("data_processing_options_state", rules.LDU_STATES),
    ):
        if event.get(key) is not None:
            check_type(event[key], "integer", f"{path}['{key}']")
            check_choice(event[key], allowed, f"{path}['{key}']")


def _check_app(event: dict[str, Any], path: str) -> None:
    if event.get("app_data") is None:
        raise invalid_parameter(f"{path}['app_data']", "is required")
    extinfo = event["app_data"].get("extinfo")
    if not (
        isinstance(extinfo, list)
        and len(extinfo) == rules.EXTINFO_ITEMS
        and str(extinfo[0]) in rules.EXTINFO_VERSIONS
        and extinfo[rules.EXTINFO_OS_VERSION] not in (None, "")
    ):
        raise invalid_event(
            2804043,
            "Invalid Extended Device Information",
            f"app_data.extinfo has {rules.EXTINFO_ITEMS} items, begins with a2 or i2, and its"
            " fifth item names the version of the operating system.",
        )


def _check_messaging(event: dict[str, Any], user_data: dict[str, Any]) -> None:
    if event["event_name"] not in rules.MESSAGING_EVENTS:
        raise invalid_event(
            2804066,
            "Messaging Event Invalid Event Type",
            f"Business messaging takes {', '.join(sorted(rules.MESSAGING_EVENTS))}.",
        )
    channel = event.get("messaging_channel")
    if channel is None:
        raise invalid_event(2804063, "Missing Messaging Channel", "Add a messaging_channel.")
    if channel == "messenger" and not user_data.get("page_id"):
        raise invalid_event(2804069, "Missing Page ID", "Messenger events need a page_id.")
    if channel == "instagram" and not user_data.get("ig_account_id"):
        raise invalid_event(2804079, "Missing Account ID", "Instagram needs an ig_account_id.")
    account = user_data.get("page_id") or user_data.get("whatsapp_business_account_id")
    if channel == "whatsapp" and not account:
        raise invalid_event(
            2804116,
            "Missing WhatsApp Account",
            "WhatsApp events need a page_id or a whatsapp_business_account_id.",
        )
