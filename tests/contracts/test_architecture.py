"""Who may import whom: the table of allowed arrows, checked on the parsed source.

Imports under ``if TYPE_CHECKING:`` count for the table (they are dependencies of the design),
but not for the checks of what is loaded at run time; nor do imports inside functions, which is
how a heavy library is kept away from the start of the command line.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from medcompare.models.zoo import MODELS

ROOT = Path(__file__).resolve().parents[2]
OURS = ("medcompare", "tasks", "flows")

GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # group: (modules, first match wins), (groups it may import beside itself)
    "words": (
        (
            "medcompare",
            "medcompare.base.errors",
            "medcompare.base.file_access",
            "medcompare.base.file_names",
            "medcompare.base.record",
            "medcompare.data.records",
            "medcompare.training.records",
            "medcompare.predictions.records",
            "medcompare.predictions.costs",
            "medcompare.config.presets",
            "medcompare.models",
            "medcompare.models.spec",
            "medcompare.models.zoo*",
            "medcompare.config.schema",
            "medcompare.config.form",
            "medcompare.base.artifacts",
            "medcompare.base.code_identity",
            "medcompare.base.discretion",
            "medcompare.training.requests",
            "medcompare.training.events",
            "medcompare.stats",
            "medcompare.report",
            "medcompare.data",
            "medcompare.config.data",
        ),
        (),
    ),
    "hardware": (("medcompare.base.hardware", "medcompare.base.devices"), ("words",)),
    "provenance": (("medcompare.runs.provenance",), ("words", "hardware")),
    "torch": (
        (
            "medcompare.training.dataset",
            "medcompare.training.transforms",
            "medcompare.models.*",
            "medcompare.training.batch_statistics",
            "medcompare.training.checkpoints",
            "medcompare.training.cost",
            "medcompare.training.cost_instruments",
            "medcompare.training.inference",
            "medcompare.training.recipes",
            "medcompare.training.scoring",
            "medcompare.training.loop",
            "medcompare.training.epoch",
            "medcompare.training.worker.process",
            "medcompare.training.state",
            "medcompare.training.worker.child",
        ),
        ("words", "hardware", "data"),
    ),
    # Any table of a user as text: images listed or predictions.
    "tables": (("medcompare.data.table_file", "medcompare.data.spelling"), ("words",)),
    "data": (("medcompare.data.*",), ("words", "tables")),
    "stats_records": (("medcompare.stats.records",), ("words",)),
    # The table of predictions, where the torch side and the statistics meet.
    "predictions": (
        (
            "medcompare.predictions.cases",
            "medcompare.predictions.table",
            "medcompare.predictions.columns",
            "medcompare.predictions.layout",
            "medcompare.predictions.roles",
            "medcompare.predictions.cost_file",
            "medcompare.stats.arrays",
        ),
        ("words", "tables"),
    ),
    # A bootstrap runs on the cores there are.
    "stats": (("medcompare.stats.*",), ("words", "hardware", "stats_records", "predictions")),
    "history": (
        ("medcompare.runs.summary", "medcompare.runs.changes", "medcompare.runs.history"),
        ("words", "stats_records", "formatting", "provenance"),
    ),
    "formatting": (("medcompare.base.formatting",), ("words", "stats_records")),
    "report": (("medcompare.report.*",), ("words", "stats_records", "formatting", "history", "provenance")),
    "mail": (
        ("medcompare.notify.send*", "medcompare.notify.outbox"),
        ("words", "stats_records", "formatting", "history"),
    ),
    # What joins the sides: every other module at the top of the package.
    "glue": (
        ("medcompare.*",),
        (
            "words",
            "hardware",
            "provenance",
            "data",
            "torch",
            "stats_records",
            "predictions",
            "stats",
            "history",
            "formatting",
            "report",
            "mail",
        ),
    ),
    "tasks": (
        ("tasks", "tasks.*"),
        (
            "words",
            "hardware",
            "provenance",
            "data",
            "torch",
            "stats_records",
            "predictions",
            "stats",
            "history",
            "report",
            "mail",
            "glue",
        ),
    ),
    "flows": (
        ("flows", "flows.*"),
        (
            "words",
            "hardware",
            "provenance",
            "data",
            "torch",
            "stats_records",
            "predictions",
            "history",
            "formatting",
            "report",
            "mail",
            "glue",
            "tasks",
        ),
    ),
}
"""The whole table. ``report`` reads the records of the statistics, never the statistics."""

TORCH = {"torch", "torchvision", "efficientnet_pytorch"}
DRAWING = {"matplotlib", "seaborn", "weasyprint", "jinja2"}


@dataclass(frozen=True)
class Import:
    """One imported name of a module."""

    target: str
    line: int
    at_start: bool
    """Executed when the module is imported."""


def files() -> list[Path]:
    """Every source file of ours."""
    return sorted(path for top in OURS for path in (ROOT / top).rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in files()}


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    """Imports of one of our modules, with those of names resolved to submodules."""
    found: list[Import] = []

    def visit(node: ast.AST, *, at_start: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(Import(alias.name, child.lineno, at_start) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"{module}:{child.lineno}: relative import"
                base = child.module or ""
                for alias in child.names:
                    inner = f"{base}.{alias.name}"
                    found.append(Import(inner if inner in MODULES else base, child.lineno, at_start))
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                visit(child, at_start=False)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                visit(child, at_start=at_start and not inside)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")), at_start=True)
    return tuple(found)


def group_of(module: str) -> str:
    """Group that a module of ours belongs to."""
    return next(
        name
        for name, (patterns, _) in GROUPS.items()
        if any(fnmatchcase(module, pattern) for pattern in patterns)
    )


def loaded_by(module: str) -> dict[str, str]:
    """Everything that importing `module` loads: name -> the module of ours that imports it."""
    loaded: dict[str, str] = {}
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for entry in imports_of(name):
            if not entry.at_start:
                continue
            loaded.setdefault(entry.target.split(".")[0], name)
            # Importing a.b.c runs a and a.b as well.
            parts = entry.target.split(".")
            waiting.extend(p for n in range(len(parts)) if (p := ".".join(parts[: n + 1])) in MODULES)
    return loaded


def test_every_arrow_stands_in_the_table() -> None:
    """A module imports only from groups that the table names for its own."""
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{entry.line} imports {entry.target} ({group} -> {group_of(entry.target)})"
        for module in sorted(MODULES)
        for entry in imports_of(module)
        if (group := group_of(module))
        and entry.target in MODULES
        and group_of(entry.target) not in {group, *GROUPS[group][1]}
    ]

    assert wrong == []


def test_the_table_has_no_circles() -> None:
    """No group reaches itself through others."""

    def reached(group: str, path: tuple[str, ...]) -> None:
        assert group not in path, f"circle: {' -> '.join([*path, group])}"
        for below in GROUPS[group][1]:
            reached(below, (*path, group))

    for group in GROUPS:
        reached(group, ())


@pytest.mark.parametrize(
    ("pattern", "banned"),
    [
        ("medcompare*", {"prefect", "tasks", "flows"}),
        ("medcompare.stats*", TORCH | DRAWING),
        ("medcompare.report*", TORCH | {"sklearn"}),
        ("medcompare.config.schema", TORCH | DRAWING | {"pandas", "scipy", "numpy"}),
        ("medcompare.notify.send*", TORCH),
        ("flows.command_line", TORCH | DRAWING | {"prefect", "pandas", "scipy", "sklearn", "statsmodels"}),
        ("flows.assess_command", TORCH | DRAWING | {"prefect", "pandas", "scipy", "sklearn", "statsmodels"}),
        ("flows.reports", TORCH | DRAWING | {"prefect", "pandas", "numpy", "scipy", "sklearn"}),
        ("flows.serving", TORCH | DRAWING | {"prefect", "pandas", "numpy", "scipy", "sklearn"}),
    ],
    ids=[
        *("package", "stats", "report", "config", "mail"),
        *("command line", "assess command line", "report server", "serving"),
    ],
)
def test_nothing_loads_what_it_must_not(pattern: str, banned: set[str]) -> None:
    """Importing a module loads none of the banned libraries, however far down."""
    wrong = {
        f"{module} loads {library} (imported by {by})"
        for module in MODULES
        if fnmatchcase(module, pattern)
        for library, by in loaded_by(module).items()
        if library in banned
    }

    assert wrong == set()


def test_no_pyplot_anywhere() -> None:
    """The global state of pyplot is not thread-safe; figures are objects here."""
    wrong = [
        m
        for m, path in MODULES.items()
        if re.search(r"\b(pyplot|pylab)\b", code_only(path.read_text("utf-8")))
    ]

    assert wrong == []


def test_torch_side_and_statistics_never_meet() -> None:
    """They meet in the table of predictions, so that a statistic can be tested on typed numbers."""
    for module in MODULES:
        if group_of(module) == "torch":
            assert not [e for e in imports_of(module) if e.target.startswith("medcompare.stats")], module
        if group_of(module) in {"stats", "stats_records", "report", "formatting"}:
            assert not [e for e in imports_of(module) if e.target.split(".")[0] in TORCH], module


def code_only(source: str) -> str:
    """Source without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                statement
                for statement in node.body
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.unparse(tree)


