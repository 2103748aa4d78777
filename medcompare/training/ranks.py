"""One training on several devices: each has a process of its own, a rank, and a copy of the network.

The ranks take their rows of the same batches that one process would take, so order and augmentation are the same.
Each divides its loss by the class weights of the whole batch, and the gradients are added up over the ranks
(`torch.nn.parallel.DistributedDataParallel`): the gradient of the whole batch, also where ranks have unequal
numbers of rows, or none. Batch normalisation normalises by the whole batch. Evaluation takes the batches in turn,
each one whole. So the losses are those of one process but for the order in which numbers are added.

Ranks meet in a file, not at a port, and speak over the loopback interface alone. They are started, watched and ended
by `medcompare.training.worker.together`. torchrun would do that too, but it listens on every interface of the
machine, imports torch once more in each process, and knows nothing of our messages.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import logging
import os
import re
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed
from torch.nn import functional
from torch.nn.modules._functions import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from medcompare.base.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from medcompare.training.requests import Rank

Value = TypeVar("Value")

PATIENCE = dt.timedelta(minutes=30)
"""A rank that waits so long for the others gives up. One that has died is noticed at once, by the parent of all."""

_LOST = re.compile(r"gloo|nccl|Connection (closed|reset)|Timed out waiting", re.IGNORECASE | re.ASCII)
"""What torch says where another rank does not answer."""


def parts(n_rows: int, n_parts: int) -> list[slice]:
    """`n_rows` in `n_parts` neighbouring parts whose sizes differ by one at most."""
    stops = [n_rows * part // n_parts for part in range(n_parts + 1)]
    return [slice(*ends) for ends in itertools.pairwise(stops)]


@dataclass(frozen=True)
class Ranks:
    """Which of the processes of its training this is; alone, unless told otherwise."""

    number: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it reports, saves and measures for all."""
        return self.number == 0

    def rows(self, n_rows: int) -> slice:
        """Which of the rows of a batch are those of this rank."""
        return parts(n_rows, self.size)[self.number]

    def of_first(self, value: Callable[[], Value]) -> Value:
        """What `value` gives on the first rank, on all; the others do not call it."""
        found = [value() if self.is_first else None]
        if self.size > 1:
            distributed.broadcast_object_list(found, src=0, device=torch.device("cpu"))
        return found[0]  # type: ignore[return-value] # that of the first

    def summed(self, tensor: Tensor) -> Tensor:
        """`tensor` added up over the ranks, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def in_turn(self, found: list[Value]) -> list[Value]:
        """What all ranks found, where each takes every `size`-th piece of work."""
        if self.size == 1:
            return found
        of_all: list[list[Value]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(of_all, found)
        nothing = object()
        rounds = itertools.zip_longest(*of_all, fillvalue=nothing)
        return [one for one in itertools.chain.from_iterable(rounds) if one is not nothing]  # type: ignore[misc]

    def copies(self, network: nn.Module) -> nn.Module:
        """`network` whose gradients are averaged over the ranks at the end of each backward pass.

        Without ``find_unused_parameters`` torch would order the gradients anew after the first step of each process, so
        that three ranks and more would add in another order after a training was cut off than before.
        """
        if self.size == 1:
            return network
        return DistributedDataParallel(network, broadcast_buffers=False, find_unused_parameters=True)


ALONE = Ranks()


@contextlib.contextmanager
def joined(rank: Rank | None, device: torch.device) -> Iterator[Ranks]:
    """Meet the other ranks; `rank` None: there are none.

    Raises
    ------
    PeerError
        If another rank has ended or no longer answers.
    """
    if rank is None:
        yield ALONE
        return
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ[variable] = "lo0" if sys.platform == "darwin" else "lo"
    if (
        rank.number
    ):  # what all would say, the first one says; and told to end, it saves with the help of the others
        logging.getLogger("medcompare").setLevel(logging.ERROR)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=distributed.FileStore(str(rank.meeting), rank.n),  # type: ignore[attr-defined]
            rank=rank.number,
            world_size=rank.n,
            timeout=PATIENCE,
        )
        yield Ranks(rank.number, rank.n)
        distributed.destroy_process_group()
    except (distributed.DistError, RuntimeError) as error:
        if not isinstance(error, distributed.DistError) and not _LOST.search(str(error)):
            raise
        words = str(error).strip().split("\n", 1)[0][:200]  # of gloo or NCCL, which know no data
        msg = f"process {rank.number + 1} of {rank.n} of the training no longer reached the others ({words})"
        raise PeerError(msg, transient=True) from None


class WholeBatch(TorchFunctionMode):
    """Within it, batch normalisation in training mode normalises by the batches of all ranks.

    Not by exchanging layers for `torch.nn.SyncBatchNorm`: that is for GPUs only, and layers of timm that normalise and
    activate in one would lose their activation.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever `func` gives
        """`func`, or `batch_norm` in its place."""
        kwargs = dict(kwargs or {})
        if func is not functional.batch_norm:
            return func(*args, **kwargs)
        named = dict(zip(_ARGUMENTS, args, strict=False)) | kwargs
        return batch_norm(**named) if named.get("training") else func(*args, **kwargs)


_ARGUMENTS = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def batch_norm(  # noqa: PLR0917 - torch's signature
    input: Tensor,  # noqa: A002 - torch's name
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,  # noqa: ARG001, FBT001, FBT002 - torch's signature
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` in training mode, by mean and variance of the rows of all ranks.

    On GPUs torch's own kernels; on a processor, where torch has none, in float32. A rank may have no rows.

    References
    ----------
    Ioffe & Szegedy (2015), "Batch normalization", ICML, algorithm 1.
    """
    if input.is_cuda:
        if not len(input):  # whose share of the statistics would have another precision than the others'
            input = input.float()  # noqa: A001 - torch's name
        group, size = distributed.group.WORLD, distributed.get_world_size()
        done: Tensor = SyncBatchNorm.apply(
            input, weight, bias, running_mean, running_var, eps, momentum, group, size
        )
        return done
    over = [dim for dim in range(input.ndim) if dim != 1]
    shape = [-1 if dim == 1 else 1 for dim in range(input.ndim)]
    values = input.float()
    n_here = torch.full((1,), input.numel() / input.shape[1])
    total: Tensor = _Sum.apply(torch.cat([values.sum(over), n_here]))
    n, mean = total[-1].detach(), total[:-1] / total[-1].detach()
    centred = values - mean.view(shape)
    variance: Tensor = _Sum.apply(centred.square().sum(over)) / n
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * n / (n - 1), momentum)
    normal = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        normal = normal * weight.view(shape)
    if bias is not None:
        normal = normal + bias.view(shape)
    return normal.to(input.dtype)


class _Sum(torch.autograd.Function):
    """Sum over the ranks; each adds to the loss of all, so that gradients are summed too."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        """Sum of the tensors."""
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        """Sum of the gradients."""
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
