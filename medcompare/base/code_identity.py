"""Digest of the code behind a stage: what a cached result must be keyed on.

Prefect's own ``TASK_SOURCE`` hashes only the decorated function, so an edited helper
would return a stale result. Here the digest covers the module of the task itself and
everything of ours that it imports, however deep, with the versions of the libraries those
modules import. Comments, docstrings and layout do not count: editing them changes no result
and must retrain nothing. What is imported but cannot change a result stands in `NOT_FOLLOWED`
and `WITHOUT_EFFECT`, each with its reason.
"""

from __future__ import annotations

import hashlib
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medcompare.base.source_code import read_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
_IN_WHEEL = PACKAGE_ROOT / "templates"
TEMPLATES = _IN_WHEEL if _IN_WHEEL.is_dir() else PACKAGE_ROOT.parent / "templates"
"""Of report and mail: inside the package where it was installed from a wheel, beside it in a checkout."""
OURS = ("medcompare", "tasks")

_BY_VALUE = "its values reach a stage as inputs, which are in the key"
_ORCHESTRATION = "decides when and where a stage runs, not what it computes"
_PROGRESS = "only tells how far a stage is"
_KEYS = "makes keys: an edit that matters changes the keys it makes"

NOT_FOLLOWED: dict[str, str] = {
    "medcompare": "the version number",
    "medcompare.base.errors": "wording of an error; an error is no result and is not stored",
    "medcompare.config.schema": _BY_VALUE,
    "medcompare.config.data": _BY_VALUE,
    "medcompare.config.train": _BY_VALUE,
    "medcompare.training.requests": _BY_VALUE,
    "medcompare.data.fingerprint": _KEYS,
    "medcompare.data.sources.listing": "the fingerprint holds everything that is listed, value by value",
    "medcompare.models.zoo": "names travel; the file of the model in question is added by the key",
    "medcompare.base.hardware": "names of devices, cores and memory: speed, not results (but those of a cost)",
    "medcompare.base.code_identity": _KEYS,
    "medcompare.base.source_code": _KEYS,
    "medcompare.training.identity": _KEYS,
    "medcompare.data.workers": "passes calls and answers of other processes on unchanged",
    "medcompare.training.worker.elsewhere": "copies files that are checked by their digest",
    "medcompare.training.worker.process": "passes request and answer of a child process on unchanged",
    "medcompare.base.file_access": "who may read a file, not what is in it",
    "medcompare.base.shared_store": "copies files that are checked by their digest",
    "medcompare.base.store_lock": _ORCHESTRATION,
    "medcompare.training.stopping": "a training that is told to end has no result",
    "medcompare.training.progress": _PROGRESS,
    "medcompare.training.events": _PROGRESS,
    "tasks": "a docstring",
    "tasks.cache": _ORCHESTRATION,
    "tasks.engines": _ORCHESTRATION,
    "tasks.gpu": _ORCHESTRATION,
    "tasks.progress_bar": _PROGRESS,
}
"""Module -> why no result depends on it, though modules that results depend on import it."""

WITHOUT_EFFECT: dict[str, str] = {
    "prefect": _ORCHESTRATION,
    "pydantic": "checks and carries values; a value that it turned into another would change the inputs",
}
"""Library -> why no result depends on its version."""

DISTRIBUTION_OF = {
    "PIL": "pillow",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_pytorch": "efficientnet-pytorch",
    "sklearn": "scikit-learn",
}
"""Import name -> name of the distribution, where they differ."""


OTHER_CODE = (
    "the worker on {host} has another version of medcompare or of its libraries than the run: install the same on all "
    "machines (make setup, or the same image)"
)


def importing_this_code(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for a process of ours, which imports this code whatever is installed or the working folder."""
    paths = [str(PACKAGE_ROOT.parent), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@cache
def sources(root: Path = PACKAGE_ROOT.parent) -> Mapping[str, Path]:
    """Source file of every module of ours below `root`, by its dotted name."""
    found = {}
    for path in (path for top in OURS for path in (root / top).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class CodeBehind(NamedTuple):
    """What a result rests on."""

    modules: tuple[str, ...]
    """Of ours, sorted."""
    libraries: tuple[str, ...]
    """Distributions that these modules import, sorted."""


def code_behind(*modules: str, root: Path = PACKAGE_ROOT.parent) -> CodeBehind:
    """`modules` and all modules of ours that they import, with their packages, but for `NOT_FOLLOWED`.

    Imports for types alone count in `modules` themselves: methods of what a task is given are
    part of its work. Further down they are not followed, as nothing of them is executed.

    Parameters
    ----------
    *modules : str
        Dotted names; one in `NOT_FOLLOWED` counts where it is named here.
    root : Path
        Folder that holds the packages.

    Raises
    ------
    ModuleNotFoundError
        If one of `modules` is no module of ours.
    """
    found: set[str] = set()
    libraries: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = sources(root).get(name)
        if path is None and name in modules:
            msg = f"'{name}' is not a module of {' or '.join(OURS)}"
            raise ModuleNotFoundError(msg)
        if path is None or name in found or (name in NOT_FOLLOWED and name not in modules):
            continue
        found.add(name)
        waiting.append(name.rpartition(".")[0])  # importing a.b runs a as well
        for one in read_source(path.read_text(encoding="utf-8")).imports:
            top = one.name.partition(".")[0]
            if one.for_types_only and (name not in modules or top not in OURS):
                continue
            if top in OURS:
                waiting.append(one.name)
            elif top not in sys.stdlib_module_names and top not in WITHOUT_EFFECT:
                libraries.add(DISTRIBUTION_OF.get(top, top))
    return CodeBehind(tuple(sorted(found)), tuple(sorted(libraries)))


@cache
def code_digest(*modules: str, root: Path = PACKAGE_ROOT.parent) -> str:
    """SHA-256 of the code behind `modules`, and of the versions of the libraries it imports.

    Parameters
    ----------
    *modules : str
        Dotted names, e.g. ``tasks.train``, ``medcompare.training.loop`` and the file of the model.
    root : Path
        Folder that holds the packages.

    Returns
    -------
    str
        Hexadecimal digest; computed once per process, as running code does not change.
    """
    behind = code_behind(*modules, root=root)
    digest = hashlib.sha256()
    for name in behind.modules:
        source = read_source(sources(root)[name].read_text(encoding="utf-8"))
        digest.update(f"{name}\n{source.digest}\n".encode())
    for library, installed in library_versions(behind.libraries):
        digest.update(f"{library}=={installed}\n".encode())
    return digest.hexdigest()


def library_versions(libraries: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(name, version) of each distribution, 'absent' where it is not installed."""
    return tuple((library, _version(library)) for library in libraries)


@cache
def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
