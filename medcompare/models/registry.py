"""From a `ModelSpec` to a network with a new head, its weights loaded."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import torch
from torch import nn

from medcompare.base.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.models.spec import ModelSpec

N_CLASSES = 2


def build_model(spec: ModelSpec, *, seed: int, weights_path: Path | None = None) -> nn.Module:
    """Network of `spec` with a freshly initialised head of two outputs.

    Parameters
    ----------
    spec : ModelSpec
        Which network, and the dotted path of the layer to replace.
    seed : int
        Seed of every random number drawn here; the global generator is left as it was.
    weights_path : Path, optional
        File with the state of the network *with its original head*; None: random weights.

    Returns
    -------
    nn.Module
        In training mode, float32, on the CPU.

    Raises
    ------
    WeightsError
        If the file is no saved state, or that of another network.
    TypeError
        If the layer to replace is not linear.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = spec.build_with if weights_path is not None else None
        network = spec.build() if own is None or weights_path is None else own(weights_path)
        head = network.get_submodule(spec.head)
        if not isinstance(head, nn.Linear):
            msg = f"head '{spec.head}' of model '{spec.name}' is a {type(head).__name__}, not a linear layer"
            raise TypeError(msg)
        if weights_path is not None and own is None:
            load_state(network, weights_path, model=spec.name)
        network.set_submodule(spec.head, nn.Linear(head.in_features, N_CLASSES))
    return network.train()


def load_state(network: nn.Module, path: Path, *, model: str) -> None:
    """Load the state dictionary in the file at `path` into `network`, every entry or none.

    Raises
    ------
    WeightsError
        If the file is no saved state, or names or shapes differ.
    """
    try:
        # weights_only: a file of weights must not be able to run code.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError) as error:
        msg = f"{path} is not a file of weights ({type(error).__name__}); delete it and fetch it again"
        raise WeightsError(msg) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        msg = f"{path} holds no state dictionary of tensors; is it another project's checkpoint?"
        raise WeightsError(msg)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        theirs, ours = set(state), set(network.state_dict())
        examples = ", ".join(sorted(theirs ^ ours)[:4]) or "shapes differ"
        msg = f"{path} holds the weights of another network than {model} (for example: {examples})"
        raise WeightsError(msg) from error


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
