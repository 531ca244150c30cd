"""HTTP to Meta's Graph API, and nothing else.

The token travels in the ``Authorization`` header and stands in no address, text or exception.
Redirects are off, the reply is cut at a length, and one deadline holds for the whole request:
``exchange.py`` sees to that. What Meta answered is sorted into five classes, see :class:`Answer`.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from wagtail_metapixel import conf
from wagtail_metapixel.access_tokens import AccessToken

if TYPE_CHECKING:
    from wagtail_metapixel.exchange import Connection, Reply

logger = logging.getLogger("wagtail_metapixel")

PAUSE_SECONDS = 60.0
"""How long to pause when Meta asks to slow down and names no time."""
PAUSE_CAP_SECONDS = 3600.0
USED_UP = 95.0
"""From which share of a limit on, in percent, to pause before Meta says so."""
_SHARES = ("call_count", "total_time", "total_cputime")
_local = threading.local()

# A parameter, too many of them, or an answer without a code, such as "too large".
_UNCLEAR_CODES = frozenset({100, 105, None})
NO_SUCH_OBJECT = 33
TRANSIENT_CODES = frozenset({1, 2, 5000})
THROTTLING_CODES = frozenset({4, 17, 32, 341, 368, 613, 80000, 80003, 80004, 80014})


class Kind(StrEnum):
    """The five classes of answers, and the sixth for what nobody can know."""

    #: 2xx with as many ``events_received`` as were sent.
    ACCEPTED = "accepted"
    #: Surely not taken, try again: a refused connection, Meta's transient codes below 500.
    TRANSIENT = "transient"
    #: Meta asks to slow down.
    THROTTLED = "throttled"
    #: Token, permission, pixel id, or any other 4xx: a person has to mend something.
    ACCESS = "access"
    #: An event in the request breaks a rule.
    INVALID = "invalid"
    #: The request went out, and a 5xx or no readable answer came back: Meta may have counted it.
    UNKNOWN = "unknown"


class Answer(NamedTuple):
    """What Meta said. ``message`` is safe to store and to show: it holds no token."""

    kind: Kind
    message: str = ""
    code: int | None = None
    subcode: int | None = None
    trace_id: str = ""
    wait_seconds: float = 0.0
    events_received: int = 0
    was_answered: bool = True
    """Whether Meta said anything at all."""

    @property
    def may_be_the_event(self) -> bool:
        """Whether an event in the request can be why Meta did not take it, although it does not say so.

        Not where nothing came back, and not where it is the token, a permission or the pixel.
        """
        if self.kind is Kind.ACCESS:
            return self.code in _UNCLEAR_CODES and self.subcode != NO_SUCH_OBJECT
        return self.kind in {Kind.UNKNOWN, Kind.TRANSIENT} and self.was_answered


def post_events(pixel_id: str, token: AccessToken, body: bytes, *, count: int) -> Answer:
    """Send one request of ``count`` events to ``pixel_id``. Never raises for what Meta does."""
    url = f"{conf.graph_url()}/{conf.graph_version()}/{pixel_id}/events"
    reply = _exchange("POST", url, token, body)
    if reply.failure:
        return _failed(reply)
    return classify(reply.status, reply.body, reply.headers, count=count)


def get_pixel(pixel_id: str, token: AccessToken) -> Answer:
    """Ask whether ``pixel_id`` can be read with ``token``.

    A failing read proves nothing: tokens that may only send are normal.
    """
    url = f"{conf.graph_url()}/{conf.graph_version()}/{pixel_id}?fields=id,name"
    reply = _exchange("GET", url, token, None)
    if reply.failure:
        return _failed(reply)
    if reply.status == 200 and isinstance(_json(reply.body), dict):
        return Answer(kind=Kind.ACCEPTED, message="The pixel answered.")
    return classify(reply.status, reply.body, reply.headers, count=0)


def close() -> None:
    """Close this thread's connection."""
    connection: Connection | None = getattr(_local, "connection", None)
    if connection is not None:
        connection.close()
        _local.connection = None


def classify(status: int, reply: bytes, headers: Mapping[str, str], *, count: int) -> Answer:
    """Sort an HTTP answer into its class."""
    parsed = _json(reply)
    if 200 <= status < 300:
        return _success(parsed, headers, count)
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return _without_error(status, headers)
    code, subcode = _integer(error.get("code")), _integer(error.get("error_subcode"))
    kind = _kind(status, code, subcode, error)
    return Answer(
        kind=kind,
        message=_message(error, code, subcode),
        code=code,
        subcode=subcode,
        trace_id=_plain(error.get("fbtrace_id"), 64),
        wait_seconds=_wait(headers) if kind is Kind.THROTTLED else 0.0,
    )


