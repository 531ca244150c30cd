"""Functions that wait for a commit which a ``TestCase`` never makes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.db import connections

from wagtail_metapixel import browser, signals, site_settings

logger = logging.getLogger("wagtail_metapixel")


class Waiting:
    """What waits on one connection ``since`` so many functions; all of a capture."""

    def __init__(self, using: str, since: int | None = None) -> None:
        self._using = using
        self._since = len(connections[using].run_on_commit) if since is None else since
        self._held: list[Any] | None = None

    def close(self) -> None:
        """Count from now on only what waits already: the capture ends."""
        self._held = [function for function, _robust in self._entries()]

    def count(self) -> int:
        """Return how many functions of the shop, and of others, wait; ours do not track."""
        waiting = [function for function, _robust in self._entries() if not _is_ours(function)]
        if self._held is not None:
            held = set(map(id, self._held))
            waiting = [function for function in waiting if id(function) in held]
        return len(waiting)

    def run(self) -> int:
        """Run what waits, and what that registers; return how many functions ran."""
        ran = 0
        while waiting := self._entries():
            del connections[self._using].run_on_commit[self._since :]
            for function, robust in waiting:
                ran += 1
                try:
                    function()
                except Exception as error:
                    if not robust:
                        raise
                    logger.error("%s on commit", type(error).__name__)
        return ran

    def _entries(self) -> list[tuple[Any, bool]]:
        entries: list[Any] = connections[self._using].run_on_commit[self._since :]
        return [(function, robust) for _savepoints, function, robust in entries]


@contextmanager
def no_news() -> Iterator[None]:
    """Let what is registered meanwhile count as ours: a test sets up, and no shop is at work."""
    before = [(each, len(each.run_on_commit)) for each in connections.all(initialized_only=True)]
    yield
    for connection, since in before:
        entries: list[Any] = connection.run_on_commit
        entries[since:] = [
            (points, _marked(run), robust) for points, run, robust in entries[since:]
        ]


def _marked(function: Callable[[], Any]) -> Callable[[], Any]:
    @wraps(function)
    def run() -> None:
        function()

    setattr(run, _MARK, True)
    return run


_MARK = "_of_a_tests_set_up"
_OURS = frozenset({browser.__name__, site_settings.__name__, "wagtail_metapixel.admin.pauses"})


def _is_ours(function: Any) -> bool:
    """Tell whether a function is of the kind of ours that records nothing."""
    if getattr(function, _MARK, False):
        return True
    inner = getattr(function, "func", function)
    if getattr(inner, "__self__", None) is signals.recorded:
        return True
    return getattr(inner, "__module__", "") in _OURS
