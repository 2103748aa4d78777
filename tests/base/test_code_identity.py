"""The digest of code changes with what the code does, and with nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medcompare.base.code_identity import (
    Import,
    code_behind,
    code_digest,
    imports_of,
    library_versions,
    normalised_source,
)

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '''
"""Module."""
def f(x):
    """Docstring."""
    return x + 1  # why
'''


@pytest.mark.parametrize(
    "other",
    [
        SOURCE.replace("Docstring", "Other words"),
        SOURCE.replace("# why", "# another reason"),
        SOURCE.replace("def f(x):\n", "def f(\n    x\n):\n\n"),
    ],
    ids=["docstring", "comment", "layout"],
)
def test_wording_does_not_count(other: str) -> None:
    """Docstrings, comments and layout leave the digest alone."""
    assert normalised_source(SOURCE) == normalised_source(other)


def test_behaviour_counts() -> None:
    """A changed constant changes the digest."""
    assert normalised_source(SOURCE) != normalised_source(SOURCE.replace("+ 1", "+ 2"))


def test_imports_inside_functions_count() -> None:
    """A lazy import is an import; one for types alone is told apart."""
    source = """
if TYPE_CHECKING:
    from medcompare.stats import paired
else:
    import medcompare.base.errors
def f():
    from medcompare.stats.intervals import auc
"""

    assert set(imports_of(source)) == {
        Import("medcompare.stats", for_types_only=True),
        Import("medcompare.stats.paired", for_types_only=True),
        Import("medcompare.base.errors", for_types_only=False),
        Import("medcompare.stats.intervals", for_types_only=False),
        Import("medcompare.stats.intervals.auc", for_types_only=False),
    }


def test_a_library_counts_where_it_is_imported(tmp_path: Path) -> None:
    """Through modules of ours, also below their packages; what has no effect and the standard library do not."""
    package = tmp_path / "medcompare"
    package.mkdir()
    (package / "first.py").write_text("import json\nimport pydantic\nfrom medcompare.second import f\n")
    (package / "second.py").write_text("def f():\n    from PIL import Image\n    import numpy.linalg\n")

    behind = code_behind("medcompare.first", root=tmp_path)

    assert behind.modules == ("medcompare.first", "medcompare.second")
    assert behind.libraries == ("numpy", "pillow")


def test_unknown_module_is_an_error() -> None:
    """A misspelt module must not give a digest of nothing."""
    with pytest.raises(ModuleNotFoundError, match=r"medcompare\.trainign"):
        code_digest("medcompare.trainign")


def test_versions_of_libraries_are_part_of_it() -> None:
    """An absent library is recorded as absent."""
    rows = dict(library_versions(["numpy", "no-such-distribution"]))

    assert rows["numpy"][0].isdigit()
    assert rows["no-such-distribution"] == "absent"
