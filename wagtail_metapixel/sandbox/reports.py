"""Records as JSON: the shape of ``SandboxServer.events()``, the HTTP API and the live page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wagtail_metapixel.sandbox.comparison import differences, lacking
from wagtail_metapixel.sandbox.diagnostics import copy_diagnostics, explain, record_diagnostics

if TYPE_CHECKING:
    from wagtail_metapixel.sandbox.records import Channel, Copy, Record

_CHANNELS: Final[tuple[Channel, ...]] = ("browser", "server")


def record_json(record: Record) -> dict[str, Any]:
    """One logical event: who sent it, what Meta keeps, and what is worth knowing about it."""
    kept = record.kept()
    browser, server = record.first("browser"), record.first("server")
    other = server if kept is browser else browser
    differing = _differences(browser, server)
    return {
        "id": record.id,
        "sequence": record.sequence,
        "pixel": kept.pixel,
        "event_name": kept.event_name,
        "event_id": kept.event_id or (other.event_id if other else ""),
        "status": record.status,
        "matched_by": record.matched_by,
        "received": record.received,
        "kept": kept.channel,
        "kept_copy": record.copies.index(kept),
        "counts": dict(record.counts),
        "lacking": lacking(kept.user_data, other.user_data) if other else [],
        "differences": differing,
        "diagnostics": _diagnostics(record, differ=bool(differing)),
        "copies": [copy_json(copy) for copy in record.copies],
    }


def copy_json(copy: Copy) -> dict[str, Any]:
    """One copy, with the names of its match keys beside their values."""
    return {**vars(copy), "match_keys": sorted(copy.user_data)}


def _differences(browser: Copy | None, server: Copy | None) -> list[dict[str, Any]]:
    if browser is None or server is None:
        return []
    return differences(browser.custom_data, server.custom_data, browser.user_data, server.user_data)


def _diagnostics(record: Record, *, differ: bool) -> list[dict[str, str]]:
    found = [explain(code, "") for code in record_diagnostics(record)]
    if differ:
        found.append(explain("copies_differ", ""))
    for channel in _CHANNELS:
        copy = record.first(channel)
        if copy is not None:
            found += [explain(code, channel) for code in copy_diagnostics(copy)]
    return found
