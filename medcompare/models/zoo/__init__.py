"""The table of networks. Adding one: write its file, name it in `MODELS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.models.zoo.convnext import CONVNEXT_TINY
from medcompare.models.zoo.efficientnet import (
    EFFICIENTNET_B0,
    EFFICIENTNET_B0_TORCHVISION,
)
from medcompare.models.zoo.resnet import RESNET50
from medcompare.models.zoo.tiny import TEST_CNN

if TYPE_CHECKING:
    from medcompare.models.spec import ModelSpec


def table(*specs: ModelSpec) -> dict[str, ModelSpec]:
    """Table of `specs` by name; raises ValueError on a name used twice, or on an equivalent that is not there."""
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            msg = f"two models are named '{name}'"
            raise ValueError(msg)
    for spec in specs:
        if spec.maintained_equivalent is not None and spec.maintained_equivalent not in names:
            msg = f"the equivalent of '{spec.name}', '{spec.maintained_equivalent}', is not in the table"
            raise ValueError(msg)
    return {spec.name: spec for spec in specs}


MODELS: dict[str, ModelSpec] = table(
    RESNET50, EFFICIENTNET_B0, CONVNEXT_TINY, EFFICIENTNET_B0_TORCHVISION, TEST_CNN
)

LISTED: tuple[str, ...] = tuple(name for name, spec in MODELS.items() if not spec.hidden)
"""Names of the networks that people are offered, in the table's order."""
