"""What every peer's task does: post one event whose bytes are ready, on a connection that is kept.

That is kinder to the peers than what shops write into such tasks, where Meta's SDK builds the
event, or a new connection is made each time. Imports nothing of Django's, for RQ's sake.
"""

from __future__ import annotations

import os

import requests

_session = requests.Session()


def post(body: str) -> None:
    """Send one request. Raises where the stub does not take it."""
    address = f"{os.environ['METAPIXEL_TEST_META']}/v25.0/1234567890123456/events"
    answer = _session.post(
        address,
        data=body.encode(),
        headers={"Authorization": "Bearer token", "Content-Type": "application/json"},
        timeout=10,
    )
    answer.raise_for_status()
    if answer.json()["events_received"] != 1:
        raise ValueError("The event was not received.")
