"""EfficientNet's activation: the library's function and gradient, and in evaluation its very bits."""

from __future__ import annotations

import torch
from efficientnet_pytorch import EfficientNet
from efficientnet_pytorch.utils import MemoryEfficientSwish

from medcompare.models.registry import build_model
from medcompare.models.swish import Swish
from medcompare.models.zoo import MODELS
from medcompare.models.zoo.efficientnet import ANY_SIZE

SPEC = MODELS["efficientnet_b0"]


def test_function_and_gradient_are_those_of_the_library() -> None:
    """Within rounding, in training; from where the sigmoid is 0 to where it is 1."""
    values = [torch.linspace(-90, 90, 4001, requires_grad=True) for _ in range(2)]
    ours, theirs = Swish().train()(values[0]), MemoryEfficientSwish()(values[1])
    torch.testing.assert_close(ours, theirs)
    torch.autograd.backward([ours.square().sum(), theirs.square().sum()])
    torch.testing.assert_close(values[0].grad, values[1].grad)


def test_evaluation_is_that_of_the_library_bit_by_bit() -> None:
    """So that what inference gives and costs is the library's; every activation of the network is ours."""
    network = build_model(SPEC, seed=0).eval()
    library = EfficientNet.from_name("efficientnet-b0", num_classes=2, **ANY_SIZE).eval()
    library.load_state_dict(network.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(network(images), library(images))
    kinds = {type(one) for one in network.modules() if isinstance(one, MemoryEfficientSwish)}
    assert kinds == {Swish}


def test_a_training_step_has_the_gradients_of_the_library() -> None:
    """Seeded, as stochastic depth and dropout draw from the same generator."""
    networks = [
        build_model(SPEC, seed=0),
        EfficientNet.from_name("efficientnet-b0", num_classes=2, **ANY_SIZE),
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for network in networks:
        torch.manual_seed(5)
        network.train()(images).square().sum().backward()
    ours, theirs = (torch.cat([p.grad.flatten() for p in one.parameters()]) for one in networks)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-4
