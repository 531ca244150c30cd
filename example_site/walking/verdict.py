"""What the shopper did, compared with what the sandbox received, event by event."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

CHANNELS = ("browser", "server")
TITLES = ("Event", "Page", "Id", "Browser", "Server", "Deduplicated", "Meta keeps", "which lacks")
LONGEST_PAGE = 26
LONGEST_VALUE = 60


@dataclass(frozen=True)
class Expected:
    """An event that has to arrive from the browser and from the server, once each.

    ``page`` is the path of the page it belongs to, ``""`` where that does not matter;
    ``parameters`` are those of the ``custom_data`` that the shopper could read on the page.
    """

    name: str
    page: str = ""
    parameters: dict = field(default_factory=dict)

    def fits(self, record):
        """Tell whether ``record``, an event of the sandbox's, is this one."""
        return self.name == record["event_name"] and not [*self.wrong_in(record)]

    def wrong_in(self, record):
        """What ``record`` says differently from the page the shopper saw, in words."""
        found = record["copies"][0]["custom_data"]
        for name, wanted in self.parameters.items():
            if not same(found.get(name), wanted):
                yield f"{name} is {found.get(name)!r}, on the page it was {wanted!r}"
        for copy in record["copies"] if self.page else ():
            if path_of(copy) != self.page:
                yield f"the {copy['channel']}'s copy is of {path_of(copy)}, not of {self.page}"

    def __str__(self):
        return f"{self.name} of {self.page}" if self.page else self.name


@dataclass(frozen=True)
class Row:
    """One line of the table, and what is wrong with it."""

    name: str
    page: str = ""
    event_id: str = ""
    counts: dict = field(default_factory=lambda: dict.fromkeys(CHANNELS, 0))
    deduplicated: bool = False
    kept: str = ""
    lacking: tuple = ()
    faults: tuple = ()

    def cells(self):
        return (
            self.name,
            shortened(self.page, LONGEST_PAGE),
            self.event_id[:8],
            *(str(self.counts[channel] or "-") for channel in CHANNELS),
            "yes" if self.deduplicated else "no",
            self.kept or "-",
            ", ".join(self.lacking) or "nothing" if self.kept else "-",
        )


@dataclass(frozen=True)
class Verdict:
    """The walk's result: a row for each event, and sentences about everything that is wrong."""

    rows: list
    faults: list

    def __bool__(self):
        return not self.faults

    def __str__(self):
        lines = [table([TITLES, *(row.cells() for row in self.rows)]), ""]
        if self.faults:
            lines += ["Wrong:", *(f"  {fault}" for fault in self.faults), ""]
        return "\n".join([*lines, self.last_line()])

    def last_line(self):
        count = len(self.rows)
        if self.faults:
            return f"{count} events, {len(self.faults)} faults."
        return (
            f"{count} events, each once from the browser and once from the server, equal in "
            "parameters and in the match keys that both carry. Nothing unexpected."
        )


def judge(expected, records, *, click_id, refused=(), troubles=()):
    """Compare what was ``expected`` with the sandbox's ``records``.

    ``click_id`` is the ``fbclid`` the shopper arrived with, ``refused`` what the sandbox turned
    away, ``troubles`` are sentences about what went wrong on the way.
    """
    pairs, unexpected = pair(expected, records)
    rows = [row_of(one, record, click_id) for one, record in pairs]
    rows += [row_of(None, record, click_id) for record in unexpected]
    faults = [f"{label(row)}: {fault}" for row in rows for fault in row.faults]
    faults += one_visitor(records)
    faults += [f"the sandbox refused a request: {each['error']['message']}" for each in refused]
    return Verdict(rows, [*faults, *troubles])


def pair(expected, records):
    """Give each expected event its record: one that fits, else the next of that name, else None.

    Returns the pairs in the order of ``expected``, and the records that are left over.
    """
    left = list(records)
    pairs = [[one, take(left, one.fits)] for one in expected]
    for each in pairs:
        if each[1] is None:
            each[1] = take(left, lambda record, one=each[0]: record["event_name"] == one.name)
    return pairs, left


def take(records, fits):
    """Remove and return the first record that ``fits``, or None."""
    found = next(filter(fits, records), None)
    if found is not None:
        records.remove(found)
    return found


