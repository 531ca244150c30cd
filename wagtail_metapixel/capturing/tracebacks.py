"""A failing assert shows the line of the test, and none of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from wagtail_metapixel.exceptions import EventError

# unittest leaves out what is called from a module with this name, pytest a frame with the other.
__unittest = True

_P = ParamSpec("_P")
_R = TypeVar("_R")


def ends_here(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let the traceback of what ``function`` says to a test end at its caller."""

    @wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except (AssertionError, EventError, RuntimeError) as error:
            raise error.with_traceback(None) from None

    return called
