"""Maps of evidence: on images whose evidence is known, against hand-worked values, and with weights made random."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.models.registry import build_model
from medcompare.models.zoo import LISTED, MODELS, find_model
from medcompare.predictions.saliency import MAX_RANDOM_SHARE
from medcompare.training.batch_statistics import normalisations
from medcompare.training.checkpoints import state_on_cpu, write_checkpoint
from medcompare.training.loop import train_model
from medcompare.training.requests import SaliencyRequest
from medcompare.training.saliency import cell_grid, grad_cam, random_shares, saliency_maps

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from medcompare.training.records import TrainedModel

OTHER_PX = 300
"""Not a multiple of 32: padding made for 224 pixels does not fit it."""
BY_HAND = {
    # What output i of a strided layer looks at, five layers of step 2 deep. Padded at the start: 2 i each time.
    "resnet50": (0, 0),
    "efficientnet_b0_torchvision": (0, 0),
    # As TensorFlow pads: 2 i + 1 where the grid has an even side, which 224, 112, 56, 28 and 14 have; of 300, 150, 75,
    # 38 and 19 the third and the last have not.
    "efficientnet_b0": (31, 11),
    "efficientnet_lite0": (31, 11),
    # 4 x 4 patches, then 2 x 2 ones without padding: the middle of the cell.
    "convnext_tiny": (15.5, 15.5),
}
"""Pixel that the first cell looks at, of images of 224 and of `OTHER_PX` pixels."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def normalised_by(network: nn.Module, inputs: Tensor) -> nn.Module:
    """`network` in evaluation mode, with the batch statistics of `inputs`."""
    network.eval()
    for layer in normalisations(network).values():
        layer.momentum = 1.0
        layer.train()
    with torch.no_grad():
        network(inputs)
    return network.eval()


def pooled_from(network: nn.Module, model: str, inputs: Tensor) -> Tensor:
    """The grid of features that the pooling layer is given, (n, channels, cells, cells)."""
    found: list[Tensor] = []
    layer = network.get_submodule(str(MODELS[model].pooling))
    hook = layer.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    with torch.no_grad():
        network(inputs)
    hook.remove()
    return found[0]


@pytest.mark.parametrize("model", MODELS)
def test_every_network_has_a_grid(model: str) -> None:
    """Square, with channels first, of one place: what the layer named in its spec is given."""
    network = build_model(MODELS[model], seed=1).eval()

    grid = pooled_from(network, model, noise(1, 3, 96, 96))

    assert grid.ndim == 4
    assert grid.shape[2] == grid.shape[3] == 96 // MODELS[model].cell_px
    assert [MODELS[model].has_maps(4 * MODELS[model].cell_px - less) for less in (0, 1)] == [True, False]


@pytest.mark.parametrize("model", [model for model in MODELS if model != "convnext_tiny"])
def test_maps_are_the_terms_of_the_log_odds(model: str) -> None:
    """Behind a mean and a linear head: features times weights at each place; they add up to the log-odds."""
    inputs = noise(3, 3, 64, 64).double()
    network = normalised_by(build_model(MODELS[model], seed=2).double(), inputs)
    head: Any = network.get_submodule(MODELS[model].head)

    maps = grad_cam(network, str(MODELS[model].pooling), [inputs[:2], inputs[2:]])

    grid = pooled_from(network, model, inputs)
    weight = (head.weight[1] - head.weight[0]).detach()
    by_hand = torch.einsum("c,nchw->nhw", weight, grid) / grid[0, 0].numel()
    with torch.no_grad():
        logits = network(inputs)
    log_odds = logits[:, 1] - logits[:, 0] - (head.bias[1] - head.bias[0])
    scale = float(by_hand.abs().max())
    np.testing.assert_allclose(maps, by_hand.numpy(), atol=1e-6 * scale)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), log_odds.detach().numpy(), atol=1e-5 * scale)