def row_of(expected, record, click_id):
    """The line about an expected event, an unexpected record, or both when they belong together."""
    if record is None:
        faults = ("arrived from neither side",)
        return Row(expected.name, expected.page, faults=faults)
    faults = [*count_faults(record), *copy_faults(record, click_id), *warnings(record)]
    if expected is None:
        faults.insert(0, "nobody did this")
    else:
        faults += expected.wrong_in(record)
    return Row(
        name=record["event_name"],
        page=page_of(record),
        event_id=record["event_id"],
        counts=record["counts"],
        deduplicated=record["status"] == "deduplicated",
        kept=record["kept"],
        lacking=tuple(record["lacking"]),
        faults=tuple(faults),
    )


def count_faults(record):
    """Copies that are missing, or came more than once."""
    for channel in CHANNELS:
        count = record["counts"][channel]
        if count == 0:
            yield f"the {channel}'s copy did not arrive"
        elif count > 1:
            yield f"the {channel}'s copy arrived {count} times"


def copy_faults(record, click_id):
    """What the copies say differently, or do not say at all."""
    for each in record["differences"]:
        yield unequal(each["field"], each["browser"], each["server"])
    browser, server = (first(record, channel) for channel in CHANNELS)
    if browser and server:
        yield from match_key_faults(browser["user_data"], server["user_data"])
    for copy in filter(None, (browser, server)):
        yield from id_faults(copy, click_id)


def match_key_faults(browser, server):
    # The sandbox compares the keys that name a visitor; here, all that came from both sides count.
    compared_by_sandbox = {"fbp", "fbc", "external_id"}
    for key in sorted((browser.keys() & server.keys()) - compared_by_sandbox):
        if values(browser[key]) != values(server[key]):
            yield unequal(f"user_data.{key}", browser[key], server[key])


def id_faults(copy, click_id):
    """The ids of the browser and of the click have to be in every copy."""
    if not copy["user_data"].get("fbp"):
        yield f"the {copy['channel']}'s copy has no fbp"
    fbc = copy["user_data"].get("fbc")
    if not fbc:
        yield f"the {copy['channel']}'s copy has no fbc"
    elif not fbc.endswith(f".{click_id}"):
        yield f"the click id of the {copy['channel']}'s copy changed: {fbc} instead of {click_id}"


def warnings(record):
    """What Meta would take, but complain about."""
    for each in record["diagnostics"]:
        if each["level"] == "warning":
            yield f"{each['channel'] or 'both copies'}: {each['title']}"


def one_visitor(records):
    """One shopper has one browser id and one click."""
    copies = [copy for record in records for copy in record["copies"]]
    for key in ("fbp", "fbc"):
        found = {copy["user_data"].get(key) for copy in copies} - {None}
        if len(found) > 1:
            yield f"{key} changed on the way: {', '.join(sorted(found))}"


# Small readings


def label(row):
    return f"{row.name} {row.event_id[:8]}".strip() if row.event_id else row.name


def first(record, channel):
    """The first copy that came through ``channel``, or None."""
    return next((copy for copy in record["copies"] if copy["channel"] == channel), None)


def page_of(record):
    """The path of the page on which it happened, as the server says, else the browser.

    The browser's copy of what the server did is sent by the page after.
    """
    return path_of(first(record, "server") or record["copies"][0])


def path_of(copy):
    return urlsplit(copy["event_source_url"]).path


def values(value):
    return {str(item) for item in (value if isinstance(value, list) else [value])}


def same(found, wanted):
    """Equal, numbers by their amount: ``20``, ``20.0`` and ``"20.00"`` are one price."""
    try:
        return Decimal(str(found)) == Decimal(str(wanted))
    except InvalidOperation:
        return found == wanted


def unequal(name, browser, server):
    return f"{name} is {quoted(browser)} in the browser and {quoted(server)} on the server"


def quoted(value):
    return shortened(repr(value), LONGEST_VALUE)


def shortened(text, longest):
    return text if len(text) <= longest else text[: longest - 1] + "…"


def table(lines):
    """Lines of cells as text, in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    head, *body = padded
    return "\n".join([head, "-" * len(head), *body])
