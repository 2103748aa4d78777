"""The activation of efficientnet-pytorch: as the library computes it, but for training steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from efficientnet_pytorch.utils import MemoryEfficientSwish
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor, nn


class Swish(MemoryEfficientSwish):  # type: ignore[misc]
    """x * sigmoid(x): in training by torch's own kernel, in evaluation by the library's operations.

    The library goes over memory two times forward and six times backward, torch's kernel once each, and both keep x
    alone for the gradient. Evaluation stays the library's, as what inference costs is said of the library.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Of every element of `x`."""
        result: Tensor = functional.silu(x) if self.training else super().forward(x)
        return result


def use_swish(network: nn.Module) -> None:
    """Put `Swish` in the place of every activation of `network`, which has no state."""
    for block in list(network.modules()):
        if isinstance(getattr(block, "_swish", None), MemoryEfficientSwish):
            block._swish = Swish()  # noqa: SLF001 - the library's own `set_swish` does the same
