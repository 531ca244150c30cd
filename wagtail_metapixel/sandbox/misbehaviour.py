"""Faults on demand: the ways in which Meta, or the way to Meta, may fail."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import Any, Final

from wagtail_metapixel.sandbox.checking import is_integer, is_number
from wagtail_metapixel.sandbox.graph_errors import GraphError, bad_token, unexpected
from wagtail_metapixel.sandbox.wire import Response

#: What each mode does. The first group refuses the request before anything is recorded; with the
#: second, Meta has the events but the sender cannot be sure of it.
MODES: Final = {
    "429": "answers 429 with Retry-After",
    "500": "answers 500",
    "throttle": "answers 400 with code 80004 and the minutes to wait",
    "expired_token": "answers 401: the access token has expired",
    "reject_id": "refuses every batch that holds one event id",
    "slow": "takes the events, and answers late",
    "reset": "takes the events, and resets the connection",
    "garbage": "takes the events, and answers something that is not JSON",
}
LONGEST_DELAY: Final = 600


@dataclass(frozen=True)
class Misbehaviour:
    """One fault that is switched on. Raises :class:`ValueError` if it makes no sense."""

    mode: str
    #: How many more requests it meets; None for all of them.
    times: int | None = None
    #: ``reject_id`` only: the event id to refuse.
    event_id: str = ""
    #: ``slow`` only: how long to wait before answering.
    seconds: float = 5.0
    #: ``429`` and ``throttle`` only: the seconds the sender is told to wait.
    retry_after: int = 60
    #: Only requests for this pixel; empty for every pixel.
    pixel: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode: must be one of {', '.join(MODES)}")
        if self.times is not None and not (is_integer(self.times) and self.times > 0):
            raise ValueError("times: must be a whole number above 0, or null")
        if not (is_number(self.seconds) and 0 <= self.seconds <= LONGEST_DELAY):
            raise ValueError(f"seconds: must be a number from 0 to {LONGEST_DELAY}")
        if not (is_integer(self.retry_after) and self.retry_after >= 0):
            raise ValueError("retry_after: must be a whole number of seconds")
        if self.mode == "reject_id" and not (self.event_id and isinstance(self.event_id, str)):
            raise ValueError("event_id: the mode reject_id needs one")

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"description": MODES[self.mode]}

    def refusal(self) -> GraphError | None:
        """The error that stands in for Meta's verdict, if this is a fault of that kind."""
        if self.mode == "429":
            return GraphError(
                429,
                4,
                "(#4) Application request limit reached",
                transient=True,
                headers={"Retry-After": str(self.retry_after)},
            )
        if self.mode == "500":
            return GraphError(500, 2, "Service temporarily unavailable", transient=True)
        if self.mode == "throttle":
            return _throttled(self.retry_after)
        if self.mode == "expired_token":
            return bad_token("Error validating access token: Session has expired", 463)
        return None

    def refusal_of(self, events: list[dict[str, Any]]) -> GraphError | None:
        """The error for the first of ``events`` that has the id to refuse."""
        if self.mode != "reject_id":
            return None
        for index, event in enumerate(events):
            if event.get("event_id") == self.event_id:
                return unexpected(f"Refused on request on param \"$['data'][{index}]\"")
        return None

    def spoil(self, answer: Response) -> Response:
        """The answer as it reaches the sender, if it does."""
        if self.mode == "slow":
            return replace(answer, delay=self.seconds)
        if self.mode == "reset":
            return replace(answer, drop=True)
        if self.mode == "garbage":
            return Response(200, b"<html><body>Please log in to the Wi-Fi", "text/html")
        return answer


def _throttled(retry_after: int) -> GraphError:
    minutes = -(-retry_after // 60)
    usage = (
        '{"1":[{"type":"ads_management","call_count":100,"total_cputime":25,"total_time":25,'
        f'"estimated_time_to_regain_access":{minutes},"ads_api_access_tier":"standard_access"}}]}}'
    )
    return GraphError(
        400,
        80004,
        "(#80004) There have been too many calls to this ad-account. Wait a bit and try again.",
        transient=True,
        headers={"X-Business-Use-Case-Usage": usage},
    )


class Misbehaving:
    """The fault in force. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._fault: Misbehaviour | None = None

    def set(self, fault: Misbehaviour | None) -> None:
        with self._lock:
            self._fault = fault

    @property
    def current(self) -> Misbehaviour | None:
        with self._lock:
            return self._fault

    def take(self, pixel: str, event_ids: frozenset[str] = frozenset()) -> Misbehaviour | None:
        """The fault that meets this request, counting it off."""
        with self._lock:
            fault = self._fault
            if fault is None or fault.pixel not in ("", pixel):
                return None
            if fault.mode == "reject_id" and fault.event_id not in event_ids:
                return None
            if fault.times is not None:
                left = fault.times - 1
                self._fault = replace(fault, times=left) if left else None
            return fault
