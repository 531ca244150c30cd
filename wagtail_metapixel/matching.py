"""What is known about a person, in the form in which Meta can match it.

Each field has one small normaliser in :data:`_FIELDS`; where Meta's own libraries disagree,
``docs/matching.md`` says what was chosen and why. What fails its rule is left out: half a match
key, or the hash of nothing, is worse than none. Texts that go out of here name fields, never
values.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import ipaddress
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any

from django.utils.functional import Promise

from wagtail_metapixel.catalogue import INVALID_USER_DATA_SETS, USER_DATA, Problem
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.identifiers import Fbc, Fbp, public_ip

try:
    import phonenumbers

    HAS_PHONENUMBERS = True
except ImportError:
    HAS_PHONENUMBERS = False
"""Whether the extra ``phone`` is installed."""


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

RAW_MAX = 500
"""Characters of a value; nobody's name is longer."""
USER_AGENT_MAX = 1024

Normaliser = Callable[[str, str | None, str | None], str | None]
ToWire = Callable[[str, str | None, str | None], str | list[str] | None]
Doubt = Callable[[str, str, str | None], str | None]
"""(text, its normal form, region) -> what is doubtful about it."""


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
    country = _only_country(user_data)
    for name, raw in user_data.items():
        # A dozen times per event, and nearly always one good text: no detours.
        quick = _QUICK.get(name) if type(raw) is str else None
        if quick is not None:
            key, to_wire = quick
            text = raw.strip() if raw.isascii() else _trimmed(raw)
            value = to_wire(text, region, country)
            if value is not None and key not in found:
                found[key] = value
                continue
        if raw is not None and raw != "":
            _match_with_care(found, name, raw, region, country, problems)
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
    if len(normalised) == 64 and _DIGEST.fullmatch(normalised):
        return normalised
    digest: str = _sha256(normalised.encode()).hexdigest()
    return digest


def enough(user_data: Mapping[str, Any]) -> bool:
    """Tell whether Meta accepts an event with these of its keys, or calls it too broad."""
    keys = {key for key, value in user_data.items() if value and key in USER_DATA}
    return bool(keys) and not any(keys <= broad for broad in INVALID_USER_DATA_SETS)


@dataclass(frozen=True, slots=True)
class _Field:
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
    items = raw if isinstance(raw, (list, tuple, set, frozenset)) else (raw,)
    usable = [_usable(entry, item, region, country, problems) for item in items]
    values = [value for value in usable if value]
    if entry.many and values:
        found[entry.key] = sorted({*map(hash_value, values), *found.get(entry.key, ())})
    elif values:
        found.setdefault(entry.key, hash_value(values[0]) if entry.hashed else values[0])


def _hashing(entry: _Field) -> ToWire:
    """Return what makes a single, undoubted text the list of its digest, and of others ``None``."""
    normaliser, doubt = entry.normaliser, entry.doubt

    def to_wire(text: str, region: str | None, country: str | None) -> list[str] | None:
        if len(text) < 32:
            value = normaliser(text, region, country) if text else None
        elif len(text) == 64 and _DIGEST.fullmatch(text):
            return [text]
        else:
            value = _long_value(entry, text, region, country)
        if not value or (doubt and doubt(text, value, region)):
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
            problems.append(Problem(entry.name, entry.rule + zeros, mistake=text is None))
    elif entry.doubt and (doubt := entry.doubt(_text_of(entry, raw) or "", value, region)):
        problems.append(Problem(entry.name, doubt))
        return None if entry.key == "ph" else value
    return value


