"""What the tests of the sandbox send: events that Meta takes, to be broken one by one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

FACTS = json.loads((Path(__file__).parents[1] / "data" / "meta_events.json").read_text())
PIXEL = "1234567890123456"
TOKEN = "SANDBOX-TOKEN-1234567890"
NOW = 1_795_000_000
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36"
FBP = "fb.1.1795322685020.526608478763752515"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def an_event(**changes):
    """An event of a website, as the package sends it. A change to None takes a key out."""
    event = {
        "event_name": "Contact",
        "event_time": NOW,
        "event_id": "id-1",
        "action_source": "website",
        "event_source_url": "https://shop.example/mug/",
        "user_data": {"client_user_agent": AGENT, "fbp": FBP},
        "custom_data": {},
    }
    merged = event | changes
    return {key: value for key, value in merged.items() if value is not None}


def a_purchase(**custom_data):
    return an_event(
        event_name="Purchase", custom_data={"value": 12.5, "currency": "EUR"} | custom_data
    )


def a_hit(**changes):
    """The fields of a browser hit. A change to None takes a field out."""
    hit = {
        "id": PIXEL,
        "ev": "Contact",
        "eid": "id-1",
        "dl": "https://shop.example/mug/",
        "ts": str(NOW * 1000),
        "fbp": FBP,
    }
    return {key: value for key, value in (hit | changes).items() if value is not None}
