"""The floors of the package: a module imports only from lower floors.

Read from the source, so that nothing has to be importable, and so that imports under
``TYPE_CHECKING`` or inside a function count like any other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "wagtail_metapixel"
ROOT = Path(__file__).resolve().parents[1]

# A name stands for a module, or for a package and everything in it.
FLOORS: list[set[str]] = [
    {
        "exceptions", "catalogue", "currencies", "meta_errors", "findings", "signals", "digests",
        "choices", "access_tokens", "other_deployments",
    },
    {"parameters", "match_keys", "savepoints", "redaction", "csp"},
    {
        "addresses", "identifiers", "amounts", "texts", "places", "phone_numbers",
        "consent_cookies",
    },
    {"normalisers", "order_totals", "personal_data", "subjects"},
    {
        "conf", "events", "custom_data", "matching", "keys", "parameter_rules", "match_key_rules",
        "halves",
    },
    {
        "payloads", "exchange", "event_rules", "content_ids", "event_options",
        "csp_settings", "deployment", "script_files",
    },
    {"models", "diagnosis", "finders"},
    {"site_settings", "counters", "linter"},
    {"visitor", "database_time", "database_lists", "database_updates"},
    {"consent", "datasets", "copies"},
    {"browser", "outbox", "claims", "graph_api", "injection", "limits", "signed_in"},
    {
        "recording", "site_diagnostics", "echo_probe", "unanswered", "door", "retention",
        "driver_choice",
    },
    {
        "tracking", "collecting", "completing", "capturing", "delivery", "privacy",
        "declarations", "noscript",
    },
    {
        "integrations", "templatetags", "jinja2tags", "middleware", "mixins", "views", "urls",
        "diagnostics", "testing", "status", "requeueing", "event_story",
    },
    {"drivers"},
    {"checks", "admin", "management", "pytest_plugin"},
    {"apps", "wagtail_hooks"},
]  # fmt: skip
# Stands beside the floors: it borrows from three modules only, so that Django need not run.
SANDBOX_MAY_IMPORT = {"catalogue", "matching", "linter"}
SANDBOX_IS_SEEN_FROM = 13

# Within one floor, where one cannot be written without the other. (importer, imported): why.
NEIGHBOURS = {
    ("catalogue", "exceptions"): "the table that decides also says what is wrong",
    ("keys", "conf"): "the encryption keys are a setting",
    ("urls", "views"): "a list of addresses names its views",
}
# Imports inside a function. "module:function": why it cannot stand at the top.
LATE_IMPORTS = {
    "pytest_plugin:_testing": "pytest loads its plugins before anybody set Django up",
    "apps:ready": "models, and what imports them, exist only once the registry is filled",
    "drivers.thread:_deliver_due": "brings what only the thread needs",
    "drivers.thread:_close_connection_to_meta": "as above",
    "drivers.draining:drain": "brings what a process that only announces events lacks",
    "drivers.draining:take_turn": "as above",
    "checks:check_installed_apps": "as below",
    "checks:check_installation": "brings what only commands need",
    "middleware:_with_head": "most sites print the tag in their templates",
    "views:_completed": "few orders meet a visitor who has not answered yet",
    "checks:check_settings": "as above",
    "checks:check_csp": "as above",
    "checks:check_delivery": "as above",
    "keys:_fernet": "a page neither encrypts nor decrypts, and it takes long to load",
    "keys:decrypt": "as above",
    "graph_api:_connection": "brings the HTTP client, which a process that only renders lacks",
}
VAGUE_NAMES = {"utils", "util", "helpers", "common", "core", "misc", "services", "tools"}


class Import(NamedTuple):
    where: str  # file:line
    importer: str  # "admin.views"
    imported: str  # "wagtail_metapixel.models", "requests"
    function: str | None  # the function it stands in

    @property
    def importer_top(self) -> str:
        return self.importer.split(".")[0]

    @property
    def own(self) -> str | None:
        """The module or package of ours it names, or None for somebody else's."""
        package, _, rest = self.imported.partition(".")
        return rest.split(".")[0] if package == PACKAGE and rest else None


def sources() -> Iterator[tuple[str, Path]]:
    """Each module with its dotted name below the package; packages by their own name."""
    folder = ROOT / PACKAGE
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[0] == "migrations" or parts == ("__init__",):
            continue
        yield ".".join(part for part in parts if part != "__init__"), path


