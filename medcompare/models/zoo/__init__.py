"""The table of networks. Adding one: write its file, name it in `MODELS`."""

from __future__ import annotations

from medcompare.models.spec import ModelSpec
from medcompare.models.zoo.resnet import RESNET50


def table(*specs: ModelSpec) -> dict[str, ModelSpec]:
    """Table of `specs` by name; raises ValueError on a name used twice."""
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            msg = f"two models are named '{name}'"
            raise ValueError(msg)
    return {spec.name: spec for spec in specs}


MODELS: dict[str, ModelSpec] = table(RESNET50)
