"""What a training's own figures say against judging its network: sentences with their numbers.

Both findings are said of a model, never held against it: a network that was not evaluated as it was
trained is not judged, and one that had not finished learning is a reason to train longer. Of several trainings
of a model one is enough for either: to judge it by the others would choose trainings by how they ended.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.predictions.records import Predictions
    from medcompare.training.records import TrainedModel

MAX_LOSS_GAP = 0.1
"""Loss in evaluation mode less loss in training mode, on the same images, that is no longer chance.

With statistics that belong to the weights evaluation was worse by at most 0.07 in 59 of 60 epochs of
docs/batch-statistics.md, and better in all that were kept; with running statistics that lagged it was worse
by 0.55 in the median of the fine-tuned networks, 2.1 at most. A coin toss has a loss of 0.69."""

MIN_SPREAD = 1e-3
"""Standard deviation of the log-odds below which all cases have nearly the same score: no more than 0.00025 in
a probability, a hundred times what rounding in float32 does to a deep network."""

MIN_GAIN = 0.01
"""Gain of validation AUC over the last third of the epochs that counts as still rising: a third of the
margin of non-inferiority that is the default."""

MAX_LOSS_SHARE = 0.95
"""Share of a coin toss's loss, ln 2, above which a network has learnt next to nothing."""

LAST_SHARE = 3
"""The last 1/3 of the epochs is what is looked at."""


def not_evaluated_as_trained(
    trained: Sequence[TrainedModel], predictions: Sequence[Predictions]
) -> dict[str, str]:
    """By model, why its scores are not those of the network as it was trained.

    Parameters
    ----------
    trained : sequence of TrainedModel
        With the losses of the same images in training and in evaluation mode.
    predictions : sequence of Predictions
        In the same order.

    Returns
    -------
    dict of str to str
        Empty where every network was evaluated as it was trained.
    """
    said = [_not_as_trained(one, predicted) for one, predicted in zip(trained, predictions, strict=True)]
    return _by_model(
        trained, said, of_some=" None is left out: the others alone would show the network better than it is."
    )


def _by_model(trained: Sequence[TrainedModel], said: Sequence[str], *, of_some: str = "") -> dict[str, str]:
    """By model, what is said of the first training of which something is; with how many these are of several."""
    found = {}
    for model in dict.fromkeys(one.model for one in trained):
        rows = [(one.seed, text) for one, text in zip(trained, said, strict=True) if one.model == model]
        named = [(seed, text) for seed, text in rows if text]
        if named and len(rows) > 1:
            seeds = ", ".join(str(seed) for seed, _ in named)
            where = f"(seed {seeds})" if len(named) == 1 else f"(seeds {seeds}); with seed {named[0][0]}"
            first = named[0][1]
            found[model] = f"In {len(named)} of {len(rows)} trainings {where} {first[0].lower()}{first[1:]}"
            found[model] += of_some if len(named) < len(rows) else ""
        elif named:
            found[model] = named[0][1]
    return found


def _not_as_trained(one: TrainedModel, predicted: Predictions) -> str:
    kept = one.kept
    if one.batch_norm is not None and kept.sample_loss_training_mode is not None:
        images = format_count(one.batch_norm.n_compared_images)
        in_training = format_number(kept.sample_loss_training_mode)
        if kept.sample_loss is None:
            return (
                f"The same {images} training images have a loss of {in_training} in training mode and "
                "none that is finite in evaluation mode."
            )
        if kept.sample_loss - kept.sample_loss_training_mode > MAX_LOSS_GAP:
            return (
                f"The same {images} training images have a loss of {in_training} in training mode and of "
                f"{format_number(kept.sample_loss)} in evaluation mode; up to {MAX_LOSS_GAP:g} more is usual."
            )
    if predicted.log_odds_sd < MIN_SPREAD:
        return (
            f"All {format_count(predicted.n_test)} test cases have nearly the same score: the standard deviation "
            f"of the log-odds is {predicted.log_odds_sd:.1g}, below {MIN_SPREAD:g}."
        )
    return ""


def not_converged(trained: Sequence[TrainedModel]) -> dict[str, str]:
    """By model, why it would have learnt more from longer training.

    A training that its patience ended had stopped getting better and is never named, nor is a probe. Of one that ran
    all its epochs, the validation AUC must still have risen in the last third of them (where the
    validation subset has one class only, its loss have fallen by as large a share), or the
    training loss be nearly that of a coin toss.

    Returns
    -------
    dict of str to str
        Empty where every training had converged.
    """
    return _by_model(
        trained,
        [
            "" if one.stopped_early or one.probe else _still_rising(one) or _nothing_learnt(one)
            for one in trained
        ],
    )


def _still_rising(one: TrainedModel) -> str:
    n = len(one.history)
    allowed = f"all {n} epochs that were allowed" if n > 1 else "the one epoch that was allowed"
    if n == 1:
        return f"It was trained for {allowed}, so that no end of the learning can be seen."
    n_last = math.ceil(n / LAST_SHARE)
    before, last = one.history[:-n_last], one.history[-n_last:]
    if one.kept.epoch <= len(before):
        return ""
    where = f"in the last {n_last} of {allowed}" if n_last > 1 else f"in the last of {allowed}"
    aucs = [[log.val_auc for log in part if log.val_auc is not None] for part in (before, last)]
    if all(aucs):
        low, high = max(aucs[0]), max(aucs[1])
        if high - low < MIN_GAIN:
            return ""
        figure, rose = "AUC", "rose"
    else:
        low, high = (min(log.val_loss for log in part) for part in (before, last))
        if low - high < MIN_GAIN * low:
            return ""
        figure, rose = "loss", "fell"
    return f"Its best validation {figure} still {rose} from {format_number(low)} to {format_number(high)} {where}."


def _nothing_learnt(one: TrainedModel) -> str:
    loss = one.history[-1].train_loss
    if loss < MAX_LOSS_SHARE * math.log(2):
        return ""
    return (
        f"After all {len(one.history)} epochs that were allowed its training loss is {format_number(loss)}; "
        f"that of a coin toss is {format_number(math.log(2))}."
    )
