"""Grad-CAM of a trained network, where its cells lie in the image, and whether the maps depend on its weights.

The map of an image is taken before the last pooling, from the log-odds of the positive class: where a linear head
follows, its cells add up to the log-odds less the bias (class activation maps).

References
----------
Selvaraju et al. (2017), "Grad-CAM", ICCV; computed by captum. Zhou et al. (2016), "Learning deep features for
discriminative localization", CVPR. Adebayo et al. (2018), "Sanity checks for saliency maps", NeurIPS, section 3
(model parameter randomization test).
"""

from __future__ import annotations

import io
import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from captum.attr import LayerGradCam
from scipy.stats import rankdata

from medcompare.base.artifacts import ArtifactStore
from medcompare.data.assignments import read_assignments
from medcompare.models.registry import build_model
from medcompare.models.zoo import find_model
from medcompare.predictions.saliency import SaliencyMaps
from medcompare.training.batch_statistics import normalisations
from medcompare.training.dataset import BatchLoader, EvaluationImages
from medcompare.training.inference import loaded_network

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from medcompare.training.requests import SaliencyRequest

    FloatArray = NDArray[np.float32]

IMAGES_AT_ONCE = 8
"""Few: a network with random weights normalises them together, and memory for its predictions is enough."""
N_RANDOM = 2
"""Networks with random weights that maps are compared with."""


def saliency_maps(request: SaliencyRequest) -> SaliencyMaps:
    """Maps of the cases of `request` from its checkpoint, and the check with random weights.

    Images are prepared as for the predictions; of views at test time, only the image as it is.

    Raises
    ------
    DataError, ArtifactError, ConfigError
        If an image changed, a stored file is gone, or the device is not there.
    ValueError
        If the network has no layer to take maps from.
    """
    trained, spec = request.trained, find_model(request.trained.model)
    if spec.pooling is None:
        msg = f"model '{spec.name}' has no layer to take maps from: its ModelSpec.pooling is None"
        raise ValueError(msg)
    network, placement, _ = loaded_network(request)
    store = ArtifactStore(request.store_root)
    row_of = {row.case_id: row for row in read_assignments(store.read(request.split.assignments))}
    images = EvaluationImages(
        [row_of[case] for case in request.cases],
        request.data_root,
        size_px=trained.image_size_px,
        resize_px=trained.resize_px,
        interpolation=spec.interpolation,
    )
    batches = [
        placement.inputs(batch.images, spec)
        for batch in BatchLoader(images, batch_size=IMAGES_AT_ONCE).in_order()
    ]
    maps = grad_cam(network, spec.pooling, batches)
    grid = cell_grid(network, spec.pooling, batches[0][:1])
    others = []
    for i in range(1, 1 + N_RANDOM):
        other = placement.network(build_model(spec, seed=(trained.seed + i) % 2**31))
        others.append(grad_cam(other, spec.pooling, batches, batch_statistics=True))
    shares = random_shares(maps, others)
    defined = [share for share in shares if share is not None]
    content = io.BytesIO()
    np.save(content, maps, allow_pickle=False)
    return SaliencyMaps(
        model=spec.name,
        cases=request.cases,
        maps=store.write(content.getvalue(), ".npy"),
        cells=maps.shape[1],
        origin_px=grid.origin_px,
        step_px=grid.step_px,
        image_size_px=trained.image_size_px,
        resize_px=trained.resize_px,
        random_shares=shares,
        random_share_median=float(np.median(defined)) if defined else None,
        random_share_lowest=min(defined, default=None),
        random_share_highest=max(defined, default=None),
        n_random=N_RANDOM,
        library=f"captum {version('captum')}",
    )


def grad_cam(
    network: nn.Module, pooling: str, batches: list[Tensor], *, batch_statistics: bool = False
) -> FloatArray:
    """Evidence for the positive class at each place of the grid that the layer `pooling` is given.

    Parameters
    ----------
    network : nn.Module
        Two logits per image; left frozen and in evaluation mode.
    pooling : str
        Dotted path of the layer.
    batches : list of Tensor of shape (n, 3, size, size)
        Inputs.
    batch_statistics : bool
        Normalise within each batch, as running statistics belong to weights that the network does not have.

    Returns
    -------
    ndarray of shape (n_images, cells, cells)
        Before the rectification of the original: negative is evidence against.
    """
    network.eval()
    layers = normalisations(network).values() if batch_statistics else ()
    for layer in layers:
        layer.train()

    def log_odds(inputs: Tensor) -> Tensor:
        logits: Tensor = network(inputs)
        return logits[:, 1] - logits[:, 0]

    pool = network.get_submodule(pooling)
    network.requires_grad_(requires_grad=False)
    # Gradients are asked for from the layer on: nothing is kept of all that comes before.
    start = pool.register_forward_pre_hook(lambda _, given: (given[0].detach().requires_grad_(), *given[1:]))
    explainer = LayerGradCam(log_odds, pool)
    found = []
    try:
        for batch in batches:
            # An image alone has no variance where features are a single pixel.
            alone = batch_statistics and len(batch) == 1
            maps = explainer.attribute(
                torch.cat([batch, batch]) if alone else batch, attribute_to_layer_input=True
            )
            found.append(maps[: len(batch), 0].detach().to(device="cpu", dtype=torch.float32).numpy())
    finally:
        start.remove()
        network.eval()
    return np.concatenate(found)


