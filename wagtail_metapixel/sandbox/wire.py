"""Reading what arrived: the ways in which one request to Meta may be written down."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import parse_qsl

from wagtail_metapixel.sandbox.graph_errors import invalid_call, invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """One HTTP request. Header names are in lower case; ``path`` has no query string."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    #: Client address and port: equal for all requests of one kept-alive connection.
    client: tuple[str, int]

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class ReceivedRequest(Request):
    """A request with what became of it. ``received`` is Unix seconds."""

    status: int = 0
    received: float = 0

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of a Graph call, decoded; see :func:`parameters`."""
        return parameters(self)


@dataclass(frozen=True)
class Response:
    """One HTTP answer. ``drop`` closes the connection with a reset instead of answering."""

    status: int
    body: bytes = b""
    media_type: str = "application/json; charset=UTF-8"
    headers: tuple[tuple[str, str], ...] = ()
    drop: bool = False
    #: Seconds to wait before the answer is written.
    delay: float = 0
    #: An answer without end, written part by part after ``body``.
    stream: Iterator[bytes] | None = None


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """``value`` as JSON in ASCII, which carries even a lone surrogate safely."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return Response(status, body, headers=tuple((headers or {}).items()))


def parse_json(text: str | bytes) -> Any:
    """Strict JSON: ``NaN`` and ``Infinity`` are errors, and so is ``1e400``, which becomes one.

    Of a key that stands twice in one object, the last counts.

    Raises :class:`ValueError`, also for text that is nested too deep or is not UTF-8.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def parameters(request: Request) -> dict[str, Any]:
    """The parameters of a Graph call, from query string and body; the body wins.

    Understands ``application/json``, urlencoded and multipart bodies. Values of forms are
    strings. Raises :class:`GraphError` for a body that cannot be read.
    """
    return dict(parse_qsl(request.query, keep_blank_values=True)) | _body_parameters(request)


def form_fields(request: Request) -> dict[str, str]:
    """The fields of a browser hit: query string, then an urlencoded or multipart body."""
    fields = dict(parse_qsl(request.query, keep_blank_values=True))
    if request.media_type == "multipart/form-data":
        return fields | _multipart(request)
    return fields | dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _body_parameters(request: Request) -> dict[str, Any]:
    if request.media_type == "application/json":
        return _json_object(request.body)
    if request.media_type == "multipart/form-data":
        return dict(_multipart(request))
    if request.media_type in {"", FORM}:
        return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    return {}


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = parse_json(body)
    except ValueError:
        raise invalid_call("data", "must be valid JSON") from None
    if not isinstance(value, dict):
        raise invalid_call("data", "must stand in a JSON object")
    return value


def _multipart(request: Request) -> dict[str, str]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    fields: dict[str, str] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode("utf-8", "replace")
    return fields


def events(params: dict[str, Any]) -> list[Any]:
    """The list in ``data``, decoded once or twice.

    Meta takes an array of objects, and also an array whose elements are JSON in strings, which
    is what Meta's own SDK for Python sends. Raises :class:`GraphError`.
    """
    if "data" not in params:
        raise invalid_call("data", "is required")
    data = _decoded(params["data"], "data")
    if not isinstance(data, list):
        raise invalid_call("data", "must be an array")
    return [_decoded(item, f"$['data'][{index}]") for index, item in enumerate(data)]


def _decoded(value: Any, path: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        raise invalid_parameter(path, "is not valid JSON") from None


def access_token(request: Request, params: dict[str, Any]) -> str:
    """The token: from the ``Authorization`` header, else from body or query string."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    token = params.get("access_token", "")
    return token if isinstance(token, str) else ""
