"""Digest of the code behind a stage: what a cached result must be keyed on.

Prefect's own ``TASK_SOURCE`` hashes only the decorated function, so an edited helper
would return a stale result. Here the digest covers a module and everything of this
package that it imports, however deep. Comments, docstrings and layout do not count:
editing them changes no result and must retrain nothing.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE_ROOT = Path(__file__).resolve().parent

NOT_FOLLOWED = frozenset(
    {
        # Configuration reaches a stage as values in its inputs, which are hashed.
        "medcompare.config",
        "medcompare.presets",
        # Names travel; the one model's own file is added by `code_digest(model_module=...)`.
        "medcompare.models.zoo",
        # Wording of an error and the version number change no result.
        "medcompare.errors",
        "medcompare",
    }
)


def module_path(name: str) -> Path | None:
    """Source file of a module of this package, None where there is none."""
    parts = name.split(".")
    if parts[0] != PACKAGE_ROOT.name:
        return None
    base = PACKAGE_ROOT.joinpath(*parts[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def normalised_source(source: str) -> str:
    """Dump of the syntax tree of `source` without docstrings, comments and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:]
    return ast.dump(tree, include_attributes=False)


def imported_modules(source: str) -> Iterator[str]:
    """Modules of this package that `source` imports, at the top or inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            # `from medcompare.stats import auc` imports a module, not a name.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_behind(module: str, *, not_followed: frozenset[str] = NOT_FOLLOWED) -> tuple[str, ...]:
    """`module` and all modules of this package it imports, sorted.

    Raises
    ------
    ModuleNotFoundError
        If `module` is not a module of this package.
    """
    if module_path(module) is None:
        msg = f"'{module}' is not a module of {PACKAGE_ROOT.name}"
        raise ModuleNotFoundError(msg)
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = module_path(name)
        if name in found or path is None or (name in not_followed and name != module):
            continue
        found.add(name)
        waiting.extend(imported_modules(path.read_text(encoding="utf-8")))
    return tuple(sorted(found))


@cache
def code_digest(module: str, *, also: tuple[str, ...] = (), libraries: tuple[str, ...] = ()) -> str:
    """SHA-256 of the code behind `module`.

    Parameters
    ----------
    module : str
        Dotted name of the module that does the work, e.g. ``medcompare.training``.
    also : tuple of str, default=()
        Further modules, such as the zoo file of the one model in question.
    libraries : tuple of str, default=()
        Distributions whose installed version changes results, e.g. ``torch``.

    Returns
    -------
    str
        Hexadecimal digest; computed once per process, as running code does not change.
    """
    names: set[str] = set()
    for root in (module, *also):
        names.update(modules_behind(root))
    digest = hashlib.sha256()
    for name in sorted(names):
        path = module_path(name)
        if path is not None:
            digest.update(f"{name}\n{normalised_source(path.read_text(encoding='utf-8'))}\n".encode())
    for line in library_versions(libraries):
        digest.update(f"{line[0]}=={line[1]}\n".encode())
    return digest.hexdigest()


def library_versions(libraries: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(name, version) of each distribution, 'absent' where it is not installed."""
    rows = []
    for library in libraries:
        try:
            rows.append((library, version(library)))
        except PackageNotFoundError:
            rows.append((library, "absent"))
    return tuple(rows)
