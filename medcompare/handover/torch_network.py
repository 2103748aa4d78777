"""The network of a run in torch: its weights as safetensors, and the graph that is exported."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from medcompare.base.devices import pick_device
from medcompare.base.errors import ConfigError, DataError
from medcompare.base.file_access import follow_umask
from medcompare.models.registry import build_model
from medcompare.models.zoo import find_model
from medcompare.training.options import with_views

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from medcompare.base.devices import DeviceSetting
    from medcompare.handover.networks import FloatArray
    from medcompare.handover.records import Export, Preprocessing
    from medcompare.models.spec import ModelSpec

OPSET = 18


class _HeadAndFeatures(nn.Module):
    """The last layer, and behind its output what it was given: one tensor passes whatever surrounds it."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.head(features), features], dim=1)


class Graph(nn.Module):
    """From crops, uint8, to logits and features: what runs in torch, and what is exported.

    Parameters
    ----------
    network : nn.Module
        Trained; its head is wrapped.
    spec : ModelSpec
        Where its head is.
    how : Preprocessing
        Mean, standard deviation and class weights.
    views : str
        ``train.test_time_augmentation`` of the run.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, spec: ModelSpec, how: Preprocessing, views: str) -> None:
        super().__init__()
        network.set_submodule(spec.head, _HeadAndFeatures(network.get_submodule(spec.head)))
        self.scorer = with_views(network.eval(), views)
        for name, values in (("mean", how.mean), ("std", how.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(1, 3, 1, 1))
        self.register_buffer("log_weights", torch.tensor(how.log_class_weights, dtype=torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, 2) and features (n, d) of `images` (n, 3, size, size)."""
        # As `medcompare.training.transforms.normalised`, which keeps tensors that an export must not see.
        inputs = images.to(torch.float32).mul(1 / 255).sub(self.mean).div(self.std)
        both = self.scorer(inputs)
        return both[:, :2] - self.log_weights, both[:, 2:]


class TorchNetwork:
    """A `medcompare.handover.networks.Network` on torch."""

    def __init__(self, graph: Graph, device: torch.device) -> None:
        self.name = f"torch {torch.__version__} on {device.type}"
        self._graph, self._device = graph.to(device).eval(), device

    @classmethod
    def from_weights(cls, path: Path, export: Export, *, device: DeviceSetting) -> Self:
        """The network whose weights are in the file at `path`.

        Raises
        ------
        ConfigError
            If the library of the network is not installed, or has no such network.
        DataError
            If the weights are not those of the network that is known under this name.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        spec = find_model(export.model)
        try:
            network = build_model(spec, seed=0)
        except ImportError as error:
            msg = f"{export.model} needs {error.name}, which is not installed here; --engine onnxruntime does not"
            raise ConfigError(msg) from None
        try:
            network.load_state_dict(load_file(path), strict=True)
        except (RuntimeError, SafetensorError):
            msg = f"{path}: these are not the weights of {export.model} as it is built here; try --engine onnxruntime"
            raise DataError(msg) from None
        graph = Graph(network, spec, export.preprocessing, export.test_time_augmentation)
        return cls(graph, pick_device(device, given_as="--device"))

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """See `medcompare.handover.networks.Network`."""
        with torch.inference_mode():
            found = self._graph(torch.from_numpy(crops).to(self._device))
        logits, features = (one.to(device="cpu", dtype=torch.float64).numpy() for one in found)
        return logits, features


def write_weights(network: nn.Module, path: Path) -> None:
    """Write the state of `network` as safetensors: numbers and names, no code."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(state, path, metadata={"format": "pt"})
    follow_umask(path)


def write_graph(graph: Graph, path: Path, *, size_px: int) -> None:
    """Write `graph` as one ONNX file whose batches may have any size.

    Raises
    ------
    ConfigError
        If torch cannot export this network.
    """
    # Three: a batch of one would be taken as fixed.
    example = torch.zeros((3, 3, size_px, size_px), dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside torch and onnxscript
            torch.onnx.export(
                graph.cpu(),
                (example,),
                str(path),
                input_names=["images"],
                output_names=["logits", "features"],
                dynamic_shapes={"images": {0: torch.export.Dim.DYNAMIC}},
                opset_version=OPSET,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, ModuleNotFoundError) as error:
        msg = (
            f"torch {torch.__version__} cannot write it as ONNX ({type(error).__name__}: {str(error)[:200]})"
        )
        raise ConfigError(msg) from None
