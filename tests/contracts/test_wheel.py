"""The wheel: complete, and enough for both reports in an environment that holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from pypdf import PdfReader

from medcompare.cli.terminal import ExitStatus
from tests.flows.file_modes import OWNER, modes_below, umask, wrong

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


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that holds the wheel, what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(folder)], check=True)
    # What `make setup` installed is in the cache of uv; linked, as the libraries of CUDA have gigabytes.
    install = [
        "pip",
        "install",
        "--offline",
        "--link-mode",
        "symlink",
        "--python",
        str(folder / "bin/python"),
    ]
    ready = ROOT / ".venv" / ".ready"
    backend = "".join(ready.read_text("utf-8").splitlines()[1:2]) if ready.is_file() else ""
    choice = ["--torch-backend", backend] if backend else []
    done = subprocess.run(
        [*uv, *install, *choice, "--constraint", str(ROOT / "constraints.txt"), str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(
            f"uv has not kept the packages, so an empty environment cannot be filled: {done.stderr[-300:]}"
        )
    # Of the same files, so Python need not compile a hundred thousand lines for the first command.
    (here, there) = (
        Path(sysconfig.get_path("purelib", vars={"base": str(base)})) for base in (sys.prefix, folder)
    )
    for compiled in here.rglob("__pycache__"):
        place = there / compiled.relative_to(here)
        if place.parent.is_dir() and not place.exists():
            place.symlink_to(compiled)
    return folder / "bin" / "medcompare"


def run(command: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command, started in `folder` with nothing of this environment."""
    path = os.pathsep.join([str(command.parent), "/usr/local/bin", "/usr/bin", "/bin"])
    return subprocess.run(
        [str(command), *arguments],
        cwd=folder,
        env={
            "PATH": path,
            "HOME": str(folder / "home"),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
            "PYTHONDONTWRITEBYTECODE": "1",  # into the folders of this environment
        },
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


def test_it_assesses_in_an_empty_environment(command: Path, tmp_path: Path) -> None:
    """From a table to a finished PDF; a verdict that is not accepted ends with status 3, report and all.

    Whatever the umask, nobody else can read what is left: the database of the temporary server, too, holds
    paths and messages of the run.
    """
    rows = [
        f"c{i},{y},{0.2 + 0.4 * y + i * 37 % 41 / 100:.3f},{0.3 + 0.2 * y + i * 53 % 43 / 110:.3f}"
        for i, y in enumerate([0, 1] * 40)
    ]
    (tmp_path / "test.csv").write_text("\n".join(["case_id,y_true,a,b", *rows]), encoding="utf-8")

    where = run(command, tmp_path, "--version")
    with umask(0o000):
        code = run(
            command,
            tmp_path,
            "assess",
            "--predictions",
            "test.csv",
            "--fail-unless",
            "prefer_cheaper,choose_by_cost",
            "--set",
            "evaluate.n_resamples=200",
        )

    assert where.stdout.startswith("medcompare ")
    assert code.returncode == ExitStatus.OTHER_VERDICT, code.stderr
    assert (
        "the verdict is use_model, --fail-unless accepts prefer_cheaper, choose_by_cost: exit status 3"
        in code.stderr
    )
    (pdf,) = (tmp_path / "runs").glob("2*/report.pdf")
    assert len(PdfReader(pdf).pages) > 5
    left = [tmp_path / name for name in ("home/.prefect", "runs", ".medcompare")]
    assert wrong(modes_below(*left), OWNER) == {}
    assert any(left[0].rglob("*.db"))
    assert all(path.is_dir() for path in left)
    assert str(ROOT) not in code.stderr + code.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_it_compares_in_an_empty_environment(command: Path, tmp_path: Path) -> None:
    """From the demonstration images to a finished PDF."""
    done = run(
        *(
            command,
            tmp_path,
            "compare",
            "--models",
            "test_cnn,efficientnet_b0",
            "--set",
            "data.demo.n_patients=60",
            "--set",
            "train.epochs=1",
        ),
        *("--set", "evaluate.n_resamples=200"),
    )

    assert done.returncode == ExitStatus.SUCCESS, done.stderr
    (pdf,) = (tmp_path / "runs").glob("2*/report.pdf")
    assert len(PdfReader(pdf).pages) > 5


def test_an_unknown_verdict_is_refused_before_any_work(command: Path, tmp_path: Path) -> None:
    """One sentence with the words there are; nothing is written."""
    done = run(command, tmp_path, "compare", "--fail-unless", "good")

    assert done.returncode == ExitStatus.BAD_INPUT
    assert done.stderr.startswith(
        "error: --fail-unless good: no such verdict; there are: invalid, not_enough_data"
    )
    assert list(tmp_path.iterdir()) == []
