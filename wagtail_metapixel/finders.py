"""Finds our scripts under the names that the site gave them: ``SCRIPT_PATH``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from django.contrib.staticfiles.finders import BaseFinder, searched_locations
from django.contrib.staticfiles.utils import matches_patterns
from django.core.files.storage import FileSystemStorage

from wagtail_metapixel import script_files


class RenamedScripts(FileSystemStorage):
    """Our static files; a path that the site chose leads to the script it stands for."""

    def __init__(self) -> None:
        super().__init__(location=Path(__file__).with_name("static"))

    def path(self, name: str) -> str:
        """Return the file that ``name`` stands for; whatever opens or dates one asks this."""
        return super().path(script_files.renamed().get(name, name))


class ScriptFinder(BaseFinder):
    """For ``STATICFILES_FINDERS``: ``runserver`` and ``collectstatic`` then know those names."""

    def __init__(self) -> None:
        self.storage = RenamedScripts()

    # An empty list also where one file is wanted, as Django's own finders have it: its find()
    # would take None for a match. Callers of Django 5.2 may still write all for find_all.
    def find(  # type: ignore[override]
        self,
        path: str,
        find_all: bool = False,
        all: bool = False,  # noqa: A002 - as above
    ) -> str | list[str]:
        """Return the file of ``path``, in a list where all are wanted; ``[]`` if not ours."""
        if self.storage.location not in searched_locations:
            searched_locations.append(self.storage.location)
        if path not in script_files.renamed():
            return []
        found = self.storage.path(path)
        return [found] if find_all or all else found

    def list(
        self, ignore_patterns: Iterable[str] | None
    ) -> Iterator[tuple[str, FileSystemStorage]]:
        """Yield each path that the site chose, with the storage that opens it."""
        ignored = [*(ignore_patterns or ())]
        for path in script_files.renamed():
            if not matches_patterns(path, ignored):
                yield path, self.storage