def _unknown(name: object) -> Problem:
    if not isinstance(name, str) or not name.isidentifier() or len(name) > 50:
        return Problem("user_data", "has a key Meta does not know", mistake=True)
    near = difflib.get_close_matches(name, _FIELDS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Problem(name, f"is not a key of user_data{hint}", mistake=True)


def _only_country(user_data: Mapping[str, Any]) -> str | None:
    raw = user_data.get("country")
    if type(raw) is str and len(raw) == 2:
        code = raw.lower()  # one that does not exist changes nothing
        return _COUNTRY_ALIASES.get(code, code)
    return None if raw is None else _value(_FIELDS["country"], raw, None, None)


# From anything to a text

# Zero-width and direction marks, and halves of surrogate pairs, which have no UTF-8.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff]+"
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MARKED_DIGEST = re.compile(r"([0-9A-Fa-f]{64})(?:\.(?:[\w-]{8}|AQ|Ag|Aw|BA|BQ|Bg))?", re.ASCII)
_FOREIGN_DIGEST = re.compile(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{128}")


def _value(entry: _Field, raw: Any, region: str | None, country: str | None) -> str | None:
    text = _text_of(entry, raw)
    if not text:
        return None
    if len(text) < 32 or not entry.hashed:
        return entry.normaliser(text, region, country)
    return _long_value(entry, text, region, country)


def _long_value(entry: _Field, text: str, region: str | None, country: str | None) -> str | None:
    """Return what a text that is long enough for a digest stands for."""
    if digest := _MARKED_DIGEST.fullmatch(text):
        return digest[1].lower()
    if len(text) > RAW_MAX or (entry.key != "external_id" and _FOREIGN_DIGEST.fullmatch(text)):
        return None
    return entry.normaliser(text, region, country)


def _text_of(entry: _Field, raw: Any) -> str | None:
    """Return ``raw`` as trimmed NFC text; ``None`` when it is of a type that cannot be one."""
    if isinstance(raw, Enum):
        raw = raw.value
    if not isinstance(raw, str):
        raw = _text_of_object(entry, raw)
    return None if raw is None else _trimmed(str(raw))


def _trimmed(text: str) -> str:
    if text.isascii():
        return text.strip()
    text = text[: 4 * RAW_MAX]
    if not text.isprintable():
        text = _INVISIBLE.sub("", text)
    return unicodedata.normalize("NFC", text).strip()


def _text_of_object(entry: _Field, raw: Any) -> str | None:
    if isinstance(raw, (Promise, Fbc, Fbp, ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return str(raw)
    if entry.key == "db" and isinstance(raw, date):
        return f"{raw.year:04}{raw.month:02}{raw.day:02}"
    if entry.numeric and isinstance(raw, (int, uuid.UUID)) and not isinstance(raw, bool):
        return str(raw)
    return None


# One normaliser per field: (prepared text, region, country) -> normalised text or None

_EMAIL = re.compile(
    r"[^\s\x00-\x1f@,;:<>()\[\]\"\\]+@(?:[^\s\x00-\x1f@,;:<>()\[\]\"\\.]+\.)+"
    r"[^\s\x00-\x1f@,;:<>()\[\]\"\\.]+"
)
_NAME_JUNK = re.compile(r"[\s!-/:-@\[-`{-~\x00-\x1f\x7f-\x9f]+")
_ASCII_JUNK = re.compile(r"[^a-z0-9]+")
_DIGITS = re.compile(r"[0-9]+")


def _email(text: str, _region: str | None, _country: str | None) -> str | None:
    text = _lower(text)
    return text if len(text) <= 320 and _EMAIL.fullmatch(text) else None


def _name(text: str, _region: str | None, _country: str | None) -> str | None:
    text = text.lower().replace(" ", "").replace("-", "")
    if text.isalpha():
        return _composed(text)
    text = _composed(_NAME_JUNK.sub("", text))
    return text if text.isalnum() or any(map(str.isalnum, text)) else None


def _city(text: str, _region: str | None, _country: str | None) -> str | None:
    text = text.lower().replace(" ", "").replace("-", "")
    if text.isalpha():
        return _composed(text)
    text = _letters_and_digits(text)
    return text if text.isalpha() or any(map(str.isalpha, text)) else None


def _state(text: str, region: str | None, country: str | None) -> str | None:
    name = _city(text, region, country)
    if name and not name.isalpha():
        # Composed again: without a digit between them, a letter and a mark may become one.
        name = _composed("".join([c for c in name if not c.isnumeric()]))
    return _US_STATES.get(name, name) if name and country == "us" else name


def _zip(text: str, _region: str | None, country: str | None) -> str | None:
    code = text.lower().partition("-")[0].replace(" ", "")
    if not (code.isascii() and code.isalnum()):
        code = _letters_and_digits(_DASH.split(_ascii_digits(code), maxsplit=1)[0])
    if country == "us" or (country is None and len(code) == 9):
        # Nine digits are the long form of an American postcode, and of no other.
        code = code[:5] if code.isdecimal() else code
    return code if 2 <= len(code) <= 20 else None


def _country(text: str, _region: str | None, _country: str | None) -> str | None:
    code = text.lower()
    code = _COUNTRY_ALIASES.get(code, code)
    return code if code in _COUNTRIES else None


def _gender(text: str, _region: str | None, _country: str | None) -> str | None:
    return _GENDERS.get(text.lower())


def _date_of_birth(text: str, _region: str | None, _country: str | None) -> str | None:
    parts = _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text) or _YEAR_LAST.fullmatch(text)
    if parts is None:
        return None
    first, second = int(parts["first"]), int(parts["second"])
    if parts.re is _YEAR_LAST and first != second:
        if first <= 12 and second <= 12:
            return None  # 05/06/1990 is a day in May and one in June
        first, second = min(first, second), max(first, second)
    try:
        born = date(int(parts["year"]), first, second)
    except ValueError:
        return None
    # A day of grace: somewhere it is tomorrow already.
    latest = datetime.now(tz=UTC).date() + timedelta(days=1)
    return f"{born:%Y%m%d}" if date(1900, 1, 1) <= born <= latest else None


def _external_id(text: str, _region: str | None, _country: str | None) -> str | None:
    return text


def _external_id_doubt(_text: str, value: str, _region: str | None) -> str | None:
    return "is an e-mail address: use a key that never changes" if "@" in value else None


def _first_letters(count: int) -> Normaliser:
    def first_letters(text: str, region: str | None, country: str | None) -> str | None:
        name = (_name(text, region, country) or "")[:count]
        return name if any(map(str.isalnum, name)) else None

    return first_letters


def _part_of_date(low: int, high: int, form: str) -> Normaliser:
    def part_of_date(text: str, _region: str | None, _country: str | None) -> str | None:
        if not _DIGITS.fullmatch(text) or len(text) > len(form.format(0)):
            return None
        return form.format(int(text)) if low <= int(text) <= high else None

    return part_of_date


def _number(low: int, high: int) -> Normaliser:
    def number(text: str, _region: str | None, _country: str | None) -> str | None:
        return text if low <= len(text) <= high and _DIGITS.fullmatch(text) else None

    return number


def _plain(text: str, _region: str | None, _country: str | None) -> str | None:
    return text if 0 < len(text) <= RAW_MAX and text.isprintable() else None


def _user_agent(text: str, _region: str | None, _country: str | None) -> str | None:
    if not text.isprintable():
        text = "".join([character for character in text if character.isprintable()])
    return (text if len(text) <= USER_AGENT_MAX else text[:USER_AGENT_MAX].strip()) or None


def _ip(text: str, _region: str | None, _country: str | None) -> str | None:
    return public_ip(text)


def _fbc(text: str, _region: str | None, _country: str | None) -> str | None:
    return text if Fbc.is_valid(text) else None


def _fbp(text: str, _region: str | None, _country: str | None) -> str | None:
    return text if Fbp.is_valid(text) else None


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.lower())


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _letters_and_digits(text: str) -> str:
    if text.isascii():
        return _ASCII_JUNK.sub("", text)
    # Marks stay: they are the vowels of Hindi and Thai.
    kept = [c for c in text if c.isalnum() or unicodedata.category(c)[0] == "M"]
    return unicodedata.normalize("NFC", "".join(kept))


def _ascii_digits(text: str) -> str:
    """Return ``text`` with the digits of every script as 0 to 9."""
    if text.isascii():
        return text
    return "".join([str(unicodedata.decimal(character, character)) for character in text])


_DASH = re.compile("[-\u2010-\u2015\u2212\uff0d]")
_COMPACT = re.compile(r"(?P<year>[0-9]{4})(?P<first>[0-9]{2})(?P<second>[0-9]{2})")
_YEAR_FIRST = re.compile(
    r"(?P<year>[0-9]{4})(?P<sign>[-./ ])(?P<first>[0-9]{1,2})(?P=sign)(?P<second>[0-9]{1,2})"
)
_YEAR_LAST = re.compile(
    r"(?P<first>[0-9]{1,2})(?P<sign>[-./ ])(?P<second>[0-9]{1,2})(?P=sign)(?P<year>[0-9]{4})"
)
_GENDERS = {"f": "f", "female": "f", "woman": "f", "m": "m", "male": "m", "man": "m"}
_COUNTRY_ALIASES = {"uk": "gb", "united states": "us"}
_COUNTRIES = frozenset(
    """
    ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl bm bn bo bq br bs
    bt bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee
    eg eh er es et fi fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm
    hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc
    li lk lr ls lt lu lv ly ma mc md me mf mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na
    nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw
    sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st sv sx sy sz tc td tf tg th tj tk tl tm tn to
    tr tt tv tw tz ua ug um us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw
    """.split()
)
_US_STATES = dict(
    pair.split(":")
    for pair in """
    alabama:al alaska:ak arizona:az arkansas:ar california:ca colorado:co connecticut:ct
    delaware:de districtofcolumbia:dc washingtondc:dc florida:fl georgia:ga hawaii:hi idaho:id
    illinois:il indiana:in iowa:ia kansas:ks kentucky:ky louisiana:la maine:me maryland:md
    massachusetts:ma michigan:mi minnesota:mn mississippi:ms missouri:mo montana:mt nebraska:ne
    nevada:nv newhampshire:nh newjersey:nj newmexico:nm newyork:ny northcarolina:nc northdakota:nd
    ohio:oh oklahoma:ok oregon:or pennsylvania:pa rhodeisland:ri southcarolina:sc southdakota:sd
    tennessee:tn texas:tx utah:ut vermont:vt virginia:va washington:wa westvirginia:wv
    wisconsin:wi wyoming:wy americansamoa:as guam:gu northernmarianaislands:mp puertorico:pr
    virginislands:vi
    """.split()
)


# Phone numbers

_UNCERTAIN_PHONE = (
    "has no country code: write it with + and the country code, or set the site's default region"
    " and install the extra 'phone'"
)
_EXTENSION = re.compile(r"[\s,;]*(?:ext(?:ension|n)?\.?|x|#)[\s.:=]*[0-9]{1,7}$", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]|@")
_NOT_DIGITS = re.compile(r"[^0-9]+")
_PLUS = re.compile(r"[\s(]*[+\uff0b]")
_TRUNK_ZERO = re.compile(r"\(\s*0\s*\)")


def _phone(text: str, region: str | None, country: str | None) -> str | None:
    digits = text[1:].replace(" ", "").replace("-", "")
    if text[0] == "+" and digits.isascii() and digits.isdecimal():
        digits = digits.lstrip("0")
        return digits if 7 <= len(digits) <= 15 else None
    text = _EXTENSION.sub("", _ascii_digits(text))
    if _LETTER.search(text):
        return None
    digits = text if text.isdecimal() else _NOT_DIGITS.sub("", text)
    region = region or country
    if HAS_PHONENUMBERS and region and _is_national(text, digits):
        return _parsed(text, digits, region.upper())
    digits = digits.lstrip("0")
    return digits if 7 <= len(digits) <= 15 else None


def _is_national(text: str, digits: str) -> bool:
    """Tell whether a number may lack its country code, or has a zero too many after it."""
    international = digits.startswith("00") or bool(_PLUS.match(text))
    return not international or bool(_TRUNK_ZERO.search(text))


def _phone_doubt(text: str, _value: str, region: str | None) -> str | None:
    """Say of a number that was only stripped, not understood, that it cannot match anybody.

    Digits without a sign are Meta's own way to write a whole number, so they count as one unless
    they begin with the zero of a national number, or the site says that its numbers are national.
    """
    if text[0] == "+" or (HAS_PHONENUMBERS and region):
        return None
    text = _ascii_digits(text.strip())
    digits = _NOT_DIGITS.sub("", text)
    if _MARKED_DIGEST.fullmatch(text) or digits.startswith("00") or _PLUS.match(text):
        return None
    return _UNCERTAIN_PHONE if digits.startswith("0") or region is not None else None


def _parsed(text: str, digits: str, region: str) -> str | None:
    # A shop's own customers first; then somebody who left out the + of a foreign number.
    for written, home in ((text, region), (f"+{digits}", None)):
        try:
            number = phonenumbers.parse(written, home)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return None


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
_NORMALISERS: Mapping[str, Normaliser] = {
    "em": _email,
    "ph": _phone,
    "fn": _name,
    "ln": _name,
    "db": _date_of_birth,
    "ge": _gender,
    "ct": _city,
    "st": _state,
    "zp": _zip,
    "country": _country,
    "external_id": _external_id,
    "client_ip_address": _ip,
    "client_user_agent": _user_agent,
    "fbc": _fbc,
    "fbp": _fbp,
    "fb_login_id": _number(1, 20),
    "lead_id": _number(15, 17),
    "f5first": _first_letters(5),
    "f5last": _first_letters(5),
    "fi": _first_letters(1),
    "dobd": _part_of_date(1, 31, "{:02}"),
    "dobm": _part_of_date(1, 12, "{:02}"),
    "doby": _part_of_date(1900, 2100, "{:04}"),
}
_DOUBTS: Mapping[str, Doubt] = {"ph": _phone_doubt, "external_id": _external_id_doubt}


def _fields() -> Iterator[tuple[str, _Field]]:
    for key, fact in USER_DATA.items():
        entry = _Field(
            key=key,
            name=fact.name,
            hashed=fact.hashed != "forbidden",
            many=fact.many,
            numeric=key in _NUMERIC,
            rule=fact.rule,
            normaliser=_NORMALISERS.get(key, _plain),
            doubt=_DOUBTS.get(key),
        )
        yield key, entry
        yield fact.name, entry


_FIELDS = dict(_fields())


@lru_cache(maxsize=256)
def _country_digest(text: str) -> str | None:
    # The one thing worth remembering: there are few, and they name nobody.
    country = _country(text, None, None)
    return hash_value(country) if country else None


def _country_to_wire(text: str, _region: str | None, _country: str | None) -> list[str] | None:
    digest = _country_digest(text) if len(text) < 32 else None
    return [digest] if digest else None


_QUICK: Mapping[str, tuple[str, ToWire]] = {
    name: (entry.key, _hashing(entry) if entry.hashed else entry.normaliser)
    for name, entry in _FIELDS.items()
    if entry.many or not entry.hashed
} | {"country": ("country", _country_to_wire)}
"""Of each name Meta's key, and what makes the wire value of one text."""
