"""What is known about a person, in the form in which Meta can match it.

Each key has one small function in :mod:`wagtail_metapixel.normalisers`; this module chooses it,
hashes what it returns and says what is missing. What fails its rule is left out: half a match key,
or the hash of nothing, is worse than none. Texts that go out of here name fields, never values.
"""

from __future__ import annotations

import hashlib
import importlib
import ipaddress
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from django.utils.functional import Promise

from wagtail_metapixel import digests
from wagtail_metapixel.catalogue import SERIOUS_NEAR_MISS, Problem, nearest
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.identifiers import Fbc, Fbp
from wagtail_metapixel.match_keys import INVALID_USER_DATA_SETS, USER_DATA
from wagtail_metapixel.normalisers import (
    DOUBTS,
    NORMALISERS,
    RAW_MAX,
    Doubt,
    Normaliser,
    plain,
    plain_doubt,
    prepared,
)
from wagtail_metapixel.places import country_code


def _sha256_of_python() -> Any:
    """Return CPython's own SHA-256 where it can be had, else that of ``hashlib``.

    ``hashlib`` prefers OpenSSL's, which is the better one for files. For a name it takes three
    times as long, nearly all of it spent on looking the algorithm up.
    """
    for module in ("_sha2", "_sha256"):  # Python 3.12, 3.11
        try:
            return importlib.import_module(module).sha256
        except (ImportError, AttributeError):
            continue
    return hashlib.sha256


_sha256 = _sha256_of_python()

ToWire = Callable[[str, str | None, str | None], str | list[str] | None]


