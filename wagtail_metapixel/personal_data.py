"""Where somebody's e-mail address, telephone number or secret may have slipped in.

Used to warn, and to keep such things out of warnings. Everything here may be wrong in single cases;
what is sent about a person on purpose goes through ``matching``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from wagtail_metapixel import addresses, catalogue, match_keys

READ_MAX = 2000
"""Characters of one text that are looked at, and parts of one object."""

_PHONE = re.compile(
    addresses.PHONE.pattern + r"|(?<![\w+])"
    r"(?:\([0-9]{3}\)[ -]?[0-9]{3}[ -][0-9]{4}|[0-9]{3}([-. ])[0-9]{3}\1[0-9]{4})(?![0-9])"
)
_PHONE_DIGITS = 7
_LOG_IN = re.compile(r"https?://[^/@:]*:[^/@]+@", re.IGNORECASE)
_PHONE_WORDS = frozenset({"phone", "telephone", "tel", "mobile", "phonenumber", "cellphone"})
_PEOPLE = frozenset(
    "customer client contact user guest buyer member person recipient billing shipping payer"
    " visitor subscriber".split()
)
"""What stands before ``name`` or ``mail`` where it is a person's."""
_TELLING = frozenset(
    {"email", "emailaddress", "surname", "lastname", "firstname", "fullname", "birthday"}
)
"""Names of keys that say the same at the end of a longer one."""
_NUMBER_WORDS = frozenset({"number", "no", "nr"})
_SECRET_WORDS = frozenset(
    "token accesstoken authtoken idtoken refreshtoken csrfmiddlewaretoken jwt password passwd pwd"
    " secret clientsecret apikey sessionid session otp signature".split()
)
_PERSONAL_NAMES = frozenset(
    {match.key for match in match_keys.USER_DATA.values() if match.hashed == "required"}
    | {match.name.replace("_", "") for match in match_keys.USER_DATA.values()}
    | _PHONE_WORDS
    | {"emailaddress", "mail", "username", "fullname", "surname", "lastname", "firstname", "ip"}
    | {"dob", "birthday", "birthdate", "street", "address", "ssn"}
) - {"city", "state", "zip", "country", "ct", "st", "pageid"}  # ordinary in travel and property


def has_email(text: str) -> bool:
    """Tell whether ``text`` holds an e-mail address, percent-encoded once or twice or not."""
    text = text[:READ_MAX]
    if "@" not in text and "%" not in text:
        return False
    plain = _plain(text)
    return "@" in plain and addresses.EMAIL.search(plain) is not None


def _plain(text: str) -> str:
    return unquote(unquote(text))


def has_phone(text: str) -> bool:
    """Tell whether ``text`` holds a number written as only telephone numbers are."""
    return _PHONE.search(text[:READ_MAX]) is not None


def may_be_phone(text: str) -> bool:
    """Tell whether ``text`` has the digits of a telephone number, in whatever form."""
    return sum(map(str.isdigit, text[:READ_MAX])) >= _PHONE_DIGITS


def is_phone_name(key: str) -> bool:
    """Tell whether a key is named like a telephone number: ``tel``, ``mobile_no``, ``userPhone``."""
    if _bare(key) in _PHONE_WORDS:
        return True
    words = _words(key)
    numbered = bool(words) and words[-1] in _NUMBER_WORDS
    before, last = ["", "", *(words[:-1] if numbered else words)][-2:]
    if last == "mobile":  # ``is_mobile`` is about a device
        return numbered or before in _PEOPLE
    return last in _PHONE_WORDS and before != "i"


def is_personal_name(key: str) -> bool:
    """Tell whether a parameter of this name would hold something personal."""
    if _bare(key) in _PERSONAL_NAMES or is_phone_name(key):
        return True
    before, last = ["", "", *_words(key)][-2:]
    of_somebody = last in {"name", "mail"} and before in _PEOPLE
    return of_somebody or last in _TELLING or before + last in _TELLING


