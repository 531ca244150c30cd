"""The strict switch: what Meta takes and only warns about is refused.

For a shop's own test suite, which can then demand that there is nothing to warn of. Only the
sandbox does this, and its refusals say so. What shows only when several copies or events are
compared cannot be refused, since by then Meta has them: look at the ``diagnostics`` of an event.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wagtail_metapixel.sandbox import rules
from wagtail_metapixel.sandbox.diagnostics import copy_diagnostics, explain
from wagtail_metapixel.sandbox.graph_errors import too_lax
from wagtail_metapixel.sandbox.user_data import has_form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wagtail_metapixel.sandbox.records import Copy

_TEST_CODE: Final = re.compile(r"TEST\d+", re.ASCII)


def check_strictly(copy: Copy, path: str = "") -> None:
    """Raise :class:`GraphError`, marked as strict, if there is anything to warn of.

    ``path`` is where in its request the event stood. Advice, which only makes a good event
    better, refuses nothing.
    """
    found = dict(_warnings(copy))
    if found:
        raise too_lax(found, path)


def _warnings(copy: Copy) -> Iterator[tuple[str, str]]:
    """Title and text of each."""
    for code in copy_diagnostics(copy):
        diagnostic = explain(code, copy.channel)
        if diagnostic["level"] == "warning":
            yield diagnostic["title"], diagnostic["text"]
    for key in sorted(_hashed_by_mistake(copy)):
        yield f"Hashed {key}", "Meta reads it in plain text only."
    if _half_a_place(copy):
        yield "Limited Data Use with half a place", "Send country and state, or neither."
    if copy.test_event_code and not _TEST_CODE.fullmatch(copy.test_event_code):
        yield "Unusual test_event_code", "Meta's look like TEST12345."


def _hashed_by_mistake(copy: Copy) -> Iterator[str]:
    """Plain match keys that hold a digest, apart from those that a diagnostic speaks of."""
    for key, value in copy.user_data.items():
        fact = rules.MATCH_KEYS.get(key)
        spoken_of = key in {"client_ip_address", "fbc", "fbp"}
        if fact and fact.hashed == "forbidden" and not spoken_of and not has_form(key, value):
            yield key


def _half_a_place(copy: Copy) -> bool:
    if "LDU" not in copy.data_processing_options:
        return False
    country, state = copy.data_processing_options[-2:]
    return (country == "0") != (state == "0")
