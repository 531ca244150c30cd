"""An access token that shows itself to nobody but Meta."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from requests import PreparedRequest

# Compiled at its first use: the admin's forms are loaded with its addresses.
PATTERN = r"[A-Za-z0-9|._~+/=-]+"
"""What a token is made of, as a header can carry it."""


def is_well_formed(token: str) -> bool:
    """Tell whether ``token`` can be one: one line of letters and digits, without blanks."""
    return re.fullmatch(PATTERN, token) is not None


class AccessToken:
    """A token on its way from where it is kept to the ``Authorization`` header.

    As an ``auth`` object of requests rather than a header: a ``.netrc`` entry for the host would
    overwrite the header, and this object shows nothing in a traceback, a report of an error or a
    log. False where there is none.
    """

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    def __bool__(self) -> bool:
        return bool(self._token)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __reduce__(self) -> NoReturn:
        raise TypeError("A token is not pickled.")
