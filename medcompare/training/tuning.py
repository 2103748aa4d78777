"""One trial of the search for hyperparameters: asked of Optuna, trained, and pruned by Optuna's rule.

A trial is a function of the trials before it, whose study is made anew from their records: no state is kept
between trials, so that a search that was cut off goes on as if nothing had happened, trial by trial.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from medcompare.base.errors import TrainingError
from medcompare.base.hardware import device_name
from medcompare.config.train import PER_MODEL
from medcompare.models.zoo import find_model
from medcompare.training.loop import prepared
from medcompare.training.recipes import recipe_of
from medcompare.training.search import (
    CHOICES,
    N_RANDOM,
    N_UNPRUNED,
    PRUNED_FROM,
    RANGES,
    SGD_FACTOR,
    Trial,
    TrialSettings,
    choices,
    score_of,
    with_settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.trial import FrozenTrial

    from medcompare.config.train import TrainConfig
    from medcompare.training.events import EventHandler
    from medcompare.training.records import EpochLog
    from medcompare.training.requests import TrialRequest
    from medcompare.training.search import Value

Distribution = CategoricalDistribution | FloatDistribution

logger = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)


def space(names: Sequence[str], *, epochs: int, optimizer: str = "adam") -> dict[str, Distribution]:
    """Optuna's distributions of the hyperparameters `names`, for trials of so many `epochs`."""
    found: dict[str, Distribution] = {}
    for name in names:
        if name in CHOICES:
            found[name] = CategoricalDistribution(choices(name, epochs))
        else:
            factor = SGD_FACTOR if (name, optimizer) == ("learning_rate", "sgd") else 1.0
            low, high = (factor * limit for limit in RANGES[name])
            found[name] = FloatDistribution(low, high, log=True)
    return found


def study_of(
    earlier: Sequence[Trial], distributions: Mapping[str, Distribution], *, seed: int
) -> optuna.Study:
    """A study that knows the `earlier` trials: sampler TPE, Optuna's default, and its median pruner.

    References
    ----------
    Bergstra et al. (2011), "Algorithms for hyper-parameter optimization", NeurIPS (TPE); Golovin et al. (2017),
    "Google Vizier", KDD, section 3.2 (median rule); Akiba et al. (2019), "Optuna", KDD.
    """
    number = len(earlier) + 1
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=N_RANDOM, seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        ),
        # Optuna counts epochs from 0.
        pruner=optuna.pruners.MedianPruner(n_startup_trials=N_UNPRUNED, n_warmup_steps=PRUNED_FROM - 1),
    )
    study.add_trials([_frozen(one, distributions) for one in earlier])
    return study


def _frozen(trial: Trial, distributions: Mapping[str, Distribution]) -> FrozenTrial:
    """`trial` as Optuna keeps it; one that became infinite is the worst of all, so that its surroundings are left."""
    is_complete = trial.state == "complete"
    scores = () if trial.state == "not finite" else trial.scores
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if is_complete else TrialState.PRUNED,
        value=trial.scores[trial.best_epoch - 1] if is_complete else None,
        params=dict(trial.parameters),
        distributions={name: distributions[name] for name in trial.parameters},
        intermediate_values=dict(enumerate(scores)),
    )


def proposed(
    earlier: Sequence[Trial], distributions: Mapping[str, Distribution], *, seed: int
) -> dict[str, Value]:
    """What the trial after the `earlier` ones draws; numbers to two digits, as they are printed."""
    drawn = study_of(earlier, distributions, seed=seed).ask(dict(distributions)).params
    return {name: float(f"{value:.2g}") if name in RANGES else value for name, value in drawn.items()}


def should_prune(earlier: Sequence[Trial], scores: Sequence[float], *, epochs: int) -> bool:
    """Whether a trial with these scores so far ends here: its best is below the median of the earlier ones.

    Parameters
    ----------
    earlier : sequence of Trial
        Those that ran to their end count.
    scores : sequence of float
        After each epoch.
    epochs : int
        Most epochs of a trial: after the last there is nothing to save.
    """
    if len(scores) >= epochs:
        return False
    trial = study_of([one.model_copy(update={"parameters": {}}) for one in earlier], {}, seed=0).ask()
    for step, score in enumerate(scores):
        trial.report(score, step)
    return trial.should_prune()


def run_trial(request: TrialRequest, *, emit: EventHandler | None = None) -> Trial:
    """Train with the next settings of the search; a loss that is not finite is a result, too.

    Parameters
    ----------
    request : TrialRequest
        The training, and the trials before it.
    emit : callable, optional
        Gets ``progress`` and ``epoch`` events.

    Returns
    -------
    Trial
        Figures on the validation subset after every epoch; no checkpoint is kept.

    Raises
    ------
    DataError, WeightsError, ConfigError, ArtifactError
        As `medcompare.training.loop.train_model`.
    """
    earlier, started = request.earlier, time.perf_counter()
    model, epochs, number = request.model, request.train.epochs, len(earlier) + 1
    recipe = recipe_of(find_model(model), request.train)
    distributions = space(request.searched, epochs=epochs, optimizer=recipe.optimizer)
    if earlier:
        parameters = proposed(earlier, distributions, seed=request.seed)
    else:
        parameters = within(settings_of(model, request.train), distributions)
    train = with_settings(request.train, model, number, parameters)
    seen: list[EpochLog] = []
    pruned = False

    def stop(history: Sequence[EpochLog]) -> bool:
        nonlocal pruned
        seen[:] = history
        scores = [score_of(log.val_auc, log.val_loss) for log in history]
        pruned = request.pruning == "median" and should_prune(earlier, scores, epochs=epochs)
        return pruned

    state: Literal["complete", "pruned", "not finite"]
    with prepared(request.model_copy(update={"train": train})) as ready:
        try:
            fitted = ready.fit(emit=emit, stop=stop)
            seen, elapsed_s, state = fitted.history, fitted.elapsed_s, "pruned" if pruned else "complete"
        except TrainingError as error:
            if error.transient:
                raise
            logger.warning("trial %d of %s: %s", number, model, error)
            elapsed_s, state = time.perf_counter() - started, "not finite"
    if ready.settings.placement.ranks.is_first:
        ready.resume_point.clear()
    return Trial(
        number=number,
        parameters=parameters,
        settings=settings_of(model, train),
        state=state,
        val_auc=tuple(log.val_auc for log in seen),
        val_loss=tuple(log.val_loss for log in seen),
        elapsed_s=elapsed_s,
        device=device_name(ready.settings.placement.device),
    )


def settings_of(model: str, train: TrainConfig) -> TrialSettings:
    """The hyperparameters that `model` is trained with."""
    recipe, options = recipe_of(find_model(model), train), train.for_model(model)
    names = TrialSettings.model_fields
    return TrialSettings(
        **{name: getattr(options, name) for name in names if name in PER_MODEL},
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
    )


def within(settings: TrialSettings, distributions: Mapping[str, Distribution]) -> dict[str, Value]:
    """What of a recipe lies in the space, so that the sampler learns from the first trial too."""
    found: dict[str, Value] = {}
    for name, one in distributions.items():
        value: Value = "as set" if name == "augmentation" else getattr(settings, name)
        if isinstance(one, CategoricalDistribution):
            is_inside = value in one.choices
        else:
            is_inside = one.low <= float(value) <= one.high
        if is_inside:
            found[name] = value
    return found
