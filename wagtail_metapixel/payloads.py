"""An event in the two shapes it takes on the wire: a server event, and its browser copy.

The only module that knows how the keys of both channels are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from wagtail_metapixel.events import Event
from wagtail_metapixel.parameters import SERVER_ONLY

try:
    import orjson

    HAS_ORJSON = True
    _STRICT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
except ImportError:
    HAS_ORJSON = False
"""Whether the extra ``orjson`` is installed."""

VERSION = 1
"""Version of the stored bytes; a row of a version not known here waits for its code."""

PARTNER_AGENT = "wagtail-metapixel"

# json.dumps() makes a new encoder for each call that is not made with its defaults. What comes here
# was built from plain values, so nothing in it can contain itself.
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def dump(value: Any) -> bytes:
    """Return compact UTF-8 JSON. ``ValueError`` for NaN and infinity.

    With orjson installed, the same JSON in less time.
    """
    data = dump_texts(value)
    # NaN and infinity have become null. There hardly is another one, so it is worth a second look;
    # from the right, which begins at the rare letter.
    return data if not HAS_ORJSON or data.rfind(b"null") < 0 else _encode(value).encode()


def dump_texts(value: Any) -> bytes:
    """Return compact UTF-8 JSON of what holds no fraction, such as ``user_data``."""
    if HAS_ORJSON:
        try:
            return orjson.dumps(value, option=_STRICT)
        except TypeError:  # more than 64 bits, a key that is no text, half a surrogate
            pass
    return _encode(value).encode()


_HEAD = b'{"partner_agent":%b,' % dump(PARTNER_AGENT)


def server_event(event: Event) -> bytes:
    """Return the server event without ``user_data``, as JSON bytes."""
    name, event_id, event_time, custom_data, action_source, address, referrer, options = event
    body: dict[str, Any] = {
        "event_name": name,
        "event_time": event_time,
        "event_id": event_id,
        "action_source": action_source,
    }
    if address:
        body["event_source_url"] = address
    if referrer:
        body["referrer_url"] = referrer
    if custom_data:
        body["custom_data"] = custom_data
    if options:
        body.update(options)
    return dump(body)


def browser_event(event: Event, pixel_ids: Iterable[str]) -> dict[str, Any]:
    """Return the copy the browser gives to ``fbq``: id, name, parameters, time, pixels."""
    return {
        "i": event.event_id,
        "n": event.event_name,
        "p": {key: value for key, value in event.custom_data.items() if key not in SERVER_ONLY},
        "t": event.event_time,
        "x": list(pixel_ids),
    }


def stored_browser_event(event: bytes, pixel_ids: Iterable[str]) -> dict[str, Any]:
    """Return the browser copy of an event as the outbox keeps it."""
    body = json.loads(event)
    copy = Event(
        event_name=body["event_name"],
        event_id=body["event_id"],
        event_time=body["event_time"],
        custom_data=body.get("custom_data", {}),
    )
    return browser_event(copy, pixel_ids)


def request_body(rows: Iterable[tuple[bytes, bytes]], *, test_event_code: str = "") -> bytes:
    """Join stored ``(event, user_data)`` pairs to the body of one request."""
    data = [b"".join((event[:-1], b',"user_data":', user, b"}")) for event, user in rows]
    code = b'"test_event_code":%b,' % dump(test_event_code) if test_event_code else b""
    return b"".join((_HEAD, code, b'"data":[', b",".join(data), b"]}"))


def declaration(event_name: str, custom_data: Mapping[str, Any]) -> str:
    """Return the text a page declares an event with, safe inside a ``<script>`` data block."""
    body: dict[str, Any] = {"event_name": event_name}
    if custom_data:
        body["custom_data"] = {k: v for k, v in custom_data.items() if k not in SERVER_ONLY}
    return script_safe(dump(body).decode())


def script_safe(text: str) -> str:
    """Escape the characters with which JSON text could end or confuse a ``<script>`` element."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04X}")
    return text
