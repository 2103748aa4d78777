"""What a training's own figures say against judging its network: sentences with their numbers.

Both findings are said of a model, never held against it: a network that was not evaluated as it was
trained is not judged, and one that had not finished learning is a reason to train longer. Of several trainings
of a model one is enough for either: to judge it by the others would choose trainings by how they ended.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_number
from medcompare.base.language import message, t

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
    return _by_model(trained, said, judged=True)


NONE_LEFT_OUT = message("None is left out: the others alone would show the network better than it is.")


def _by_model(
    trained: Sequence[TrainedModel], said: Sequence[str], *, judged: bool = False
) -> dict[str, str]:
    """By model, what is said of the first training of which something is; with how many these are of several."""
    found = {}
    for model in dict.fromkeys(one.model for one in trained):
        rows = [(one.seed, text) for one, text in zip(trained, said, strict=True) if one.model == model]
        named = [(seed, text) for seed, text in rows if text]
        if named and len(rows) > 1:
            seed, first = named[0]
            facts = {
                "n": len(named),
                "n_all": len(rows),
                "seed": seed,
                "finding": first[0].lower() + first[1:],
            }
            if len(named) == 1:
                text = t("In {n} of {n_all} trainings (seed {seed}) {finding}", **facts)
            else:
                seeds = ", ".join(str(seed) for seed, _ in named)
                text = t(
                    "In {n} of {n_all} trainings (seeds {seeds}); with seed {seed} {finding}",
                    seeds=seeds,
                    **facts,
                )
            found[model] = f"{text} {t(NONE_LEFT_OUT)}" if judged and len(named) < len(rows) else text
        elif named:
            found[model] = named[0][1]
    return found


def _not_as_trained(one: TrainedModel, predicted: Predictions) -> str:
    kept = one.kept
    if one.batch_norm is not None and kept.sample_loss_training_mode is not None:
        n, training = one.batch_norm.n_compared_images, format_number(kept.sample_loss_training_mode)
        if kept.sample_loss is None:
            return t(
                "The same {n:,} training images have a loss of {training} in training mode and none that is finite in "
                "evaluation mode.",
                n=n,
                training=training,
            )
        if kept.sample_loss - kept.sample_loss_training_mode > MAX_LOSS_GAP:
            return t(
                "The same {n:,} training images have a loss of {training} in training mode and of {evaluation} in "
                "evaluation mode; up to {usual:g} more is usual.",
                n=n,
                training=training,
                evaluation=format_number(kept.sample_loss),
                usual=MAX_LOSS_GAP,
            )
    if predicted.log_odds_sd < MIN_SPREAD:
        return t(
            "All {n:,} test cases have nearly the same score: the standard deviation of the log-odds is {sd:.1g}, "
            "below {least:g}.",
            n=predicted.n_test,
            sd=predicted.log_odds_sd,
            least=MIN_SPREAD,
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
    if n == 1:
        return t(
            "It was trained for the one epoch that was allowed, so that no end of the learning can be seen."
        )
    n_last = math.ceil(n / LAST_SHARE)
    before, last = one.history[:-n_last], one.history[-n_last:]
    if one.kept.epoch <= len(before):
        return ""
    aucs = [[log.val_auc for log in part if log.val_auc is not None] for part in (before, last)]
    if all(aucs):
        by_auc, low, high = True, max(aucs[0]), max(aucs[1])
        if high - low < MIN_GAIN:
            return ""
    else:
        by_auc = False
        low, high = (min(log.val_loss for log in part) for part in (before, last))
        if low - high < MIN_GAIN * low:
            return ""
    text = STILL_RISING[by_auc, n_last > 1]
    return t(text, low=format_number(low), high=format_number(high), n_last=n_last, n=n)


STILL_RISING = {
    (True, True): message(
        "Its best validation AUC still rose from {low} to {high} in the last {n_last} of all {n} epochs that were "
        "allowed."
    ),
    (True, False): message(
        "Its best validation AUC still rose from {low} to {high} in the last of all {n} epochs that were allowed."
    ),
    (False, True): message(
        "Its best validation loss still fell from {low} to {high} in the last {n_last} of all {n} epochs that were "
        "allowed."
    ),
    (False, False): message(
        "Its best validation loss still fell from {low} to {high} in the last of all {n} epochs that were allowed."
    ),
}
"""Whether by the AUC, and whether the last third is several epochs."""


def _nothing_learnt(one: TrainedModel) -> str:
    loss = one.history[-1].train_loss
    if loss < MAX_LOSS_SHARE * math.log(2):
        return ""
    return t(
        "At the end of the epochs that were allowed ({n}) its training loss is {loss}; that of a coin toss is "
        "{coin_toss}.",
        n=len(one.history),
        loss=format_number(loss),
        coin_toss=format_number(math.log(2)),
    )
