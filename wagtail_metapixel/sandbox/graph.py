"""The two calls of the Graph API that a shop makes: send events, and look at its pixel."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wagtail_metapixel.sandbox.graph_errors import (
    GraphError,
    bad_proof,
    bad_token,
    missing_token,
    trace_id,
    unknown_object,
)
from wagtail_metapixel.sandbox.hits import is_pixel_id
from wagtail_metapixel.sandbox.records import Copy
from wagtail_metapixel.sandbox.strictness import check_strictly
from wagtail_metapixel.sandbox.user_data import without_plain_text
from wagtail_metapixel.sandbox.validation import check_request
from wagtail_metapixel.sandbox.wire import (
    Request,
    Response,
    access_token,
    events,
    json_response,
    parameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wagtail_metapixel.sandbox.misbehaviour import Misbehaving, Misbehaviour
    from wagtail_metapixel.sandbox.store import Store

_CREATED: Final = "2026-01-01T00:00:00+0000"


class Access(NamedTuple):
    """Who may call. ``pixels`` gives each known pixel its token; None knows every pixel.

    With an ``app_secret`` every call needs its ``appsecret_proof``, as with an app at Meta that
    demands one.
    """

    pixels: Mapping[str, str] | None = None
    app_secret: str = ""

    def knows(self, pixel: str) -> bool:
        return self.pixels is None or pixel in self.pixels

    def check(self, request: Request, params: dict[str, Any], pixel: str) -> None:
        """Raise :class:`GraphError` unless the token of a call is good for ``pixel``."""
        token, proof = access_token(request, params), str(params.get("appsecret_proof", ""))
        if not token:
            raise missing_token()
        if self.pixels is not None and not any(_equal(token, t) for t in self.pixels.values()):
            raise bad_token("Invalid OAuth access token - Cannot parse access token")
        if self.app_secret and not _equal(proof, _proof(self.app_secret, token)):
            raise bad_proof()
        if not is_pixel_id(pixel):
            message = f"(#803) Some of the aliases you requested do not exist: {pixel[:40]}"
            raise GraphError(404, 803, message)
        if self.pixels is not None and not _equal(token, self.pixels.get(pixel, "")):
            raise unknown_object(pixel, request.method)


class Graph:
    """Answers Graph calls. ``strict`` refuses what Meta would take with a warning."""

    def __init__(
        self, store: Store, misbehaving: Misbehaving, access: Access, *, strict: bool
    ) -> None:
        self._store = store
        self._misbehaving = misbehaving
        self._access = access
        self._strict = strict

    def send_events(self, request: Request, pixel: str) -> tuple[Response, list[int]]:
        """``POST /{version}/{pixel}/events``: the answer, and the ids of the records it made."""
        batch = _Batch()
        try:
            fault = self._read(request, pixel, batch)
            copies = self._copies(pixel, batch)
        except GraphError as error:
            self._store.reject(_rejection(pixel, batch, error, self._store.clock()))
            return json_response(error.body(), error.status, error.headers), []
        ids = self._store.add(copies)
        answer = json_response(
            {"events_received": len(ids), "messages": [], "fbtrace_id": trace_id()}
        )
        return (fault.spoil(answer) if fault else answer), ids

    def _read(self, request: Request, pixel: str, batch: _Batch) -> Misbehaviour | None:
        """Fill ``batch`` and return the fault to spoil the answer with; raise every refusal."""
        batch.params = parameters(request)
        batch.events = events(batch.params)
        ids = frozenset(i for i in batch.values("event_id") if isinstance(i, str))
        fault = self._misbehaving.take(pixel, ids)
        if fault is not None and (refusal := fault.refusal()) is not None:
            batch.simulated = True
            raise refusal
        self._access.check(request, batch.params, pixel)
        check_request(batch.params, batch.events, self._store.clock())
        if fault is not None and (refusal := fault.refusal_of(batch.events)) is not None:
            batch.simulated = True
            raise refusal
        return fault

    def _copies(self, pixel: str, batch: _Batch) -> list[Copy]:
        now = self._store.clock()
        copies = [_copy(pixel, event, batch.params, now) for event in batch.events]
        for index, copy in enumerate(copies) if self._strict else ():
            check_strictly(copy, f"$['data'][{index}]")
        return copies

    def look_at_pixel(self, request: Request, pixel: str) -> Response:
        """``GET /{version}/{pixel}?fields=``: the connection check."""
        try:
            params = parameters(request)
            fault = self._misbehaving.current
            if fault and fault.mode == "expired_token" and (refusal := fault.refusal()):
                raise refusal
            self._access.check(request, params, pixel)
            return json_response(self._facts(pixel, str(params.get("fields", "id"))))
        except GraphError as error:
            return json_response(error.body(), error.status, error.headers)

    def _facts(self, pixel: str, fields: str) -> dict[str, Any]:
        fired = self._store.last_fired(pixel)
        facts: dict[str, Any] = {
            "id": pixel,
            "name": f"Sandbox pixel {pixel}",
            "creation_time": _CREATED,
            "last_fired_time": _iso(fired) if fired else None,
            "is_unavailable": False,
            "is_restricted_use": False,
            "is_consolidated_container": True,
            "is_crm": False,
            "enable_automatic_matching": False,
            "automatic_matching_fields": [],
            "first_party_cookie_status": "first_party_cookie_enabled",
            "data_use_setting": "advertising_and_analytics",
            "owner_business": {"id": "1", "name": "Sandbox"},
        }
        wanted = ["id", *(field.strip() for field in fields.split(",") if field.strip())]
        for field in wanted:
            if field not in facts:
                message = f"(#100) Tried accessing nonexisting field ({field[:40]})"
                raise GraphError(400, 100, message)
        return {field: facts[field] for field in wanted if facts[field] is not None}


class _Batch:
    """What could be read of one request, so that a refusal can still be described."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.events: list[Any] = []
        self.simulated = False

    def values(self, key: str) -> list[Any]:
        return [event.get(key) for event in self.events if isinstance(event, dict)]