def test_weights_of_channels_are_the_derivatives() -> None:
    """Behind a normalising layer, against finite differences in float64: the whole of each channel moved a little."""
    model = "convnext_tiny"
    network = build_model(MODELS[model], seed=3).eval().double()
    inputs = noise(1, 3, 64, 64).double()
    grid = pooled_from(network, model, inputs)
    n_channels, n_places = grid.shape[1], grid[0, 0].numel()
    step = 1e-6 * float(grid.abs().max())
    moved = step * torch.eye(n_channels, dtype=torch.float64)[:, :, None, None]
    with torch.no_grad():
        up, down = (network.classifier(network.avgpool(grid + sign * moved)) for sign in (1, -1))  # type: ignore[operator]
    slope = ((up - down)[:, 1] - (up - down)[:, 0]) / (2 * step)

    found = grad_cam(network, str(MODELS[model].pooling), [inputs])

    by_hand = (slope[:, None, None] * grid[0]).sum(0) / n_places
    np.testing.assert_allclose(found[0], by_hand.numpy(), atol=1e-5 * float(by_hand.abs().max()))


@pytest.mark.parametrize("model", BY_HAND)
@pytest.mark.parametrize("size", [224, OTHER_PX])
def test_where_cells_look_is_known(model: str, size: int) -> None:
    """By hand, from the paddings of each library."""
    network = build_model(MODELS[model], seed=1)

    found = cell_grid(network, str(MODELS[model].pooling), noise(1, 3, size, size))

    assert found == (BY_HAND[model][size == OTHER_PX], 32)


@pytest.mark.parametrize("library", ["efficientnet_b0", "efficientnet_lite0"])
def test_padding_is_that_of_the_image_that_comes(library: str) -> None:
    """As the library pads where it is told the size; without being told it takes 224 pixels for every image."""
    from efficientnet_lite_pytorch import EfficientNet as Lite
    from efficientnet_pytorch import EfficientNet

    build = {"efficientnet_b0": EfficientNet, "efficientnet_lite0": Lite}[library]
    ours = normalised_by(MODELS[library].build(), noise(2, 3, 96, 96))
    for size in (224, OTHER_PX):
        inputs = noise(1, 3, size, size)
        told, untold = (
            build.from_name(library.replace("_", "-"), **known).eval() for known in ({"image_size": size}, {})
        )
        for theirs in (told, untold):
            theirs.load_state_dict(ours.state_dict())
        with torch.no_grad():
            logits = ours(inputs)
            assert torch.equal(logits, told(inputs))
            assert torch.equal(logits, untold(inputs)) == (size == 224)


def with_square(size: int, at: tuple[int, int] | None) -> Tensor:
    """Dim noise (3, size, size), and a bright square of a seventh of it centred between pixels at (x, y)."""
    image = 0.3 * noise(3, size, size, seed=3)
    if at is not None:
        x, y, half = *at, size // 14
        image[:, y - half : y + half, x - half : x + half] += 2
    return image


@pytest.mark.slow
@pytest.mark.parametrize("model", BY_HAND)
@pytest.mark.parametrize("size", [224, OTHER_PX])
def test_a_map_is_centred_on_its_evidence(model: str, size: int) -> None:
    """A head made to see a bright square: where the map stands out is where the square is.

    Random weights blur and distort; over places and weights what is left must be a fraction of a cell, 32 pixels.
    Spread evenly over the image, maps of two of the libraries would be half a cell off, in opposite directions.
    """
    spec, middle, step = MODELS[model], size // 2, size // 8
    places = [
        (middle, middle),
        (middle - step, middle),
        (middle + step, middle - step),
        (middle, middle + step),
    ]
    images = torch.stack([with_square(size, at) for at in (None, *places)])
    off = []
    for seed in range(4):
        network = normalised_by(build_model(spec, seed=seed), images)
        features = torch.stack([one.mean((1, 2)) for one in pooled_from(network, model, images)])
        head: Any = network.get_submodule(spec.head)
        with torch.no_grad():
            head.weight.zero_()
            head.weight[1] = features[1:].mean(0) - features[0]
        maps = grad_cam(network, str(spec.pooling), list(images.split(1)))
        grid = cell_grid(network, str(spec.pooling), images[:1])
        pixel = grid.origin_px + grid.step_px * np.arange(maps.shape[1])
        for (x, y), one in zip(places, maps[1:] - maps[0], strict=True):
            heat = np.where(one >= one.max() / 2, one, 0)
            off.append(
                ((heat.sum(0) @ pixel) / heat.sum() + 0.5 - x, (heat.sum(1) @ pixel) / heat.sum() + 0.5 - y)
            )

    assert np.abs(np.mean(off, axis=0)).max() < 6
    assert np.abs(off).max() < 32


