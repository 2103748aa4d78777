"""Docstrings that can be trusted: present, complete where they list parameters, and true.

Every public function and method says what it does. One that lists its parameters lists all of
them, in order and by their names; one that raises says so. Figures need units and shapes, which
no test can see: that is for the reviewer.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from numpydoc.docscrape import FunctionDoc

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = (
    "Parameters",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Warns",
    "See Also",
    "Notes",
    "References",
    "Examples",
)
"""Sections of numpydoc, in the order they must stand."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def source_files() -> Iterator[Path]:
    """Source files whose docstrings are read by others."""
    for folder in ("medcompare", "tasks", "flows"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def public_functions() -> Iterator[tuple[str, Function]]:
    """(place, node) of every public function, and of every public method of a public class."""
    for path in source_files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owners: list[tuple[str, ast.AST]] = [("", tree)]
        owners += [
            (f"{n.name}.", n) for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")
        ]
        for prefix, owner in owners:
            for node in ast.iter_child_nodes(owner):
                if isinstance(node, Function) and not node.name.startswith("_"):
                    yield f"{path.relative_to(ROOT)}:{node.lineno} {prefix}{node.name}", node


FUNCTIONS = dict(public_functions())


def docstrings() -> Iterator[tuple[str, str]]:
    """(place, docstring) of every module, class and function, private ones too."""
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | Function):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


def documented(function: Function) -> list[str] | None:
    """Names in the docstring's Parameters section, None where there is no such section."""
    text = ast.get_docstring(function) or ""
    if not re.search(r"^Parameters\n-+$", text, flags=re.MULTILINE):
        return None
    doc = FunctionDoc(None, doc=text)
    return [name.strip().lstrip("*") for entry in doc["Parameters"] for name in entry.name.split(",")]


def actual(function: Function) -> list[str]:
    """Names of a function's parameters, in order."""
    a = function.args
    rows = [
        *a.posonlyargs,
        *a.args,
        *([a.vararg] if a.vararg else []),
        *a.kwonlyargs,
        *([a.kwarg] if a.kwarg else []),
    ]
    return [row.arg for row in rows if row.arg not in {"self", "cls"}]


def raised(function: Function) -> set[str]:
    """Names of the exceptions that a function's own body raises."""
    names: set[str] = set()
    inner = {
        id(n)
        for child in ast.walk(function)
        if isinstance(child, Function) and child is not function
        for n in ast.walk(child)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None and id(node) not in inner:
            call = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(call).split(".")[-1]
            if name[:1].isupper() and name != "NotImplementedError":  # how an abstract method says so
                names.add(name)
    return names


def test_every_public_function_says_what_it_does() -> None:
    """No public function or method is without a docstring."""
    silent = [place for place, node in FUNCTIONS.items() if not ast.get_docstring(node)]

    assert silent == []


def test_listed_parameters_are_the_real_ones() -> None:
    """A list of parameters is complete, in order, and by the names that the code uses."""
    wrong = {
        place: f"docstring {listed}, code {actual(node)}"
        for place, node in FUNCTIONS.items()
        if (listed := documented(node)) is not None and listed != actual(node)
    }

    assert wrong == {}


def test_what_is_raised_is_told() -> None:
    """A public function names the exceptions that its own body raises."""
    untold = {
        place: sorted(missing)
        for place, node in FUNCTIONS.items()
        # typer's Exit is how a command ends.
        if (
            missing := {
                name for name in raised(node) - {"Exit"} if name not in (ast.get_docstring(node) or "")
            }
        )
    }

    assert untold == {}


def test_sections_stand_in_numpydoc_order() -> None:
    """Readers and tools find each section where they expect it."""
    wrong = {}
    for place, text in docstrings():
        found = re.findall(r"^([A-Z][A-Za-z ]+)\n-{3,}$", text, flags=re.MULTILINE)
        unknown = [name for name in found if name not in SECTIONS]
        if unknown or found != sorted(found, key=SECTIONS.index):
            wrong[place] = found

    assert wrong == {}


def test_underlines_are_as_long_as_their_titles() -> None:
    """A section whose underline is too short is not recognised as one."""
    wrong = [
        place
        for place, text in docstrings()
        for title, line in re.findall(r"^([A-Z][A-Za-z ]+)\n(-{3,})$", text, flags=re.MULTILINE)
        if len(title) != len(line)
    ]

    assert wrong == []


def test_statistics_state_what_goes_in_and_comes_out() -> None:
    """A public function of the statistics with three or more parameters lists them and its result."""
    bare = [
        place
        for place, node in FUNCTIONS.items()
        if place.startswith("medcompare/stats/")
        and "." not in place.split(" ")[1]
        and len(actual(node)) >= 3
        and (documented(node) is None or "Returns\n-------" not in (ast.get_docstring(node) or ""))
    ]

    assert bare == []


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "misc", "common", "process_data", "data2"])
def test_no_module_has_a_vague_name(word: str) -> None:
    """A name that says nothing collects everything."""
    assert [path.name for path in source_files() if word in path.stem.split("_") or path.stem == word] == []