def match(
    user_data: Mapping[str, Any], *, region: str | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """Return ``user_data`` under Meta's keys, normalised and hashed, and what was left out.

    Takes readable names (``email``) and Meta's (``em``), single values and lists. Hashed keys
    become sorted lists of SHA-256 digests, the others texts. ``region``, such as ``"PL"``, is
    where phone numbers without a country code belong.
    """
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    if type(user_data) is not dict:
        copied = _copied(user_data)
        if copied is None:
            rule = "has to be a mapping of keys to values"
            return found, [Problem("user_data", rule, mistake=True)]
        user_data = copied
    country = _only_country(user_data)
    for name, raw in user_data.items():
        # A dozen times per event, and nearly always one good text: no detours.
        if type(raw) is str and name in _QUICK:
            key, prepare, to_wire = _QUICK[name]
            value = to_wire(raw.strip() if raw.isascii() else prepare(raw), region, country)
            if value is not None and key not in found:
                found[key] = value
                continue
        if raw is not None and not (type(raw) is str and not raw):
            try:
                _match_with_care(found, name, raw, region, country, problems)
            except Exception:  # noqa: BLE001 - a broken object costs its own key only
                field = _FIELDS[name].name if name in _FIELDS else "user_data"
                problems.append(Problem(field, "could not be read", mistake=True))
    return found, problems


def normalise(
    field_key: str, raw: Any, *, region: str | None = None, country: str | None = None
) -> str | None:
    """Return one value as Meta wants it before hashing, ``None`` when it breaks its rule.

    ``country``, two lower-case letters, decides what a state or a postcode looks like. A SHA-256
    digest comes back as it is, in lower case.
    """
    entry = _FIELDS.get(field_key)
    if entry is None:
        raise EventError("user_data", "has no such key")
    return _value(entry, raw, region, country)


def hash_value(normalised: str) -> str:
    """Return the SHA-256 of a normalised value, 64 lower-case hex; a digest stays as it is."""
    if not normalised:
        raise ValueError("An empty value is never hashed.")
    if len(normalised) == 64 and digests.DIGEST.fullmatch(normalised):
        return normalised
    digest: str = _sha256(normalised.encode()).hexdigest()
    return digest


def enough(user_data: Mapping[str, Any]) -> bool:
    """Tell whether Meta accepts an event with these of its keys, or calls it too broad."""
    for key, value in user_data.items():
        if value and key in _STRONG:
            return True
    keys = {key for key, value in user_data.items() if value and key in USER_DATA}
    return bool(keys) and not any(keys <= broad for broad in INVALID_USER_DATA_SETS)


_STRONG = USER_DATA.keys() - frozenset().union(*INVALID_USER_DATA_SETS)
"""Keys that are in none of the sets that are too little."""


class _Field(NamedTuple):
    key: str
    name: str
    hashed: bool
    many: bool
    numeric: bool
    """Whether an ``int`` says the same as its text: not where leading zeros count."""
    rule: str
    normaliser: Normaliser
    doubt: Doubt | None
    """Whether a value that has a normal form may be of no use all the same."""


def _match_with_care(
    found: dict[str, Any],
    name: object,
    raw: Any,
    region: str | None,
    country: str | None,
    problems: list[Problem],
) -> None:
    """Add what is several, doubtful, given twice or no text; say what is wrong with the rest."""
    entry = _FIELDS.get(name) if isinstance(name, str) else None
    if entry is None:
        problems.append(_unknown(name))
        return
    usable = [_usable(entry, item, region, country, problems) for item in _items(raw)]
    values = [value for value in usable if value]
    if isinstance(raw, (set, frozenset)):
        values.sort()  # a set has another order in every process
    if entry.many and values:
        found[entry.key] = sorted({*map(hash_value, values), *found.get(entry.key, ())})
    elif values:
        value = _best(entry.key, values)
        found.setdefault(entry.key, hash_value(value) if entry.hashed else value)


def _items(raw: Any) -> Iterable[Any]:
    return raw if isinstance(raw, (list, tuple, set, frozenset)) else (raw,)


def _best(key: str, values: list[str]) -> str:
    """Return the one to send where Meta takes one: the first, but of addresses an IPv6."""
    if key == "client_ip_address":
        return next((value for value in values if ":" in value), values[0])
    return values[0]


def _hashing(entry: _Field) -> ToWire:
    """Return what makes a single, undoubted text the list of its digest, and of others ``None``."""
    normaliser, doubt = entry.normaliser, entry.doubt

    def to_wire(text: str, region: str | None, country: str | None) -> list[str] | None:
        if len(text) < 32:
            value = normaliser(text, region, country) if text else None
        elif len(text) == 64 and digests.DIGEST.fullmatch(text):
            return [text]
        else:
            value = _long_value(entry, text, region, country)
        if not value or (doubt and doubt(text, value, region, country)):
            return None
        return [hash_value(value) if len(value) == 64 else _sha256(value.encode()).hexdigest()]

    return to_wire


def _usable(
    entry: _Field,
    raw: Any,
    region: str | None,
    country: str | None,
    problems: list[Problem],
) -> str | None:
    """Return the value to send, or say why there is none."""
    value = _value(entry, raw, region, country)
    if value is None:
        text = _text_of(entry, raw)
        if text != "" and raw is not None:
            zeros = "; give it as a text, a number loses its zeros" if type(raw) is int else ""
            doubt = plain_doubt(text[:RAW_MAX]) if text and not entry.hashed else None
            problems.append(Problem(entry.name, doubt or entry.rule + zeros, mistake=text is None))
    elif entry.doubt:
        doubt = entry.doubt(_text_of(entry, raw) or "", value, region, country)
        if doubt:
            problems.append(Problem(entry.name, doubt))
            return None if entry.key == "ph" else value
    return value


def _copied(user_data: object) -> dict[str, Any] | None:
    """Return a mapping as a plain dict, ``None`` for what is none, or breaks on being read."""
    try:
        return dict(user_data.items()) if isinstance(user_data, Mapping) else None
    except Exception:  # noqa: BLE001 - a broken object must not cost the event
        return None


def _unknown(name: object) -> Problem:
    """Say that a key is none, and repeat it only when it is nearly one: it may be a value."""
    if isinstance(name, str) and len(name) <= 50 and name.isascii():
        if near := nearest(name, _FIELDS, likeness=SERIOUS_NEAR_MISS):
            return Problem(name, f"is not a key of user_data; did you mean {near!r}?", mistake=True)
        if near := nearest(name, _FIELDS, likeness=0.75):
            rule = f"has a key Meta does not know; did you mean {near!r}?"
            return Problem("user_data", rule, mistake=True)
    return Problem("user_data", "has a key Meta does not know", mistake=True)


def _only_country(user_data: Mapping[str, Any]) -> str | None:
    raw = user_data.get("country")
    if raw is None:
        return None
    try:
        return country_code(raw) if type(raw) is str and len(raw) == 2 else _country_of(raw)
    except Exception:  # noqa: BLE001 - told when its turn comes
        return None


def _country_of(raw: Any) -> str | None:
    """Return the code of the one country that is given, ``None`` when there are several."""
    codes = {_value(_FIELDS["country"], item, None, None) for item in _items(raw)}
    code = codes.pop() if len(codes) == 1 else None
    return code if code and len(code) == 2 else None  # a digest says nothing here


# From anything to a text

_INT_BITS_MAX = 128
"""Of a number that is somebody's id; of very long ones Python makes no text."""


def _value(entry: _Field, raw: Any, region: str | None, country: str | None) -> str | None:
    text = _text_of(entry, raw)
    if not text:
        return None
    if len(text) < 32 or not entry.hashed:
        return entry.normaliser(text, region, country)
    return _long_value(entry, text, region, country)


def _long_value(entry: _Field, text: str, region: str | None, country: str | None) -> str | None:
    """Return what a text that is long enough for a digest stands for."""
    if len(text) > 63 and (digest := digests.MARKED.fullmatch(text)):
        return digest[1].lower()
    if len(text) > RAW_MAX:
        return None
    is_foreign = len(text) in digests.FOREIGN_LENGTHS and digests.HEX.fullmatch(text)
    if is_foreign and entry.key != "external_id":
        return None
    return entry.normaliser(text, region, country)


def _text_of(entry: _Field, raw: Any) -> str | None:
    """Return ``raw`` as trimmed NFC text; ``None`` when it is of a type that cannot be one."""
    if isinstance(raw, Enum):
        raw = raw.value
    if isinstance(raw, str):
        return _prepared(entry.key, str.__str__(raw))
    text = _text_of_object(entry, raw)
    return None if text is None else _prepared(entry.key, text)


def _prepared(key: str, text: str) -> str:
    """Return what :func:`prepared` does, but of cookies every byte: an odd one is refused."""
    return _preparing(key)(text)


def _preparing(key: str) -> Callable[[str], str]:
    return str.strip if key in ("fbc", "fbp") else prepared


def _text_of_object(entry: _Field, raw: Any) -> str | None:
    if isinstance(raw, (Promise, Fbc, Fbp, ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return str(raw)
    if entry.key == "db" and isinstance(raw, date):
        return f"{raw.year:04}{raw.month:02}{raw.day:02}"
    if entry.numeric and isinstance(raw, int) and not isinstance(raw, bool):
        return int.__str__(raw) if raw.bit_length() <= _INT_BITS_MAX else None
    return str(raw) if entry.numeric and isinstance(raw, uuid.UUID) else None


# The table

_NUMERIC = {
    "external_id",
    "subscription_id",
    "fb_login_id",
    "lead_id",
    "page_id",
    "dobd",
    "dobm",
    "doby",
}


def _fields() -> Iterator[tuple[str, _Field]]:
    for key, fact in USER_DATA.items():
        entry = _Field(
            key=key,
            name=fact.name,
            hashed=fact.hashed != "forbidden",
            many=fact.many,
            numeric=key in _NUMERIC,
            rule=fact.rule,
            normaliser=NORMALISERS.get(key, plain),
            doubt=DOUBTS.get(key),
        )
        yield key, entry
        yield fact.name, entry


_FIELDS = dict(_fields())

_PLACES = frozenset({"ct", "st", "zp"})
"""Keys whose digests are worth remembering: there are few places, and they name nobody."""
_digest_of_country = lru_cache(maxsize=256)(hash_value)


def _remembering(entry: _Field) -> ToWire:
    """Return what :func:`_hashing` does, but asked again for a short text answers at once."""
    to_wire = _hashing(entry)
    remembered = lru_cache(maxsize=1024)(to_wire)

    def of_place(text: str, region: str | None, country: str | None) -> list[str] | None:
        is_short = len(text) < 32  # what is remembered has a bound
        found = (remembered if is_short else to_wire)(text, region, country)
        return None if found is None else [*found]  # a list of each event's own

    return of_place


def _country_to_wire(_text: str, _region: str | None, country: str | None) -> list[str] | None:
    return [_digest_of_country(country)] if country else None


def _to_wire(entry: _Field) -> ToWire:
    if not entry.hashed:
        return entry.normaliser
    return _remembering(entry) if entry.key in _PLACES else _hashing(entry)


_QUICK: Mapping[str, tuple[str, Callable[[str], str], ToWire]] = {
    name: (entry.key, _preparing(entry.key), _to_wire(entry))
    for name, entry in _FIELDS.items()
    if entry.many or not entry.hashed
} | {"country": ("country", prepared, _country_to_wire)}
"""Of each name Meta's key, what prepares a text, and what makes the wire value of it."""
