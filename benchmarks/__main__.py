"""``python -m benchmarks``: all of them, on databases that are thrown away.

``python -m benchmarks claiming draining`` runs these alone.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

import django


def main() -> None:
    """Prepare a database, run each benchmark, print its lines."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
        os.environ.setdefault("METAPIXEL_TEST_DATABASE", f"sqlite:///{Path(folder) / 'db.sqlite3'}")
        django.setup()
        prepare()
        from benchmarks import (
            build_event,
            checkout,
            claiming,
            commit_to_receipt,
            draining,
            import_cost,
            main_thread,
            memory,
            page_cost,
            recovery,
            script_size,
        )

        print(f"Python {platform.python_version()}, Django {django.__version__}", end=", ")
        print(f"{os.cpu_count()} cores, {sys.platform}")
        every = (
            script_size,
            import_cost,
            build_event,
            memory,
            page_cost,
            commit_to_receipt,
            checkout,
            claiming,
            draining,
            recovery,
            main_thread,
        )
        asked = sys.argv[1:]
        names = [benchmark.__name__.rpartition(".")[2] for benchmark in every]
        if unknown := set(asked) - set(names):
            raise SystemExit(
                f"There is no {', '.join(sorted(unknown))}; there is {', '.join(names)}."
            )
        for name, benchmark in zip(names, every, strict=True):
            if asked and name not in asked:
                continue
            print()
            for line in benchmark.report():
                print(line, flush=True)


def prepare() -> None:
    """Make the tables and one site with a pixel."""
    from django.core.management import call_command

    from tests.factories import PixelFactory

    call_command("migrate", verbosity=0)
    PixelFactory()


if __name__ == "__main__":
    main()