def bright_spots_network() -> nn.Module:
    """`test_cnn` whose evidence is known exactly: the positive class is bright pixels, every fourth one looked at."""
    network = build_model(MODELS["test_cnn"], seed=0).eval()
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    for i in (1, 2):
        state[f"norm_{i}.running_var"] += 1
        state[f"norm_{i}.weight"] += 1
    state["convolution_1.weight"][0, :, 1, 1] = 1  # the sum of the colours, as normalised
    state["convolution_2.weight"][0, 0, 1, 1] = 1
    state["norm_1.bias"][0] = -6  # a white pixel has some 7.3, a grey one 0.5
    state["head.weight"][1, 0] = 1
    network.load_state_dict(state)
    return network


@pytest.fixture
def trained(tiny: Any) -> TrainedModel:
    """A network that has been trained on the tiny data for an epoch."""
    return train_model(tiny.request(epochs=1))


def request_for(tiny: Any, trained: TrainedModel, cases: tuple[str, ...]) -> SaliencyRequest:
    """Maps of `cases` with `trained`."""
    return SaliencyRequest(
        trained=trained,
        train=tiny.request().train,
        split=tiny.split,
        data_root=tiny.root,
        store_root=tiny.store.root,
        n_threads=1,
        cases=cases,
    )


def read_maps(tiny: Any, found: Any) -> np.ndarray:
    """The stored maps."""
    maps: np.ndarray = np.load(io.BytesIO(tiny.store.read(found.maps)))
    return maps


def test_known_evidence_comes_out_where_it_is(
    tiny: Any, trained: TrainedModel, resplit: Callable[..., Any]
) -> None:
    """White squares on grey: cells above 0 are those that look at white, through the crop of the predictions."""
    corners = {"case-0008": (4, 4), "case-0009": (20, 12)}
    rows = [list(row) for row in tiny.rows]
    for row in rows:
        if row[0] in corners:
            pixels = np.full((40, 40, 3), 128, dtype=np.uint8)
            x, y = corners[row[0]]
            pixels[y : y + 12, x : x + 12] = 255
            path = tiny.root / row[1]
            Image.fromarray(pixels).save(path)
            row[4] = sha256_of_bytes(path.read_bytes())
    data = resplit(tiny, rows)
    checkpoint = write_checkpoint(
        data.store, state_on_cpu(bright_spots_network()), running={}, model="test_cnn"
    )
    exact = trained.model_copy(update={"checkpoint": checkpoint, "image_size_px": 32, "resize_px": 40})

    found = saliency_maps(request_for(data, exact, tuple(corners)))

    assert (found.cells, found.origin_px, found.step_px) == (8, 0, 4)
    for (x, y), one in zip(corners.values(), read_maps(data, found), strict=True):
        looked_at = 4 + 4 * np.arange(8)  # in pixels of the image, whose first four the crop leaves out
        inside = [(looked_at >= start) & (looked_at < start + 12) for start in (y, x)]
        np.testing.assert_array_equal(one > 0, np.outer(*inside))
        assert len(set(one[one > 0].tolist())) == 1


def test_the_same_maps_come_out_again(tiny: Any, trained: TrainedModel) -> None:
    """Byte for byte, whatever is asked for beside a case; the order is that of the question."""
    cases = ("case-0009", "case-0008", "case-0018")
    first = saliency_maps(request_for(tiny, trained, cases))
    again = saliency_maps(request_for(tiny, trained, cases))
    alone = saliency_maps(request_for(tiny, trained, cases[1:2]))

    assert first == again
    assert first.cases == cases
    np.testing.assert_allclose(read_maps(tiny, alone)[0], read_maps(tiny, first)[1], rtol=1e-4, atol=1e-7)
    assert alone.random_shares[0] is not None
    assert first.n_random == 2
    assert first.library.startswith("captum 0.")
    shares = [share for share in first.random_shares if share is not None]
    assert first.random_share_median == np.median(shares)
    assert (first.random_share_lowest, first.random_share_highest) == (min(shares), max(shares))


