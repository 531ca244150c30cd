"""What a caller may say about an event beside its parameters, and where Meta wants to read it.

``track()`` takes these among its parameters; on the wire they stand beside ``event_name``. Source:
Meta's reference of server event parameters, and of data processing options.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from wagtail_metapixel import events
from wagtail_metapixel.addresses import EMAIL, clean_url
from wagtail_metapixel.catalogue import EVENT_OPTIONS, LDU_STATES, Problem, check_event_name
from wagtail_metapixel.exceptions import EventError, RefusedError
from wagtail_metapixel.texts import cut, option_meant, readable

ADDRESSES = ("event_source_url", "referrer_url")
LDU, COUNTRY, STATE = (
    "data_processing_options",
    "data_processing_options_country",
    "data_processing_options_state",
)
NAMES = frozenset(EVENT_OPTIONS)
"""The names that :func:`read` takes out of the parameters."""

_UNITED_STATES = 1
_GEOLOCATED = 0

OF_A_LIMITED_SITE: Mapping[str, Any] = MappingProxyType(
    {LDU: ["LDU"], COUNTRY: _GEOLOCATED, STATE: _GEOLOCATED}
)
"""What each event carries where the site limits the use of data. Its pages tell Meta the same."""


class Options(NamedTuple):
    """The options of one event."""

    wire: Mapping[str, Any]
    """Keys of the server event, ready for JSON, without the two addresses. What the pixel in a
    browser cannot say of one event alone."""
    event_source_url: str = ""
    referrer_url: str = ""


NONE = Options({})


def read(
    params: Mapping[str, Any], *, limited: bool = False
) -> tuple[Options, Mapping[str, Any], list[Problem]]:
    """Return the options among ``params``, the other parameters, and what was wrong.

    ``limited``: the site limits the use of data, which counts where ``params`` say nothing of it.

    What limits the use of the data is never lost to a mistake: a slip of its name counts as the
    name, a ``True`` that is none still opts out, and a state nobody knows leaves it to Meta to find
    out the state.
    """
    problems: list[Problem] = []
    params = _spelled_right(params, problems)
    if NAMES.isdisjoint(params):
        return (Options(OF_A_LIMITED_SITE) if limited else NONE), params, problems
    given = {name: params[name] for name in NAMES & params.keys() if params[name] is not None}
    wire = {
        **_opt_out(given, problems),
        **_processing(given, problems, limited=limited),
        **_original_event(given, problems),
    }
    source, referrer = (_address(name, given, problems) for name in ADDRESSES)
    rest = {name: value for name, value in params.items() if name not in NAMES}
    return Options(wire, source, referrer), rest, problems


def _spelled_right(params: Mapping[str, Any], problems: list[Problem]) -> Mapping[str, Any]:
    slips = {
        name: meant
        for name, value in params.items()
        if value is not None and isinstance(name, str) and (meant := option_meant(name))
    }
    if not slips:
        return params
    rule = "is how its name is written; taken as that"
    problems += [Problem(meant, rule, mistake=True) for meant in slips.values()]
    right: dict[str, Any] = {}
    for name, value in params.items():
        meant = slips.get(name, name)
        # Of several spellings the one that limits counts.
        if meant not in slips.values() or _is_no_limit(right.get(meant)):
            right[meant] = value
    return right


def _is_no_limit(value: object) -> bool:
    # Never by ==, which some objects do not bear.
    return value is None or value is False or (isinstance(value, (str, list, tuple)) and not value)


def _address(name: str, given: Mapping[str, Any], problems: list[Problem]) -> str:
    if name not in given:
        return ""
    url = clean_url(given[name], keep_query=None)
    if url is None:
        problems.append(Problem(name, "has to be an absolute http or https address"))
    return url or ""


def _opt_out(given: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    if "opt_out" not in given:
        return {}
    opt_out = given["opt_out"]
    if isinstance(opt_out, bool):
        return {"opt_out": True} if opt_out else {}
    problems.append(Problem("opt_out", "has to be True or False; taken as True", mistake=True))
    return {"opt_out": True}


# Limited data use

_COUNTRIES = "has to be 1 (United States) or 0 (Meta finds out)"
_STATES = f"has to be 0 (Meta finds out) or one of {', '.join(LDU_STATES)}, or its number"


def _processing(
    given: Mapping[str, Any], problems: list[Problem], *, limited: bool
) -> Mapping[str, Any]:
    words = given.get(LDU)
    if not {LDU, COUNTRY, STATE} & given.keys():
        return OF_A_LIMITED_SITE if limited else {}
    if isinstance(words, (list, tuple)) and not words:
        # Meta reads the empty list as a word, too, and here it contradicts the site's pages.
        return {LDU: []} if limited else {}
    if LDU not in given:
        problems.append(Problem(LDU, "has to be ['LDU'] beside a country or state", mistake=True))
    elif not _are_ldu(words):
        problems.append(Problem(LDU, "has to be ['LDU'] or []; taken as ['LDU']", mistake=True))
    country, state = _place(given, problems)
    return {LDU: ["LDU"], COUNTRY: country, STATE: state}


def _are_ldu(words: object) -> bool:
    if isinstance(words, (list, tuple)) and len(words) == 1:
        words = words[0]
    return isinstance(words, str) and words == "LDU"


def _place(given: Mapping[str, Any], problems: list[Problem]) -> tuple[int, int]:
    state = _state(given.get(STATE, _GEOLOCATED), problems)
    country = given.get(COUNTRY, _UNITED_STATES if state else _GEOLOCATED)
    if type(country) is not int or country not in (_GEOLOCATED, _UNITED_STATES):
        problems.append(Problem(COUNTRY, f"{_COUNTRIES}; taken as 1", mistake=True))
    elif state and not country:
        problems.append(Problem(COUNTRY, "is 1 where a state is given", mistake=True))
    elif country and STATE not in given:
        problems.append(Problem(STATE, "is needed with a country; both taken as 0", mistake=True))
    # Meta: a country without its state is no country, and there is but one with such states.
    return (_UNITED_STATES, state) if state else (_GEOLOCATED, _GEOLOCATED)


def _state(given: object, problems: list[Problem]) -> int:
    if isinstance(given, str):
        text = given.strip().upper()
        if text in LDU_STATES:
            return LDU_STATES[text]
        given = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else given
    numbers = {_GEOLOCATED, *LDU_STATES.values()}
    if isinstance(given, int) and not isinstance(given, bool) and given in numbers:
        return int(given)
    problems.append(Problem(STATE, f"{_STATES}; taken as 0", mistake=True))
    return _GEOLOCATED


def unknown_place(wire: Mapping[str, Any], user_data: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong when Meta is to find out the state and has nothing to find it by."""
    if STATE not in wire or wire[STATE] or user_data.get("client_ip_address"):
        return []
    rule = "is needed where no client_ip_address is known: Meta finds the state by it"
    return [Problem(STATE, rule)]


