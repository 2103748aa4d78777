"""What changes a training beyond its recipe: schedule, freezing, averaged weights, losses, mixup, several views.

All of it is off unless set (`medcompare.config.train.TrainConfig`), and what is off is not executed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import v2

from medcompare.base.language import message
from medcompare.base.phrase import Phrase

if TYPE_CHECKING:
    from torch import Tensor

    from medcompare.config.train import TrainConfig

N_VIEWS = {"none": 1, "hflip": 2, "dihedral": 8}
"""Passes of the network for each image."""


def schedule_of(optimizer: torch.optim.Optimizer, options: TrainConfig, n_steps: int) -> LambdaLR | None:
    """Learning rate of each step over that of the recipe; None where it is constant throughout.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Whose rates change.
    options : TrainConfig
        Warm-up, schedule and epochs.
    n_steps : int
        Steps of an epoch.

    Returns
    -------
    LambdaLR or None
        To be stepped after every step of `optimizer`. With w steps of warm-up and n in all, step t (from 0) has
        the factor (t + 1) / w while t < w, then (1 + cos(pi (t - w) / (n - w))) / 2, or 1 for a constant rate.

    References
    ----------
    Loshchilov & Hutter (2017), "SGDR", ICLR, equation 5; Goyal et al. (2017), arXiv:1706.02677, section 2.2.
    """
    if not options.warmup_epochs and options.schedule == "constant":
        return None
    n_warmup, n_all = options.warmup_epochs * n_steps, options.epochs * n_steps

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / n_warmup
        if options.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / (n_all - n_warmup)))

    return LambdaLR(optimizer, factor)


def averaged(network: nn.Module, options: TrainConfig) -> AveragedModel | None:
    """Exponential moving average of the weights of `network`, starting from its first update; None where off.

    Batch statistics are copied, not averaged: they are measured again before every evaluation.
    """
    if options.ema_decay is None:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(options.ema_decay))


def freeze(network: nn.Module, head: str, *, frozen: bool) -> None:
    """Let all weights but those of the layer `head` stand still, or move again."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not frozen or name.startswith(f"{head}."))


def training_mode(network: nn.Module, head: str, *, frozen: bool) -> None:
    """Training mode; of a frozen network for the layer `head` alone, so that batch statistics stand still too."""
    network.train(not frozen)
    network.get_submodule(head).train()


def training_loss(logits: Tensor, targets: Tensor, class_weights: Tensor, options: TrainConfig) -> Tensor:
    """Class-weighted loss of a batch: cross-entropy, or the focal loss where ``focal_gamma`` is above 0.

    Parameters
    ----------
    logits : Tensor of shape (n, 2)
        Scores, float32.
    targets : Tensor of shape (n,) or (n, 2)
        Labels, or the shares of both classes in mixed images.
    class_weights : Tensor of shape (2,)
        Weight of each class.
    options : TrainConfig
        Label smoothing and gamma.

    Returns
    -------
    Tensor
        Mean over the batch, weighted by class.

    References
    ----------
    Lin et al. (2017), "Focal loss for dense object detection", ICCV, equation 4; Szegedy et al. (2016),
    "Rethinking the Inception architecture", CVPR, section 7 (label smoothing).
    """
    smoothing = options.label_smoothing
    if targets.ndim > 1:  # torch would divide by the number of images, not by their weights
        total = functional.cross_entropy(
            logits, targets, weight=class_weights, reduction="sum", label_smoothing=smoothing
        )
        return total / (targets @ class_weights).sum()
    if options.focal_gamma:
        own = functional.log_softmax(logits, dim=1).gather(1, targets[:, None])[:, 0]
        weights = class_weights[targets]
        return -(weights * (1 - own.exp()) ** options.focal_gamma * own).sum() / weights.sum()
    return functional.cross_entropy(logits, targets, weight=class_weights, label_smoothing=smoothing)


def mixed(inputs: Tensor, labels: Tensor, options: TrainConfig) -> tuple[Tensor, Tensor]:
    """Each image of a batch mixed with the one before it, and the shares of both classes, shape (n, 2).

    Draws from torch's global generator, which every epoch seeds.

    References
    ----------
    Zhang et al. (2018), "mixup", ICLR, equation 1; computed by torchvision.
    """
    mixed_inputs, shares = v2.MixUp(alpha=options.mixup_alpha, num_classes=2)(inputs, labels)
    return mixed_inputs, shares


class Views(nn.Module):
    """A network that scores several views of an image; its logits are the mean of theirs.

    Parameters
    ----------
    network : nn.Module
        Scores one view.
    kind : str
        ``hflip``: the image and its mirror image; ``dihedral``: its four turns by 90 degrees, mirrored and not.
    """

    def __init__(self, network: nn.Module, kind: str) -> None:
        super().__init__()
        self.network = network
        self.turns = N_VIEWS[kind] // 2

    def forward(self, images: Tensor) -> Tensor:
        """Mean logits of `images` (n, 3, size, size)."""
        turned = [images.rot90(k, (2, 3)) for k in range(self.turns)]
        views = [view for one in turned for view in (one, one.flip(3))]
        return torch.stack([self.network(view) for view in views]).mean(0)


def with_views(network: nn.Module, kind: str) -> nn.Module:
    """`network`, or the mean over its `Views`."""
    return network if kind == "none" else Views(network, kind)


def described_options(options: TrainConfig) -> tuple[Phrase, ...]:
    """What is on, in words, for the report; empty where nothing is."""
    on: list[tuple[object, str, float | str]] = [
        (options.warmup_epochs, message("epochs of warm-up: {value}"), options.warmup_epochs),
        (options.schedule != "constant", message("cosine schedule"), ""),
        (options.frozen_epochs, message("epochs of the head alone: {value}"), options.frozen_epochs),
        (
            options.backbone_lr_factor != 1,
            message("pretrained layers at {value:g} of the learning rate"),
            options.backbone_lr_factor,
        ),
        (options.clip_norm is not None, message("norm of gradients at most {value}"), options.clip_norm or 0),
        (
            options.ema_decay is not None,
            message("weights averaged with decay {value}"),
            options.ema_decay or 0,
        ),
        (options.label_smoothing, message("label smoothing {value:g}"), options.label_smoothing),
        (options.focal_gamma, message("focal loss, gamma {value:g}"), options.focal_gamma),
        (options.mixup_alpha, message("mixup, alpha {value:g}"), options.mixup_alpha),
    ]
    return tuple(Phrase(text=words, values={"value": value}) for is_on, words, value in on if is_on)
