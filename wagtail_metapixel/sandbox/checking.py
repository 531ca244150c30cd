"""The questions that validation asks of one value, each answered with Meta's refusal."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from wagtail_metapixel.sandbox.graph_errors import invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_NUMERIC: Final = re.compile(r"-?\d{1,15}(\.\d{1,10})?", re.ASCII)


def is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """A number that a float can hold: JSON knows no infinity, but ``1e400`` is read as one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def is_amount(value: object) -> bool:
    """A number, or the text of one: Meta's examples write both ``142.52`` and ``"142.52"``."""
    return is_number(value) or (isinstance(value, str) and bool(_NUMERIC.fullmatch(value)))


def is_deeper(value: object, levels: int) -> bool:
    """Whether objects and arrays are nested in more than ``levels`` levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deeper(item, levels - 1) for item in inner)


_TYPES: Final[dict[str, Callable[[object], bool]]] = {
    "boolean": lambda value: isinstance(value, bool),
    "integer": is_integer,
    "number": is_amount,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


def check_type(value: object, wanted: str, path: str) -> None:
    """Refuse ``value`` unless it is of a ``wanted`` type, as in ``"boolean|string"``."""
    names = wanted.split("|")
    if not any(_TYPES[name](value) for name in names):
        article = "an" if names[0][0] in "aeiou" else "a"
        raise invalid_parameter(path, f"must be {article} {' or '.join(names)}")


def check_choice(value: object, allowed: Collection[Any], path: str) -> None:
    """Refuse ``value`` unless it is one of ``allowed``."""
    if not isinstance(value, str | int) or value not in allowed:
        choices = ", ".join(str(choice) for choice in sorted(allowed))
        raise invalid_parameter(path, f"must be one of {choices}")
