"""Hosts whose events another deployment on the same database sends: this one leaves them alone.

Two deployments may share an outbox, each with hosts of its own. Whoever meets an event of a host
that it does not serve gives it back at once and asks for none of that host's for a while. Not for
ever: where there is no other deployment, somebody has to see that an event is past its deadline.
"""

from __future__ import annotations

import time

FORGET_SECONDS = 600.0
_met: dict[str, float] = {}


def note(host: str) -> None:
    """Remember a host that this deployment does not serve."""
    _met[host] = time.monotonic() + FORGET_SECONDS


def hosts() -> frozenset[str]:
    """Return the hosts that were met of late."""
    now = time.monotonic()
    return frozenset(host for host, until in list(_met.items()) if until > now)


def clear() -> None:
    """Forget them all."""
    _met.clear()
