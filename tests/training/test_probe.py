"""A linear probe: its head against scikit-learn, its network untouched, its predictions those of any network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medcompare.base.errors import TrainingError
from medcompare.config.schema import CostConfig
from medcompare.config.train import TrainConfig
from medcompare.data.assignments import read_assignments, rows_of
from medcompare.models.registry import build_model
from medcompare.models.zoo import find_model
from medcompare.training.checkpoints import load_checkpoint
from medcompare.training.cost import measure_cost
from medcompare.training.findings import not_converged
from medcompare.training.inference import predict_subsets
from medcompare.training.loop import train_model
from medcompare.training.probe import INVERSE_PENALTIES, fit_head
from medcompare.training.requests import CostRequest, PredictionRequest

if TYPE_CHECKING:
    from medcompare.training.records import TrainedModel

NAME = "probe:test_cnn"


def noisy(n: int, seed: int) -> tuple[Any, Any]:
    """Twelve features of very different scale, of which one tells the classes apart somewhat."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 12)) * np.logspace(-2, 2, 12) + 3
    x[:, 5] += 0.8 * y * np.logspace(-2, 2, 12)[5]
    return x, y


def test_the_head_is_scikit_learns_best_on_the_validation_subset() -> None:
    """A pipeline of scaler and logistic regression for each C, scored by scikit-learn."""
    (x, y), (x_val, y_val) = noisy(120, 0), noisy(80, 1)
    weights = (0.7, 1.6)
    found = fit_head((x, y), (x_val, y_val), weights)
    scores = {}
    for c in INVERSE_PENALTIES:
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=c, class_weight={0: 0.7, 1: 1.6}, max_iter=2000)
        ).fit(x, y)
        p = model.predict_proba(x_val)[:, 1]
        loss = log_loss(y_val, p, sample_weight=np.take(weights, y_val))
        scores[c] = (roc_auc_score(y_val, p), -loss, p)
    best = max(scores, key=lambda c: scores[c][:2])

    assert found.inverse_penalty == best
    assert found.val_auc == pytest.approx(scores[best][0])
    assert found.val_loss == pytest.approx(-scores[best][1], rel=1e-5)
    assert expit(x_val @ found.weight + found.bias) == pytest.approx(scores[best][2], abs=1e-6)


@pytest.fixture
def trained(tiny: Any) -> TrainedModel:
    """A probe on the random features of the small network."""
    return train_model(tiny.request(model=NAME))


def test_nothing_but_the_head_differs_from_the_pretrained_network(tiny: Any, trained: TrainedModel) -> None:
    """Batch statistics included; the same training again gives the same bytes."""
    spec = find_model(NAME)
    start, end = (build_model(spec, seed=1) for _ in range(2))
    load_checkpoint(tiny.store, trained.checkpoint, end, model=NAME)
    differ = {
        name for name, value in start.state_dict().items() if not torch.equal(value, end.state_dict()[name])
    }

    assert differ == {"head.weight", "head.bias"}
    assert end.get_submodule("head").weight[0].abs().sum() == 0
    assert train_model(tiny.request(model=NAME)).checkpoint == trained.checkpoint


def test_the_record_says_what_was_fitted(trained: TrainedModel) -> None:
    """One epoch, no batch statistics, no early stopping, and never called unfinished."""
    assert trained.recipe.startswith("logistic regression on 32 features of the frozen network, C = ")
    assert (trained.probe, trained.stopped_early, trained.best_epoch, trained.batch_norm) == (
        True,
        False,
        1,
        None,
    )
    assert (len(trained.history), trained.n_images_seen) == (1, 48)
    assert trained.selection.startswith("C with the highest validation AUC")
    assert not_converged([trained]) == {}


def test_predictions_are_those_the_head_was_chosen_by(tiny: Any, trained: TrainedModel) -> None:
    """The validation AUC of the table is that of the record; there is no second score."""
    request = PredictionRequest(
        trained=trained,
        train=TrainConfig(device="cpu"),
        split=tiny.split,
        data_root=tiny.root,
        store_root=tiny.store.root,
    )
    predictions = predict_subsets(request)
    lines = tiny.store.read(predictions.table).decode().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    val = [row for row in rows if row["subset"] == "val"]
    auc = roc_auc_score([int(row["y_true"]) for row in val], [float(row["probability"]) for row in val])

    assert auc == pytest.approx(trained.kept.val_auc)
    assert len(val) == len(rows_of(read_assignments(tiny.store.read(tiny.split.assignments)), "val"))
    assert not predictions.has_running


def test_its_cost_has_no_training_steps(tiny: Any, trained: TrainedModel) -> None:
    """Everything else is measured, and nothing counts as cut short for it."""
    request = CostRequest(
        trained=trained,
        train=TrainConfig(device="cpu"),
        cost=CostConfig(n_warmup=1, n_repeats=10),
        split=tiny.split,
        data_root=tiny.root,
        store_root=tiny.store.root,
    )
    cost = measure_cost(request)

    assert (cost.training_images_per_s, cost.n_parameters) == (None, 5202)
    assert cost.cut_short == ()


def test_features_that_are_not_finite_are_refused(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before scikit-learn says so in words of its own."""
    spec = find_model("test_cnn")

    def build() -> torch.nn.Module:
        network = spec.build()
        torch.nn.init.constant_(network.get_submodule("convolution_1").weight, float("nan"))
        return network

    build.__module__ = spec.build.__module__
    from dataclasses import replace

    from medcompare.models.zoo import MODELS

    monkeypatch.setitem(MODELS, "broken", replace(spec, name="broken", build=build))
    with pytest.raises(TrainingError, match="probe:broken: the features are not finite"):
        train_model(tiny.request(model="probe:broken"))
