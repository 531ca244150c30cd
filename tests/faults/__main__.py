"""``python -m tests.faults``: breaks things and counts what was lost, sent twice or broken."""

from __future__ import annotations

import importlib
import os
import signal
import sys

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # the other processes inherit it
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))  # so that databases are stopped
    importlib.import_module("tests.faults.prepared")
    sys.exit(importlib.import_module("tests.faults.runner").main())
