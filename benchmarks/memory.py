"""What building 100,000 events leaves behind: the memory of a process of its own, on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BATCH = 1000
STOPS = (1_000, 10_000, 100_000)

BUILD = """
import gc, json, os
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()
from benchmarks import build_event

def memory():
    # Of the process itself; getrusage() would begin with the peak of the one that started it.
    with open("/proc/self/status") as status:
        facts = dict(line.split(":", 1) for line in status)
    return [int(facts[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]

gc.collect()
figures = [[0, *memory()]]
for number in range({batch}, {last} + 1, {batch}):
    build_event.ours(build_event.purchases({batch}, seed=number))
    if number in {stops}:
        figures.append([number, *memory()])
print(json.dumps(figures))
"""


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    yield f"Memory while building {STOPS[-1]:,} events, {BATCH:,} at a time, each of another person"
    code = BUILD.format(batch=BATCH, last=STOPS[-1], stops=STOPS)
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=root)
    figures = json.loads(done.stdout)
    for built, resident, peak in figures:
        yield f"  after {built:>7,}   {resident / 2**20:6.1f} MB   peak {peak / 2**20:6.1f} MB"
    idle = figures[0][1]
    tenth, last = figures[-2][2], figures[-1][2]
    yield f"  peak after {STOPS[-1]:,} over after {STOPS[-2]:,}: {last / tenth:.3f} x"
    yield f"  peak above the idle process: {(last - idle) / 2**20:.1f} MB"
