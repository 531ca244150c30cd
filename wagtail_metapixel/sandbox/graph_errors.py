"""Refusals in the shape in which Meta's Graph API writes them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any


def trace_id() -> str:
    """A fresh ``fbtrace_id``: 23 characters, as long as Meta's."""
    return "A" + base64.urlsafe_b64encode(secrets.token_bytes(18)).decode()[:22]


class GraphError(Exception):
    """The sandbox refuses a request as Meta would.

    ``status`` is the HTTP status, ``code`` and ``subcode`` are Meta's numbers. Texts name the
    parameter and the rule, never the value that was sent.
    """

    #: What Meta calls the type.
    kind = "OAuthException"
    #: The one parameter of the call that is at fault; Meta names it apart.
    blame = ""
    #: Whether only the sandbox's strict mode refuses this, and Meta would not.
    strict = False

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
            "type": self.kind,
            "code": self.code,
            "error_subcode": self.subcode,
            "is_transient": self.transient,
            "error_user_title": self.title or None,
            "error_user_msg": self.explanation or None,
            "error_data": {"blame_field_specs": [[self.blame]]} if self.blame else None,
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
    """Subcode 2804019: the value at the JSON ``path`` breaks a ``rule`` ("must be an array")."""
    return unexpected(f"The parameter {path} {rule}.")


def unexpected_key(key: str, path: str) -> GraphError:
    """Subcode 2804019: the object at the JSON ``path`` has a key that Meta does not know."""
    return unexpected(f'Unexpected key "{key[:80]}" on param "{path}".')


def unexpected(explanation: str) -> GraphError:
    """Subcode 2804019: Meta says in ``error_user_msg`` alone where the fault is."""
    return invalid_event(2804019, "Server Side Api Parameter Error", explanation)


def invalid_call(parameter: str, rule: str) -> GraphError:
    """Code 100 without a subcode: a parameter of the call itself, which Meta blames by name."""
    error = GraphError(400, 100, f"(#100) The parameter {parameter} {rule}", transient=False)
    error.blame = parameter
    return error


def bad_token(message: str, subcode: int | None = None) -> GraphError:
    """Code 190. Meta answers it with 401, and mostly without a subcode."""
    return GraphError(401, 190, message, subcode=subcode)


def missing_token() -> GraphError:
    """Code 104, as Meta has it: there is no token that could be bad."""
    return GraphError(400, 104, "An access token is required to request this resource.")


def bad_proof() -> GraphError:
    """Code 104: ``appsecret_proof`` is not the token signed with the secret of the app."""
    return GraphError(400, 104, "Invalid appsecret_proof provided in the API argument")


def unknown_object(object_id: str, method: str) -> GraphError:
    """100/33: no such pixel, no right of the token to use it, or a verb it does not know."""
    error = GraphError(
        400,
        100,
        f"Unsupported {method.lower()} request. Object with ID '{object_id[:40]}' does not exist,"
        " cannot be loaded due to missing permissions, or does not support this operation. Please"
        " read the Graph API documentation at https://developers.facebook.com/docs/graph-api",
        subcode=33,
    )
    error.kind = "GraphMethodException"
    return error


def too_lax(warnings: Mapping[str, str], path: str = "") -> GraphError:
    """The sandbox's own refusal in strict mode: ``warnings`` are texts by their titles.

    The title says whose refusal it is, since a shop's records may keep nothing else of it.
    """
    place = f' On param "{path}".' if path else ""
    error = GraphError(
        400,
        100,
        "Refused by the sandbox in strict mode; Meta would accept it",
        subcode=2804019,
        transient=False,
        title=f"Strict mode only: {', '.join(warnings)}",
        explanation=" ".join(f"{title}: {text}" for title, text in warnings.items()) + place,
    )
    error.strict = True
    return error
