"""The errors this package raises. Their texts name the field and the rule, never a person's value."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class MetaPixelError(Exception):
    """Root of everything this package raises, save configuration errors."""


class EventError(MetaPixelError, ValueError):
    """A developer said something impossible about an event.

    ``field`` is the name of the parameter at fault (``"currency"``), ``rule`` what it has to be.
    Raised by :func:`wagtail_metapixel.tracking.track` while ``DEBUG`` is on; logged and counted
    in production.
    """

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule

    def __reduce__(self) -> tuple[type[EventError], tuple[str, str]]:
        return type(self), (self.field, self.rule)


class RefusedError(MetaPixelError):
    """A value that cannot be used; caught before it leaves the package.

    ``rule``, ``fatal`` and ``mistake`` are those of
    :class:`wagtail_metapixel.catalogue.Problem`.
    """

    def __init__(self, rule: str, *, fatal: bool = False, mistake: bool = True) -> None:
        super().__init__(rule)
        self.rule = rule
        self.fatal = fatal
        self.mistake = mistake


class TakenError(RefusedError):
    """A value that is not sent though Meta would take it, such as a text with an address."""


class ConfigurationError(ImproperlyConfigured):
    """A deployment setting cannot be used.

    Stands outside :class:`MetaPixelError`, so that code which swallows the errors of events does
    not swallow this one.
    """
