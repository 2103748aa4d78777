"""Memory that runs out: smaller passes, the same gradient; real errors raised by a module of the test's own."""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from medcompare.base.errors import TrainingError
from medcompare.config.train import TrainConfig
from medcompare.models.zoo import MODELS
from medcompare.training.dataset import Batch
from medcompare.training.loop import train_model
from medcompare.training.passes import GradientPasses, is_out_of_memory
from medcompare.training.recipes import FitSettings
from medcompare.training.scoring import Placement

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = Placement(device=torch.device("cpu"), memory_format="contiguous")


class Small(nn.Module):
    """A memory that holds the activations of so many images, and says so as torch does."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        """`x`, or torch's error."""
        if self.training and x.requires_grad:
            self.sizes.append(len(x))
            if len(x) > self.most:
                message = (
                    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB"
                )
                raise torch.OutOfMemoryError(message)
        return x


def network_without_batch_normalisation(most: int) -> nn.Module:
    """Group normalisation: each image by itself."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), Small(most), nn.AdaptiveAvgPool2d(1)
    )
    network.append(nn.Flatten())
    network.add_module("head", nn.Linear(8, 2))
    return network.train()


def settings(**options: Any) -> FitSettings:
    """Unequal class weights, so that a part is not worth its number of images."""
    values = {"epochs": 1, "patience": 1, "seed": 1, "precision": "float32", "placement": CPU}
    return FitSettings(
        spec=MODELS["test_cnn"],
        recipe=MODELS["test_cnn"].recipe,
        class_weights=(0.6, 3.0),
        options=TrainConfig(**options),
        **values,
    )


@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}, {"mixup_alpha": 0.4}], ids=str
)
@pytest.mark.parametrize(("most", "sizes"), [(5, [11, 5, 6, 2, 3, 3, 3]), (2, [2, 2, 2, 2, 3])])
def test_passes_in_parts_add_up_to_the_gradient_of_the_batch(
    options: dict[str, Any], most: int, sizes: list[int]
) -> None:
    """Eleven images in parts of at most 3, or of 2 with a rest of one in the last: loss and gradient to rounding."""
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        images=torch.randint(0, 256, (11, 3, 12, 12), dtype=torch.uint8, generator=generator),
        labels=torch.tensor([0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0]),
    )
    whole, parts = network_without_batch_normalisation(99), network_without_batch_normalisation(max(most, 3))
    torch.manual_seed(5)
    expected = GradientPasses(whole, settings(**options))(batch)
    torch.manual_seed(5)
    small = parts.get_submodule("3")
    assert isinstance(small, Small)
    passes = GradientPasses(parts, settings(**options), images_at_once=None if most == 5 else 2)
    loss = passes(batch)

    assert small.sizes == sizes
    assert passes.images_at_once == (3 if most == 5 else 2)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-5, atol=1e-7)


def test_a_training_whose_memory_runs_out_goes_on_and_says_so(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log with the number of images, in the record; without batch normalisation the history is the same."""

    def group_cnn(most: int) -> Callable[[], nn.Module]:
        def build() -> nn.Module:
            network = MODELS["test_cnn"].build()
            network.set_submodule("norm_1", nn.Sequential(nn.GroupNorm(2, 16), Small(most)))
            network.set_submodule("norm_2", nn.Identity())
            return network

        build.__module__ = MODELS["test_cnn"].build.__module__
        return build

    for name, most in (("roomy_cnn", 99), ("narrow_cnn", 5)):
        monkeypatch.setitem(MODELS, name, replace(MODELS["test_cnn"], name=name, build=group_cnn(most)))
    roomy, narrow = (
        train_model(tiny.request(model=name, precision="float32")) for name in ("roomy_cnn", "narrow_cnn")
    )

    assert (roomy.images_at_once, narrow.images_at_once) == (None, 4)
    assert (
        "narrow_cnn: memory ran out for 8 images at once (CUDA out of memory): going on with 4" in caplog.text
    )
    assert [log.train_loss for log in narrow.history] == pytest.approx(
        [log.train_loss for log in roomy.history], rel=1e-4
    )
    assert [log.val_auc for log in narrow.history] == pytest.approx(
        [log.val_auc for log in roomy.history], abs=0.02
    )


def test_two_images_that_do_not_fit_are_an_error() -> None:
    """With the settings to lower; trying again may help, where another program had the memory."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Small(1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.add_module("head", nn.Linear(4, 2))
    batch = Batch(images=torch.zeros((8, 3, 9, 9), dtype=torch.uint8), labels=torch.tensor([0, 1] * 4))

    with pytest.raises(TrainingError, match=r"even for 2 images at once .*train\.image_size_px") as caught:
        GradientPasses(network.train(), settings())(batch)
    assert caught.value.transient


def test_batch_normalisation_is_said_to_see_fewer_images(caplog: pytest.LogCaptureFixture) -> None:
    """As that changes the result; dropout draws from where it was before."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Small(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    network.add_module("head", nn.Linear(4, 2))
    batch = Batch(images=torch.zeros((8, 3, 9, 9), dtype=torch.uint8), labels=torch.tensor([0, 1] * 4))
    GradientPasses(network.train(), settings())(batch)

    assert "batch normalisation sees only 4 at a time from now on, which changes the result" in caplog.text


def test_the_errors_of_a_memory_that_is_really_full_are_known() -> None:
    """Python's and torch's own, on the CPU: more is asked for than this process may have."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 45, limits[1]))
    try:
        with pytest.raises(RuntimeError) as of_torch:
            torch.empty(1 << 46, dtype=torch.uint8)
        with pytest.raises(MemoryError) as of_python:
            bytearray(1 << 46)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)

    assert is_out_of_memory(of_torch.value)
    assert is_out_of_memory(of_python.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
