"""The search for hyperparameters: what is searched, what a trial leaves behind, and which one is chosen.

The space stands here as data and is the same for every model; `medcompare.training.tuning` draws from it with
Optuna and trains. Every figure is one of the validation subset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from medcompare.base.errors import TrainingError
from medcompare.base.language import localised, message, t
from medcompare.base.record import Record
from medcompare.config.train import RecipeOverride, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from medcompare.config.train import TuneConfig

Value = float | int | str

RANGES: dict[str, tuple[float, float]] = {"learning_rate": (1e-5, 1e-2), "weight_decay": (1e-6, 1e-2)}
"""Lowest and highest value, drawn log-uniformly.

Learning rates from the lowest recipe of the published study (1e-5) to ten times its highest (1e-3). Kornblith, Shlens
& Le (2019), "Do better ImageNet models transfer better?", CVPR, search as many decades, for SGD from 1e-4 to 1e-1:
hence `SGD_FACTOR`. Weight decays around the recipe's 1e-4: a convention."""

SGD_FACTOR = 10.0
"""Learning rates of SGD are so many times those of Adam."""

CHOICES: dict[str, tuple[Value, ...]] = {
    "frozen_epochs": (0, 1, 2),
    "label_smoothing": (0.0, 0.1),
    "augmentation": (message("weak"), message("as set"), message("strong")),
}
"""Values that are drawn alike.

Training the head alone at first: Kumar et al. (2022), "Fine-tuning can distort pretrained features", ICLR. Label
smoothing of 0.1: Szegedy et al. (2016), "Rethinking the Inception architecture", CVPR, section 7."""

WORDS = {
    "learning_rate": message(
        "learning rate from {low:g} to {high:g} (log-uniform, for SGD {factor:g} times as high)"
    ),
    "weight_decay": message("weight decay from {low:g} to {high:g} (log-uniform)"),
    "frozen_epochs": message("frozen epochs {values} or {last}"),
    "label_smoothing": message("label smoothing {values} or {last}"),
    "augmentation": message("augmentation {values} or {last}"),
}
"""The space, for the report."""

WEAK_CROP = 0.5
"""Weak augmentation: every crop keeps half of the area, or what is set where that is more; a convention."""

STRONGER = ("RandomVerticalFlip", "ColorJitter(brightness=0.2, contrast=0.2, saturation=0.1, hue=0.1)")
"""What strong augmentation does besides what is set. Shifts of hue and saturation as large as 'HSV-light' in Tellez et
al. (2019), Medical Image Analysis 58:101544; the others are a convention."""

SELECTION = message(
    "the trial with the highest validation AUC at its best epoch; among equals the lowest validation loss, then the "
    "earliest trial, of which the first is the recipe"
)

N_RANDOM = 10
"""Trials, the recipe among them, before the sampler learns from earlier ones: Optuna's default."""
N_UNPRUNED = 5
"""Whole trials before any is pruned: Optuna's default."""
PRUNED_FROM = 3
"""First epoch after which a trial may be pruned: those before may train the head alone."""


def score_of(val_auc: float | None, val_loss: float) -> float:
    """What is maximised: the validation AUC, or where there is none the loss, negative."""
    return -val_loss if val_auc is None else val_auc


class TrialSettings(Record):
    """Values of all hyperparameters that are searched, as a trial used them."""

    learning_rate: float
    weight_decay: float
    frozen_epochs: int
    label_smoothing: float
    crop_scale_min: float
    augmentation: tuple[str, ...]


class Trial(Record):
    """One training of the search, of which no checkpoint is kept."""

    number: int = Field(ge=1, description="From 1, which is the recipe.")
    parameters: dict[str, Value] = Field(description="What was drawn; of the recipe, what lies in the space.")
    settings: TrialSettings
    state: Literal["complete", "pruned", "not finite"]
    val_auc: tuple[float | None, ...] = Field(description="After each epoch.")
    val_loss: tuple[float, ...] = Field(description="After each epoch.")
    elapsed_s: float
    device: str

    @property
    def scores(self) -> tuple[float, ...]:
        """What is maximised, after each epoch."""
        return tuple(map(score_of, self.val_auc, self.val_loss))

    @property
    def best_epoch(self) -> int:
        """Epoch (from 1) of the best score, among equals of the lowest loss, then the earliest; 0 without epochs."""
        ranks = [(score, -loss) for score, loss in zip(self.scores, self.val_loss, strict=True)]
        return 1 + ranks.index(max(ranks)) if ranks else 0

    @property
    def rank(self) -> tuple[float, float]:
        """What trials are ordered by, the largest first."""
        return self.scores[self.best_epoch - 1], -self.val_loss[self.best_epoch - 1]

    @property
    def words(self) -> str:
        """Settings and outcome, for the log."""
        settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.parameters.items())
        if self.state == "not finite":
            return f"{settings}: the loss became infinite or not a number"
        score = self.scores[self.best_epoch - 1]
        reached = f"validation AUC {score:.3f}" if score >= 0 else f"validation loss {-score:.3f}"
        ended = (
            f"pruned after {len(self.val_loss)}"
            if self.state == "pruned"
            else f"best of {len(self.val_loss)}"
        )
        ended += " epoch" if len(self.val_loss) == 1 else " epochs"
        return f"{'the recipe' if self.number == 1 else settings}: {reached}, {ended}"


