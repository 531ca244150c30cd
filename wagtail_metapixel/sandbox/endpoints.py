"""Which address does what: Meta's own addresses, and those of the live page."""

from __future__ import annotations

import base64
import json
import re
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from wagtail_metapixel.sandbox.graph import Access, Graph
from wagtail_metapixel.sandbox.graph_errors import GraphError, unknown_object
from wagtail_metapixel.sandbox.hits import read_hit
from wagtail_metapixel.sandbox.misbehaviour import Misbehaving, Misbehaviour
from wagtail_metapixel.sandbox.strictness import check_strictly
from wagtail_metapixel.sandbox.wire import Request, Response, json_response, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

    from wagtail_metapixel.sandbox.records import Copy
    from wagtail_metapixel.sandbox.store import Store

_FILES: Final = Path(__file__).parent / "live"
_GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_JAVASCRIPT: Final = "text/javascript; charset=utf-8"
#: The files of the live page: nothing else is ever read from disk.
_PAGE: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/live/page.css": ("page.css", "text/css; charset=utf-8"),
    "/live/page.js": ("page.js", _JAVASCRIPT),
    "/live/records.js": ("records.js", _JAVASCRIPT),
    "/favicon.ico": ("icon.svg", "image/svg+xml"),
    "/live/icon.svg": ("icon.svg", "image/svg+xml"),
}
_PAGE_HEADERS: Final = (
    (
        "Content-Security-Policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
            " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_ANYWHERE: Final = (
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Cache-Control", "no-store"),
)
_OWN_HOSTS: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
_GRAPH_EVENTS: Final = re.compile(r"/v\d+\.\d+/([^/]+)/events/?", re.ASCII)
_GRAPH_OBJECT: Final = re.compile(r"/v\d+\.\d+/([^/]+)/?", re.ASCII)
_SIGNALS_CONFIG: Final = re.compile(r"/signals/config/\d+", re.ASCII)
#: The page shows this many events; more would only slow it down.
SNAPSHOT: Final = 300
_HEARTBEAT: Final = 15.0
_GATHER: Final = 0.1


class Endpoints:
    """Answers every request of the sandbox.

    ``on_records`` is told the ids of the records that a request changed, ``stopping`` is set when
    the server goes down. ``strict`` refuses what Meta would take with a warning.
    """

    def __init__(
        self,
        store: Store,
        misbehaving: Misbehaving,
        access: Access,
        on_records: Callable[[list[int]], None],
        stopping: Event,
        *,
        strict: bool = False,
    ) -> None:
        self._store = store
        self._misbehaving = misbehaving
        self._access = access
        self._strict = strict
        self._graph = Graph(store, misbehaving, access, strict=strict)
        self._on_records = on_records
        self._stopping = stopping
        self._api: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/api/events"): self._events,
            ("GET", "/api/stream"): self._stream,
            ("POST", "/api/clear"): self._clear,
            ("POST", "/api/misbehave"): self._misbehave,
        }

    @staticmethod
    def is_own(request: Request) -> bool:
        """Whether the request is for the live page, and not for one of Meta's addresses."""
        return request.path in _PAGE or request.path.startswith("/api/")

    def respond(self, request: Request) -> Response:
        if request.path in {"/tr", "/tr/"}:
            return self._hit(request)
        if request.path == "/en_US/fbevents.js":
            return Response(200, _read("fbevents.js"), _JAVASCRIPT, _ANYWHERE)
        if _SIGNALS_CONFIG.fullmatch(request.path):
            return Response(200, b"/* nothing to configure */\n", _JAVASCRIPT, _ANYWHERE)
        if self.is_own(request):
            return self._own(request)
        return self._graph_call(request)

    # Meta's addresses

    def _graph_call(self, request: Request) -> Response:
        match = _GRAPH_EVENTS.fullmatch(request.path)
        if match and request.method != "POST":
            return json_response(unknown_object(match[1], request.method).body(), 400)
        if match:
            response, ids = self._graph.send_events(request, match[1])
            self._on_records(ids)
            return response
        match = _GRAPH_OBJECT.fullmatch(request.path)
        if match and request.method == "GET":
            return self._graph.look_at_pixel(request, match[1])
        message = f"Unknown path components: {request.method} {request.path[:80]}"
        return json_response(GraphError(400, 2500, message).body(), 400)

    def _hit(self, request: Request) -> Response:
        origin = request.headers.get("origin", "*")
        headers = (
            *_ANYWHERE,
            ("Access-Control-Allow-Origin", origin if origin.isprintable() else "*"),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Allow-Headers", "*"),
        )
        if request.method == "OPTIONS":
            return Response(204, headers=headers)
        self._record_hit(request)
        return Response(200, _GIF, "image/gif", headers)

    def _record_hit(self, request: Request) -> None:
        """Keep a hit or refuse it. Its sender cannot know: Meta answers both with the image."""
        copy = read_hit(request, self._store.clock())
        try:
            self._check_hit(copy)
        except GraphError as error:
            self._store.reject(self._rejected_hit(copy, error))
        else:
            self._on_records(self._store.add([copy] if copy else []))

    def _check_hit(self, copy: Copy | None) -> None:
        if copy is None:
            raise GraphError(200, 0, "No pixel id, or no event")
        if not self._access.knows(copy.pixel):
            raise GraphError(200, 0, "Unknown pixel id")
        if self._strict:
            check_strictly(copy)

    def _rejected_hit(self, copy: Copy | None, error: GraphError) -> dict[str, Any]:
        return {
            "received": self._store.clock(),
            "channel": "browser",
            "pixel": copy.pixel if copy else "",
            "status": 200,
            "count": 1,
            "event_names": [copy.event_name] if copy else [],
            "simulated": False,
            "strict": error.strict,
            "error": error.body()["error"] if error.strict else {"message": error.message},
        }

    # The live page

    def _own(self, request: Request) -> Response:
        """The page and its API: only for a browser that was told to come to this machine.

        A foreign page could otherwise point a name of its own at 127.0.0.1 and read what is here,
        or press our buttons with a form.
        """
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if not _OWN_HOSTS.fullmatch(host) or origin not in (None, f"http://{host}"):
            return Response(403, b"Only for pages of the sandbox itself.\n", "text/plain")
        if request.method == "GET" and request.path in _PAGE:
            name, media_type = _PAGE[request.path]
            return Response(200, _read(name), media_type, _PAGE_HEADERS)
        answer = self._api.get((request.method, request.path))
        return answer(request) if answer else json_response({"error": "Not found"}, 404)

    def _events(self, request: Request) -> Response:
        limit = dict(parse_qsl(request.query)).get("limit", "")
        changes = self._store.changes(0, int(limit) if limit.isdecimal() else self._store.capacity)
        return json_response(self._with_modes(changes))

    def _clear(self, _request: Request) -> Response:
        self._store.clear()
        return Response(204)

    def _misbehave(self, request: Request) -> Response:
        """``{"mode": ..., "times": ...}`` switches a fault on, ``{"mode": null}`` off."""
        try:
            options = parse_json(request.body)
            fault = None if options["mode"] is None else Misbehaviour(**options)
        except (ValueError, TypeError, KeyError) as error:
            return json_response({"error": f"Not understood: {error}"}, 400)
        self.misbehave(fault)
        return json_response({"misbehaviour": fault.as_json() if fault else None})

    def misbehave(self, fault: Misbehaviour | None) -> None:
        self._misbehaving.set(fault)
        self._store.wake()

    def _stream(self, _request: Request) -> Response:
        headers = (*_PAGE_HEADERS, ("X-Accel-Buffering", "no"))
        return Response(200, b"", "text/event-stream", headers, stream=self._changes())

    def _changes(self) -> Iterator[bytes]:
        """Server-sent events: one ``snapshot``, then ``changes`` as they come."""
        seen = self._store.changes(0, SNAPSHOT)
        yield b"retry: 1000\n\n"
        yield _sse("snapshot", self._with_modes(seen))
        while not self._stopping.is_set():
            if not self._store.wait(seen["generation"], seen["sequence"], _HEARTBEAT):
                yield b": still here\n\n"
                continue
            if self._stopping.is_set():
                return
            time.sleep(_GATHER)  # one redraw for a batch of a thousand
            newer = self._store.changes(seen["sequence"], SNAPSHOT)
            if newer["generation"] != seen["generation"]:
                newer = self._store.changes(0, SNAPSHOT)
            name = "changes" if newer["generation"] == seen["generation"] else "snapshot"
            seen = newer
            yield _sse(name, self._with_modes(newer))

    def _with_modes(self, changes: dict[str, Any]) -> dict[str, Any]:
        fault = self._misbehaving.current
        return changes | {
            "misbehaviour": fault.as_json() if fault else None,
            "strict": self._strict,
        }


def _sse(name: str, value: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode("ascii")


@cache
def _read(name: str) -> bytes:
    return (_FILES / name).read_bytes()