def test_a_network_without_a_grid_is_refused(
    tiny: Any, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never asked for; should it be, the message names the field."""
    monkeypatch.setitem(MODELS, "test_cnn", replace(MODELS["test_cnn"], pooling=None))
    with pytest.raises(ValueError, match=r"no layer to take maps from: its ModelSpec\.pooling is None"):
        saliency_maps(request_for(tiny, trained, ("case-0008",)))


class Edges(nn.Module):
    """What a map must not be: edges of the image, found without any weight, under a head of one number."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        self.register_buffer("kernels", torch.stack([kernel, kernel.T])[:, None].repeat(1, 3, 1, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight[:] = noise(2, 1, seed=seed)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits from the mean strength of edges."""
        edges = functional.conv2d(inputs, self.kernels, stride=4).square().sum(1, keepdim=True).sqrt()  # type: ignore[arg-type]
        logits: Tensor = self.head(self.pool(edges).flatten(1))
        return logits


def test_maps_that_no_weight_makes_are_found_out() -> None:
    """Those of an edge detector are the same, or their negative, whatever the weights."""
    inputs = noise(6, 3, 64, 64)
    maps, *others = (grad_cam(Edges(seed), "pool", [inputs], batch_statistics=seed > 0) for seed in range(3))

    assert random_shares(maps, others) == pytest.approx([1.0] * 6)


def bright_and_dark(n_images: int, *, both: bool = False) -> Tensor:
    """Noise with a square: dark in the first half of the images, bright in the second, or one of each in all."""
    rng = np.random.default_rng(n_images)
    images = 0.3 * noise(n_images, 3, 64, 64, seed=4)
    for i, image in enumerate(images):
        x, y = rng.integers(2, 18, 2)
        signs = (-2, 2) if both else ((-2,) if i < n_images / 2 else (2,))
        for sign in signs:
            right = 32 if sign > 0 else 0
            image[:, y : y + 12, x + right : x + right + 12] += sign
    return images


def test_maps_that_were_learned_pass() -> None:
    """Trained to tell bright squares from dark ones, whose edges are alike: the map is on the bright one."""
    images, labels = bright_and_dark(64), torch.arange(64) // 32
    network = build_model(MODELS["test_cnn"], seed=5)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    shown = bright_and_dark(8, both=True)

    maps = grad_cam(network, "pool", [shown])
    others = [
        grad_cam(build_model(MODELS["test_cnn"], seed=seed), "pool", [shown], batch_statistics=True)
        for seed in (6, 7)
    ]

    right, left = maps[:, :, 8:].clip(0).sum((1, 2)), maps[:, :, :8].clip(0).sum((1, 2))
    assert (right > 3 * left).all()
    assert np.median([share or 0 for share in random_shares(maps, others)]) < MAX_RANDOM_SHARE


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_squared_rank_correlations(seed: int) -> None:
    """SciPy's, also with ties; the same for the negative and for any rising function of a map."""
    rng = np.random.default_rng(seed)
    maps, other = (rng.integers(0, 9, (4, 5, 5)).astype(np.float32) for _ in range(2))

    found = random_shares(maps, [other])

    by_scipy = [
        spearmanr(one.ravel(), two.ravel()).statistic ** 2 for one, two in zip(maps, other, strict=True)
    ]
    assert found == pytest.approx(by_scipy)
    assert random_shares(-np.exp(maps), [other]) == pytest.approx(by_scipy)
    mean = random_shares(maps, [other, maps])
    assert mean == pytest.approx([(one + 1) / 2 for one in by_scipy])


def test_a_flat_map_has_no_share() -> None:
    """Nothing varies: None, not a convenient zero."""
    flat, other = np.ones((1, 3, 3), np.float32), np.arange(9, dtype=np.float32).reshape(1, 3, 3)

    assert random_shares(flat, [other]) == random_shares(other, [other, flat]) == (None,)


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        ("resnet10t", "global_pool"),
        ("mobilenetv3_small_050", "global_pool"),
        ("convnext_atto", "head.global_pool"),
        ("swin_tiny_patch4_window7_224", None),
        ("vit_tiny_patch16_224", None),
    ],
)
def test_networks_of_timm_say_what_they_pool(name: str, pooling: str | None) -> None:
    """A grid with channels first; tokens, and channels last, give no maps."""
    assert find_model(f"timm/{name}").pooling == pooling


def test_every_listed_network_was_tried() -> None:
    """The tables above are complete."""
    assert set(BY_HAND) == set(LISTED)
