"""The exported network on one of two engines: torch, or onnxruntime, which needs no torch at all."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from medcompare.base.errors import ConfigError, DataError
from medcompare.handover.records import GRAPH, WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.base.devices import DeviceSetting
    from medcompare.handover.records import Export

    FloatArray = NDArray[np.float64]

EngineName = Literal["auto", "onnxruntime", "torch"]


class Network(Protocol):
    """Scores crops."""

    name: str
    """Engine and device, for people."""

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """Score `crops`.

        Parameters
        ----------
        crops : ndarray of shape (n, 3, size, size), uint8
            From `medcompare.handover.preprocessing.centre_crop`.

        Returns
        -------
        logits : ndarray of shape (n, 2)
            Of both classes, class weights of the training taken out.
        features : ndarray of shape (n, n_features)
            What the last layer is given.
        """
        ...


def positive_score(logits: FloatArray) -> FloatArray:
    """Probability of the positive class from logits (n, 2), in float64."""
    return np.asarray(1 / (1 + np.exp(np.clip(logits[:, 0] - logits[:, 1], -700, 700))))


def load_network(
    folder: Path, export: Export, *, engine: EngineName = "auto", device: DeviceSetting = "cpu"
) -> Network:
    """The network of the export in `folder`.

    Parameters
    ----------
    folder, export : Path, Export
        Of `medcompare.handover.records.read_export`, which checked the files.
    engine : {"auto", "onnxruntime", "torch"}
        ``auto``: onnxruntime where it is installed and the device is the CPU, else torch.
    device : str
        For torch; onnxruntime computes on the CPU.

    Raises
    ------
    ConfigError
        If the engine is not installed.
    DataError
        If its version cannot load the network.
    """
    if engine == "auto":
        engine = "onnxruntime" if device == "cpu" and importlib.util.find_spec("onnxruntime") else "torch"
    if importlib.util.find_spec(engine) is None:
        msg = f"--engine {engine}: {engine} is not installed: python -m pip install {engine}"
        raise ConfigError(msg)
    if engine == "onnxruntime":
        if device != "cpu":
            msg = f"--device {device}: onnxruntime computes on the CPU here; add --engine torch"
            raise ConfigError(msg)
        return _OnnxNetwork(folder / GRAPH, export)
    from medcompare.handover.torch_network import TorchNetwork

    return TorchNetwork.from_weights(folder / WEIGHTS, export, device=device)


class _OnnxNetwork:
    def __init__(self, path: Path, export: Export) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal: what fails is told below
        try:
            self._session: Any = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # Its errors have no class in common.
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            known = dict(export.libraries).get("onnxruntime", "another version")
            msg = (
                f"{path}: onnxruntime {onnxruntime.__version__} cannot load it ({type(error).__name__}); it was "
                f"checked with {known}: install that, or try --engine torch"
            )
            raise DataError(msg) from None
        self.name = f"onnxruntime {onnxruntime.__version__} on the CPU"

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        logits, features = self._session.run(None, {"images": crops})
        return logits.astype(np.float64), features.astype(np.float64)
