"""Batch normalisation with statistics that belong to the weights ("precise batch normalisation").

While a network trains, a batch-normalisation layer normalises by the mean and variance of the batch.
In evaluation it uses running averages, which follow the weights with a lag set by the library's
``momentum``: at 0.1 (torchvision) a few dozen steps, at 0.01 (efficientnet-pytorch) several hundred. With few
steps a well-trained network is then evaluated with statistics of weights it no longer has. So after
each epoch the statistics are measured again, with the weights as they are, on a fixed sample of
training images without augmentation: the same way for every network, whatever its library. The
running averages are kept aside, so that training goes on with them and results can be stated
with both.

References
----------
Wu & Johnson (2021), "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from medcompare.training.scoring import autocast, forward_logits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from medcompare.base.devices import Precision
    from medcompare.models.spec import ModelSpec
    from medcompare.training.dataset import BatchLoader
    from medcompare.training.ranks import Ranks
    from medcompare.training.scoring import FloatArray, Placement

Normalisation = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def normalisations(network: nn.Module) -> dict[str, Normalisation]:
    """Layers of `network` that evaluate with running statistics, by name; empty where there are none."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, Normalisation) and layer.running_mean is not None
    }


def momenta(network: nn.Module) -> tuple[float, ...]:
    """The different weights of a new batch in the running averages; 0 stands for a plain average."""
    return tuple(sorted({layer.momentum or 0.0 for layer in normalisations(network).values()}))


def statistics_of(network: nn.Module) -> dict[str, Tensor]:
    """Copy of the statistics that `network` evaluates with, under their names in its state."""
    return {
        f"{name}.{buffer}": getattr(layer, buffer).detach().clone()
        for name, layer in normalisations(network).items()
        for buffer in BUFFERS
    }


def load_statistics(network: nn.Module, statistics: Mapping[str, Tensor]) -> None:
    """Let `network` evaluate with `statistics`, as `statistics_of` gave them."""
    network.load_state_dict(statistics, strict=False)


class _Pool:
    """Mean and variance over all batches that a layer saw."""

    def __init__(self, layer: Normalisation) -> None:
        self.n = 0
        self._sum, self._squares = torch.zeros((2, layer.num_features), dtype=torch.float64)

    def add(self, layer: Normalisation, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """Forward hook: with a momentum of 1 the running statistics are those of this batch."""
        n = inputs[0].numel() // inputs[0].shape[1]
        mean, variance = (
            getattr(layer, name).to("cpu").to(torch.float64) for name in ("running_mean", "running_var")
        )
        self.n += n
        self._sum = self._sum + n * mean
        # The layer stores the unbiased variance; it normalises by the biased one.
        self._squares = self._squares + n * (variance * (n - 1) / n + mean.square())

    def add_others(self, ranks: Ranks) -> None:
        """Take in what the other ranks saw."""
        if ranks.size > 1:
            n = torch.full((1,), self.n, dtype=torch.float64)
            total = ranks.summed(torch.cat([n, self._sum, self._squares]))
            self.n = int(total[0])
            self._sum, self._squares = total[1:].reshape(2, -1)

    def write_to(self, layer: Normalisation) -> None:
        """Store E[x] and E[x^2] - E[x]^2 as the statistics of `layer`."""
        mean = self._sum / self.n
        variance = (self._squares / self.n - mean.square()).clamp(min=0)
        for buffer, values in (("running_mean", mean), ("running_var", variance)):
            getattr(layer, buffer).copy_(values.to(torch.float32))


def measure_statistics(
    network: nn.Module, sample: BatchLoader, spec: ModelSpec, placement: Placement, precision: Precision
) -> FloatArray:
    """Measure the batch statistics of `network` on `sample` and store them in it.

    Only the normalising layers are in training mode: dropout and stochastic depth are off. Mean
    and variance are pooled over the batches, E[x^2] - E[x]^2, each batch with the weight of its size
    (an average of the batches' variances would leave out the variance between batches).

    Parameters
    ----------
    network : nn.Module
        Its running statistics are replaced (save them with `statistics_of`), nothing else.
    sample : BatchLoader
        Training images without augmentation.
    spec, placement : ModelSpec, Placement
        How images become inputs.
    precision : {'float32', 'bfloat16', 'float16'}
        Of the forward passes: that of the training. The layers sum in float32, so that what rounding adds to a
        mean averages out; evaluation takes place in float32 all the same.

    Returns
    -------
    ndarray of shape (n, 2)
        Logits of the sample in training mode: each image normalised within its batch.
    """
    layers = normalisations(network)
    momentum = {name: layer.momentum for name, layer in layers.items()}
    before = statistics_of(network)
    pools = {name: _Pool(layer) for name, layer in layers.items()}
    hooks = [layer.register_forward_hook(pools[name].add) for name, layer in layers.items()]
    network.eval()
    try:
        for layer in layers.values():
            layer.reset_running_stats()
            layer.momentum = 1.0
            layer.train()
        with autocast(placement.device, precision):
            logits = forward_logits(network, sample, spec, placement)
    finally:
        for hook in hooks:
            hook.remove()
        for name, layer in layers.items():
            layer.momentum = momentum[name]
        network.eval()
        load_statistics(network, before)
    for name, layer in layers.items():
        pools[name].add_others(placement.ranks)
        if pools[name].n:  # a layer that the forward pass leaves out has nothing to measure
            pools[name].write_to(layer)
    return logits
