"""One small pure function per match key: from a prepared text to what Meta wants to be hashed.

Each takes ``(text, region, country)`` and returns the normal form, or ``None`` when the text breaks
the rule of its key. The text is what :func:`prepared` returns, and not empty; ``region`` is where
phone numbers of the site belong, ``country`` the person's, both two letters or ``None``. Where
Meta's own libraries disagree, ``docs/matching.md`` says what was chosen and why.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache

from wagtail_metapixel import digests
from wagtail_metapixel.addresses import EMAIL
from wagtail_metapixel.identifiers import Fbc, Fbp, public_ip
from wagtail_metapixel.phone_numbers import ascii_digits, normalise_phone, phone_doubt
from wagtail_metapixel.places import country_code, state_code

RAW_MAX = 500
"""Characters of a value; nobody's name is longer."""
USER_AGENT_MAX = 1024
_PREPARED_MAX = 4 * RAW_MAX
"""Characters worth composing; a text this long is refused, and a user agent cut."""

_normalize = unicodedata.normalize

Normaliser = Callable[[str, str | None, str | None], str | None]
Doubt = Callable[[str, str, str | None, str | None], str | None]
"""(text, its normal form, region, country) -> what is doubtful about it."""

# Zero-width and direction marks, blanks that count as letters, and halves of surrogate pairs,
# which have no UTF-8. Compiled at its first use: with characters beyond U+FFFF that takes long.
_INVISIBLE = (
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]+"
)


def prepared(text: str) -> str:
    """Return ``text`` in Unicode's form NFC, without what nobody can see, and trimmed."""
    if text.isascii():
        return text.strip()
    if len(text) > _PREPARED_MAX:
        text = text[:_PREPARED_MAX]
    # Six searches for one character are a third of one search for any of six.
    blank = (
        "\u3164" in text or "\u1160" in text or "\u115f" in text
        or "\uffa0" in text or "\u2800" in text or "\u034f" in text
    )  # fmt: skip
    if blank or not text.isprintable():
        text = re.sub(_INVISIBLE, "", text)
    return _normalize("NFC", text).strip()


# E-mail addresses, names and places

# At its first use, which no page makes.
_compiled = cache(re.compile)

_EMAIL = (
    r"[^\s\x00-\x1f@,;:<>()\[\]\"\\]+@(?:[^\s\x00-\x1f@,;:<>()\[\]\"\\.]+\.)+"
    r"[^\s\x00-\x1f@,;:<>()\[\]\"\\.'`\u2019\u201d\u00ab\u00bb]+"
)
_NAME_JUNK = r"[\s!-/:-@\[-`{-~\x00-\x1f\x7f-\x9f]+"
_ASCII_JUNK = r"[^a-z0-9]+"
_DASH = "[-\u2010-\u2015\u2212\uff0d]"


def _email(text: str, _region: str | None, _country: str | None) -> str | None:
    text = text.lower()
    if not text.isascii():
        text = _normalize("NFC", text)
    return text if len(text) <= 320 and _compiled(_EMAIL).fullmatch(text) else None


def _name(text: str, _region: str | None, _country: str | None) -> str | None:
    text = text.lower()
    if text.isalpha():
        return text if text.isascii() else _normalize("NFC", text)
    text = _composed(_compiled(_NAME_JUNK).sub("", text))
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
        # The numerals of Chinese are letters, too: 三重県 is a prefecture.
        name = _composed("".join([c for c in name if c.isalpha() or not c.isnumeric()]))
    return state_code(name, country) if name and country else name


def _zip(text: str, _region: str | None, country: str | None) -> str | None:
    if not text.isascii():
        text = re.sub(_DASH, "-", ascii_digits(text))
    code = text.lower()
    if not code[0].isdecimal():
        code = _without_mark(code, country)
    code = code.partition("-")[0].replace(" ", "")
    if not (code.isascii() and code.isalnum()):
        code = _letters_and_digits(code)
    if country == "us" or (country is None and len(code) == 9):
        # Nine digits are the long form of an American postcode, and of no other.
        code = code[:5] if code.isdecimal() else code
    return code if 2 <= len(code) <= 20 else None


def _without_mark(code: str, country: str | None) -> str:
    """Return a postcode without the country in front of it, as in ``CH-8001``.

    Letters that are no country belong to the postcode, and so does what stands behind their dash:
    ``VLT-1117`` in Malta.
    """
    mark = re.match(_MARK, code)
    if mark and _is_mark(mark[1], code[mark.end() :], country):
        return code[mark.end() :]
    head, _dash, rest = code.partition("-")
    if head == country and rest.strip()[:1].isalpha():
        return rest
    return head + rest if head.strip().isalpha() else code


def _is_mark(head: str, rest: str, country: str | None) -> bool:
    if country is None:
        return head in _MARKS and bool(re.fullmatch(_FOUR_OR_FIVE_DIGITS, rest))
    # Americans write their state in front.
    return country in (_MARKS.get(head), _THREE_LETTERS.get(head)) or (
        country == "us" and len(head) == 2
    )


