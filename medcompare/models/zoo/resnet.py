"""ResNet (torchvision)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.models.spec import TORCHVISION_LICENCE, ModelSpec, Recipe, WeightsFile

if TYPE_CHECKING:
    from torch import nn


def _build_resnet50() -> nn.Module:
    from torchvision.models import resnet50

    network: nn.Module = resnet50(weights=None)
    return network


RESNET50 = ModelSpec(
    name="resnet50",
    display_name="ResNet-50",
    build=_build_resnet50,
    head="fc",
    pooling="avgpool",
    n_parameters=25_557_032,
    recipe=Recipe(optimizer="adam", learning_rate=1e-5, weight_decay=0.0, source="the published study"),
    weights={
        "V1": WeightsFile(
            name="torchvision ResNet50_Weights.IMAGENET1K_V1",
            url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
            sha256_prefix="0676ba61",
            licence=TORCHVISION_LICENCE,
        ),
        "V2": WeightsFile(
            name="torchvision ResNet50_Weights.IMAGENET1K_V2",
            url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
            sha256_prefix="11ad3fa6",
            licence=TORCHVISION_LICENCE,
        ),
    },
    source="He et al. 2015, arXiv:1512.03385",
)
