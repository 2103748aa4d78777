"""What the repository as a whole promises: nothing private, exact versions, described settings."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from pydantic import BaseModel

from medcompare.config.presets import PRESETS
from medcompare.config.schema import AssessConfig, CompareConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[2]

TOP_LEVEL = {
    *("flows", "tasks", "templates", "tests", "medcompare", "benchmarks", "docs", "deploy"),
    *("prefect.yaml", "pyproject.toml", "Makefile", "constraints.txt", "Dockerfile"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"),
}
"""What may stand at the top, beside files and folders whose name begins with a dot."""

BINARY = {".mo", ".png", ".jpg", ".pdf", ".npz", ".woff", ".woff2", ".ttf"}


def tracked() -> list[Path]:
    """Files under version control, in the working tree."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: the files that belong to the project are not known")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """(relative path, content) of every tracked text file but the one that lists the patterns."""
    for path in tracked():
        if path.suffix not in BINARY and path != Path(__file__).resolve():
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def test_nothing_unexpected_at_the_top() -> None:
    """The top of the project can be read at a glance."""
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}

    assert {name for name in found if not name.startswith(".")} - TOP_LEVEL == set()


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<![\w.])/(?:root|home/(?!user\b|medcompare\b)\w+|Users/\w+|work)/",
        r"[A-Z]:\\Users\\",
    ],
    ids=["home folders", "windows homes"],
)
def test_no_path_of_a_machine(pattern: str) -> None:
    """A path of one machine works on no other, and says whose it is."""
    found = {f"{name}: {match.group()}" for name, text in texts() for match in re.finditer(pattern, text)}

    assert found == set()


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?i)--(?:extra-)?index-url|--find-links|UV_INDEX|PIP_INDEX|\[\[tool\.uv\.index\]\]",
        r"(?i)\b(?:artifactory|nexus|devpi)\b",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}",
    ],
    ids=["package indexes", "registry hosts", "secrets"],
)
def test_no_registry_and_no_secret(pattern: str) -> None:
    """Packages come from wherever the user's own tools fetch them."""
    found = {f"{name}: {m.group()}" for name, text in texts() for m in re.finditer(pattern, text)}

    assert found == set()


def constraints() -> dict[str, str]:
    """Name -> exact version."""
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if not line.startswith("#")
    ]
    rows = dict(line.split("==") for line in lines)
    assert len(rows) == len(lines), "a package is named twice"
    return rows


def test_constraints_are_names_and_exact_versions() -> None:
    """One line per package: name==version, in order, no address, no option, no local build."""
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if not line.startswith("#")
    ]

    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*", line)] == []
    assert lines == sorted(lines)
    assert "medcompare" not in constraints()


def test_constraints_cover_every_declared_dependency() -> None:
    """What pyproject.toml asks for has an exact version, development tools and build included."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    asked = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["dev"],
        *project["dependency-groups"]["docs"],
        *project["build-system"]["requires"],
        "uv",
    ]
    names = {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in asked}

    assert names - set(constraints()) == set()


def test_the_broken_torch_is_never_installed() -> None:
    """2.13.0 is a broken release: neither pinned nor allowed."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = map(Requirement, tomllib.load(file)["project"]["dependencies"])

    assert constraints()["torch"] != "2.13.0"
    assert [line for line in declared if line.name == "torch" and "2.13.0" in line.specifier] == []


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted name, field) of every setting, sections included."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        for part in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from settings(part, f"{prefix}{name}.")


SETTINGS = {f"{m.__name__}.{name}": f for m in (CompareConfig, AssessConfig) for name, f in settings(m)}


def test_every_setting_is_described() -> None:
    """The description is the help, the form and the reference."""
    assert [name for name, field in SETTINGS.items() if len(field.description or "") < 6] == []


def test_every_number_has_bounds() -> None:
    """A number without bounds lets a typing error train for a week."""

    def bounded(field: FieldInfo) -> bool:
        marks: list[Any] = list(field.metadata)
        for part in typing.get_args(field.annotation):
            marks.extend(getattr(part, "__metadata__", ()))
        return any(getattr(m, name, None) is not None for m in marks for name in ("ge", "gt", "le", "lt"))

    def numeric(field: FieldInfo) -> bool:
        kinds = {field.annotation, *typing.get_args(field.annotation)}
        return bool(kinds & {int, float}) and typing.get_origin(field.annotation) not in {dict, tuple}

    assert [name for name, field in SETTINGS.items() if numeric(field) and not bounded(field)] == []


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_is_a_valid_configuration(preset: str) -> None:
    """A preset fills fields that exist, with values they allow."""
    assert CompareConfig.model_validate({"preset": preset}).preset == preset


def test_every_test_has_a_docstring() -> None:
    """A test says in one line what would be broken if it failed."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]

    assert silent == []
