"""Options of a training, against torch's own figures and numbers worked by hand; off, they change nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from medcompare.config.schema import CompareConfig
from medcompare.config.train import TrainConfig
from medcompare.models.registry import build_model
from medcompare.models.zoo import MODELS
from medcompare.training.checkpoints import load_checkpoint
from medcompare.training.inference import predict_subsets
from medcompare.training.loop import train_model
from medcompare.training.options import (
    averaged,
    described_options,
    freeze,
    mixed,
    schedule_of,
    training_loss,
    training_mode,
    with_views,
)
from medcompare.training.recipes import optimizer_of
from medcompare.training.requests import PredictionRequest

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHTS = torch.tensor([0.5, 2.0])
LOGITS = torch.tensor([[0.3, -0.2], [1.5, 0.1], [-0.4, 0.9]])
LABELS = torch.tensor([0, 1, 1])


def rates(n_steps: int, **options: Any) -> list[float]:
    """Learning rate of every step, from a rate of 1."""
    train = TrainConfig(**options)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = schedule_of(optimizer, train, n_steps)
    assert schedule is not None
    found = []
    for _ in range(train.epochs * n_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_the_cosine_schedule_is_torchs() -> None:
    """Step by step, over all epochs."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()

    assert rates(5, epochs=4, schedule="cosine") == pytest.approx(expected)


def test_a_warm_up_rises_in_equal_steps_before_either_schedule() -> None:
    """Two epochs of two steps by hand: quarters, then the cosine of what is left, or 1."""
    assert rates(2, epochs=4, warmup_epochs=2) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    half = math.sqrt(2) / 4
    expected = [0.25, 0.5, 0.75, 1, 1, 0.5 + half, 0.5, 0.5 - half]
    assert rates(2, epochs=4, warmup_epochs=2, schedule="cosine") == pytest.approx(expected)


def test_without_either_there_is_no_schedule() -> None:
    """The rate of the recipe throughout."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    assert schedule_of(optimizer, TrainConfig(), 3) is None


def test_averaged_weights_by_hand() -> None:
    """The first update copies; from then on decay x old + (1 - decay) x new; batch statistics are copied."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = averaged(network, TrainConfig(ema_decay=0.75))
    assert average is not None
    for value in (4.0, 8.0, 0.0):
        nn.init.constant_(network[0].weight, value)
        nn.init.constant_(network[1].running_mean, value)
        average.update_parameters(network)

    assert average.module[0].weight.item() == 0.75 * (0.75 * 4 + 0.25 * 8)
    assert average.module[1].running_mean.item() == 0.0
    assert averaged(network, TrainConfig()) is None


def test_the_focal_loss_without_gamma_is_the_cross_entropy_and_with_it_torchvisions() -> None:
    """Class weights as in the cross-entropy; torchvision's is of the difference of the two logits."""
    options = TrainConfig(focal_gamma=1e-9)
    plain = functional.cross_entropy(LOGITS, LABELS, weight=WEIGHTS)
    assert training_loss(LOGITS, LABELS, WEIGHTS, TrainConfig()) == plain
    assert training_loss(LOGITS, LABELS, WEIGHTS, options).item() == pytest.approx(plain.item(), rel=1e-6)

    each = sigmoid_focal_loss(LOGITS[:, 1] - LOGITS[:, 0], LABELS.float(), alpha=-1, gamma=2.0)
    expected = (each * WEIGHTS[LABELS]).sum() / WEIGHTS[LABELS].sum()
    found = training_loss(LOGITS, LABELS, WEIGHTS, TrainConfig(focal_gamma=2.0))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_smoothed_labels_by_hand() -> None:
    """A share of 0.2 over two classes: the own class weighs 0.9, the other 0.1."""
    logp = LOGITS.double().log_softmax(1)
    target = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    expected = -(target * WEIGHTS * logp).sum() / WEIGHTS[LABELS].sum()
    found = training_loss(LOGITS, LABELS, WEIGHTS, TrainConfig(label_smoothing=0.2))

    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_whole_labels_as_shares_have_the_loss_of_labels() -> None:
    """So that mixup changes images and labels and not the scale of the loss."""
    shares = functional.one_hot(LABELS, 2).float()
    found = training_loss(LOGITS, shares, WEIGHTS, TrainConfig(mixup_alpha=0.2))

    assert found.item() == pytest.approx(functional.cross_entropy(LOGITS, LABELS, weight=WEIGHTS).item())


