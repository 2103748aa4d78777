"""What a training's figures say against judging its network, with their numbers."""

from __future__ import annotations

from typing import Any

import pytest

from medcompare.base.record import Artifact
from medcompare.models.spec import InitialWeights
from medcompare.predictions.records import Predictions
from medcompare.training.findings import not_converged, not_evaluated_as_trained
from medcompare.training.records import BatchNormFacts, EpochLog, TrainedModel

FILE = Artifact(path="objects/a", sha256="a" * 64, n_bytes=1)


def trained(
    aucs: list[float | None],
    *,
    val_losses: list[float] | None = None,
    train_loss: float = 0.3,
    best_epoch: int | None = None,
    stopped_early: bool = False,
    modes: tuple[float | None, float | None] | None = (0.3, 0.3),
) -> TrainedModel:
    """A training with these validation AUCs and these losses of the sample in training and evaluation mode."""
    losses = val_losses or [0.5] * len(aucs)
    history = tuple(
        EpochLog(
            epoch=number,
            learning_rate=1e-3,
            train_loss=train_loss,
            val_loss=losses[number - 1],
            val_auc=auc,
            val_balanced_accuracy=0.5,
            images_per_s=1.0,
            elapsed_s=1.0,
            sample_loss_training_mode=modes[0] if modes else None,
            sample_loss=modes[1] if modes else None,
        )
        for number, auc in enumerate(aucs, start=1)
    )
    best = max(range(len(aucs)), key=lambda index: (aucs[index] or 0.0, -losses[index], -index))
    fields: dict[str, Any] = {
        "model": "b",
        "display_name": "Model B",
        "checkpoint": FILE,
        "history": history,
        "best_epoch": best_epoch or best + 1,
        "selection": "by hand",
        "stopped_early": stopped_early,
        "initial_weights": InitialWeights(kind="none", name="random initialisation", version=None),
        "optimizer": "Adam",
        "class_weights": (1.0, 1.0),
        "image_size_px": 64,
        "resize_px": 73,
        "batch_size": 16,
        "n_parameters": 10,
        "precision": "float32",
        "memory_format": "contiguous",
        "device": "a processor",
        "n_threads": 1,
        "n_parallel": 1,
        "seed": 0,
        "n_images_seen": 100,
        "elapsed_s": 1.0,
        "batch_norm": BatchNormFacts(n_layers=2, momenta=(0.01,), n_sample_images=512, n_compared_images=128)
        if modes
        else None,
    }
    return TrainedModel(**fields)


def predicted(log_odds_sd: float = 1.0) -> Predictions:
    """Predictions whose test cases spread so far."""
    return Predictions(
        model="b",
        display_name="Model B",
        classes=("no", "yes"),
        table=FILE,
        n_val=80,
        n_test=1171,
        checkpoint_sha256="a" * 64,
        has_running=True,
        log_odds_sd=log_odds_sd,
        log_odds_shift=0.0,
    )


@pytest.mark.parametrize(
    ("modes", "spread", "sentence"),
    [
        pytest.param((0.3, 0.27), 1.0, "", id="lower in evaluation: batches are noisy"),
        pytest.param((0.3, 0.399), 1.0, "", id="within what is usual"),
        pytest.param(
            (0.301, 0.695),
            1.0,
            "The same 128 training images have a loss of 0.301 in training mode and of 0.695 in evaluation mode; "
            "up to 0.1 more is usual.",
            id="a gap",
        ),
        pytest.param(
            (0.301, None),
            1.0,
            "The same 128 training images have a loss of 0.301 in training mode and none that is finite in "
            "evaluation mode.",
            id="not finite",
        ),
        pytest.param(
            (0.69, 0.69),
            1.2e-9,
            "All 1,171 test cases have nearly the same score: the standard deviation of the log-odds is 1e-09, "
            "below 0.001.",
            id="one score for all",
        ),
        pytest.param(
            None,
            0.0,
            "All 1,171 test cases have nearly the same score: the standard deviation of the log-odds is 0, "
            "below 0.001.",
            id="no batch normalisation, constant",
        ),
        pytest.param(None, 0.01, "", id="no batch normalisation, narrow"),
    ],
)
def test_a_network_that_was_not_evaluated_as_trained_is_named(
    modes: tuple[float | None, float | None] | None, spread: float, sentence: str
) -> None:
    """By the gap between the modes, or by nearly equal scores; each with its numbers."""
    found = not_evaluated_as_trained([trained([0.8, 0.9], modes=modes)], [predicted(spread)])

    assert found == ({"b": sentence} if sentence else {})


