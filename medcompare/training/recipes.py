"""Recipe, class weights and optimiser of a training: what is fixed before its first step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from medcompare.base.errors import DataError
from medcompare.base.language import message
from medcompare.base.phrase import Phrase
from medcompare.config.train import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from medcompare.base.devices import Precision
    from medcompare.models.spec import ModelSpec, Recipe
    from medcompare.training.scoring import Placement

SGD_MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What `fit` needs besides network and images."""

    spec: ModelSpec
    recipe: Recipe
    epochs: int
    patience: int
    class_weights: tuple[float, float]
    seed: int
    placement: Placement
    precision: Precision
    options: TrainConfig = field(default_factory=TrainConfig)
    """The settings of training for this model; epochs and patience are those above."""
    compiled: bool = False
    """Whether whole batches go through compiled kernels."""
    images_at_once: int | None = None
    """Images of one pass on each device, where memory ran out for more before; None: whole batches."""


def class_weights_of(labels: Sequence[int], weighting: str) -> tuple[float, float]:
    """Weight of each class in the cross-entropy: n / (2 n_class) where `weighting` is ``balanced``.

    Raises
    ------
    DataError
        If a class has no image.
    """
    counts = [sum(label == wanted for label in labels) for wanted in (0, 1)]
    if 0 in counts:
        msg = (
            f"the training subset holds {counts[0]} negative and {counts[1]} positive images; both are needed"
        )
        raise DataError(msg)
    if weighting == "none":
        return 1.0, 1.0
    return len(labels) / (2 * counts[0]), len(labels) / (2 * counts[1])


def recipe_of(spec: ModelSpec, train: TrainConfig) -> Recipe:
    """The model's recipe with the user's overrides laid on top."""
    override = train.recipes.get(spec.name)
    if override is None:
        return spec.recipe
    names = ("optimizer", "learning_rate", "weight_decay")
    chosen = {name: getattr(override, name) for name in names if getattr(override, name) is not None}
    values = {name: getattr(spec.recipe, name) for name in names} | chosen
    return type(spec.recipe)(**values, source="user" if chosen else spec.recipe.source)


def optimizer_of(
    network: nn.Module, recipe: Recipe, *, head: str = "", backbone_lr_factor: float = 1.0
) -> torch.optim.Optimizer:
    """Optimiser of `recipe` over all parameters; the fused kernels where the device has them.

    With a `backbone_lr_factor` below 1 the parameters of the layer `head` come last, in a group of their own.
    """
    every = list(network.named_parameters())
    parameters: Any = [parameter for _, parameter in every]
    fused = True if parameters[0].device.type in ("cpu", "cuda") else None
    if backbone_lr_factor != 1:
        of_head = [parameter for name, parameter in every if name.startswith(f"{head}.")]
        others = [parameter for name, parameter in every if not name.startswith(f"{head}.")]
        rate = backbone_lr_factor * recipe.learning_rate
        parameters = [{"params": others, "lr": rate}, {"params": of_head}]
    lr, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=SGD_MOMENTUM, weight_decay=decay, fused=fused)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay, fused=fused)
    return torch.optim.Adam(parameters, lr=lr, weight_decay=decay, fused=fused)


def described_optimizer(recipe: Recipe) -> Phrase:
    """The optimiser in words, for the report."""
    values: dict[str, float | str] = {"rate": recipe.learning_rate, "decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        text = message("SGD with momentum {momentum:g}, learning rate {rate:g}, weight decay {decay:g}")
        return Phrase(text=text, values={"momentum": SGD_MOMENTUM, **values})
    name = {"adam": "Adam", "adamw": "AdamW"}[recipe.optimizer]
    text = message("{name}, learning rate {rate:g}, weight decay {decay:g}")
    return Phrase(text=text, values={"name": name, **values})
