"""A network's scores on a subset, and the few figures training needs of them.

Scores are always computed in float32, whatever the precision of training: bfloat16
logits have eight significant bits, and so many equal scores that ranks and thresholds
would suffer. Validation during training and the final predictions go through the same
function, so that the one reproduces the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from medcompare.base.language import message
from medcompare.training.ranks import ALONE, Ranks
from medcompare.training.transforms import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from medcompare.base.devices import MemoryFormat, Precision
    from medcompare.models.spec import ModelSpec
    from medcompare.training.dataset import BatchLoader

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how tensors live."""

    device: torch.device
    memory_format: MemoryFormat
    ranks: Ranks = ALONE
    """This device among those of one training."""

    def network(self, network: nn.Module) -> nn.Module:
        """`network` moved there."""
        # In two steps: the two arguments together are missing from torch's type stubs.
        return network.to(self.device).to(memory_format=MEMORY_FORMATS[self.memory_format])

    def inputs(self, images: Tensor, spec: ModelSpec) -> Tensor:
        """Normalised float32 inputs for the network of `spec`, from (n, 3, h, w) uint8."""
        return self.tensor(normalised(images.to(self.device, non_blocking=True), spec.mean, spec.std))

    def tensor(self, inputs: Tensor) -> Tensor:
        """`inputs` (n, 3, h, w) moved there."""
        return inputs.to(self.device).contiguous(memory_format=MEMORY_FORMATS[self.memory_format])


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Context in which a network computes in `precision`; its weights stay float32."""
    return torch.autocast(device.type, dtype=getattr(torch, precision), enabled=precision != "float32")


def make_repeatable(device: torch.device) -> None:
    """Choose deterministic kernels on a GPU; CPU kernels are for a given number of threads.

    TF32 is off: what is called float32 has its 24 significant bits, not 11.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def choose_fast_kernels(device: torch.device) -> str:
    """Choose kernels as one would in use, not the repeatable ones; what was chosen, in words."""
    make_repeatable(device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = False
        return message("the fastest cuDNN finds (as in use; predictions were made with repeatable ones)")
    return message("those of the predictions")


def logits_of(
    network: nn.Module,
    loader: BatchLoader,
    spec: ModelSpec,
    placement: Placement,
) -> FloatArray:
    """Logits of every image in the order of the rows, shape (n, 2), from a float32 forward pass."""
    return forward_logits(network.eval(), loader, spec, placement)


def forward_logits(
    network: nn.Module,
    loader: BatchLoader,
    spec: ModelSpec,
    placement: Placement,
) -> FloatArray:
    """As `logits_of`, every layer in the mode it is in."""
    parts = []
    with torch.inference_mode():
        for batch in loader.in_order(placement.ranks):
            logits = network(placement.inputs(batch.images, spec))
            parts.append(logits.to(device="cpu", dtype=torch.float64).numpy())
    return np.concatenate(placement.ranks.in_turn(parts))


def log_probabilities(logits: FloatArray) -> FloatArray:
    """Log of the softmax over the last axis, in float64."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def positive_probability(logits: FloatArray) -> FloatArray:
    """Probability of the positive class (the last), shape (n,)."""
    return np.exp(log_probabilities(logits)[:, -1])


def unweighted_logits(logits: FloatArray, class_weights: tuple[float, float]) -> FloatArray:
    """Logits as if the classes had weighed the same in training.

    A cross-entropy with class weights w is least where the softmax is proportional to w_k P(k | x),
    so the log of each weight is subtracted. The ranks of the cases stay.

    References
    ----------
    Elkan (2001), "The foundations of cost-sensitive learning", IJCAI, theorem 2.
    """
    return logits - np.log(class_weights)


def weighted_loss(logits: FloatArray, y_true: IntArray, class_weights: tuple[float, float]) -> float:
    """Cross-entropy, each case weighted by its class's weight, over the sum of weights."""
    weights = np.asarray(class_weights)[y_true]
    own = log_probabilities(logits)[np.arange(len(y_true)), y_true]
    return float(-(weights * own).sum() / weights.sum())


def area_under_roc(y_true: IntArray, y_score: FloatArray) -> float | None:
    """Area under the ROC curve by midranks (Mann-Whitney); None where one class is absent."""
    n_positive = int(y_true.sum())
    n_negative = len(y_true) - n_positive
    if n_positive == 0 or n_negative == 0:
        return None
    _, inverse, counts = np.unique(y_score, return_inverse=True, return_counts=True)
    midranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(midranks[inverse][y_true == 1].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def balanced_accuracy(y_true: IntArray, y_pred: IntArray) -> float:
    """Mean recall over the classes that are present."""
    return float(np.mean([(y_pred[y_true == label] == label).mean() for label in np.unique(y_true)]))
