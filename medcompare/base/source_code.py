"""What a source file says, whatever its comments, docstrings and layout.

Reading all files of ours takes 0.6 s at the start of every run. As with byte code, what was read is kept in
``__pycache__`` for the next process, unless `sys.dont_write_bytecode` says otherwise. It is found by the content of
the file, not by its time, so that it is exactly what would be read.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medcompare.base.artifacts import sha256_of_bytes, write_atomically
from medcompare.base.errors import MedcompareError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = Path(importlib.util.cache_from_source(__file__)).with_suffix(".json")
"""Beside the byte code of this module, of this version of Python."""
MOST_KEPT = 2000
"""Files of which more are kept only until the next one is read: there are some 350, and one more with every edit."""


class Import(NamedTuple):
    """A module that a source imports."""

    name: str
    for_types_only: bool
    """Under ``if TYPE_CHECKING:``, so never executed."""


class Source(NamedTuple):
    """What stages are keyed on."""

    digest: str
    """SHA-256 of the syntax tree without docstrings."""
    imports: tuple[Import, ...]
    """Modules that are imported, at the top or inside functions, and possible ones.

    Of ``from medcompare.stats import auc`` both ``medcompare.stats`` and
    ``medcompare.stats.intervals.auc`` are given: whether the latter is a module, its file tells."""


_new: dict[str, Source] = {}


@cache
def read_source(text: str) -> Source:
    """What the source `text` says.

    Raises
    ------
    SyntaxError
        If it is not Python.
    """
    key = sha256_of_bytes(text.encode())
    if key in _kept():
        digest, imports = _kept()[key]
        return Source(digest, tuple(Import(*one) for one in imports))
    found = _read(text)
    if not _new and not sys.dont_write_bytecode:
        atexit.register(_keep)
    _new[key] = found
    return found


@cache
def _made_by() -> str:
    return sha256_of_bytes(Path(__file__).read_bytes())


@cache
def _kept() -> dict[str, Any]:
    """Digest and imports by the SHA-256 of the text, as processes before this one have read them."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none there, or a damaged one
        kept = json.loads(KEPT.read_bytes())
        if kept["made_by"] == _made_by():
            return dict(kept["sources"])
    return {}


def _keep() -> None:
    """Add what this process has read; where that cannot be written, the next one reads it again."""
    before = _kept() if len(_kept()) < MOST_KEPT else {}
    kept = {"made_by": _made_by(), "sources": {**before, **_new}}
    with contextlib.suppress(OSError, MedcompareError):
        write_atomically(KEPT, json.dumps(kept).encode())


def _read(text: str) -> Source:
    tree = ast.parse(text)
    imports = tuple(_imports_below(tree, for_types_only=False))
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(_below(node))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:]
    return Source(sha256_of_bytes(ast.dump(tree, include_attributes=False).encode()), imports)


def _below(node: ast.AST) -> Iterator[ast.AST]:
    """What stands directly below `node`, but for expressions, nine of ten nodes: none holds what is looked for."""
    return (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))


def _imports_below(node: ast.AST, *, for_types_only: bool) -> Iterator[Import]:
    for child in _below(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, for_types_only) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield Import(child.module, for_types_only)
            yield from (Import(f"{child.module}.{alias.name}", for_types_only) for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for part in child.body:
                yield from _imports_below(ast.Module([part], []), for_types_only=True)
            for part in child.orelse:
                yield from _imports_below(ast.Module([part], []), for_types_only=for_types_only)
        else:
            yield from _imports_below(child, for_types_only=for_types_only)