class CellGrid(NamedTuple):
    """Where the cells of a grid of features are centred: cell i at ``origin_px + i * step_px`` of the input."""

    origin_px: float
    step_px: float

    def after(self, layer: nn.Module, size_in: int, size_out: int) -> CellGrid:
        """The grid that `layer` makes of this one, of `size_in` cells along a side.

        A layer with kernel and stride looks, for its output i, at ``stride * i + (kernel - 1) / 2 - padding`` of its
        input. Where its sizes need more padding than it has of its own, it is padded before as TensorFlow does: by
        what is needed, the smaller half first. Any other layer is taken to spread its cells evenly.
        """
        if not hasattr(layer, "kernel_size"):
            step = size_in / size_out
            return CellGrid(self.origin_px + self.step_px * (step - 1) / 2, self.step_px * step)
        kernel, stride, dilation = (
            _first(getattr(layer, name, 1)) for name in ("kernel_size", "stride", "dilation")
        )
        reach = (kernel - 1) * dilation + 1
        own = getattr(layer, "padding", 0)
        padding: float = (reach - 1) // 2 if own == "same" else _first(own)
        lacking = (size_out - 1) * stride + reach - size_in - 2 * padding
        if lacking > 0 and not getattr(layer, "ceil_mode", False):
            padding += lacking // 2
        return CellGrid(self.origin_px + self.step_px * ((reach - 1) / 2 - padding), self.step_px * stride)


def _first(value: Any) -> int:  # noqa: ANN401 - a number, or one per axis
    return int(value[0] if isinstance(value, tuple | list) else value)


def cell_grid(network: nn.Module, pooling: str, inputs: Tensor) -> CellGrid:
    """Where the cells that the layer `pooling` is given look at `inputs` (1, 3, size, size).

    Half a cell of difference is not rare: torchvision pads the odd kernels of its strided layers at the start,
    TensorFlow's rule at the end. Spread evenly over the image, as is usual, the maps of two networks that see the same
    spot would lie a cell apart.

    Returns
    -------
    CellGrid
        From the kernels, strides and paddings of the layers that make a grid smaller; where branches meet, of the
        first.
    """
    grids = {inputs.shape[2]: CellGrid(0.0, 1.0)}
    target = network.get_submodule(pooling)
    found: list[int] = []

    def follow(layer: nn.Module, given: tuple[Any, ...], made: Any) -> None:  # noqa: ANN401 - whatever it returns
        if layer is target:
            found.append(given[0].shape[2])
            return
        if any(True for _ in layer.children()) and not isinstance(layer, torch.nn.Conv2d):
            return
        size_in, size_out = _side(given[0] if given else None), _side(made)
        if size_in in grids and 1 < size_out < size_in:
            grids.setdefault(size_out, grids[size_in].after(layer, size_in, size_out))

    hooks = [layer.register_forward_hook(follow) for layer in network.modules()]
    try:
        with torch.inference_mode():
            network.eval()(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    cells = found[0]
    return grids.get(cells, CellGrid((inputs.shape[2] / cells - 1) / 2, inputs.shape[2] / cells))


def _side(value: Any) -> int:  # noqa: ANN401 - what a layer is given, or gives
    """Height of a grid (n, channels, height, width); 0 of anything else."""
    return int(value.shape[2]) if getattr(value, "ndim", 0) == 4 else 0


def random_shares(maps: FloatArray, others: list[FloatArray]) -> tuple[float | None, ...]:
    """Share of the variation of each map that networks with random weights give as well.

    Squared, so that a map turned into its negative, which a random head does half of the time, counts as the same.

    Parameters
    ----------
    maps : ndarray of shape (n_images, cells, cells)
        Of the trained network.
    others : list of ndarray
        Of the others, as `maps`.

    Returns
    -------
    tuple
        For each image Spearman's rank correlation squared, mean over `others`; None where a map has no variation.
    """
    return tuple(
        _mean([_squared_rank_correlation(one, other[i]) for other in others]) for i, one in enumerate(maps)
    )


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if len(defined) == len(values) else None


def _squared_rank_correlation(first: FloatArray, second: FloatArray) -> float | None:
    ranks = [rankdata(one) - (one.size + 1) / 2 for one in (first.ravel(), second.ravel())]
    norm = math.sqrt(math.prod(float(one @ one) for one in ranks))
    return None if norm == 0 else min(1.0, (float(ranks[0] @ ranks[1]) / norm) ** 2)
