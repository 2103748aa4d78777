"""What is remembered of a run is what the run found."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from medcompare.base.errors import DataError
from medcompare.config.schema import CompareConfig
from medcompare.runs.summary import (
    RunFiles,
    canonical_json,
    completed_run,
    failed_run,
    failure_of,
    package_digest,
    start_of_run,
    utc_text,
)
from tests.report.sample import make_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.runs.summary import RunSummary

STARTED = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
FILES = RunFiles(
    folder="runs/a", pdf="runs/a/report.pdf", html="runs/a/report.html", results="runs/a/results.json"
)


def _begun() -> RunSummary:
    return start_of_run(
        CompareConfig(seed=3), run_id="id", name="a", kind="compare", data_name="demo", seed=3, started_at=STARTED,
        host="ward7", pid=7,
    )  # fmt: skip


def test_a_run_that_begins() -> None:
    """Who, where, with what; nothing yet of the outcome."""
    run = _begun()

    assert (run.status, run.finished_at, run.duration_s, run.verdict) == ("running", None, None, None)
    assert run.series == "compare demo"
    assert run.config_json == canonical_json(CompareConfig(seed=3))
    assert run.config_sha256 == hashlib.sha256(run.config_json.encode()).hexdigest()
    assert run.code_digest == package_digest()


def test_a_run_that_ends_well_keeps_every_figure() -> None:
    """Figures, intervals, counts and the verdict are those of the assessment, unrounded."""
    inputs = make_inputs()
    assert inputs.manifest is not None

    run = completed_run(
        _begun(), assessment=inputs.assessment, provenance=inputs.provenance, files=FILES, manifest=inputs.manifest,
        trained=inputs.trained, finished_at=STARTED + timedelta(minutes=3),
    )  # fmt: skip

    assert (run.status, run.duration_s, run.run_id) == ("completed", 180.0, "id")
    assert run.data_fingerprint == inputs.manifest.fingerprint
    assert (run.n_images, run.n_positive) == (inputs.manifest.n_images, inputs.manifest.class_counts[1])
    assert run.synthetic == inputs.manifest.synthetic
    assert [row.model for row in run.models] == list(inputs.assessment.models)
    for row, evaluation in zip(run.models, inputs.assessment.evaluations, strict=True):
        assert row.auc == evaluation.metrics["auc"]
        assert row.sensitivity == evaluation.metrics["sensitivity"]
    times = {trained.model: trained.elapsed_s for trained in inputs.trained}
    assert {row.model: row.training_time_s for row in run.models if row.model in times} == times
    assert run.verdict is not None
    assert run.verdict.sentence == inputs.assessment.verdict.sentence
    assert type(run).model_validate_json(run.model_dump_json()) == run


def test_supplied_predictions_stand_in_for_a_manifest() -> None:
    """Without images, the test cases and the digest of the predictions are remembered."""
    inputs = make_inputs()

    run = completed_run(
        _begun(), assessment=inputs.assessment, provenance=inputs.provenance, files=FILES, data_fingerprint="f" * 64,
        finished_at=STARTED,
    )  # fmt: skip

    assert (run.n_images, run.n_positive) == (inputs.assessment.n, inputs.assessment.n_positive)
    assert (run.data_name, run.data_fingerprint) == ("demo", "f" * 64)


def test_a_run_that_fails() -> None:
    """Stage, kind and the whole message are kept on this machine."""
    failure = failure_of(DataError("images/a.png: truncated"), "ingest", remedy="repair the file")

    run = failed_run(_begun(), failure=failure, finished_at=STARTED)

    assert run.status == "failed"
    assert run.failure is not None
    assert (run.failure.kind, run.failure.cause) == ("DataError", "images/a.png: truncated")
    interrupted = failure_of(KeyboardInterrupt(), "training")
    assert (interrupted.kind, interrupted.cause) == ("KeyboardInterrupt", "the run was stopped from outside")


def test_moments_are_stored_in_utc() -> None:
    """Texts in any time zone sort by time; without a zone they are refused."""
    berlin = timezone(timedelta(hours=1))

    assert utc_text(datetime(2026, 11, 22, 3, 0, tzinfo=berlin)) == "2026-11-22T02:00:00.000000+00:00"
    with pytest.raises(ValueError, match="has no time zone"):
        utc_text(datetime(2026, 11, 22, 3, 0))  # noqa: DTZ001 - what is refused


def test_the_digest_of_the_code_ignores_comments_and_sees_edits(tmp_path: Path) -> None:
    """Comments and docstrings do not count, statements and new files do; broken files are no obstacle."""
    module = tmp_path / "a.py"

    def digest(text: str) -> str:
        module.write_text(text)
        package_digest.cache_clear()
        return package_digest(tmp_path)

    first = digest('"""Doc."""\nx = 1  # one\n')
    assert digest('"""Other."""\n\nx = 1\n') == first
    assert digest("x = 2\n") != first
    assert digest("x = (\n") != first
    digest("x = 1\n")
    (tmp_path / "b.py").write_text("")
    package_digest.cache_clear()
    assert package_digest(tmp_path) != first