class Search(Record):
    """The search of one model."""

    model: str
    display_name: str
    trials: tuple[Trial, ...]
    chosen: int = Field(description="Number of the trial whose settings are trained with.")
    epochs_allowed: int = Field(description="Of one trial.")
    pruning: Literal["median", "none"]
    seed: int = Field(description="Of the sampler, and of the training in every trial.")
    searched: tuple[str, ...] = Field(description="Hyperparameters that were drawn, and from what, in words.")
    selection: str = SELECTION

    @property
    def best(self) -> Trial:
        """The trial that was chosen."""
        return self.trials[self.chosen - 1]

    @property
    def epochs_run(self) -> int:
        """Of all trials."""
        return sum(len(one.val_loss) for one in self.trials)

    @property
    def n_pruned(self) -> int:
        """Trials that were ended early by the rule."""
        return sum(one.state == "pruned" for one in self.trials)


def trial_epochs(tune: TuneConfig, train: TrainConfig) -> int:
    """Epochs that a trial may take."""
    return min(tune.epochs, train.epochs)


def choices(name: str, epochs: int) -> tuple[Value, ...]:
    """The `CHOICES` of a hyperparameter where a trial has so many `epochs`, of which one trains all layers."""
    return tuple(
        one
        for one in CHOICES[name]
        if name != "frozen_epochs" or not isinstance(one, int) or one < max(epochs, 1)
    )


def searched(train: TrainConfig, models: Iterable[str], epochs: int) -> tuple[str, ...]:
    """Hyperparameters that are searched, the same for all `models`: without those that cannot be had in one of them.

    Nothing is frozen that starts at random or in a trial of one epoch; the focal loss has no label smoothing.
    """
    left_out = set()
    if train.initial_weights == "none" or epochs == 1:
        left_out.add("frozen_epochs")
    if any(train.for_model(model).focal_gamma for model in models):
        left_out.add("label_smoothing")
    return tuple(name for name in (*RANGES, *CHOICES) if name not in left_out)


def override_of(parameters: dict[str, Value], options: TrainConfig) -> RecipeOverride:
    """`parameters` as settings of one model, whose other settings are `options`."""
    values: dict[str, object] = {k: v for k, v in parameters.items() if k != "augmentation"}
    strength = parameters.get("augmentation")
    if strength == "weak":
        values["crop_scale_min"] = max(WEAK_CROP, options.crop_scale_min)
    elif strength == "strong":
        named = {step.partition("(")[0] for step in options.augmentation}
        more = (step for step in STRONGER if step.partition("(")[0] not in named)
        values["augmentation"] = (*options.augmentation, *more)
    return RecipeOverride.model_validate(values)


def with_settings(train: TrainConfig, model: str, number: int, parameters: dict[str, Value]) -> TrainConfig:
    """`train` with the `parameters` that trial `number` drew for `model`; the first is the recipe as it is."""
    if number == 1:
        return train
    found = override_of(parameters, train.for_model(model)).model_dump(exclude_none=True)
    before = train.recipes.get(model, RecipeOverride())
    return train.model_copy(
        update={"recipes": {**train.recipes, model: before.model_copy(update=found)}},
    )


def best_of(trials: Sequence[Trial], model: str) -> Trial:
    """The trial that is chosen, by `SELECTION`.

    Raises
    ------
    TrainingError
        If no trial came to an end.
    """
    whole = [one for one in trials if one.state == "complete"]
    if not whole:
        msg = (
            f"{model}: the loss of all {len(trials)} trials became infinite or not a number, that of its recipe too; "
            "look at the images, or try --set train.precision=float32"
        )
        raise TrainingError(msg)
    return max(whole, key=lambda one: one.rank)  # the first of equals


def words_of_space(names: Iterable[str], epochs: int) -> tuple[str, ...]:
    """The space in words, one entry per hyperparameter."""
    found = []
    for name in names:
        if name in RANGES:
            low, high = RANGES[name]
            found.append(t(WORDS[name], low=low, high=high, factor=SGD_FACTOR))
        else:
            listed = [
                t(one) if isinstance(one, str) else localised(f"{one:g}") for one in choices(name, epochs)
            ]
            found.append(t(WORDS[name], values=", ".join(listed[:-1]), last=listed[-1]))
    return tuple(found)
