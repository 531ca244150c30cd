"""One line of the doctor, and how a part of its examination becomes lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from wagtail_metapixel import deployment
from wagtail_metapixel.exceptions import ConfigurationError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: It works, and here is something to know.
    NOTE = "note"
    #: It does not work until somebody does something.
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One line of the doctor: what is so, and what to do when that is not good."""

    level: Level
    subject: str
    fact: str
    advice: str = ""


def ok(subject: str, fact: str) -> Finding:
    """Return what is as it should be."""
    return Finding(Level.OK, subject, fact)


def problem(subject: str, fact: str, advice: str) -> Finding:
    """Return what somebody has to mend."""
    return Finding(Level.PROBLEM, subject, fact, advice)


def tried(subject: str, part: Callable[[], Iterable[Finding] | Finding]) -> Iterator[Finding]:
    """Return what ``part`` finds, and a finding in place of what it raises."""
    try:
        found = part()
        yield from [found] if isinstance(found, Finding) else found
    except ConfigurationError as error:
        yield _unusable(subject, str(error))
    except Exception as error:  # noqa: BLE001 - one part that fails must not hide the others
        # The text of an error may hold a value: a password, an address.
        yield problem(
            subject,
            f"This could not be examined: {type(error).__name__}.",
            "Is the database there, and is everything migrated? If so, please report this.",
        )


def _unusable(subject: str, rule: str) -> Finding:
    # The settings' own lines count it, once.
    if any(mistake.fact == rule for mistake in deployment.mistakes()):
        return Finding(Level.NOTE, subject, f"Does not work until this is mended: {rule}")
    return problem(subject, rule, "Mend that in Django's settings.")
