"""A stored checkpoint and the validation and test subsets: one probability per image.

Scores are computed in float32 and turned into probabilities in float64; the table holds
their shortest exact decimal form, so that reading it back gives the same numbers. What class
weights added to the log-odds in training is subtracted, so that probabilities are those of the
training subset's prevalence.
"""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.devices import pick_device
from medcompare.base.errors import TrainingError
from medcompare.base.hardware import keep_freed_memory
from medcompare.data.assignments import read_assignments, rows_of
from medcompare.models.registry import build_model
from medcompare.models.zoo import find_model
from medcompare.predictions.records import Predictions
from medcompare.training.batch_statistics import load_statistics
from medcompare.training.checkpoints import load_checkpoint
from medcompare.training.dataset import EvaluationImages, loaders_of
from medcompare.training.options import with_views
from medcompare.training.scoring import (
    Placement,
    logits_of,
    make_repeatable,
    positive_probability,
    unweighted_logits,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from medcompare.base.record import Subset
    from medcompare.data.assignments import ImageRow
    from medcompare.training.requests import PredictionRequest

PREDICTED: tuple[Subset, ...] = ("test", "val")
COLUMNS = ("case_id", "y_true", "patient_id", "subset", "probability", "probability_running")


def predict_subsets(request: PredictionRequest) -> Predictions:
    """Probabilities of the positive class for every image of both subsets.

    Parameters
    ----------
    request : PredictionRequest
        The trained model and the images.

    Returns
    -------
    Predictions
        With the table in the artifact store.

    Raises
    ------
    TrainingError
        If the network's output is not finite.
    DataError, ArtifactError, ConfigError
        If an image changed, a stored file is gone, or the device is not there.
    """
    trained, spec = request.trained, find_model(request.trained.model)
    store = ArtifactStore(request.store_root)
    network, placement, running = loaded_network(request)
    scorer = with_views(network, trained.test_time_augmentation)
    rows = read_assignments(store.read(request.split.assignments))
    # An external set has no validation images; images to test on there must be.
    present = [
        subset for subset in PREDICTED if subset == "test" or any(row.subset == subset for row in rows)
    ]
    images = [
        EvaluationImages(
            rows_of(rows, subset),
            request.data_root,
            size_px=trained.image_size_px,
            resize_px=trained.resize_px,
            interpolation=spec.interpolation,
        )
        for subset in present
    ]
    loaders = dict(
        zip(
            present,
            loaders_of(
                images,
                request.train,
                placement.device,
                store=request.store_root,
                batch_size=trained.batch_size,
            ),
            strict=True,
        )
    )

    def scored(subsets: Sequence[Subset]) -> tuple[list[float], float]:
        """Probabilities of `subsets` with the statistics the network has now; spread of the test cases."""
        found: list[float] = []
        spreads = {}
        for subset in subsets:
            logits = logits_of(scorer, loaders[subset], spec, placement)
            found += positive_probability(unweighted_logits(logits, trained.class_weights)).tolist()
            spreads[subset] = float(np.std(logits[:, 1] - logits[:, 0]))
        return found, spreads["test"]

    chosen = [row for loader in loaders.values() for row in loader.images.rows]
    values, log_odds_sd = scored(present)
    for row, value in zip(chosen, values, strict=True):
        if not 0 <= value <= 1:
            msg = f"{spec.name} gives no finite probability for case {row.case_id}; train it again"
            raise TrainingError(msg)
    load_statistics(network, running)
    # No threshold is chosen with them: only the test subset, which comes first, shows what they change.
    values_running = scored(["test"])[0] if running else ()
    return Predictions(
        model=spec.name,
        display_name=spec.display_name,
        classes=request.split.classes,
        table=store.write(prediction_table(chosen, values, values_running), ".csv"),
        n_val=len(loaders["val"].images) if "val" in loaders else 0,
        n_test=len(loaders["test"].images),
        checkpoint_sha256=trained.checkpoint.sha256,
        seed=trained.seed,
        has_running=bool(running),
        log_odds_sd=log_odds_sd,
        log_odds_shift=trained.log_odds_shift,
    )


def loaded_network(request: PredictionRequest) -> tuple[nn.Module, Placement, dict[str, Tensor]]:
    """The trained network where it computes, repeatably; and its running batch statistics.

    Raises
    ------
    ArtifactError, ConfigError
        If its checkpoint is gone, or the device is not there.
    """
    trained, spec = request.trained, find_model(request.trained.model)
    if request.n_threads is not None:
        torch.set_num_threads(request.n_threads)
    keep_freed_memory()
    # The layout of training: another one would round differently in the last digits.
    device = pick_device(request.train.device, index=request.device_index)
    make_repeatable(device)
    placement = Placement(device=device, memory_format=trained.memory_format)
    network = build_model(spec, seed=trained.seed)
    running = load_checkpoint(ArtifactStore(request.store_root), trained.checkpoint, network, model=spec.name)
    return placement.network(network), placement, running


def prediction_table(
    rows: Sequence[ImageRow], probabilities: Sequence[float], running: Sequence[float] = ()
) -> bytes:
    """CSV with one row per image, sorted by subset and case_id, probabilities in full precision.

    File names stay out of it: ``case_id`` is the pseudonym. `running` are the probabilities of the first
    rows with the library's running batch statistics: cells are empty where there are none or they are not finite.
    """
    further = [name for name, _ in rows[0].extra] if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *further])
    beside = [*map(_cell, running), *[""] * (len(rows) - len(running))]
    cells = zip(rows, map(_cell, probabilities), beside, strict=True)
    writer.writerows(
        [
            row.case_id,
            row.label,
            row.patient_id,
            row.subset,
            *scores,
            *(cell for _, cell in row.extra),
        ]
        for row, *scores in sorted(cells, key=lambda one: (one[0].subset, one[0].case_id))
    )
    return text.getvalue().encode("utf-8")


def _cell(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""
