"""The table of networks, and networks by name. Adding one: write its file, name it in `MODELS`."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from medcompare.base.errors import ConfigError
from medcompare.models.zoo.convnext import CONVNEXT_TINY
from medcompare.models.zoo.efficientnet import (
    EFFICIENTNET_B0,
    EFFICIENTNET_B0_TORCHVISION,
    EFFICIENTNET_LITE0,
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
    RESNET50, EFFICIENTNET_B0, CONVNEXT_TINY, EFFICIENTNET_B0_TORCHVISION, EFFICIENTNET_LITE0, TEST_CNN
)

LISTED: tuple[str, ...] = tuple(name for name, spec in MODELS.items() if not spec.hidden)
"""Names of the networks that people are offered, in the table's order."""

PROBE, TIMM = "probe:", "timm/"
"""What names begin with that are not in the table: a linear head on another network; a network of timm."""
BY_NAME = (
    "timm/NAME for any network of timm, probe:NAME for a linear head on the frozen features of any of these"
)


def check_model_name(name: str) -> None:
    """Raise ConfigError where there can be no network called `name`.

    Whether timm has a network is not asked here: that takes seconds, and timm may not be installed where a
    finished run is read.
    """
    inner = name.removeprefix(PROBE)
    if inner in MODELS or re.fullmatch(TIMM + r"[A-Za-z0-9_.-]+", inner):
        return
    near = difflib.get_close_matches(inner, LISTED, n=1, cutoff=0.7)
    hint = f". Did you mean '{name.removesuffix(inner)}{near[0]}'?" if near else ""
    msg = f"unknown model '{name}'; known models: {', '.join(LISTED)}; {BY_NAME}{hint}"
    raise ConfigError(msg)


def find_model(name: str) -> ModelSpec:
    """The network called `name`: of the table, ``timm/NAME``, or ``probe:`` before either.

    Raises
    ------
    ConfigError
        If there is none; the message names the nearest.
    """
    check_model_name(name)
    if name.startswith(PROBE):
        base = find_model(name.removeprefix(PROBE))
        return replace(
            base,
            name=name,
            display_name=f"{base.display_name} probe",
            probe=True,
            maintained_equivalent=None,
        )
    if name.startswith(TIMM):
        from medcompare.models.zoo.timm_models import timm_spec

        return timm_spec(name.removeprefix(TIMM))
    return MODELS[name]