# The event an event goes back to

_ORIGINAL = ("event_name", "event_time", "order_id", "event_id")


def _original_event(given: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    original = given.get("original_event_data")
    if original is None:
        return {}
    if not isinstance(original, Mapping):
        rule = f"has to be a dict of {', '.join(_ORIGINAL)}"
        problems.append(Problem("original_event_data", rule, mistake=True))
        return {}
    wire: dict[str, Any] = {}
    for name, value in original.items():
        if name not in _ORIGINAL:
            rule = f"has a key Meta does not know; it knows {', '.join(_ORIGINAL)}"
            problems.append(Problem("original_event_data", rule, mistake=True))
        elif value is not None and (read := _part(name, value, problems)) is not None:
            wire[name] = read
    return {"original_event_data": wire} if _names_an_event(wire, problems) else {}


def _part(name: str, value: object, problems: list[Problem]) -> Any:
    field = f"original_event_data.{name}"
    try:
        if name == "event_name":
            return check_event_name(value)
        if name == "event_id":
            return events.check_event_id(value)
        return events.unix_seconds(value) if name == "event_time" else _order_id(value)
    except (EventError, RefusedError) as error:
        problems.append(Problem(field, error.rule, mistake=True))
        return None


def _order_id(value: object) -> str | None:
    # As long as the parameter of that name may be.
    found = cut(readable(value))
    if found and EMAIL.search(found):
        raise RefusedError("holds an e-mail address")
    return found


def _names_an_event(wire: Mapping[str, Any], problems: list[Problem]) -> bool:
    if "event_name" in wire and wire.keys() & {"event_id", "order_id", "event_time"}:
        return True
    rule = "needs event_name, and event_id, order_id or event_time to find the event by"
    problems.append(Problem("original_event_data", rule, mistake=True))
    return False