def _success(parsed: Any, headers: Mapping[str, str], count: int) -> Answer:
    received = parsed.get("events_received") if isinstance(parsed, dict) else None
    if not isinstance(received, int) or received < count:
        return Answer(kind=Kind.UNKNOWN, message="Meta's answer could not be read as a success.")
    used = _share_used(headers)
    is_close = used >= USED_UP
    return Answer(
        kind=Kind.ACCEPTED,
        message=f"{used:.0f} % of what Meta allows is used up; slowing down." if is_close else "",
        trace_id=_plain(parsed.get("fbtrace_id"), 64),
        wait_seconds=_wait(headers) if is_close else 0.0,
        events_received=received,
    )


def _without_error(status: int, headers: Mapping[str, str]) -> Answer:
    message = f"HTTP {status} without an error that can be read."
    if status == 429:
        return Answer(kind=Kind.THROTTLED, message=message, wait_seconds=_wait(headers))
    return Answer(kind=Kind.UNKNOWN if status >= 500 else Kind.ACCESS, message=message)


def _kind(status: int, code: int | None, subcode: int | None, error: Mapping[str, Any]) -> Kind:
    if status == 429 or code in THROTTLING_CODES:
        return Kind.THROTTLED
    if status >= 500:
        return Kind.UNKNOWN
    if code in TRANSIENT_CODES or error.get("is_transient") is True:
        return Kind.TRANSIENT
    if code == 100 and (_is_validation(subcode) or "['data']" in str(error.get("message"))):
        return Kind.INVALID
    return Kind.ACCESS


def _is_validation(subcode: int | None) -> bool:
    return subcode is not None and 2804000 <= subcode <= 2804999


def _message(error: Mapping[str, Any], code: int | None, subcode: int | None) -> str:
    # Meta's own text may repeat what was sent, so only its short title is kept with the codes.
    numbers = f"{code}/{subcode}" if subcode else f"{code}"
    title = _plain(error.get("error_user_title"), 120)
    return f"Meta error {numbers}{': ' + title if title else ''}"


def _wait(headers: Mapping[str, str]) -> float:
    """Return how many seconds to pause: the longest that Meta names, in whatever way."""
    named = [
        _retry_after(headers.get("Retry-After", "")),
        _minutes_of_usage(headers) * 60.0 or None,
    ]
    seconds = max((each for each in named if each is not None), default=PAUSE_SECONDS)
    return min(max(seconds, 1.0), PAUSE_CAP_SECONDS)


def _retry_after(text: str) -> float | None:
    """Return the seconds that a ``Retry-After`` names, or that its date is away (RFC 9110)."""
    for read in (float, _seconds_until):
        try:
            seconds = read(text)
        except (ValueError, OverflowError):
            continue
        return None if math.isnan(seconds) else seconds
    return None


def _seconds_until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()


def _minutes_of_usage(headers: Mapping[str, str]) -> int:
    """Return after how many minutes Meta's usage report says to come again, 0 when it does not."""
    named = [use.get("estimated_time_to_regain_access") for use in _uses(headers)]
    return max((_integer(minutes) or 0 for minutes in named), default=0)


def _share_used(headers: Mapping[str, str]) -> float:
    """Return how much of any limit is used up, in percent."""
    shares: list[Any] = [use.get(name) for use in _uses(headers) for name in _SHARES]
    return max((float(share) for share in shares if type(share) in (int, float)), default=0.0)


def _uses(headers: Mapping[str, str]) -> list[dict[str, Any]]:
    businesses = _json(headers.get("X-Business-Use-Case-Usage", "").encode())
    found = businesses.values() if isinstance(businesses, dict) else ()
    uses = [use for several in found if isinstance(several, list) for use in several]
    uses.append(_json(headers.get("X-App-Usage", "").encode()))
    return [use for use in uses if isinstance(use, dict)]


def _plain(value: Any, length: int) -> str:
    # PostgreSQL stores no NUL, and nothing can store half a surrogate.
    return "".join(filter(str.isprintable, str(value or ""))).strip()[:length]


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _json(reply: bytes) -> Any:
    try:
        return json.loads(reply)
    except (ValueError, RecursionError):
        return None


# The connection


def _exchange(method: str, url: str, token: AccessToken, body: bytes | None) -> Reply:
    return _connection().exchange(method, url, token, body)


def _connection() -> Connection:
    connection: Connection | None = getattr(_local, "connection", None)
    if connection is None:
        from wagtail_metapixel.exchange import Connection  # noqa: PLC0415

        connection = _local.connection = Connection()
    return connection


def _failed(reply: Reply) -> Answer:
    kind = Kind.UNKNOWN if reply.was_sent else Kind.TRANSIENT
    return Answer(kind=kind, message=reply.failure, was_answered=False)
