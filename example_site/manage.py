#!/usr/bin/env python
"""Run a management command of the example shop."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main():
    # At the end of the path: a wagtail_metapixel that is installed wins over this checkout.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
