"""ConvNeXt (torchvision)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.models.spec import TORCHVISION_LICENCE, ModelSpec, Recipe, WeightsFile

if TYPE_CHECKING:
    from torch import nn


def _build_convnext_tiny() -> nn.Module:
    from torchvision.models import convnext_tiny

    network: nn.Module = convnext_tiny(weights=None)
    return network


CONVNEXT_TINY = ModelSpec(
    name="convnext_tiny",
    display_name="ConvNeXt-Tiny",
    build=_build_convnext_tiny,
    head="classifier.2",
    pooling="avgpool",
    n_parameters=28_589_128,
    recipe=Recipe(
        optimizer="adamw",
        learning_rate=1e-4,
        weight_decay=1e-2,
        source="software default; not from a published study",
    ),
    weights={
        "V1": WeightsFile(
            name="torchvision ConvNeXt_Tiny_Weights.IMAGENET1K_V1",
            url="https://download.pytorch.org/models/convnext_tiny-983f1562.pth",
            sha256_prefix="983f1562",
            licence=TORCHVISION_LICENCE,
        ),
    },
    source="Liu et al. 2022, arXiv:2201.03545",
)