def imports_of(name: str, path: Path) -> Iterator[Import]:
    """Every import statement; ``from package import a, b`` counts as one of a and one of b."""
    where = path.relative_to(ROOT)

    def visit(node: ast.AST, function: str | None) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for imported in names_in(child):
                    yield Import(f"{where}:{child.lineno}", name, imported, function)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from visit(child, child.name if inside else function)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), None)


def names_in(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level:
        return [f"{PACKAGE}.relative"]  # ruff forbids these; here they would be on no floor
    if node.module == PACKAGE:
        return [f"{PACKAGE}.{alias.name}" for alias in node.names]
    return [node.module or ""]


def floor_of(module: str) -> int | None:
    return next((number for number, names in enumerate(FLOORS) if module in names), None)


def complaint(line: Import) -> str | None:
    """Say what is wrong with an import, or return None."""
    own = line.own
    if line.importer_top == "sandbox":
        return sandbox_complaint(line)
    if own is None or own == line.importer_top:
        return None
    here = floor_of(line.importer_top)
    there = SANDBOX_IS_SEEN_FROM - 1 if own == "sandbox" else floor_of(own)
    if here is None or there is None:
        return f"{line.where}: {line.importer} or {own} is on no floor"
    if there < here or (line.importer_top, own) in NEIGHBOURS:
        return None
    return f"{line.where}: {line.importer} (floor {here}) imports {own} (floor {there})"


def sandbox_complaint(line: Import) -> str | None:
    if line.own in SANDBOX_MAY_IMPORT | {"sandbox"}:
        return None
    if line.own is None and line.imported.split(".")[0] in sys.stdlib_module_names:
        return None
    return f"{line.where}: the sandbox may not import {line.imported}"


def all_imports() -> list[Import]:
    return [line for name, path in sources() for line in imports_of(name, path)]


def test_every_module_stands_on_one_floor():
    top = {name.split(".")[0] for name, _path in sources()} - {"sandbox"}
    listed = [name for floor in FLOORS for name in floor]
    assert sorted(top - set(listed)) == [], "on no floor of FLOORS"
    assert len(listed) == len(set(listed)), "on two floors"


def test_modules_import_only_from_lower_floors():
    lines = all_imports()
    assert list(filter(None, map(complaint, lines))) == []
    used = {(line.importer_top, line.own) for line in lines}
    assert sorted(NEIGHBOURS.keys() - used) == [], "no longer needed"


def test_imports_stand_at_the_top():
    late = {
        f"{line.importer}:{line.function}": line.where for line in all_imports() if line.function
    }
    assert {key: where for key, where in late.items() if key not in LATE_IMPORTS} == {}
    assert sorted(LATE_IMPORTS.keys() - late.keys()) == [], "no longer needed"


def test_init_files_are_empty():
    files = (ROOT / PACKAGE).rglob("__init__.py")
    assert [str(path.relative_to(ROOT)) for path in files if path.read_text().strip()] == []


def test_no_module_has_a_name_that_means_nothing():
    assert [name for name, _path in sources() if VAGUE_NAMES & set(name.split("."))] == []


@pytest.mark.parametrize(
    ("importer", "code", "wrong"),
    [
        ("models", "from wagtail_metapixel.conf import get", False),
        ("models", "import requests", False),
        ("admin.views", "from wagtail_metapixel.admin.forms import Form", False),
        ("urls", "from wagtail_metapixel import views", False),
        ("management.commands.metapixel_sandbox", "import wagtail_metapixel.sandbox.server", False),
        ("sandbox.server", "from wagtail_metapixel import catalogue", False),
        ("sandbox.server", "import http.server", False),
        ("conf", "from wagtail_metapixel import models", True),
        ("conf", "import wagtail_metapixel.models", True),
        ("outbox", "from wagtail_metapixel.browser import echo", True),
        ("outbox", "from wagtail_metapixel.elsewhere import thing", True),
        ("outbox", "from .models import Row", True),
        ("elsewhere", "from wagtail_metapixel import conf", True),
        ("tracking", "from wagtail_metapixel.sandbox import rules", True),
        ("conf", "def late():\n    from wagtail_metapixel import models", True),
        ("sandbox.server", "from wagtail_metapixel.models import Row", True),
        ("sandbox.server", "import django", True),
    ],
)
def test_the_floors_tell_right_from_wrong(importer, code, wrong, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(code)
    complaints = [complaint(line) for line in imports_of(importer, path)]
    assert [bool(text) for text in complaints] == [wrong]
    assert all(text is None or text.startswith("module.py:") for text in complaints)