RISING = [0.6, 0.7, 0.75, 0.78, 0.84, 0.86]


@pytest.mark.parametrize(
    ("training", "sentence"),
    [
        pytest.param(
            trained(RISING),
            "Its best validation AUC still rose from 0.780 to 0.860 in the last 2 of all 6 epochs that were allowed.",
            id="still rising",
        ),
        pytest.param(trained(RISING, stopped_early=True), "", id="its patience ended"),
        pytest.param(trained([0.6, 0.7, 0.85, 0.86, 0.855, 0.865]), "", id="a gain of half a hundredth"),
        pytest.param(trained([0.6, 0.7, 0.87, 0.86, 0.855, 0.865]), "", id="the best epoch is long past"),
        pytest.param(
            trained([0.7, 0.8]),
            "Its best validation AUC still rose from 0.700 to 0.800 in the last of all 2 epochs that were allowed.",
            id="two epochs",
        ),
        pytest.param(
            trained([0.9]),
            "It was trained for the one epoch that was allowed, so that no end of the learning can be seen.",
            id="one epoch",
        ),
        pytest.param(
            trained([0.52, 0.51, 0.5], train_loss=0.691),
            "At the end of the epochs that were allowed (3) its training loss is 0.691; that of a coin toss is 0.693.",
            id="nothing learnt",
        ),
        pytest.param(
            trained([0.52, 0.51, 0.5], train_loss=0.691, stopped_early=True), "", id="nothing to learn"
        ),
        pytest.param(
            trained([None] * 4, val_losses=[0.6, 0.5, 0.45, 0.3]),
            "Its best validation loss still fell from 0.500 to 0.300 in the last 2 of all 4 epochs that were allowed.",
            id="one class in validation",
        ),
    ],
)
def test_a_training_that_had_not_converged_is_named(training: TrainedModel, sentence: str) -> None:
    """From the history alone; a training that stopped by itself never is."""
    found = not_converged([training])

    assert found == ({"b": sentence} if sentence else {})


def test_one_of_several_trainings_is_enough() -> None:
    """None is left out, which would be choosing by the result; the sentence says how many, and of which seeds."""
    good, bad = trained([0.8, 0.9], stopped_early=True), trained([0.8, 0.9], modes=(0.3, 0.9))
    several = [one.model_copy(update={"seed": seed}) for seed, one in enumerate((good, bad, good))]

    found = not_evaluated_as_trained(several, [predicted()] * 3)

    assert found["b"].startswith(
        "In 1 of 3 trainings (seed 1) the same 128 training images have a loss of 0.300 in"
    )
    assert found["b"].endswith(
        " None is left out: the others alone would show the network better than it is."
    )
    every = [one.model_copy(update={"seed": seed}) for seed, one in enumerate((bad, bad))]
    all_bad = not_evaluated_as_trained(every, [predicted()] * 2)["b"]
    assert all_bad.startswith("In 2 of 2 trainings (seeds 0, 1); with seed 0 the same ")
    assert all_bad.endswith("is usual.")
    assert not_evaluated_as_trained([good, good], [predicted()] * 2) == {}
    assert not_converged(several)["b"].startswith(
        "In 1 of 3 trainings (seed 1) its best validation AUC still rose"
    )
