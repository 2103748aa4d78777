"""Any network of timm (PyTorch Image Models) by name, its transforms and weights from its own configuration.

timm states for every file of weights how its images were prepared, where the file lies and its licence
(``pretrained_cfg``). It also reads them itself, as some networks rename what others saved.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any

from medcompare.base.errors import ConfigError, WeightsError
from medcompare.models.spec import ModelSpec, Recipe, WeightsFile

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

RECIPE = Recipe(
    optimizer="adamw",
    learning_rate=1e-4,
    weight_decay=1e-2,
    source="software default; not from a published study",
)


@cache
def timm_spec(name: str) -> ModelSpec:
    """The network that timm calls `name`, with or without the tag of its weights (``resnet18.a1_in1k``).

    Raises
    ------
    ConfigError
        If timm is not installed, has no such network, or its head is not one linear layer.
    """
    try:
        import timm
    except ImportError:
        msg = f"model 'timm/{name}' needs timm, which is not installed: python -m pip install timm"
        raise ConfigError(msg) from None
    import torch

    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the network is there, the tag is not
        cfg = None
    if cfg is None:
        near = _nearest(timm, name)
        msg = f"timm {timm.__version__} has no model '{name}'; close to it: {', '.join(near) or 'nothing'}"
        raise ConfigError(msg)

    def build() -> nn.Module:
        network: nn.Module = timm.create_model(name, pretrained=False)
        return network

    def build_with(path: Path) -> nn.Module:
        try:
            state = timm.models.load_state_dict(str(path), use_ema=False, weights_only=True)
            # A state that is given comes before every other place timm would look in.
            network: nn.Module = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay={"state_dict": state, "custom_load": False}
            )
        except Exception as error:
            msg = f"{path} does not hold the weights of timm/{name} ({type(error).__name__}: {str(error)[:200]})"
            raise WeightsError(msg) from error
        return network

    with torch.device("meta"):  # shapes alone
        network = build()
    head = cfg.classifier
    if not isinstance(head, str) or not isinstance(network.get_submodule(head), torch.nn.Linear):
        msg = (
            f"model 'timm/{name}' cannot be used: its head ({head}) is not one linear layer. "
            "Choose another of its family, e.g. one that is not distilled"
        )
        raise ConfigError(msg)
    return ModelSpec(
        name=f"timm/{name}",
        display_name=f"{name} (timm)",
        build=build,
        build_with=build_with,
        head=head,
        pooling=_pooling(network),
        n_parameters=sum(p.numel() for p in network.parameters()),
        recipe=RECIPE,
        weights=_weights(name.partition(".")[0], cfg),
        mean=cfg.mean,
        std=cfg.std,
        # Of what timm knows only these two are meant for images; 'random' is for its own augmentation.
        interpolation="bilinear" if cfg.interpolation == "bilinear" else "bicubic",
        crop_pct=cfg.crop_pct,
        fixed_size_px=cfg.input_size[1] if cfg.fixed_input_size else None,
        source=f"timm {timm.__version__}" + (f", {cfg.paper_ids}" if cfg.paper_ids else ""),
    )


def _pooling(network: nn.Module) -> str | None:
    """Path of the layer that pools a grid of features, channels first; None where tokens, or nothing, are pooled."""
    from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d

    for name in ("global_pool", "head.global_pool"):
        try:
            layer = network.get_submodule(name)
        except AttributeError:
            continue
        if isinstance(layer, SelectAdaptivePool2d) and layer.pool_type:
            # Its faster kinds say which axes they pool; the others know channels first alone.
            axes = getattr(layer.pool, "dim", None) or getattr(layer.pool, "dim_reduce", None) or (2, 3)
            return name if tuple(axes) == (2, 3) else None
    return None


def _weights(architecture: str, cfg: Any) -> dict[str, WeightsFile]:  # noqa: ANN401 - timm's PretrainedCfg
    """The file of weights, from the hub where timm keeps them, else from its first address; empty without either."""
    name = f"{architecture}.{cfg.tag}" if cfg.tag else architecture
    hub = cfg.hf_hub_id if cfg.hf_hub_id != "timm/" else f"timm/{name}"
    inside = cfg.hf_hub_filename or "model.safetensors"
    if not hub and not cfg.url:
        return {}
    folder = f"models--{hub.replace('/', '--')}" if hub else name
    file = WeightsFile(
        name=f"timm {name}",
        url=f"https://huggingface.co/{hub}/resolve/main/{inside}" if hub else cfg.url,
        saved_as=f"{name}.safetensors" if hub else None,
        sha256_prefix="",
        licence=cfg.license or "unknown",
        other_names=(
            f"{name}.bin",
            f"{name}.pth",
            *(f"{name}/{each}" for each in (inside, "pytorch_model.bin")),
            *(f"{folder}/snapshots/*/{each}" for each in (inside, "pytorch_model.bin")),
            *([cfg.url.rsplit("/", 1)[-1]] if cfg.url.endswith(".pth") else []),
        ),
        has_versions=False,
    )
    return {"V1": file}


def _nearest(timm: Any, name: str) -> list[str]:  # noqa: ANN401 - the module, which has no types
    """Names that `name` may be a misspelling of: those that contain it, else the most alike."""
    architecture, _, tag = name.partition(".")
    if tag and timm.is_model(architecture):
        return list(timm.list_pretrained(f"{architecture}.*"))[:5]
    known = timm.list_models()
    return (
        difflib.get_close_matches(architecture, known, n=5)
        or [each for each in known if architecture in each][:5]
    )
