"""Recorded runs in the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from medcompare.cli.app import main
from medcompare.runs.history import history_path, record_run
from medcompare.runs.result import NoPdf
from tests.runs.sample_runs import figures, summary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a file or a program reads the output; tests before may have left another width."""
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with three runs: two completed, the last failed."""
    later = (
        figures("resnet50", "ResNet-50", 0.93, training_time_s=660.0),
        figures("efficientnet_b0", "EfficientNet-B0", 0.75),
    )
    for run in (
        summary(1),
        summary(2, models=later, data_fingerprint="e" * 64, n_images=903),
        summary(3, status="failed"),
    ):
        record_run(history_path(tmp_path), run)
    return tmp_path


def test_runs_are_listed_newest_first(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per run with status, figures and verdict or cause."""
    assert main(["history", "--store", str(store)]) == 0

    said = capsys.readouterr().out
    assert [said.index(name) for name in ("2026-11-03_oral", "2026-11-02_oral", "2026-11-01_oral")] == sorted(
        said.index(name) for name in ("2026-11-03_oral", "2026-11-02_oral", "2026-11-01_oral")
    )
    assert "ResNet-50 0.930 (0.880 to 0.980)" in said
    assert "training of ResNet-50: loss is not finite" in said
    assert "Prefer EfficientNet-B0" in said


def test_a_run_without_its_pdf_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is completed, as its verdict stands."""
    run = summary(1, no_pdf=NoPdf(cause="x", how="it passed its time limit"))
    record_run(history_path(tmp_path), run)

    assert main(["history", "--store", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "completed" in said
    assert "Prefer EfficientNet-B0 (ended without PDF: it" in said


def test_filters_and_limit(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what was asked for."""
    main(["history", "--store", str(store), "--status", "completed", "-n", "1"])
    said = capsys.readouterr().out
    assert "2026-11-02_oral" in said
    assert "2026-11-01_oral" not in said

    main(["history", "--store", str(store), "--data", "skin"])
    assert "No runs recorded that fit." in capsys.readouterr().out
    main(["history", "--store", str(store), "--series", "manual"])
    assert "No runs recorded that fit." in capsys.readouterr().out


def test_two_runs_are_compared(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sentences, then the figures before and after."""
    assert main(["history", "--store", str(store), "--compare", "2026-11-01", "latest~1"]) == 0

    said = capsys.readouterr().out
    assert "Data: 851 → 903 images (+52)." in said
    lines = {tuple(line.split()[:3]): line.split() for line in said.splitlines()}
    assert lines["ResNet-50", "AUC", "0.910"][3:] == ["0.930", "+0.020", "overlap"]
    assert lines["EfficientNet-B0", "AUC", "0.900"][3:] == ["0.750", "−0.150", "do", "not", "overlap"]
    assert "+1\u202fmin 00\u202fs" in said


def test_json_can_be_read_by_programs(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists and comparisons, with the configuration as a table."""
    assert main(["history", "--store", str(store), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [run["run_id"] for run in runs] == ["run-3", "run-2", "run-1"]
    assert runs[2]["config"]["train"]["epochs"] == 20

    assert main(["history", "--store", str(store), "--compare", "run-1", "run-2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["causes"] == ["data"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--compare", "nothing", "latest"], 2, "no run is called 'nothing'"),
        (["--compare", "2026-11", "latest"], 2, "fits 3 runs"),
    ],
)
def test_bad_input(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    """One message, no traceback."""
    assert main(["history", "--store", str(store), *arguments]) == status
    assert message in capsys.readouterr().err


def test_a_missing_store_and_a_bad_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2; an empty store is no mistake; a damaged history is a failure."""
    assert main(["history", "--store", str(tmp_path / "absent")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["history", "-n", "0"]) == 2
    assert "'--limit' / '-n': Input should be greater than or equal to 1" in capsys.readouterr().err
    assert main(["history", "--store", str(tmp_path)]) == 0
    assert "No runs recorded yet." in capsys.readouterr().out
    history_path(tmp_path).write_bytes(b"not a database" * 100)
    assert main(["history", "--store", str(tmp_path)]) == 1
