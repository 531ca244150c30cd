"""What Meta's error codes mean, and what helps.

Source: Meta's reference of the Graph API and of the Conversions API, and answers that others
have met.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class MetaError(NamedTuple):
    """An answer of Meta's, for people."""

    meaning: str
    remedy: str


_TOKEN = "Make a new token in the Events Manager and save it."
_ACCESS = "Give the token's user access to the pixel."
_WAIT = "Nothing to do: sending goes on by itself."
_EVENT = "Mend the event where it is made; this one will not be sent again."
_LATER = "See why it waited so long; this one will not be sent again."
_REPORT = "Report it to the makers of this package; this event will not be sent again."
_UNWORDED = "Meta refused the event, and is not known to say why."
_CHANNEL = "Send it with the tools of that channel; this package does not."
_MESSAGE = "A message event lacks something its channel asks for."
_CALLS = "Too many calls were made"
ERRORS: Mapping[tuple[int, int | None], MetaError] = MappingProxyType(
    {
        (1, None): MetaError("Meta has a fault.", _WAIT),
        (1, 99): MetaError("Meta has a fault.", _WAIT),
        (2, None): MetaError("Meta is down for the moment.", _WAIT),
        (3, None): MetaError("The app behind the token may not do this.", _TOKEN),
        (4, None): MetaError("The app behind the token makes too many calls.", _WAIT),
        (4, 1504022): MetaError("The app behind the token makes too many calls.", _WAIT),
        (4, 1504039): MetaError("The app behind the token makes too many calls.", _WAIT),
        (10, None): MetaError("The token may not do this.", _ACCESS),
        (17, None): MetaError("The token's user makes too many calls.", _WAIT),
        (17, 2446079): MetaError("The token's user makes too many calls.", _WAIT),
        (32, None): MetaError(f"{_CALLS} for one page.", _WAIT),
        (100, None): MetaError("Meta did not understand the request.", _EVENT),
        (100, 33): MetaError(
            "No such pixel, or the token has no right to it.",
            "Compare the pixel id, and give the token's user access to the pixel.",
        ),
        (100, 2804001): MetaError(_UNWORDED, _EVENT),
        (100, 2804003): MetaError("The event is too old.", _LATER),
        (100, 2804004): MetaError("The event lies in the future.", "Check the server's clock."),
        (100, 2804007): MetaError(_UNWORDED, _EVENT),
        (100, 2804008): MetaError("An item of contents has no id.", _EVENT),
        (100, 2804009): MetaError("A Purchase has no value.", _EVENT),
        (100, 2804010): MetaError("A Purchase has no currency.", _EVENT),
        (100, 2804014): MetaError(_UNWORDED, _EVENT),
        (100, 2804016): MetaError(_UNWORDED, _EVENT),
        (100, 2804017): MetaError(_UNWORDED, _EVENT),
        (100, 2804019): MetaError("A parameter is missing or has the wrong form.", _EVENT),
        (100, 2804023): MetaError("A value came without its currency.", _EVENT),
        (100, 2804030): MetaError(_UNWORDED, _EVENT),
        (100, 2804036): MetaError("A lead_id is not, or no longer, known.", _EVENT),
        (100, 2804043): MetaError("An app event lacks the data of its device.", _CHANNEL),
        (100, 2804048): MetaError(_UNWORDED, _EVENT),
        (100, 2804050): MetaError(
            "Too little is known about the person.",
            "Send an e-mail address, a phone number, fbp or an external_id along.",
        ),
        (100, 2804063): MetaError("A message event names no channel.", _CHANNEL),
        (100, 2804066): MetaError("A message event has a name Meta does not take.", _CHANNEL),
        (100, 2804069): MetaError("A Messenger event has no page_id.", _CHANNEL),
        (100, 2804072): MetaError(_MESSAGE, _CHANNEL),
        (100, 2804079): MetaError("An Instagram event has no account id.", _CHANNEL),
        (100, 2804087): MetaError(_MESSAGE, _CHANNEL),
        (100, 2804116): MetaError("A WhatsApp event has no account id.", _CHANNEL),
        (100, 2804118): MetaError(_MESSAGE, _CHANNEL),
        (100, 2804132): MetaError(_MESSAGE, _CHANNEL),
        (102, None): MetaError("The token has expired.", _TOKEN),
        (104, None): MetaError(
            "The proof sent with the token is not that of its app.",
            "Make a token in the Events Manager, whose app asks for no proof.",
        ),
        (105, None): MetaError("The request has too many parameters.", _REPORT),
        (190, None): MetaError("The token cannot be read, or was withdrawn.", _TOKEN),
        (190, 458): MetaError("The app behind the token was removed.", _TOKEN),
        (190, 459): MetaError(
            "The token's user has to log in to Facebook and confirm something.",
            "Log in there as that user, then make a new token.",
        ),
        (190, 460): MetaError("The token ended with a change of password.", _TOKEN),
        (190, 463): MetaError("The token has expired.", _TOKEN),
        (190, 464): MetaError("The token's user has not confirmed the account.", _TOKEN),
        (190, 467): MetaError("The token is not valid any more.", _TOKEN),
        (200, None): MetaError("The token may not do this.", _ACCESS),
        (294, None): MetaError("The token may not manage advertising.", _ACCESS),
        (341, None): MetaError("The app behind the token reached a limit.", _WAIT),
        (368, None): MetaError(
            "Meta has blocked this for a breach of policy.", "Look in the Events Manager; ask Meta."
        ),
        (613, None): MetaError(f"{_CALLS}.", _WAIT),
        (613, 1487742): MetaError(f"{_CALLS} for one ad account.", _WAIT),
        (803, None): MetaError("There is no such pixel.", "Compare the pixel id."),
        (5000, None): MetaError("Meta has a fault.", _WAIT),
        (80000, None): MetaError(f"{_CALLS} for one business.", _WAIT),
        (80003, None): MetaError(f"{_CALLS} for one business.", _WAIT),
        (80004, None): MetaError(f"{_CALLS} for one ad account.", _WAIT),
        (80014, None): MetaError(f"{_CALLS} for one business.", _WAIT),
    }
)
"""By ``(code, subcode)``; look up ``(code, None)`` when a subcode is not listed."""
