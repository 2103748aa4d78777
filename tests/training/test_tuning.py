"""The search for hyperparameters: the same for every model, replayed from its records, pruned by the median rule."""

from __future__ import annotations

from typing import Any

import pytest

from medcompare.base.errors import TrainingError
from medcompare.config.train import RecipeOverride, TrainConfig
from medcompare.training.loop import train_model
from medcompare.training.requests import TrialRequest
from medcompare.training.search import (
    CHOICES,
    RANGES,
    Trial,
    TrialSettings,
    best_of,
    override_of,
    searched,
    with_settings,
    words_of_space,
)
from medcompare.training.tuning import proposed, run_trial, should_prune, space, within

NAMES = (*RANGES, *CHOICES)
RECIPE = TrialSettings(
    learning_rate=1e-3,
    weight_decay=0.0,
    frozen_epochs=0,
    label_smoothing=0.0,
    crop_scale_min=0.08,
    augmentation=("RandomHorizontalFlip",),
)
DRAWN = {
    "learning_rate": 3e-4,
    "weight_decay": 1e-5,
    "frozen_epochs": 1,
    "label_smoothing": 0.1,
    "augmentation": "weak",
}


def trial(number: int, *aucs: float | None, losses: tuple[float, ...] = (), **changes: Any) -> Trial:
    """A trial with these validation AUCs after its epochs."""
    values = {
        "number": number,
        "parameters": DRAWN,
        "settings": RECIPE,
        "state": "complete",
        "val_auc": aucs,
        "val_loss": losses or (0.5,) * len(aucs),
        "elapsed_s": 1.0,
        "device": "CPU",
    }
    return Trial.model_validate(values | changes)


EARLIER = tuple(trial(n, 0.5, 0.55, 0.5 + n / 20) for n in range(1, 13))


def test_what_is_drawn_follows_from_the_records_alone() -> None:
    """Asked twice the same; another outcome, seed or number of trials before it gives other settings."""
    distributions = space(NAMES, epochs=8)
    first = proposed(EARLIER, distributions, seed=3)

    assert proposed(EARLIER, distributions, seed=3) == first
    assert proposed(EARLIER, distributions, seed=4) != first
    assert proposed(EARLIER[:-1], distributions, seed=3) != first
    # Among the first ones, drawn at random, what was found before makes no difference: equal for all models.
    few = EARLIER[:4]
    worse = [one.model_copy(update={"val_auc": (0.1,) * 3}) for one in few]
    assert proposed(few, distributions, seed=3) == proposed(worse, distributions, seed=3)


@pytest.mark.parametrize(("optimizer", "factor"), [("adam", 1), ("sgd", 10)])
def test_draws_lie_within_the_stated_space(optimizer: str, factor: int) -> None:
    """Of many seeds; rates of SGD are ten times as high; every choice comes up."""
    draws = [proposed(EARLIER[:1], space(NAMES, epochs=8, optimizer=optimizer), seed=s) for s in range(60)]

    for name, (low, high) in RANGES.items():
        scale = factor if name == "learning_rate" else 1
        values = [draw[name] / scale for draw in draws]
        assert low * 0.999 <= min(values) < 10 * low < high / 10 < max(values) <= high * 1.001
    for name, listed in CHOICES.items():
        assert {draw[name] for draw in draws} == set(listed)


def test_a_trial_below_the_median_of_whole_trials_is_pruned() -> None:
    """By hand: after three epochs the five before reached 0.6, 0.7, 0.8, 0.9 and 0.95, the median is 0.8."""
    five = [trial(n, 0.99, 0.99, auc) for n, auc in enumerate((0.6, 0.7, 0.8, 0.9, 0.95), 1)]

    assert should_prune(five, [0.1, 0.1, 0.79], epochs=8)
    assert not should_prune(five, [0.1, 0.1, 0.81], epochs=8)
    assert not should_prune(five, [0.1, 0.81, 0.1], epochs=8)  # its best epoch counts
    assert not should_prune(five, [0.1, 0.1], epochs=8)  # too early
    assert not should_prune(five, [0.1, 0.1, 0.79], epochs=3)  # nothing left to save
    assert not should_prune(five[:4], [0.1, 0.1, 0.79], epochs=8)  # too few to compare with
    pruned = five[0].model_copy(update={"state": "pruned"})
    assert not should_prune([pruned, *five[1:]], [0.1, 0.1, 0.79], epochs=8)  # nor do pruned ones count


def test_the_recipe_wins_a_tie_and_a_lower_loss_decides() -> None:
    """The highest AUC of any epoch; then the lowest loss there; then the earliest."""
    recipe, same = trial(1, 0.8, 0.9, 0.7), trial(2, 0.9, 0.6)
    assert best_of([recipe, same], "a") is recipe
    lower = trial(3, 0.9, losses=(0.4,))
    assert best_of([recipe, same, lower], "a") is lower
    assert best_of([recipe, trial(2, 1.0, state="pruned")], "a") is recipe
    assert (recipe.best_epoch, recipe.rank) == (2, (0.9, -0.5))
    one_class = [trial(n, None, None, losses=losses) for n, losses in ((1, (0.7, 0.6)), (2, (0.5, 0.9)))]
    assert best_of(one_class, "a").number == 2
    with pytest.raises(TrainingError, match="all 2 trials became infinite"):
        best_of([trial(n, state="not finite") for n in (1, 2)], "a")


