"""What pyproject.toml declares is what the code imports, no more and no less."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PRODUCT, TESTING = ("medcompare", "flows", "tasks"), ("tests", "benchmarks")
NOT_IMPORTED = {
    "fastapi": "only its versions are bounded: Prefect imports it",
    "sqlalchemy": "only its versions are bounded: Prefect imports it",
    "codespell": "a command of `make lint`",
    "flask": "moto's server imports it",
    "flask-cors": "moto's server imports it",
    "hatchling": "builds the wheel in test_wheel.py",
    "mypy": "the command of `make types`",
    "pandas-stubs": "types for mypy",
    "pre-commit": "the command of CONTRIBUTING.md",
    "pytest-cov": "a plug-in of pytest: `make coverage`",
    "pytest-timeout": "a plug-in of pytest: the setting `timeout`",
    "ruff": "the command of `make lint`",
    "scipy-stubs": "types for mypy",
    "types-psutil": "types for mypy",
    "uv": "a command: test_wheel.py, `make docs`",
}
NOT_INSTALLED = {
    "pyarrow": "the extra `parquet`: table_file.py says how to install it",
    "python-gdcm": "the extra `dicom`: pydicom finds it, dicom.py says how to install it",
    **dict.fromkeys(
        ("dcurves", "evidently", "skore"), "benchmarks/reference_values.py asks them where they are"
    ),
}


@functools.cache
def imported(*folders: str) -> set[str]:
    """Distributions that these folders import, in the spelling of pyproject.toml."""
    nodes = [
        node
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    ]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = (
        {name.split(".")[0] for name in names}
        - {*PRODUCT, *TESTING}
        - set(NOT_INSTALLED)
        - sys.stdlib_module_names
    )
    providers = packages_distributions()
    return {spelling(providers.get(package, [package])[0]) for package in packages}


def spelling(name: str) -> str:
    """Normalise the name of a distribution as PyPI does; what follows it (versions) is cut off."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", name, maxsplit=1)[0]).lower()


def declared() -> tuple[set[str], set[str]]:
    """Distributions that pyproject.toml declares for running and for development."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    running, development = project["project"]["dependencies"], project["dependency-groups"]["dev"]
    return {spelling(line) for line in running}, {spelling(line) for line in development}


def optional() -> set[str]:
    """Distributions of the extras: imported where a user asks for what needs them."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {spelling(line) for lines in project["optional-dependencies"].values() for line in lines}


def test_what_the_product_imports_is_what_it_declares() -> None:
    """A package that only another one brings along may leave with it; one that nothing imports is a burden."""
    running, _ = declared()
    assert imported(*PRODUCT) - optional() == running - set(NOT_IMPORTED)


def test_what_tests_and_benchmarks_import_is_declared_and_used() -> None:
    """The same for the group `dev`."""
    running, development = declared()
    assert imported(*TESTING) - running - optional() == development - set(NOT_IMPORTED) - optional()


def test_no_exception_outlives_its_reason() -> None:
    """An exception is a declared package that nothing imports."""
    running, development = declared()
    assert set(NOT_IMPORTED) <= running | development
    assert not set(NOT_IMPORTED) & (imported(*PRODUCT) | imported(*TESTING))
