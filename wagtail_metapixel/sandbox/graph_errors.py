"""Refusals in the shape in which Meta's Graph API writes them."""

from __future__ import annotations

import base64
import secrets
from typing import Any


def trace_id() -> str:
    """A fresh ``fbtrace_id``: 23 characters, as long as Meta's."""
    return "A" + base64.urlsafe_b64encode(secrets.token_bytes(18)).decode()[:22]


class GraphError(Exception):
    """The sandbox refuses a request as Meta would.

    ``status`` is the HTTP status, ``code`` and ``subcode`` are Meta's numbers. Texts name the
    parameter and the rule, never the value that was sent.
    """

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        *,
        subcode: int | None = None,
        transient: bool | None = None,
        title: str = "",
        explanation: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.subcode = subcode
        self.transient = transient
        self.title = title
        self.explanation = explanation
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer. Absent facts are left out, as Meta leaves them out."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": "OAuthException",
            "code": self.code,
            "error_subcode": self.subcode,
            "is_transient": self.transient,
            "error_user_title": self.title or None,
            "error_user_msg": self.explanation or None,
            "fbtrace_id": trace_id(),
        }
        return {"error": {key: value for key, value in error.items() if value is not None}}


def invalid_event(subcode: int, title: str, explanation: str) -> GraphError:
    """Code 100 with one of the 2804xxx subcodes: the whole batch is refused."""
    return GraphError(
        400,
        100,
        "Invalid parameter",
        subcode=subcode,
        transient=False,
        title=title,
        explanation=explanation,
    )


def invalid_parameter(path: str, rule: str) -> GraphError:
    """Subcode 2804019: the value at the JSON ``path`` has the wrong shape."""
    return unexpected(f'{rule} on param "{path}"')


def unexpected_key(key: str, path: str) -> GraphError:
    """Subcode 2804019: the object at the JSON ``path`` has a key that Meta does not know."""
    return unexpected(f'Unexpected key "{key[:80]}" on param "{path}"')


def unexpected(message: str) -> GraphError:
    """Subcode 2804019 with a text of its own."""
    return GraphError(
        400,
        100,
        f"(#100) {message}",
        subcode=2804019,
        transient=False,
        title="Server Side Api Parameter Error",
        explanation=message,
    )


def bad_token(message: str, subcode: int | None = None) -> GraphError:
    """Code 190. Meta answers it with 401, and mostly without a subcode."""
    return GraphError(401, 190, message, subcode=subcode)


def unknown_object(object_id: str) -> GraphError:
    """100/33: no such pixel, or the token was not given the right to use it."""
    return GraphError(
        400,
        100,
        f"Unsupported request. Object with ID '{object_id[:40]}' does not exist, cannot be loaded"
        " due to missing permissions, or does not support this operation",
        subcode=33,
    )