def test_what_is_drawn_becomes_settings_of_one_model() -> None:
    """Over what the user set; strong augmentation adds what is not there, weak crops keep the user's limit."""
    options = TrainConfig(crop_scale_min=0.6, augmentation=("ColorJitter(hue=0.2)",))
    weak = override_of(DRAWN, options)
    assert (weak.crop_scale_min, weak.augmentation, weak.frozen_epochs) == (0.6, None, 1)
    assert override_of(DRAWN, TrainConfig()).crop_scale_min == 0.5
    strong = override_of({"augmentation": "strong"}, options)
    assert strong.augmentation == ("ColorJitter(hue=0.2)", "RandomVerticalFlip")
    assert override_of({"augmentation": "as set"}, options) == RecipeOverride()

    train = TrainConfig(recipes={"resnet50": RecipeOverride(learning_rate=0.5, clip_norm=1.0)})
    tuned = with_settings(train, "resnet50", 2, DRAWN)
    assert (tuned.recipes["resnet50"].learning_rate, tuned.recipes["resnet50"].clip_norm) == (3e-4, 1.0)
    assert with_settings(train, "resnet50", 1, DRAWN) is train


def test_what_cannot_be_had_is_searched_for_no_model() -> None:
    """Nothing is frozen that starts at random; no label smoothing where one model has the focal loss."""
    assert searched(TrainConfig(), ["resnet50"], 8) == NAMES
    assert "frozen_epochs" not in searched(TrainConfig(initial_weights="none"), ["resnet50"], 8)
    assert "frozen_epochs" not in searched(TrainConfig(), ["resnet50"], 1)
    focal = TrainConfig(recipes={"resnet50": RecipeOverride(focal_gamma=2.0)})
    assert "label_smoothing" not in searched(focal, ["resnet50", "efficientnet_b0"], 8)
    assert "label_smoothing" in searched(focal, ["efficientnet_b0"], 8)
    assert words_of_space(NAMES, 2)[2:] == (
        "frozen epochs 0 or 1",
        "label smoothing 0 or 0.1",
        "augmentation weak, as set or strong",
    )


def test_the_sampler_learns_from_what_of_the_recipe_lies_in_the_space() -> None:
    """A weight decay of 0 is in no logarithmic range, and a rate of 0.02 above it."""
    found = within(RECIPE, space(NAMES, epochs=8))
    assert found == {
        "learning_rate": 1e-3,
        "frozen_epochs": 0,
        "label_smoothing": 0.0,
        "augmentation": "as set",
    }
    far = RECIPE.model_copy(update={"learning_rate": 0.02, "frozen_epochs": 5})
    assert set(within(far, space(NAMES, epochs=8))) == {"label_smoothing", "augmentation"}


def asked(tiny: Any, *earlier: Trial, **train: Any) -> TrialRequest:
    """A trial on tiny images."""
    request = tiny.request(**train)
    return TrialRequest(
        **{name: getattr(request, name) for name in type(request).model_fields},
        earlier=earlier,
        searched=searched(request.train, [request.model], request.train.epochs),
        pruning="median",
    )


def test_the_first_trial_is_the_training_of_the_recipe(tiny: Any) -> None:
    """To the last digit, and it leaves no checkpoint behind; the second is another training."""
    first = run_trial(asked(tiny))
    assert list(tiny.store.root.rglob("*.pt")) == []
    second = run_trial(asked(tiny, first))

    trained = train_model(tiny.request())
    assert first.val_loss == tuple(log.val_loss for log in trained.history)
    assert first.val_auc == tuple(log.val_auc for log in trained.history)
    assert first.best_epoch == trained.best_epoch
    assert (second.number, second.state) == (2, "complete")
    assert second.settings.learning_rate == second.parameters["learning_rate"] != first.settings.learning_rate


def test_a_trial_is_pruned_and_one_that_diverges_is_a_result(tiny: Any) -> None:
    """Five perfect trials before it: it ends after three epochs of four. A loss that is not finite stops no search."""
    perfect = [trial(n, 1.0, 1.0, 1.1, parameters={}) for n in range(1, 6)]
    found = run_trial(asked(tiny, *perfect, epochs=4))
    assert (found.number, found.state, len(found.val_auc)) == (6, "pruned", 3)
    recipes = {"test_cnn": {"optimizer": "sgd", "learning_rate": 10.0, "weight_decay": 10.0}}
    lost = run_trial(asked(tiny, epochs=4, recipes=recipes))
    assert (lost.state, lost.number, len(lost.val_auc) < 4) == ("not finite", 1, True)
    assert "infinite" in lost.words
