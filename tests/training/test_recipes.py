"""Recipes: the study's, the user's, and the weights of the classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from medcompare.base.errors import DataError
from medcompare.config.train import RecipeOverride, TrainConfig
from medcompare.models.spec import Recipe
from medcompare.models.zoo import MODELS
from medcompare.training.recipes import class_weights_of, described_optimizer, optimizer_of, recipe_of


def test_balanced_weights_agree_with_scikit_learn() -> None:
    """N / (2 n_class)."""
    labels = [0] * 30 + [1] * 10
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)

    assert class_weights_of(labels, "balanced") == pytest.approx(tuple(expected))
    assert class_weights_of(labels, "none") == (1.0, 1.0)


def test_a_class_without_images_has_no_weight() -> None:
    """Refused, whatever the weighting."""
    with pytest.raises(DataError, match="2 negative and 0 positive"):
        class_weights_of([0, 0], "none")


def test_overrides_lie_on_top_of_the_recipe() -> None:
    """Only what the user names changes, and for that model alone."""
    train = TrainConfig(recipes={"resnet50": RecipeOverride(learning_rate=0.5)})

    assert recipe_of(MODELS["resnet50"], train) == Recipe(
        optimizer="adam", learning_rate=0.5, weight_decay=0.0, source="user"
    )
    assert recipe_of(MODELS["efficientnet_b0"], train) is MODELS["efficientnet_b0"].recipe
    only_version = TrainConfig(recipes={"resnet50": RecipeOverride(weights_version="V2")})
    assert recipe_of(MODELS["resnet50"], only_version) == MODELS["resnet50"].recipe


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("adam", torch.optim.Adam, "Adam, learning rate 0.001, weight decay 0.0001"),
        ("adamw", torch.optim.AdamW, "AdamW, learning rate 0.001, weight decay 0.0001"),
        ("sgd", torch.optim.SGD, "SGD with momentum 0.9, learning rate 0.001, weight decay 0.0001"),
    ],
)
def test_optimizers(name: str, kind: type, words: str) -> None:
    """The right class, with the recipe's numbers, described in words."""
    recipe = Recipe(optimizer=name, learning_rate=1e-3, weight_decay=1e-4, source="here")
    optimizer = optimizer_of(nn.Linear(2, 2), recipe)

    assert type(optimizer) is kind
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-3, 1e-4)
    assert str(described_optimizer(recipe)) == words
