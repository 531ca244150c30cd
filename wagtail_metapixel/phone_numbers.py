"""Telephone numbers as Meta matches them: digits, the country code first.

A number that says its country is only stripped. One that does not is read as a number of the
person's country or the site's region, if the extra ``phone`` is installed; else it is left out,
unless it is certain what it means.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import starmap
from typing import Any

HAS_PHONENUMBERS = find_spec("phonenumbers") is not None
"""Whether the extra ``phone`` is installed."""

UNCERTAIN = (
    "has no country code: write it with + and the country code, or install the extra 'phone' and"
    " set the site's default region"
)
DIGITS_MAX = 15
"""Of the longest number there is (ITU-T E.164), without its +."""

# Compiled at their first use: a number that begins with its + needs none of them.
_EXTENSION = r"(?i)[\s,;]*(?:ext(?:ension|n)?\.?|x|#)[\s.:=]*[0-9]{1,7}$"
_LETTER = r"[^\W\d_]|@"
# A pause before an extension, or between two numbers: what comes after it cannot be told apart.
_PAUSE = "[,;*#\uff0c\uff1b\u060c\u3001]"
_NOT_DIGITS = r"[^0-9]+"
_SCHEME = r"(?i)tel:[\s/]*"
_PLUS = r"[\s(]*[+\uff0b]"
_SIGNS = b" ()-./"
_TRUNK_ZERO = re.compile(r"\(\s*0\s*\)")
_ZERO_STAYS = frozenset({"39", "378", "379"})
"""Italy, San Marino and the Vatican, where the zero is dialled from abroad, too."""


def normalise_phone(text: str, region: str | None, country: str | None) -> str | None:
    """Return the digits of a number, ``None`` when it cannot be one.

    ``country`` is the person's, ``region`` the site's, either as two letters or unknown.
    """
    if text[0] == "+" and text.isascii():
        digits = text[1:].encode().translate(None, _SIGNS).decode()
        # A zero in brackets is dialled at home only.
        if digits.isdecimal() and not ("(" in text and _TRUNK_ZERO.search(text)):
            return _of_a_length(digits)
    text = re.sub(_EXTENSION, "", ascii_digits(_without_scheme(text)))
    if re.search(_LETTER, text) or re.search(_PAUSE, text):
        return None
    digits = text if text.isdecimal() else re.sub(_NOT_DIGITS, "", text)
    if _is_international(text, digits):
        known = bool(region or country)
        return _of_a_length(_without_trunk_zero(text, digits, known=known))
    if HAS_PHONENUMBERS and (region or country):
        return _parsed(text, digits, region, country)
    return _of_a_length(digits)


def phone_doubt(text: str, value: str, region: str | None, country: str | None) -> str | None:
    """Say of a number that was only stripped, not understood, that it cannot match anybody.

    Digits without a sign are Meta's own way to write a whole number, so they count as one unless
    they begin with the zero of a national number, or a country is known whose number they may be.
    """
    if text[0] == "+" or len(value) > DIGITS_MAX:  # the longer ones are digests
        return None
    if HAS_PHONENUMBERS and (region or country):
        return None
    text = ascii_digits(_without_scheme(text))
    digits = re.sub(_NOT_DIGITS, "", text)
    if _is_international(text, digits):
        return None
    return UNCERTAIN if digits.startswith("0") or region is not None or country else None


def ascii_digits(text: str) -> str:
    """Return ``text`` with the digits of every script as 0 to 9."""
    if text.isascii():
        return text
    return "".join([str(unicodedata.decimal(character, character)) for character in text])


def _of_a_length(digits: str) -> str | None:
    digits = digits.lstrip("0")
    return digits if 7 <= len(digits) <= DIGITS_MAX else None


def _without_scheme(text: str) -> str:
    return re.sub(_SCHEME, "", text, count=1) if text[0] in "tT" else text


def _is_international(text: str, digits: str) -> bool:
    return digits.startswith("00") or bool(re.match(_PLUS, text))


def _without_trunk_zero(text: str, digits: str, *, known: bool) -> str:
    """Return the digits of a whole number without the ``(0)`` that is dialled at home only.

    ``known`` says that a region or country is. Without one a British number keeps its zero, as all
    of Meta's libraries agree to write it.
    """
    zero = _TRUNK_ZERO.search(text) if "(" in text else None
    if zero is None:
        return digits
    code = re.sub(_NOT_DIGITS, "", text[: zero.start()]).lstrip("0")
    if not 1 <= len(code) <= 3:  # something else stands in front of it, too
        return digits
    if code == "44" and not known:
        return digits
    number = _valid(f"+{digits.lstrip('0')}", None) if HAS_PHONENUMBERS else None
    if number:
        return _digits_of(number)
    return digits if code in _ZERO_STAYS else code + re.sub(_NOT_DIGITS, "", text[zero.end() :])


@cache
def _library() -> Any:
    # Twenty milliseconds, for a number that does not say its country: not at every start.
    return import_module("phonenumbers")


def _parsed(text: str, digits: str, region: str | None, country: str | None) -> str | None:
    # Where the person lives says more than where the shop is.
    homes = [home.upper() for home in dict.fromkeys((country, region and region.lower())) if home]
    whole = _valid(f"+{digits}", None)
    if whole and whole.country_code in map(_library().country_code_for_region, homes):
        return _digits_of(whole)
    readings = [(text, home) for home in homes]
    if digits.startswith("0"):  # of old habit, where numbers have no trunk zero any more
        readings += [(digits.lstrip("0"), home) for home in homes]
    number = next(filter(None, starmap(_valid, readings)), whole)
    return _digits_of(number) if number else None


def _valid(written: str, home: str | None) -> Any:
    try:
        number = _library().parse(written, home)
    except _library().NumberParseException:
        return None
    return number if _library().is_valid_number(number) else None


def _digits_of(number: Any) -> str:
    return f"{number.country_code}{_library().national_significant_number(number)}"
