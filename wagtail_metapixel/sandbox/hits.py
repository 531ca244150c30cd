"""Reading the hits that Meta's script sends to ``/tr/``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.checking import is_deeper
from wagtail_metapixel.sandbox.records import Copy
from wagtail_metapixel.sandbox.user_data import is_digest
from wagtail_metapixel.sandbox.wire import form_fields, parse_json

if TYPE_CHECKING:
    from wagtail_metapixel.sandbox.wire import Request

_INDEXED: Final = re.compile(r"(cd|ud)\[([^\]]+)\]")
_NUMBERS: Final = frozenset({"num_items", "predicted_ltv", "value"})
_PIXEL: Final = re.compile(r"\d{5,20}", re.ASCII)


def is_pixel_id(text: str) -> bool:
    """Meta's ids of pixels and data sets: 5 to 20 digits."""
    return bool(_PIXEL.fullmatch(text))


def read_hit(request: Request, now: float) -> Copy | None:
    """The browser copy in a hit; None if it lacks a pixel id or an event name."""
    fields = form_fields(request)
    pixel, name = fields.get("id", ""), fields.get("ev", "")
    if not is_pixel_id(pixel) or not name:
        return None
    custom_data, matching = _indexed(fields)
    unhashed = tuple(sorted(key for key, value in matching.items() if _is_plain(key, value)))
    for key in unhashed:
        del matching[key]
    return Copy(
        channel="browser",
        pixel=pixel,
        event_name=name,
        event_id=fields.get("eid", ""),
        received=now,
        event_time=_seconds(fields.get("ts", "")),
        method=_method(request, fields),
        event_source_url=fields.get("dl", ""),
        referrer_url=fields.get("rl", ""),
        custom_data={key: _decoded(key, value) for key, value in custom_data.items()},
        user_data=_person(request, fields) | matching,
        unhashed=unhashed,
        data_processing_options=_data_processing(fields),
        agent=fields.get("a", ""),
    )


def _indexed(fields: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The values of ``cd[...]`` and of ``ud[...]``; empty ones say nothing."""
    found: dict[str, dict[str, str]] = {"cd": {}, "ud": {}}
    for name, value in fields.items():
        match = _INDEXED.fullmatch(name)
        if match and value:
            found[match[1]][match[2]] = value
    return found["cd"], found["ud"]


def _is_plain(key: str, value: str) -> bool:
    fact = rules.MATCH_KEYS.get(key)
    return (fact is None or fact.hashed == "required") and not is_digest(value)


def _person(request: Request, fields: dict[str, str]) -> dict[str, Any]:
    person = {
        "fbp": fields.get("fbp", ""),
        "fbc": fields.get("fbc", ""),
        "client_ip_address": request.client[0],
        "client_user_agent": request.headers.get("user-agent", ""),
    }
    return {key: value for key, value in person.items() if value}


def _decoded(key: str, value: str) -> Any:
    """Everything in a URL is text: give arrays, objects and amounts their type again."""
    if rules.CUSTOM_DATA_TYPES.get(key) == "string":
        return value  # also where it looks like something else
    if key in _NUMBERS or value[:1] in "[{":
        try:
            decoded = parse_json(value)
        except ValueError:
            return value
        return value if is_deeper(decoded, rules.MAX_DEPTH) else decoded
    return value


def _seconds(milliseconds: str) -> float | None:
    digits = milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) < 16
    return int(milliseconds) / 1000 if digits else None


def _method(request: Request, fields: dict[str, str]) -> str:
    if fields.get("noscript"):
        return "noscript"
    return "post" if request.method == "POST" else "image"


def _data_processing(fields: dict[str, str]) -> tuple[str, ...]:
    if not fields.get("dpo"):
        return ()
    return fields["dpo"], fields.get("dpoco", "0"), fields.get("dpost", "0")
