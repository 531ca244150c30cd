"""What a fault reports, and the list of all faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess

from tests.faults.meta import Meta
from tests.faults.places import Databases, Place, ended, until

BOTH = ("sqlite", "postgres")
SELECTIONS = ("ci", "all", "long")
"""Each holds those before it."""
PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"


class Broken(AssertionError):
    """A fault's own figure misses its bound."""


@dataclass(kw_only=True)
class Result:
    """One line of the report. ``lost``, ``twice`` and ``broken`` are L, X and Z."""

    row: str
    name: str
    database: str
    lost: int = 0
    twice: int = 0
    twice_allowed: int = 0
    """One batch for each process that died between Meta's answer and its own note of it."""
    broken: int = 0
    """Requests of the shop that failed or were held up by us."""
    figure: str = ""
    seconds: float = 0.0
    seed: int = 0
    outcome: str = PASSED
    reason: str = ""

    def judge(self) -> None:
        """Set the outcome by the figures."""
        if self.lost or self.broken or self.twice > self.twice_allowed:
            self.outcome = FAILED

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def as_line(self) -> str:
        counts = f"L={self.lost} X={self.twice}<={self.twice_allowed} Z={self.broken}"
        words = f"{self.figure} {self.reason}".strip()
        head = f"{self.row:>3} {self.outcome:<8} {self.database:<9} {self.seconds:6.1f} s"
        return f"{head}  {counts:<18} {self.name}: {words}"


@dataclass(kw_only=True)
class Bench:
    """What a fault works with, and where it writes down what it found."""

    databases: Databases
    result: Result
    selection: str
    places: list[Place] = field(default_factory=list)

    def place(self, meta: Meta | None = None, **values: object) -> Place:
        """Return a place with a fresh database, whose processes talk to ``meta``."""
        place = self.databases.new(f"row{self.result.row}".lower())
        place.meta = meta.url if meta else "http://127.0.0.1:9"
        for name, value in values.items():
            setattr(place, name, value)
        self.places.append(place)
        return place

    def size(self, ci: int, full: int, long: int | None = None) -> int:
        """Return a number by how long the run may take."""
        return {"ci": ci, "all": full, "long": long or full}[self.selection]

    def expect(self, holds: object, otherwise: str) -> None:
        if not holds:
            raise Broken(otherwise)

    def figure(self, text: str) -> None:
        self.result.figure = "; ".join(filter(None, [self.result.figure, text]))

    def account(self, place: Place, meta: Meta, recorded: int, *, twice_allowed: int = 0) -> None:
        """Add to L and X: nothing recorded may be missing, and what is ``sent`` has arrived."""
        rows = place.rows("event_id", "state")
        arrived = {told for _pixel, _name, told in meta.ledger}
        unheard = sum(state == "sent" and told not in arrived for told, state in rows)
        self.result.lost += max(0, recorded - len(rows)) + unheard
        self.result.twice += meta.twice
        self.result.twice_allowed += twice_allowed

    def drained_by(self, worker: BaseProcess, place: Place) -> float:
        """Wait until ``worker`` has sent all, and let it go; returns how long the first took."""
        seconds = until(lambda: not place.waiting(), "the drain")
        self.dismiss(worker)
        return seconds

    def dismiss(self, worker: BaseProcess) -> None:
        """Let a worker go, which has to end well."""
        worker.terminate()
        self.expect(ended(worker) == 0, "the worker did not end well")

    def all_sent(self, place: Place) -> None:
        states = sorted(set(place.rows("state")))
        self.expect(states == ["sent"], f"rows ended as {', '.join(states)}")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row of the table."""

    row: str
    name: str
    inject: Callable[[Bench], None]
    databases: Sequence[str]
    selection: str


FAULTS: list[Fault] = []


def fault(
    row: int | str, *, on: Sequence[str] = BOTH, selection: str = "ci"
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Put a function into the table; the first line of its docstring is the fault's name."""

    def register(inject: Callable[[Bench], None]) -> Callable[[Bench], None]:
        name = (inject.__doc__ or "").split(":")[0].split("\n")[0]
        FAULTS.append(
            Fault(row=str(row), name=name, inject=inject, databases=on, selection=selection)
        )
        return inject

    return register