MAY_NAME_MODELS = ("medcompare.models.zoo*", "medcompare.config.presets", "medcompare.config.schema")


def test_no_model_is_named_outside_its_file() -> None:
    """Whatever a model needs stands in its row of the table: no code asks which model it has."""
    names = "|".join(re.escape(name) for spec in MODELS.values() for name in (spec.name, spec.display_name))
    found = {
        module: named
        for module, path in MODULES.items()
        if not any(fnmatchcase(module, pattern) for pattern in MAY_NAME_MODELS)
        and (named := re.findall(rf"['\"](?:{names})['\"]", code_only(path.read_text("utf-8"))))
    }

    assert found == {}


def test_no_template_names_a_model() -> None:
    """A new model appears in the report without an edit of the templates."""
    names = "|".join(re.escape(name) for spec in MODELS.values() for name in (spec.name, spec.display_name))
    named = {
        path.name for path in (ROOT / "templates").rglob("*.*") if re.search(names, path.read_text("utf-8"))
    }

    assert named == set()


def test_no_module_is_too_long() -> None:
    """A module past 400 lines asks to be split; a few more are no crime."""
    lengths = {module: len(path.read_text("utf-8").splitlines()) for module, path in MODULES.items()}

    assert {module: n for module, n in lengths.items() if n > 420} == {}


