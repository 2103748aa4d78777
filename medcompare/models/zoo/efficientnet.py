"""EfficientNet-B0 as the published study used it (efficientnet-pytorch), and torchvision's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.models.spec import ModelSpec, Recipe, WeightsFile

if TYPE_CHECKING:
    from torch import nn


def _build_efficientnet_b0() -> nn.Module:
    from efficientnet_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-b0")
    return network


def _build_efficientnet_b0_torchvision() -> nn.Module:
    from torchvision.models import efficientnet_b0

    network: nn.Module = efficientnet_b0(weights=None)
    return network


EFFICIENTNET_B0 = ModelSpec(
    name="efficientnet_b0",
    display_name="EfficientNet-B0",
    build=_build_efficientnet_b0,
    head="_fc",
    n_parameters=5_288_548,
    recipe=Recipe(optimizer="adamw", learning_rate=1e-3, weight_decay=1e-4, source="the published study"),
    weights={
        "V1": WeightsFile(
            name="efficientnet-pytorch efficientnet-b0",
            url="https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/efficientnet-b0-355c32eb.pth",
            sha256_prefix="355c32eb",
        ),
    },
    source="Tan & Le 2019, arXiv:1905.11946",
    # efficientnet-pytorch had its last release, 0.7.1, in April 2021.
    maintained_equivalent="efficientnet_b0_torchvision",
)

EFFICIENTNET_B0_TORCHVISION = ModelSpec(
    name="efficientnet_b0_torchvision",
    display_name="EfficientNet-B0 (torchvision)",
    build=_build_efficientnet_b0_torchvision,
    head="classifier.1",
    n_parameters=5_288_548,
    recipe=Recipe(optimizer="adamw", learning_rate=1e-3, weight_decay=1e-4, source="as for EfficientNet-B0"),
    weights={
        "V1": WeightsFile(
            name="torchvision EfficientNet_B0_Weights.IMAGENET1K_V1",
            url="https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
            sha256_prefix="7f5810bc",
        ),
    },
    source="Tan & Le 2019, arXiv:1905.11946",
)
