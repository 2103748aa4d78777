"""The run that a network is exported from: its records, checkpoint, images and scores, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import ArtifactError, ConfigError, DataError
from medcompare.config.schema import CompareConfig
from medcompare.data.assignments import read_assignments
from medcompare.data.sources.resolve import resolve_source
from medcompare.predictions.table import read_prediction_table
from medcompare.report.results import read_results

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.assignments import ImageRow
    from medcompare.data.records import DatasetManifest
    from medcompare.predictions.cases import ScoredCases
    from medcompare.report.results import Results
    from medcompare.stats.records import ModelEvaluation
    from medcompare.training.records import TrainedModel

TABLES = {"test": "predictions_test.csv", "val": "predictions_validation.csv"}


@dataclass(frozen=True, kw_only=True)
class SourceRun:
    """A finished comparison, and one of its networks."""

    folder: Path
    results: Results
    config: CompareConfig
    manifest: DatasetManifest
    store: ArtifactStore
    trained: TrainedModel
    evaluation: ModelEvaluation
    rows: list[ImageRow]
    data_root: Path
    scores: dict[Literal["test", "val"], ScoredCases]
    """Of images, under the name of the network."""


def open_run(run: Path, model: str | None, *, store: Path | None = None) -> SourceRun:
    """The run in the folder `run`, and its network `model`, or the one that the verdict recommends.

    Raises
    ------
    DataError
        If it is no finished comparison, or its checkpoint or images are gone.
    ConfigError
        If no network is named and none is recommended, or it has none of that name.
    """
    if not (run / "results.json").is_file():
        around = run if run.is_dir() else run.parent
        names = sorted(path.parent.name for path in around.glob("*/results.json")) if around.is_dir() else []
        hint = f"; runs in {around}: {', '.join(names[-5:])}" if names else ""
        msg = f"{run} is not the folder of a finished run (there is no results.json){hint}"
        raise DataError(msg)
    results = read_results(run / "results.json")
    if not results.trained or results.split is None or results.manifest is None:
        msg = (
            f"{run} compared predictions that were supplied: it has no network to export. Give one of compare"
        )
        raise DataError(msg)
    trained = _chosen(run, results, model)
    try:
        config = CompareConfig.model_validate_json((run / "config.json").read_bytes())
    except (OSError, ValidationError) as error:
        msg = (
            f"{run / 'config.json'} cannot be read ({type(error).__name__}): was it made by another version?"
        )
        raise DataError(msg) from None
    kept = ArtifactStore(store or config.store)
    again = f"medcompare compare --config {run / 'settings.json'}"
    try:
        kept.path_of(trained.checkpoint)
        rows = read_assignments(kept.read(results.split.assignments))
    except ArtifactError as error:
        msg = (
            f"the trained network of {run.name} is not to be had: {error}. Name the store it was trained in with "
            f"--store, or train it again, as medcompare prune deletes what older runs need: {again}"
        )
        raise DataError(msg) from None
    try:
        source = resolve_source(config.data, demo_root=kept.root / "demo", published=config.split.published)
    except DataError as error:
        msg = f"the images of {run.name} are needed to check what is exported: {error}"
        raise DataError(msg) from None
    column = trained.model if not results.further_trainings else f"{trained.model}@{trained.seed}"
    scores: dict[Literal["test", "val"], ScoredCases] = {}
    for subset in ("test", "val"):
        table = read_prediction_table(run / TABLES[subset], subset=subset, models=(column,))
        scores[subset] = table
    return SourceRun(
        folder=run,
        results=results,
        config=config,
        manifest=results.manifest,
        store=kept,
        trained=trained,
        evaluation=next(one for one in results.assessment.evaluations if one.model == trained.model),
        rows=rows,
        data_root=source.root,
        scores=scores,
    )


def _chosen(run: Path, results: Results, model: str | None) -> TrainedModel:
    names = [one.model for one in results.trained]
    wanted = model or results.assessment.verdict.model or (names[0] if len(names) == 1 else None)
    if wanted is None:
        msg = (
            f"the verdict of {run.name} recommends no single network ({results.assessment.verdict.headline}). "
            f"Name one: medcompare export {run} --model {names[0]} (or {', '.join(names[1:])})"
        )
        raise ConfigError(msg)
    if wanted not in names:
        msg = f"--model {wanted}: {run.name} has no network of that name; there are: {', '.join(names)}"
        raise ConfigError(msg)
    return next(one for one in results.trained if one.model == wanted)
