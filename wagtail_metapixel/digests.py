"""SHA-256 digests as Meta takes them: 64 lower-case hex digits.

Meta's parameter builders put a mark behind what they made, a digest or a cookie; Meta reads past it.
"""

from __future__ import annotations

import re

MARK = r"(?:\.([A-Za-z0-9_-]{8}|AQ|Ag|Aw|BA|BQ|Bg))?"
"""The mark as a regular expression; its one group is the mark without its point."""

DIGEST = re.compile(r"[0-9a-f]{64}")
ANY_CASE = re.compile(r"[0-9A-Fa-f]{64}")
HEX = re.compile("[0-9A-Fa-f]+")
FOREIGN_LENGTHS = frozenset({32, 40, 128})
"""Hex digits of MD5, SHA-1 and SHA-512, which Meta does not take."""
MARKED = re.compile(rf"([0-9A-Fa-f]{{64}}){MARK}")
