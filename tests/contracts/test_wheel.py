"""The wheel: complete, and enough for a report where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pypdf import PdfReader

from medcompare.base.terminal import ExitStatus

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel installs, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def medcompare(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command of the installed wheel, started in `folder`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "medcompare", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_everything_is_in_it(site: Path) -> None:
    """Code, templates, checklists and the command; neither tests nor this project's tools."""
    inside = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}

    for top in ("flows", "tasks", "medcompare"):
        for path in (ROOT / top).rglob("*"):
            if path.suffix in {".py", ".toml"}:
                assert str(path.relative_to(ROOT)) in inside
    for path in (ROOT / "templates").iterdir():
        assert f"medcompare/templates/{path.name}" in inside
    assert {Path(name).parts[0].split("-")[0] for name in inside} == {"flows", "tasks", "medcompare"}
    (entry_points,) = site.glob("*.dist-info/entry_points.txt")
    assert "medcompare = medcompare.cli.app:main" in entry_points.read_text("utf-8")


def test_it_assesses_without_a_checkout(site: Path, tmp_path: Path) -> None:
    """From a table to a finished PDF; a verdict that is not accepted ends with status 3, report and all."""
    rows = [
        f"c{i},{y},{0.2 + 0.4 * y + i * 37 % 41 / 100:.3f},{0.3 + 0.2 * y + i * 53 % 43 / 110:.3f}"
        for i, y in enumerate([0, 1] * 40)
    ]
    (tmp_path / "test.csv").write_text("\n".join(["case_id,y_true,a,b", *rows]), encoding="utf-8")

    where = medcompare(site, tmp_path, "--version")
    code = medcompare(
        site,
        tmp_path,
        "assess",
        "--predictions",
        "test.csv",
        "--fail-unless",
        "prefer_cheaper,choose_by_cost",
    )

    assert where.stdout.startswith("medcompare ")
    assert code.returncode == ExitStatus.OTHER_VERDICT, code.stderr
    assert (
        "the verdict is use_model, --fail-unless accepts prefer_cheaper, choose_by_cost: exit status 3"
        in code.stderr
    )
    (pdf,) = (tmp_path / "runs").glob("2*/report.pdf")
    assert len(PdfReader(pdf).pages) > 5
    assert str(ROOT) not in code.stderr + code.stdout


@pytest.mark.slow
def test_it_compares_without_a_checkout(site: Path, tmp_path: Path) -> None:
    """From the demonstration images to a finished PDF."""
    done = medcompare(
        *(site, tmp_path, "compare", "--set", "data.demo.n_patients=60", "--set", "train.epochs=1"),
        *("--set", "evaluate.n_resamples=200"),
    )

    assert done.returncode == ExitStatus.SUCCESS, done.stderr
    (pdf,) = (tmp_path / "runs").glob("2*/report.pdf")
    assert len(PdfReader(pdf).pages) > 5


def test_an_unknown_verdict_is_refused_before_any_work(site: Path, tmp_path: Path) -> None:
    """One sentence with the words there are; nothing is written."""
    done = medcompare(site, tmp_path, "compare", "--fail-unless", "good")

    assert done.returncode == ExitStatus.BAD_INPUT
    assert done.stderr.startswith(
        "error: --fail-unless good: no such verdict; there are: invalid, not_enough_data"
    )
    assert list(tmp_path.iterdir()) == []
