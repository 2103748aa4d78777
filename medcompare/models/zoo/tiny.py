"""A network of three layers that trains in seconds: for tests, never for results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.models.spec import ModelSpec, Recipe

if TYPE_CHECKING:
    from torch import nn


def _build_test_cnn() -> nn.Module:
    from collections import OrderedDict

    from torch import nn

    return nn.Sequential(
        OrderedDict(
            convolution_1=nn.Conv2d(3, 16, kernel_size=3, stride=2, padding=1, bias=False),
            norm_1=nn.BatchNorm2d(16),
            activation_1=nn.ReLU(),
            convolution_2=nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1, bias=False),
            norm_2=nn.BatchNorm2d(32),
            activation_2=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            head=nn.Linear(32, 1000),
        )
    )


TEST_CNN = ModelSpec(
    name="test_cnn",
    display_name="Test CNN",
    build=_build_test_cnn,
    head="head",
    pooling="pool",
    cell_px=4,
    n_parameters=38_136,
    hidden=True,
    recipe=Recipe(optimizer="adam", learning_rate=1e-2, weight_decay=0.0, source="chosen for speed in tests"),
    source="three layers, for tests",
)