def test_mixup_mixes_images_and_labels_alike() -> None:
    """Image i is lambda x itself + (1 - lambda) x the one before; so is its label. The seed repeats it."""
    images = torch.arange(1.0, 4.0).reshape(3, 1, 1, 1).expand(3, 3, 2, 2)
    torch.manual_seed(5)
    inputs, shares = mixed(images, LABELS, TrainConfig(mixup_alpha=0.4))
    torch.manual_seed(5)
    again, _ = mixed(images, LABELS, TrainConfig(mixup_alpha=0.4))

    # Image 0 (value 1, label 0) is mixed with the last one (value 3, label 1).
    share = (inputs[0, 0, 0, 0].item() - 3) / (1 - 3)
    assert 0 < share < 1
    assert shares[0].tolist() == pytest.approx([share, 1 - share])
    assert shares[2].tolist() == [0, 1]  # mixed with another of its class
    assert inputs[1].flatten().tolist() == pytest.approx([2 * share + 1 * (1 - share)] * 12)
    assert torch.equal(inputs, again)


def test_what_is_frozen_does_not_move_and_neither_do_its_batch_statistics() -> None:
    """A step with weight decay: the head changes, and nothing else."""
    network = build_model(MODELS["test_cnn"], seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def step(*, frozen: bool) -> set[str]:
        freeze(network, "head", frozen=frozen)
        training_mode(network, "head", frozen=frozen)
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images), torch.tensor([0, 1, 0, 1])).backward()
        optimizer.step()
        return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}

    assert step(frozen=True) == {"head.weight", "head.bias"}
    assert step(frozen=False) == set(before)


def test_pretrained_layers_have_a_rate_of_their_own() -> None:
    """Two groups; the head's is last, as its rate is what the log of an epoch states."""
    network, spec = build_model(MODELS["test_cnn"], seed=0), MODELS["test_cnn"]
    optimizer = optimizer_of(network, spec.recipe, head="head", backbone_lr_factor=0.1)
    backbone, head = optimizer.param_groups

    assert (backbone["lr"], head["lr"]) == (
        pytest.approx(0.1 * spec.recipe.learning_rate),
        spec.recipe.learning_rate,
    )
    assert [id(p) for p in head["params"]] == [id(p) for p in network.get_submodule("head").parameters()]
    assert len(backbone["params"]) + len(head["params"]) == len(list(network.parameters()))


class Corner(nn.Module):
    """Scores an image by the pixel in its upper left corner."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits 0 and that pixel."""
        return torch.stack([torch.zeros(len(images)), images[:, 0, 0, 0]], dim=1)


def test_views_are_averaged() -> None:
    """Corners of [[1, 2], [3, 4]]: two for the mirror image, each of the four twice for all turns and mirrors."""
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 3, 2, 2)

    assert with_views(Corner(), "hflip")(image).tolist() == [[0, 1.5]]
    assert with_views(Corner(), "dihedral")(image).tolist() == [[0, 2.5]]
    assert isinstance(with_views(Corner(), "none"), Corner)


def test_gradients_are_clipped_before_the_step(tiny: Any) -> None:
    """With plain SGD the first step moves the weights by the learning rate times the norm, at most."""
    recipe = {"test_cnn": {"optimizer": "sgd", "learning_rate": 0.5}}
    request = tiny.request(epochs=1, batch_size=48, clip_norm=0.01, recipes=recipe)
    trained = train_model(request)
    start, end = (build_model(MODELS["test_cnn"], seed=1) for _ in range(2))
    load_checkpoint(tiny.store, trained.checkpoint, end, model="test_cnn")
    moved = math.sqrt(
        sum((a - b).square().sum().item() for a, b in zip(start.parameters(), end.parameters(), strict=True))
    )

    assert moved == pytest.approx(0.5 * 0.01, rel=1e-3)


