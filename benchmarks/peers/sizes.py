"""How large the outbox and the rounds of a benchmark are."""

from __future__ import annotations

import os


def size(name: str, usual: int) -> int:
    """Return the number in ``METAPIXEL_TEST_<name>``, else ``usual``."""
    return int(os.environ.get(f"METAPIXEL_TEST_{name}", usual))