# Compiled at their first use: most postcodes begin with a digit.
_MARK = r"([a-z]{1,3})(?:\s*-\s*|\s+)(?=[0-9])"
_FOUR_OR_FIVE_DIGITS = r"(?:[0-9][ -]?){3,4}[0-9]|[0-9]{4,5}-[0-9]{3,4}"
# Only where postcodes are digits: not Great Britain, Ireland, Malta, Bermuda or Canada.
_MARKED_COUNTRIES = """
    at:aut be:bel bg:bgr ch:che cz:cze de:deu dk:dnk ee:est es:esp fi:fin fr:fra gr:grc hr:hrv
    hu:hun it:ita li:lie lt:ltu lu:lux lv:lva no:nor pl:pol pt:prt ro:rou rs:srb se:swe si:svn
    sk:svk us:usa
"""
_PLATES = {
    "a": "at", "b": "be", "d": "de", "e": "es", "f": "fr", "fin": "fi", "fl": "li", "h": "hu",
    "i": "it", "l": "lu", "n": "no", "p": "pt", "s": "se", "usa": "us",
}  # fmt: skip
_THREE_LETTERS = {pair[3:]: pair[:2] for pair in _MARKED_COUNTRIES.split()}
_MARKS = {code: code for code in _THREE_LETTERS.values()} | _PLATES
"""What stands in front of a postcode -> the country, two letters, of which it is the mark."""


def _country(text: str, _region: str | None, _country: str | None) -> str | None:
    return country_code(text)


def _composed(text: str) -> str:
    return text if text.isascii() else _normalize("NFC", text)


def _letters_and_digits(text: str) -> str:
    if text.isascii():
        return _compiled(_ASCII_JUNK).sub("", text)
    # Marks stay: they are the vowels of Hindi and Thai.
    kept = [c for c in text if c.isalnum() or unicodedata.category(c)[0] == "M"]
    return _normalize("NFC", "".join(kept))


# Gender and birth

_GENDERS = {"f": "f", "female": "f", "woman": "f", "m": "m", "male": "m", "man": "m"}
# Compiled at their first use: few shops ask for it.
_COMPACT = r"(?P<year>[0-9]{4})(?P<first>[0-9]{2})(?P<second>[0-9]{2})"
_YEAR_FIRST = (
    r"(?P<year>[0-9]{4})(?P<sign>[-./ ])(?P<first>[0-9]{1,2})(?P=sign)(?P<second>[0-9]{1,2})"
    r"(?:[T ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?)?"
)
_YEAR_LAST = (
    r"(?P<first>[0-9]{1,2})(?P<sign>[-./ ])(?P<second>[0-9]{1,2})(?P=sign)(?P<year>[0-9]{4})"
)


def _gender(text: str, _region: str | None, _country: str | None) -> str | None:
    return _GENDERS.get(text.lower())


def _date_of_birth(text: str, _region: str | None, _country: str | None) -> str | None:
    year_first = re.fullmatch(_YEAR_FIRST, text) or re.fullmatch(_COMPACT, text)
    parts = year_first or re.fullmatch(_YEAR_LAST, text)
    if parts is None:
        return None
    first, second = int(parts["first"]), int(parts["second"])
    if not year_first and first != second:
        if first > 12 or (second <= 12 and parts["sign"] == "."):
            first, second = second, first  # with dots the day comes first everywhere
        elif second <= 12:
            return None  # 05/06/1990 is a day in May and one in June
    try:
        born = date(int(parts["year"]), first, second)
    except ValueError:
        return None
    # A day of grace: somewhere it is tomorrow already.
    latest = datetime.now(tz=UTC).date() + timedelta(days=1)
    return f"{born.year}{first:02}{second:02}" if born.year >= 1900 and born <= latest else None


# Ids, the browser and its connection


def _external_id(text: str, _region: str | None, _country: str | None) -> str | None:
    return text


def _external_id_doubt(
    _text: str, value: str, _region: str | None, _country: str | None
) -> str | None:
    return "is an e-mail address: use a key that never changes" if "@" in value else None


def _ip(text: str, _region: str | None, _country: str | None) -> str | None:
    return public_ip(text)


def _user_agent(text: str, _region: str | None, _country: str | None) -> str | None:
    if not text.isprintable():
        text = "".join([character for character in text if character.isprintable()])
    return (text if len(text) <= USER_AGENT_MAX else text[:USER_AGENT_MAX].strip()) or None


def _fbc(text: str, _region: str | None, _country: str | None) -> str | None:
    return text if Fbc.is_valid(text) else None


def _fbp(text: str, _region: str | None, _country: str | None) -> str | None:
    return text if Fbp.is_valid(text) else None


def plain(text: str, _region: str | None, _country: str | None) -> str | None:
    """Return the text as it is: short, printable, no e-mail address and no SHA-256."""
    if not 0 < len(text) <= RAW_MAX or not text.isprintable():
        return None
    return None if plain_doubt(text) else text


def plain_doubt(text: str) -> str | None:
    """Say what a text holds that no plain key may hold."""
    if "@" in text and EMAIL.search(text):
        return "holds an e-mail address, which is sent hashed only: as email"
    if len(text) == 64 and digests.ANY_CASE.fullmatch(text):
        return "is a digest: Meta wants this key as it is"
    return None


# Keys of old offline events, and functions made to measure

_DIGITS = re.compile(r"[0-9]+")


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


NORMALISERS: Mapping[str, Normaliser] = {
    "em": _email,
    "ph": normalise_phone,
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
"""Of Meta's keys; those that are not here are sent as :func:`plain` leaves them."""
DOUBTS: Mapping[str, Doubt] = {"ph": phone_doubt, "external_id": _external_id_doubt}
"""Of the keys whose value may have a normal form and be of no use all the same."""
