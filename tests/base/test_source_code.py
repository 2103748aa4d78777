"""What a source says does not depend on its wording, nor on which process has read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from medcompare.base.source_code import Import, read_source

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
    assert read_source(SOURCE).digest == read_source(other).digest


def test_behaviour_counts() -> None:
    """A changed constant changes the digest."""
    assert read_source(SOURCE).digest != read_source(SOURCE.replace("+ 1", "+ 2")).digest


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

    assert set(read_source(source).imports) == {
        Import("medcompare.stats", for_types_only=True),
        Import("medcompare.stats.paired", for_types_only=True),
        Import("medcompare.base.errors", for_types_only=False),
        Import("medcompare.stats.intervals", for_types_only=False),
        Import("medcompare.stats.intervals.auc", for_types_only=False),
    }


def _digest_elsewhere(source: str, folder: Path) -> str:
    """What a process that keeps byte code in `folder` reads."""
    program = "import sys; from medcompare.base.source_code import read_source; print(read_source(sys.argv[1]).digest)"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    answer = subprocess.run(
        [sys.executable, "-c", program, source], env=environment, capture_output=True, check=True, text=True
    )
    return answer.stdout.strip()


def test_what_was_read_is_kept_for_the_next_process(tmp_path: Path) -> None:
    """It is used where the text is the same; kept by other code, or damaged, it is read anew."""
    own = read_source(SOURCE).digest
    assert _digest_elsewhere(SOURCE, tmp_path) == own
    [kept] = tmp_path.rglob("source_code*.json")
    content = json.loads(kept.read_bytes())
    [key] = content["sources"]

    content["sources"][key][0] = "kept"
    kept.write_text(json.dumps(content))
    assert _digest_elsewhere(SOURCE, tmp_path) == "kept"
    assert _digest_elsewhere(SOURCE + "#", tmp_path) == own
    assert json.loads(kept.read_bytes())["sources"].keys() > {key}
    kept.write_text(json.dumps(content | {"made_by": "another version"}))
    assert _digest_elsewhere(SOURCE, tmp_path) == own
    kept.write_text("{")
    assert _digest_elsewhere(SOURCE, tmp_path) == own