_CARD = re.compile(r"(?<![0-9A-Za-z.+_-])[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}(?![0-9A-Za-z_-])")
_CARD_FORM = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}"  # Visa
    r"|5[1-5][0-9]{14}|2[2-7][0-9]{14}"  # Mastercard
    r"|3[47][0-9]{13}|3[068][0-9]{12}|35[0-9]{14}"  # American Express, Diners, JCB
    r"|6[0-9]{15,18}"  # Discover, Maestro, UnionPay
)
_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}(?![0-9A-Za-z])")


def has_account_number(text: str) -> bool:
    """Tell whether ``text`` holds the number of a card or of a bank account (IBAN).

    Both carry check digits; one in ten numbers that look like a card's has the right one.
    """
    text = text[:READ_MAX]
    return any(map(_is_card, _CARD.findall(text))) or any(map(_is_iban, _IBAN.findall(text)))


def _is_card(found: str) -> bool:
    number = found.replace(" ", "").replace("-", "")
    doubled = [int(digit) * 2 for digit in number[-2::-2]]
    total = sum(map(int, number[::-2])) + sum(each - 9 * (each > 9) for each in doubled)
    return bool(_CARD_FORM.fullmatch(number)) and total % 10 == 0


def _is_iban(found: str) -> bool:
    # Words in capitals may follow after a blank: the number ends wherever its check digits fit.
    number = found.replace(" ", "")
    lengths = range(15, len(number) + 1) if " " in found else (len(number),)
    return any(_checks(number[:length]) for length in lengths)


def _checks(iban: str) -> bool:
    digits = "".join(str(int(char, 36)) for char in iban[4:] + iban[:4])
    return int(digits) % 97 == 1


def url_has_account_number(url: str) -> bool:
    """Tell whether an address holds the number of a card or of a bank account."""
    return has_account_number(unquote(url[:READ_MAX]).replace("+", " "))


def url_has_email(url: str) -> bool:
    """Tell whether an address holds an e-mail address behind its host."""
    try:
        parts = urlsplit(url[:READ_MAX])
    except ValueError:
        return has_email(url)
    return has_email(f"{parts.path}?{parts.query}#{parts.fragment}")


def url_has_phone(url: str) -> bool:
    """Tell whether an address holds a telephone number, by its form or its parameter's name."""
    return has_phone(_plain(url[:READ_MAX])) or any(
        is_phone_name(name) and may_be_phone(value) for name, value in _query(url)
    )


def url_has_secret(url: str) -> bool:
    """Tell whether a path or a query holds what only one person should know."""
    if any(value and _bare(name) in _SECRET_WORDS for name, value in _query(url)):
        return True
    base = url.partition("#")[0].partition("?")[0]
    if _LOG_IN.match(base):
        return True
    cleaned = addresses.clean_url(base, keep_query=frozenset())
    if (
        cleaned is None
        or len(base) >= catalogue.URL_MAX
        or has_email(base)
        or has_phone(_plain(base))
    ):
        return False
    return cleaned.rstrip("/").count("/") < base.rstrip("/").count("/")


def _query(url: str) -> Iterator[tuple[str, str]]:
    query = url[:READ_MAX].partition("#")[0].partition("?")[2]
    for pair in query.split("&"):
        name, _equals, value = pair.partition("=")
        yield unquote(name), unquote(value)


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def _words(name: str) -> list[str]:
    """Return the words of ``contact_email``, ``contactEmail`` or ``Contact e-mail``."""
    return [word.lower() for word in _WORDS.findall(name[:READ_MAX])]


def texts(value: Any) -> Iterator[str]:
    """Yield the texts inside a JSON value, keys included."""
    waiting, budget = [value], READ_MAX
    while waiting and budget:
        budget -= 1
        found = waiting.pop()
        if isinstance(found, str):
            yield found
        elif isinstance(found, Mapping):
            waiting += [part for pair in list(found.items())[:budget] for part in pair]
        elif isinstance(found, list | tuple):
            waiting += found[:budget]