EVERYTHING: dict[str, Any] = {
    "warmup_epochs": 1,
    "schedule": "cosine",
    "backbone_lr_factor": 0.5,
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "mixup_alpha": 0.2,
    "augmentation": ["RandomHorizontalFlip", "RandomRotation(degrees=20)"],
}


@pytest.mark.parametrize(("name", "value"), [*EVERYTHING.items(), ("focal_gamma", 2.0)])
def test_every_option_reaches_the_training(tiny: Any, name: str, value: object) -> None:
    """Alone, for one model by its recipe too, which gives the same."""
    alone = train_model(tiny.request(epochs=2, **{name: value}))
    by_recipe = train_model(tiny.request(epochs=2, recipes={"test_cnn": {name: value}}))

    assert alone.checkpoint.sha256 != train_model(tiny.request(epochs=2)).checkpoint.sha256
    assert by_recipe.checkpoint == alone.checkpoint
    assert by_recipe.optimizer == alone.optimizer


def test_all_options_together_resume_to_the_same_end(tiny: Any, cut_off: Callable[..., None]) -> None:
    """Cut off in the middle of the third epoch: schedule and averages are saved with the rest."""
    request = tiny.request(epochs=4, checkpoint_every_s=0, **EVERYTHING)
    undisturbed = train_model(request)

    cut_off(request, (3, 3))
    resumed = train_model(request)

    assert resumed.checkpoint == undisturbed.checkpoint
    assert [log.learning_rate for log in resumed.history] == [
        log.learning_rate for log in undisturbed.history
    ]


def test_views_of_the_trained_network_are_what_is_predicted(tiny: Any) -> None:
    """The mean log-odds of an image and its mirror image, from one training."""
    request = tiny.request()
    plain = train_model(request)
    mirrored = plain.model_copy(update={"test_time_augmentation": "hflip"})
    tables = []
    for one in (plain, mirrored):
        predictions = predict_subsets(
            PredictionRequest(
                trained=one,
                train=request.train,
                split=tiny.split,
                data_root=tiny.root,
                store_root=tiny.store.root,
            )
        )
        tables.append(tiny.store.read(predictions.table))

    assert tables[0] != tables[1]
    assert mirrored.recipe == f"{plain.recipe}, scores averaged over each image and its mirror image"


def test_options_in_words() -> None:
    """For the report: those that are on, and nothing where none is."""
    assert described_options(TrainConfig()) == ()
    words = ", ".join(map(str, described_options(TrainConfig(**{**EVERYTHING, "frozen_epochs": 2}))))
    assert words == (
        "epochs of warm-up: 1, cosine schedule, epochs of the head alone: 2, "
        "pretrained layers at 0.5 of the learning rate, norm of gradients at most 1.0, "
        "weights averaged with decay 0.9, label smoothing 0.1, "
        "mixup, alpha 0.2"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"focal_gamma": 2, "mixup_alpha": 0.2}, "focal_gamma and mixup_alpha exclude each other"),
        ({"focal_gamma": 2, "label_smoothing": 0.1}, "focal_gamma and label_smoothing exclude each other"),
        ({"frozen_epochs": 1, "initial_weights": "none"}, "frozen_epochs needs pretrained weights"),
        ({"frozen_epochs": 5, "epochs": 5}, r"frozen_epochs \(5\) must be smaller than epochs \(5\)"),
        (
            {"recipes": {"resnet50": {"warmup_epochs": 30}}},
            r"recipes\.resnet50: warmup_epochs \(30\) must be smaller",
        ),
        ({"augmentation": ["turn it"]}, "'turn it' is no transform"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, Any], message: str) -> None:
    """With the fields, their values and the way out."""
    with pytest.raises(ValueError, match=message):
        CompareConfig.model_validate({"preset": "published", "train": settings})
