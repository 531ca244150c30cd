"""The scripts of a page, gzipped as a server would send them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import wagtail_metapixel

STATIC = Path(wagtail_metapixel.__file__).parent / "static" / "wagtail_metapixel"


def report() -> Iterator[str]:
    """Return the lines to print."""
    yield "Scripts, bytes as written and gzipped (level 9)"
    for path in sorted(STATIC.glob("*.js")):
        raw = path.read_bytes()
        yield f"  {path.name:<28} {len(raw):>7} {len(gzip.compress(raw, 9)):>7}"
