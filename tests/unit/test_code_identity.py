"""The digest of code changes with what the code does, and with nothing else."""

from __future__ import annotations

import pytest

from medcompare.code_identity import (
    code_digest,
    imported_modules,
    library_versions,
    modules_behind,
    normalised_source,
)

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
    """A lazy import is an import."""
    source = "def f():\n    from medcompare.stats import auc\n    import medcompare.errors\n"

    assert {"medcompare.stats", "medcompare.stats.auc", "medcompare.errors"} <= set(imported_modules(source))


def test_a_module_brings_what_it_imports() -> None:
    """The artifact store rests on the records; neither rests on the configuration."""
    names = modules_behind("medcompare.artifacts")

    assert "medcompare.artifacts" in names
    assert "medcompare.records" in names
    assert "medcompare.config" not in names


def test_training_does_not_rest_on_the_statistics() -> None:
    """Editing a statistic must retrain nothing."""
    names = modules_behind("medcompare.training")

    assert not [name for name in names if name.startswith(("medcompare.stats", "medcompare.report"))]


def test_a_model_brings_its_own_file_only() -> None:
    """Editing one model's file leaves the digests of the others alone."""
    names = set(modules_behind("medcompare.training"))

    assert not [name for name in names if name.startswith("medcompare.models.zoo.")]
    assert code_digest("medcompare.training", also=("medcompare.models.zoo.resnet",)) != code_digest(
        "medcompare.training"
    )


def test_unknown_module_is_an_error() -> None:
    """A misspelt module must not give a digest of nothing."""
    with pytest.raises(ModuleNotFoundError, match=r"medcompare\.trainign"):
        modules_behind("medcompare.trainign")


def test_versions_of_libraries_are_part_of_it() -> None:
    """An absent library is recorded as absent."""
    rows = dict(library_versions(["numpy", "no-such-distribution"]))

    assert rows["numpy"][0].isdigit()
    assert rows["no-such-distribution"] == "absent"
