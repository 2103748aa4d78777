"""Predictions: full precision, no file names, the same whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from medcompare.base.errors import ArtifactError, DataError, TrainingError
from medcompare.data.assignments import ImageRow, read_assignments, rows_of
from medcompare.data.sources.table import OWN_COLUMNS
from medcompare.models.registry import build_model
from medcompare.models.zoo import MODELS
from medcompare.training.checkpoints import load, state_on_cpu, write_checkpoint
from medcompare.training.dataset import EvaluationImages
from medcompare.training.inference import COLUMNS, predict_subsets, prediction_table
from medcompare.training.loop import train_model
from medcompare.training.requests import PredictionRequest
from medcompare.training.transforms import normalised

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.training.records import TrainedModel


def request_for(tiny: Any, trained: TrainedModel) -> PredictionRequest:
    """Prediction with `trained` on its own data."""
    return PredictionRequest(
        trained=trained,
        train=tiny.request().train,
        split=tiny.split,
        data_root=tiny.root,
        store_root=tiny.store.root,
        n_threads=1,
    )


def row(case_id: str, subset: str, extra: tuple[tuple[str, str], ...] = ()) -> ImageRow:
    """A row of the split's table."""
    return ImageRow(
        case_id=case_id,
        path=f"{case_id}.png",
        label=1,
        patient_id="p",
        sha256="0",
        subset=subset,
        extra=extra,
    )


def test_the_table_holds_every_case_once_sorted_and_exact() -> None:
    """Sorted by subset and case; what is read back is the very number."""
    values = [1 / 3, np.nextafter(1.0, 0.0), 1e-300]
    rows = [
        row("b", "val", (("sex", "f"),)),
        row("c", "test", (("sex", "m"),)),
        row("a", "val", (("sex", "a,b"),)),
    ]
    lines = prediction_table(rows, values, [0.5, float("nan"), 0.25]).decode().splitlines()

    assert lines[0] == "case_id,y_true,patient_id,subset,probability,probability_running,sex"
    assert [line.split(",")[0] for line in lines[1:]] == ["c", "a", "b"]
    assert float(lines[1].split(",")[4]) == values[1]
    assert float(lines[2].split(",")[4]) == values[2]
    assert lines[2].endswith('"a,b"')
    assert [line.split(",")[5] for line in lines[1:]] == ["", "0.25", "0.5"]
    only_first = prediction_table(rows, values, [0.5]).decode().splitlines()
    assert [line.split(",")[5] for line in only_first[1:]] == ["", "", "0.5"]
    assert not any(".png" in line for line in lines)


def test_a_manifest_cannot_hold_a_column_of_ours() -> None:
    """It would stand in the table twice, and a subgroup could be taken for a score."""
    assert set(COLUMNS) - {"patient_id"} <= OWN_COLUMNS


def test_probabilities_agree_with_a_plain_forward_pass(tiny: Any) -> None:
    """One image at a time, by hand: the same to float32 precision."""
    trained = train_model(tiny.request(epochs=2))
    predictions = predict_subsets(request_for(tiny, trained))
    lines = tiny.store.read(predictions.table).decode().splitlines()
    cells = {line.split(",")[0]: line.split(",") for line in lines[1:]}

    spec = MODELS["test_cnn"]
    network = build_model(spec, seed=0)
    network.load_state_dict(load(tiny.store.path_of(trained.checkpoint))["state"])
    network.eval()
    chosen = [r for r in tiny.rows if r[-1] == "test"]
    rows = [row(r[0], "test") for r in chosen]
    rows = [
        ImageRow(
            case_id=r[0], path=r[1], label=int(r[2]), patient_id="", sha256=r[4], subset="test", extra=()
        )
        for r in chosen
    ]
    images = EvaluationImages(rows, tiny.root, size_px=32, resize_px=37)
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (spec.mean, spec.std))
    for index, one in enumerate(rows):
        pixels = (images[(0, index)].float() / 255 - mean) / std
        with torch.no_grad():
            expected = torch.softmax(network(pixels[None])[0], 0)[1].item()
        assert float(cells[one.case_id][4]) == pytest.approx(expected, abs=1e-5)
    assert predictions.log_odds_shift == 0
    assert {line.split(",")[3] for line in lines[1:]} == {"val", "test"}
    assert predictions.n_test == len(chosen)
    assert predictions.checkpoint_sha256 == trained.checkpoint.sha256


