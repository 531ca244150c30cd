"""Money and numbers: exact as the currency counts them, then JSON numbers.

Everything is reckoned in ``Decimal``, in a context of our own. What cannot be used raises
:class:`RefusedError`.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from wagtail_metapixel.catalogue import VALUE_MAX
from wagtail_metapixel.exceptions import RefusedError
from wagtail_metapixel.parameters import PARAMETERS

NO_CURRENCY = 4
"""No currency has more decimal places; for an ``item_price`` that came without one."""

EXACT_BELOW = 10**11
"""Up to here a JSON number, which has 15 digits, holds all places of every currency."""

QUANTA = [Decimal(1).scaleb(-places) for places in range(NO_CURRENCY + 1)]
# A context of our own: the caller's may round otherwise, or trap. What cannot be rounded is NaN.
CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN, traps=[])
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,30})?")
_NOT_FINITE = r"(?i)[+-]?(?:s?nan|inf(?:inity)?)"


def amount(raw: Any, exponent: int) -> float:
    """Return an amount of 0 or more, rounded half-even to ``exponent`` decimal places.

    ``raw`` is a ``Decimal``, an ``int``, a ``float`` (0.1 means 0.1) or a text such as ``"12.30"``.
    An ``int`` where the amount is whole, else a ``float``.
    """
    number = rounded(raw, exponent) if type(raw) is Decimal else _rounded(raw, exponent)
    if 0 <= number <= VALUE_MAX:
        if number >= EXACT_BELOW:
            _check_digits(number, raw, exponent)
        return int(number) if number.is_integer() else number
    # What is not a number, or infinite, is a complaint of its own.
    rule = "has to be 0 or more" if exact(raw) < 0 else "is too large for a number"
    raise RefusedError(rule, mistake=False)


def _check_digits(number: float, raw: Any, exponent: int) -> None:
    if Decimal(repr(number)) != exact(raw).quantize(QUANTA[exponent], None, CONTEXT):
        raise RefusedError("has more digits than a JSON number holds exactly", mistake=False)


def signed_amount(raw: Any, exponent: int) -> float:
    """Return an amount that may be negative, rounded like any other."""
    if (number := exact(raw)) < 0:
        # Not -number, which is rounded in the caller's context.
        return -amount(number.copy_negate(), exponent)
    return amount(raw, exponent)


def rounded(number: Decimal, exponent: int) -> float:
    """Return ``number`` rounded half-even; NaN for what cannot be rounded."""
    return float(number.quantize(QUANTA[exponent], None, CONTEXT))


def _rounded(raw: Any, exponent: int) -> float:
    if type(raw) is float and raw == round(raw, exponent):
        return raw
    return rounded(exact(raw), exponent)


def exact(raw: Any) -> Decimal:
    """Return the finite number that ``raw`` stands for."""
    if isinstance(raw, str):
        number = _of_text(raw.strip())
    elif isinstance(raw, bool) or not isinstance(raw, (int, float, Decimal)):
        hint = "; pass .amount and .currency apart" if hasattr(raw, "amount") else ""
        raise RefusedError(PARAMETERS["value"].rule + hint)
    else:
        # repr: 0.1 means 0.1, not the binary number next to it.
        number = Decimal(repr(float(raw))) if isinstance(raw, float) else Decimal(raw)
    if not number.is_finite():
        raise RefusedError("has to be a finite number", fatal=True, mistake=False)
    return number


def _of_text(text: str) -> Decimal:
    if _PLAIN_NUMBER.fullmatch(text):
        return Decimal(text)
    if re.fullmatch(_NOT_FINITE, text):
        raise RefusedError("has to be a finite number", fatal=True, mistake=False)
    if not text:
        raise RefusedError("is empty: give an amount, or leave it out")
    raise RefusedError(
        "is a text that cannot be read safely: write 1234.50, in ASCII digits, with a point and"
        " without thousands separators, whatever the locale"
    )


def whole(raw: Any, *, at_least: int) -> int:
    """Return a whole number of ``at_least`` or more."""
    if type(raw) is not int:
        number = exact(raw)
        if number.adjusted() > 17 or number != number.to_integral_value():
            raise RefusedError(f"has to be a whole number of {at_least} or more", mistake=False)
        raw = int(number)
    if at_least <= raw <= VALUE_MAX:
        return int(raw)
    raise RefusedError(f"has to be a whole number of {at_least} or more", mistake=False)


def json_number(raw: float | Decimal) -> float:
    """Return a number of one's own, neither rounded nor signed by any rule, as JSON knows it."""
    if not abs(exact(raw)) <= VALUE_MAX:
        raise RefusedError("is too large for a number", mistake=False)
    if not isinstance(raw, Decimal):
        return raw
    return int(raw) if raw == raw.to_integral_value() else float(raw)
