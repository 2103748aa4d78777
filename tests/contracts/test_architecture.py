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
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from medcompare.models.zoo import MODELS

ROOT = Path(__file__).resolve().parents[2]
OURS = ("medcompare", "tasks", "flows")

BELOW: dict[str, str] = {
    "base": "",
    "models": "base",
    "config": "base models",
    "data": "base models config",
    "predictions": "base models config data",
    "training": "base models config data predictions",
    "stats": "base models config data predictions",
    "runs": "base models config data predictions training stats",
    "report": "base models config data predictions training stats runs",
    "handover": "base models config data predictions training stats runs report",
    "notify": "base models config data predictions training stats runs",
    "tasks": "base models config data predictions training stats runs report notify",
    "flows": "base models config data predictions training stats runs report handover notify tasks",
    "cli": "base models config data predictions training stats runs report handover notify tasks flows",
}
"""Room -> the rooms that it may import from. Training and statistics meet in the table of predictions."""

TORCH = {"torch", "torchvision", "captum", "efficientnet_pytorch", "efficientnet_lite_pytorch", "timm"}
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
            elif isinstance(child, ast.If) and "__main__" in ast.unparse(child.test):
                continue  # a command, not an import of the module
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                visit(child, at_start=False)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                visit(child, at_start=at_start and not inside)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")), at_start=True)
    return tuple(found)


def room_of(module: str) -> str:
    """Room that a module of ours belongs to; the package itself is the map of the rooms."""
    top, _, inside = module.partition(".")
    if inside == "__main__":
        return "cli"
    return inside.partition(".")[0] if top == "medcompare" and inside else top


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
    """A module imports only from the rooms that the table names for its own."""
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{entry.line} imports {entry.target} ({room} -> {room_of(entry.target)})"
        for module in sorted(set(MODULES) - {"medcompare"})
        for entry in imports_of(module)
        if (room := room_of(module))
        and entry.target in MODULES
        and room_of(entry.target) not in {room, "medcompare", *BELOW[room].split()}
    ]

    assert wrong == []


def test_the_table_has_one_row_per_room_and_no_circle() -> None:
    """A room may import only from rooms above it in the table."""
    rooms = list(BELOW)

    assert {room_of(module) for module in MODULES} == {"medcompare", *rooms}
    for place, room in enumerate(rooms):
        assert set(BELOW[room].split()) <= set(rooms[:place]), room


def test_no_modules_import_each_other_in_a_circle() -> None:
    """What is executed on import has an order, inside a room too."""
    graph = {
        module: {entry.target for entry in imports_of(module) if entry.at_start and entry.target in MODULES}
        for module in MODULES
    }

    list(TopologicalSorter(graph).static_order())  # raises a CycleError that names the circle


def test_the_map_names_every_room() -> None:
    """The docstring of the package has one line per room."""
    text = ast.get_docstring(ast.parse(MODULES["medcompare"].read_text("utf-8"))) or ""

    named = re.findall(r"^``(\w+)/?``", text, re.MULTILINE)
    assert named == [room for room in BELOW if (ROOT / "medcompare" / room).is_dir()]


@pytest.mark.parametrize(
    ("pattern", "banned"),
    [
        ("medcompare.[!c_]*", {"prefect", "tasks", "flows"}),
        ("medcompare.config*", {"prefect", "tasks", "flows"}),
        ("medcompare.stats*", TORCH | DRAWING),
        ("medcompare.report*", TORCH | {"sklearn"}),
        ("medcompare.config.schema", TORCH | DRAWING | {"pandas", "scipy", "numpy"}),
        ("medcompare.notify.send*", TORCH),
        ("medcompare.cli.*", TORCH | DRAWING | {"prefect", "pandas", "scipy", "sklearn", "statsmodels"}),
        (
            "medcompare.runs.report_server",
            TORCH | DRAWING | {"prefect", "pandas", "numpy", "scipy", "sklearn"},
        ),
        ("flows.serving", TORCH | DRAWING | {"prefect", "pandas", "numpy", "scipy", "sklearn"}),
    ],
    ids=[
        *("package", "all of config", "stats", "report", "config", "mail"),
        *("command line", "report server", "serving"),
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


RECORDS_OF_STATISTICS = {"medcompare.stats.records", "medcompare.stats.in_detail"}
WORDS_OF_THE_VERDICT = {"medcompare.stats.verdict.phrases", "medcompare.stats.verdict.caveats"}
"""How the verdict puts a figure: where page one finds what its table says already."""


def test_the_report_reads_only_the_records_of_the_statistics() -> None:
    """What is printed was computed before: nothing is computed while a page is written."""
    wrong = [
        f"{module} imports {entry.target}"
        for module in MODULES
        if room_of(module) == "report"
        for entry in imports_of(module)
        if entry.target.startswith("medcompare.stats.")
        and entry.target not in RECORDS_OF_STATISTICS | WORDS_OF_THE_VERDICT
    ]

    assert wrong == []


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


MAY_NAME_MODELS = ("medcompare.models.zoo*", "medcompare.config.*")


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


DISTRIBUTION_OF = {
    "mlflow": "mlflow-skinny",
    "PIL": "pillow",
    "dotenv": "python-dotenv",
    "fontTools": "fonttools",
    "pynvml": "nvidia-ml-py",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


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
        module for module, path in MODULES.items() if own_mode.search(code_only(path.read_text("utf-8")))
    ]

    assert wrong == ["medcompare.base.file_access"]  # names the command in its remedies
