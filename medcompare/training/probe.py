"""A linear probe: logistic regression on the features of a frozen, pretrained network.

What is fitted becomes the network's head, so that the result is a network like any other: predictions,
cost and report treat it so.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from medcompare.base.errors import TrainingError
from medcompare.base.language import message
from medcompare.base.phrase import Phrase
from medcompare.training.checkpoints import state_on_cpu
from medcompare.training.records import EpochLog
from medcompare.training.scoring import (
    area_under_roc,
    balanced_accuracy,
    forward_logits,
    positive_probability,
    weighted_loss,
)
from medcompare.training.state import FitState

if TYPE_CHECKING:
    from torch import nn

    from medcompare.models.spec import ModelSpec
    from medcompare.training.dataset import BatchLoader
    from medcompare.training.recipes import FitSettings
    from medcompare.training.scoring import FloatArray, IntArray, Placement

INVERSE_PENALTIES = tuple(10.0**power for power in range(-5, 3))
"""Values of C that are tried, the strongest penalty first."""
MAX_ITERATIONS = 2000
SELECTION = message(
    "C with the highest validation AUC; among equals the lowest validation loss, then the strongest penalty"
)
SELECTION_BY_LOSS = message("C with the lowest validation loss, as the validation subset has one class only")


class FittedHead(NamedTuple):
    """One head that was tried, and its figures on both subsets."""

    inverse_penalty: float
    weight: FloatArray
    bias: float
    train_loss: float
    val_loss: float
    val_auc: float | None
    val_balanced_accuracy: float


def features_of(network: nn.Module, loader: BatchLoader, spec: ModelSpec, placement: Placement) -> FloatArray:
    """What the head of `network` is given for each image, shape (n, n_features), in evaluation mode."""
    found: list[FloatArray] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.append(inputs[0].to(device="cpu", dtype=torch.float64).numpy())

    hook = network.get_submodule(spec.head).register_forward_pre_hook(keep)
    try:
        forward_logits(network.eval(), loader, spec, placement)
    finally:
        hook.remove()
    return np.concatenate(found)


def fit_head(
    training: tuple[FloatArray, IntArray],
    validation: tuple[FloatArray, IntArray],
    class_weights: tuple[float, float],
) -> FittedHead:
    """Logistic regression for every C of `INVERSE_PENALTIES`; the best one on the validation subset.

    Features are standardised by the training subset, which the weights that come back undo.

    Parameters
    ----------
    training, validation : (ndarray of shape (n, n_features), ndarray of shape (n,))
        Features and labels.
    class_weights : (float, float)
        Weight of each class in the loss.

    Returns
    -------
    FittedHead
        Log-odds of the positive class are ``features @ weight + bias``.
    """
    (x, y), scaler = training, StandardScaler().fit(training[0])
    fitted = []
    for c in INVERSE_PENALTIES:
        model = LogisticRegression(
            C=c, class_weight=dict(enumerate(class_weights)), max_iter=MAX_ITERATIONS
        ).fit(scaler.transform(x), y)
        weight = model.coef_[0] / scaler.scale_
        bias = float(model.intercept_[0] - weight @ scaler.mean_)
        logits = [np.column_stack([np.zeros(len(part)), part @ weight + bias]) for part in (x, validation[0])]
        fitted.append(
            FittedHead(
                inverse_penalty=c,
                weight=weight,
                bias=bias,
                train_loss=weighted_loss(logits[0], y, class_weights),
                val_loss=weighted_loss(logits[1], validation[1], class_weights),
                val_auc=area_under_roc(validation[1], positive_probability(logits[1])),
                val_balanced_accuracy=balanced_accuracy(validation[1], logits[1].argmax(axis=1)),
            )
        )
    return max(fitted, key=lambda one: (one.val_auc or 0.0, -one.val_loss))  # the first of equals


def put_head(network: nn.Module, spec: ModelSpec, fitted: FittedHead) -> None:
    """Give `network` the head that was fitted: logits 0 and the log-odds of the positive class."""
    head = network.get_submodule(spec.head)
    weight = torch.from_numpy(np.stack([np.zeros_like(fitted.weight), fitted.weight])).to(torch.float32)
    head.load_state_dict({"weight": weight, "bias": torch.tensor([0.0, fitted.bias])})


def fit_probe(
    network: nn.Module, training: BatchLoader, validation: BatchLoader, settings: FitSettings
) -> tuple[FitState, Phrase]:
    """Fit the head of `network` on the frozen rest of it.

    Parameters
    ----------
    network : nn.Module
        Placed as `settings` say; its head is replaced.
    training, validation : BatchLoader
        The two subsets, both without augmentation.
    settings : FitSettings
        Network, class weights, placement.

    Returns
    -------
    FitState, str
        As of a training of one epoch, and how the head was fitted, in words.

    Raises
    ------
    TrainingError
        If the features are not finite.
    """
    spec, started = settings.spec, time.perf_counter()
    x_train, x_val = (
        features_of(network, loader, spec, settings.placement) for loader in (training, validation)
    )
    if not (np.isfinite(x_train).all() and np.isfinite(x_val).all()):
        msg = f"{spec.name}: the features are not finite; are these the weights of this network?"
        raise TrainingError(msg)
    y_train, y_val = (np.asarray(loader.images.labels, dtype=np.int64) for loader in (training, validation))
    fitted = fit_head((x_train, y_train), (x_val, y_val), settings.class_weights)
    put_head(network, spec, fitted)
    elapsed_s = time.perf_counter() - started
    log = EpochLog(
        epoch=1,
        learning_rate=0.0,
        train_loss=fitted.train_loss,
        val_loss=fitted.val_loss,
        val_auc=fitted.val_auc,
        val_balanced_accuracy=fitted.val_balanced_accuracy,
        images_per_s=len(y_train) / elapsed_s,
        elapsed_s=elapsed_s,
    )
    state = FitState(
        history=[log],
        best_epoch=1,
        best_state=state_on_cpu(network),
        best_running={},
        last_better_auc_epoch=1,
        n_images_seen=len(y_train),
        elapsed_s=elapsed_s,
    )
    words = Phrase(
        text=message(
            "logistic regression on {n} features of the frozen network, C = {c:g} of {n_tried} tried"
        ),
        values={"n": x_train.shape[1], "c": fitted.inverse_penalty, "n_tried": len(INVERSE_PENALTIES)},
    )
    return state, words