def test_both_kinds_of_batch_statistics_are_predicted_with(tiny: Any) -> None:
    """The running statistics of the training beside the re-measured ones, by a plain forward pass."""
    trained = train_model(tiny.request(epochs=2))
    lines = tiny.store.read(predict_subsets(request_for(tiny, trained)).table).decode().splitlines()
    cells = {line.split(",")[0]: line.split(",") for line in lines[1:]}
    spec = MODELS["test_cnn"]
    network = build_model(spec, seed=0)
    content = load(tiny.store.path_of(trained.checkpoint))
    network.load_state_dict(content["state"] | content["running"])
    network.eval()
    rows = rows_of(read_assignments(tiny.store.read(tiny.split.assignments)), "test")
    images = EvaluationImages(rows, tiny.root, size_px=32, resize_px=37)
    inputs = torch.stack([images[(0, index)] for index in range(len(rows))])
    with torch.no_grad():
        expected = torch.softmax(network(normalised(inputs, spec.mean, spec.std)), 1)[:, 1].tolist()

    for one, value in zip(rows, expected, strict=True):
        assert float(cells[one.case_id][5]) == pytest.approx(value, abs=1e-5)
        assert abs(float(cells[one.case_id][4]) - value) > 1e-3


def test_class_weights_are_taken_out_of_the_probabilities(tiny: Any, resplit: Callable[..., Any]) -> None:
    """A quarter of the training images positive: the log of the weights' ratio leaves the log-odds."""
    positives = [r for r in tiny.rows if r[-1] == "train" and r[2] == "1"]
    rows = [r for r in tiny.rows if r not in positives[8:]]
    fewer = resplit(tiny, rows)
    trained = train_model(fewer.request(epochs=1))
    predictions = predict_subsets(request_for(fewer, trained))
    even = predict_subsets(request_for(fewer, trained.model_copy(update={"class_weights": (1.0, 1.0)})))
    corrected, raw = (
        np.array([float(v) for line in lines[1:] for v in line.split(",")[4:6] if v])
        for lines in (tiny.store.read(one.table).decode().splitlines() for one in (predictions, even))
    )

    assert trained.class_weights == pytest.approx((32 / 48, 32 / 16))
    assert predictions.log_odds_shift == pytest.approx(np.log(24 / 8))
    np.testing.assert_allclose(
        np.log(corrected / (1 - corrected)), np.log(raw / (1 - raw)) - np.log(3), atol=1e-9
    )


def test_two_predictions_are_byte_identical(tiny: Any) -> None:
    """So that the table's digest, and every cache below it, stays."""
    trained = train_model(tiny.request(epochs=1))

    assert (
        predict_subsets(request_for(tiny, trained)).table == predict_subsets(request_for(tiny, trained)).table
    )


def test_an_empty_subset_is_an_error(tiny: Any, resplit: Callable[..., Any]) -> None:
    """Named."""
    trained = train_model(tiny.request(epochs=1))
    rows = [r for r in tiny.rows if r[-1] != "test"]

    with pytest.raises(DataError, match="subset 'test' holds no images"):
        predict_subsets(request_for(resplit(tiny, rows), trained))


def test_a_lost_checkpoint_is_an_error(tiny: Any) -> None:
    """Of the kind that is computed again."""
    trained = train_model(tiny.request(epochs=1))
    tiny.store.path_of(trained.checkpoint).unlink()

    with pytest.raises(ArtifactError, match="is missing"):
        predict_subsets(request_for(tiny, trained))


def test_a_network_that_answers_nonsense_is_an_error(tiny: Any) -> None:
    """NaN never reaches the table."""
    trained = train_model(tiny.request(epochs=1))
    network = build_model(MODELS["test_cnn"], seed=0)
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
    broken = write_checkpoint(tiny.store, state_on_cpu(network), model="test_cnn")

    with pytest.raises(TrainingError, match="no finite probability for case case-"):
        predict_subsets(request_for(tiny, trained.model_copy(update={"checkpoint": broken})))