DISTRIBUTION_OF = {"PIL": "pillow", "sklearn": "scikit-learn", "fontTools": "fonttools", "yaml": "pyyaml"}


def test_everything_imported_is_declared() -> None:
    """What the code imports stands in pyproject.toml, not only in some dependency's dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {
        re.split(r"[<>=!~\[; ]", line)[0].lower().replace("_", "-")
        for lines in (project["dependencies"], *project["optional-dependencies"].values())
        for line in lines
    }
    # Markup of Jinja2: its own re-exported safe-string type.
    declared.add("markupsafe")
    imported = {
        entry.target.split(".")[0]: module
        for module in MODULES
        for entry in imports_of(module)
        if entry.target.split(".")[0] not in {*OURS, *sys.stdlib_module_names}
    }
    missing = {
        f"{name} (in {module})"
        for name, module in imported.items()
        if DISTRIBUTION_OF.get(name, name).lower().replace("_", "-") not in declared
    }

    assert missing == set()


def test_no_file_gets_a_mode_of_its_own() -> None:
    """The umask keeps what is written private: a chmod, or a file of its owner alone, would go round it."""
    own_mode = re.compile(rf"\b(chmod|mkstemp|NamedTemporaryFile)\b|O_CREAT.*, (?!{0o666}\))")
    wrong = [
        module
        for module, path in MODULES.items()
        if own_mode.search(code_only(path.read_text("utf-8"))) and module != "medcompare.notify.outbox"
    ]

    assert wrong == ["medcompare.base.file_access"]  # names the command in its remedies
