"""What each model was given to learn from and how long: the equal-chances table, and the check that it is equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from medcompare.base.errors import DataError
from medcompare.base.formatting import format_count
from medcompare.base.language import message, t, tn
from medcompare.base.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config.schema import CompareConfig
    from medcompare.data.records import DatasetSplit
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.training.records import TrainedModel
    from medcompare.training.search import Search

EQUAL = (
    "n_trainings",
    "n_training_images",
    "n_validation_images",
    "epochs_allowed",
    "patience",
    "image_size_px",
    "batch_size",
    "n_trials",
    "trial_epochs",
    "search",
)
"""Fields in which no model may be better off than another."""

OF_SEARCH = {"n_trials", "trial_epochs", "search"}
"""Of these, what a probe has none of: it tries its penalties by itself in each training."""

PRUNING = {
    "median": message("pruning: median; seed {seed}; {space}"),
    "none": message("pruning: none; seed {seed}; {space}"),
}


class Budget(Record):
    """What one model was given; the same for all, apart from its recipe and its starting weights."""

    model: str
    display_name: str
    n_trainings: int = Field(description="With different seeds; those in folds are not counted.")
    n_training_images: int
    n_validation_images: int
    epochs_allowed: int = Field(description="Of one training.")
    patience: int = Field(description="Epochs without a better validation AUC that end a training.")
    image_size_px: int
    batch_size: int
    probe: bool = Field(
        default=False, description="Whether it has none of the hyperparameters that are searched."
    )
    n_trials: int = Field(default=0, description="Of a search for hyperparameters; 0: the recipe as it is.")
    trial_epochs: int = Field(default=0, description="Allowed in a trial.")
    search: str = Field(default="", description="Rule of pruning, and what is searched.")
    n_pruned: int = Field(default=0, description="Trials that the rule ended early; they count as trials.")
    search_epochs_run: int = Field(default=0, description="Of all trials.")
    search_seconds: float = Field(default=0.0, description="Of all trials, on `device`.")
    epochs_run: int = Field(description="Of all trainings.")
    n_images_seen: int = Field(description="In all epochs of all trainings.")
    seconds: float = Field(description="Of all trainings, on `device`.")
    device: str
    recipe: str
    selection: str
    initial_weights: str
    implementation: str | None = Field(default=None, description="Library that built the network.")


def budgets(
    trained: Sequence[TrainedModel],
    split: DatasetSplit,
    config: CompareConfig,
    *,
    costs: Sequence[CostMeasurement],
    searches: Sequence[Search] = (),
) -> tuple[Budget, ...]:
    """What each model was given.

    Parameters
    ----------
    trained : sequence of TrainedModel
        Every training of every model.
    split : DatasetSplit
        Images of training and validation.
    config : CompareConfig
        Epochs and patience.
    costs : sequence of CostMeasurement
        They name the library that built each network.
    searches : sequence of Search
        Those for hyperparameters, where there were any.

    Returns
    -------
    tuple of Budget
        One per model, in the order of `trained`.

    Raises
    ------
    DataError
        If they differ, see `check_equal`.
    """
    implementations = {cost.model: cost.implementation for cost in costs}
    by_model: dict[str, list[TrainedModel]] = {}
    for one in trained:
        by_model.setdefault(one.model, []).append(one)
    found = tuple(
        Budget(
            model=model,
            display_name=rows[0].display_name,
            n_trainings=len(rows),
            n_training_images=split.subsets[0].n_images,
            n_validation_images=split.subsets[1].n_images,
            epochs_allowed=config.train.epochs,
            patience=config.train.patience,
            image_size_px=rows[0].image_size_px,
            batch_size=rows[0].batch_size,
            epochs_run=sum(len(row.history) for row in rows),
            n_images_seen=sum(row.n_images_seen for row in rows),
            seconds=sum(row.elapsed_s for row in rows),
            device=rows[0].hardware,
            recipe=rows[0].recipe,
            selection=rows[0].selection,
            initial_weights=_weights(rows[0]),
            implementation=implementations.get(model),
            probe=rows[0].probe,
            **_of_search(next((one for one in searches if one.model == model), None)),
        )
        for model, rows in by_model.items()
    )
    check_equal(found)
    return found


def _of_search(search: Search | None) -> dict[str, Any]:
    """Fields of `Budget`, empty without a search."""
    if search is None:
        return {}
    return {
        "n_trials": len(search.trials),
        "trial_epochs": search.epochs_allowed,
        "search": t(PRUNING[search.pruning], seed=search.seed, space="; ".join(search.searched)),
        "n_pruned": search.n_pruned,
        "search_epochs_run": search.epochs_run,
        "search_seconds": sum(one.elapsed_s for one in search.trials),
    }


def check_equal(found: Sequence[Budget]) -> None:
    """Refuse a comparison in which one model was given more than another.

    Raises
    ------
    DataError
        Naming what differs, for each model.
    """
    for field in EQUAL:
        values = {
            one.display_name: getattr(one, field) for one in found if not (one.probe and field in OF_SEARCH)
        }
        if len(set(values.values())) > 1:
            listed = ", ".join(
                f"{name} {value if isinstance(value, str) else format_count(value)}"
                for name, value in values.items()
            )
            msg = (
                f"the models were not given the same chance: {field.removeprefix('n_').replace('_', ' ')} differ "
                f"({listed}). Train all with the same settings; a comparison of unequal budgets has no verdict."
            )
            raise DataError(msg)


def not_tuned_alike(trained: Sequence[TrainedModel]) -> list[str]:
    """A sentence for page one where networks were trained with recipes of their own; else none."""
    recipes = {one.display_name: one.recipe for one in trained}
    if len(set(recipes.values())) < 2:
        return []
    listed = "; ".join(f"{name}: {recipe}" for name, recipe in recipes.items())
    sentence = t(
        "The networks were not tuned alike: each was trained with the recipe it was published with ({recipes}), and "
        "another recipe could change the ranking. What lagging batch statistics alone would have made of each is in "
        "the table of batch statistics.",
        recipes=listed,
    )
    return [sentence]


def tuned_alike(searches: Sequence[Search], models: Sequence[str]) -> str:
    """A sentence for page one on the search that every one of `models` had, and on probes, which had none."""
    one, n_probes = searches[0], len(models) - len(searches)
    trials = tn("{n} trial", "{n:,} trials", len(one.trials))
    epochs = tn("{n} epoch", "{n:,} epochs", one.epochs_allowed)
    if len(searches) > 1:
        sentence = t(
            "Hyperparameters were searched with the same budget for each network: {trials} of at most {epochs}, "
            "judged on the validation subset alone.",
            trials=trials,
            epochs=epochs,
        )
    else:
        sentence = t(
            "Hyperparameters were searched with the same budget for the network: {trials} of at most {epochs}, "
            "judged on the validation subset alone.",
            trials=trials,
            epochs=epochs,
        )
    if n_probes:
        sentence += " " + t(
            "A linear probe has none of these hyperparameters and was not searched for: it tries its penalties on the "
            "same subset."
        )
    return sentence


def _weights(one: TrainedModel) -> str:
    start = one.initial_weights
    version = f" ({start.version})" if start.version else ""
    return t("random initialisation") if start.kind == "none" else f"{start.name}{version}"
