"""The digest of code changes with what the code does, and with nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medcompare.base.code_identity import code_behind, code_digest, library_versions

if TYPE_CHECKING:
    from pathlib import Path


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