def _rejection(pixel: str, batch: _Batch, error: GraphError, now: float) -> dict[str, Any]:
    """A refused request as JSON, with the names of its events but nothing about anybody."""
    names = [name for name in batch.values("event_name") if isinstance(name, str)]
    return {
        "received": now,
        "channel": "server",
        "pixel": pixel,
        "status": error.status,
        "count": len(batch.events),
        "event_names": list(dict.fromkeys(names))[:10],
        "simulated": batch.simulated,
        "strict": error.strict,
        "error": error.body()["error"],
    }


def _copy(pixel: str, event: dict[str, Any], params: dict[str, Any], now: float) -> Copy:
    user_data, unhashed = without_plain_text(event["user_data"])
    return Copy(
        channel="server",
        pixel=pixel,
        event_name=event["event_name"],
        event_id=event.get("event_id") or "",
        received=now,
        event_time=event["event_time"],
        action_source=event["action_source"],
        event_source_url=event.get("event_source_url") or "",
        referrer_url=event.get("referrer_url") or "",
        custom_data=event.get("custom_data") or {},
        user_data=user_data,
        unhashed=unhashed,
        data_processing_options=_data_processing(event),
        test_event_code=params.get("test_event_code") or "",
        agent=params.get("partner_agent") or "",
    )


def _data_processing(event: dict[str, Any]) -> tuple[str, ...]:
    options = event.get("data_processing_options")
    if not options:
        return ()
    country = event.get("data_processing_options_country") or 0
    return (*options, str(country), str(event.get("data_processing_options_state") or 0))


def _equal(token: str, other: str) -> bool:
    return hmac.compare_digest(token.encode("utf-8", "replace"), other.encode())


def _proof(app_secret: str, token: str) -> str:
    return hmac.new(
        app_secret.encode(), token.encode("utf-8", "replace"), hashlib.sha256
    ).hexdigest()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
