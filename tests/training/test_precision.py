"""The fastest precision and layout for a network: chosen by the numbers, kept, and stated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from medcompare.base.devices import choices_of, native_bfloat16_on_cpu, resolve_precision
from medcompare.config.train import TrainConfig
from medcompare.models.zoo import MODELS
from medcompare.training import precision as module
from medcompare.training.loop import train_model
from medcompare.training.precision import FOLDER, PROBED_STEPS, Speeds, choose_precision, step_speeds
from medcompare.training.records import StepSpeed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

CPU = torch.device("cpu")
TRAIN = TrainConfig(image_size_px=32, epochs=10, batch_size=16, initial_weights="none")
TWO = (("bfloat16", "channels_last"), ("float32", "channels_last"))


class Stopwatch:
    """Rates by precision, as if measured; counts how often it was asked."""

    def __init__(self, **rates: float) -> None:
        self.rates, self.asked = rates, 0

    def __call__(self, *inputs: Any, batch: int) -> tuple[StepSpeed, ...]:  # noqa: ARG002 - as `step_speeds`
        """Seconds of the first step: ten."""
        choices = inputs[3]
        self.asked += len(choices)
        return tuple(
            StepSpeed(
                precision=precision, memory_format=layout, first_s=10.0, images_per_s=self.rates[precision]
            )
            for precision, layout in choices
        )


@pytest.fixture(autouse=True)
def _two_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor with bfloat16, whatever this one is."""
    monkeypatch.setattr(module, "choices_of", lambda _: TWO)
    monkeypatch.setattr(
        module,
        "resolve_precision",
        lambda setting, device: TWO[0] if setting == "auto" else resolve_precision(setting, device),
    )


def chosen(store: Path, watch: Stopwatch, *, n_images: int = 1000, **settings: Any) -> tuple[str, int]:
    """The precision for `TRAIN`, and how many speeds are stated."""
    train = TRAIN.model_copy(update=settings)
    found, _, speeds = choose_precision(
        MODELS["test_cnn"], train, CPU, store=store, n_images=n_images, measure=watch
    )
    return found, len(speeds)


def test_the_faster_one_is_chosen_by_more_than_noise(tmp_path: Path) -> None:
    """10,000 images at 100 per second and 10 s: 110 s; at 104 it is 106.2 s, 3.6 % less; at 120 93.3 s."""
    assert chosen(tmp_path / "a", Stopwatch(bfloat16=100, float32=104)) == ("bfloat16", 2)
    assert chosen(tmp_path / "b", Stopwatch(bfloat16=100, float32=120)) == ("float32", 2)
    assert chosen(tmp_path / "c", Stopwatch(bfloat16=100, float32=50)) == ("bfloat16", 2)


def test_what_was_measured_is_kept_for_later_trainings(tmp_path: Path) -> None:
    """By network, size and threads: another size is measured for itself, another seed or number of epochs is not."""
    watch = Stopwatch(bfloat16=100, float32=120)
    assert chosen(tmp_path, watch) == ("float32", 2)
    slower = Stopwatch(bfloat16=500, float32=1)
    assert chosen(tmp_path, slower, epochs=20) == ("float32", 2)
    assert slower.asked == 0
    assert chosen(tmp_path, slower, image_size_px=64) == ("bfloat16", 2)
    assert slower.asked == 2


@pytest.mark.parametrize(
    "settings", [{"precision": "same"}, {"precision": "float32"}, {"epochs": 1, "n_images": 799}]
)
def test_nothing_is_measured_where_it_is_set_or_hardly_matters(tmp_path: Path, settings: Any) -> None:
    """One precision for all, one by name, and a training of fewer images than fifty times those of the steps."""
    watch = Stopwatch(bfloat16=1, float32=100)
    precision, stated = chosen(tmp_path, watch, **settings)

    assert (watch.asked, stated) == (0, 0)
    by_rule = resolve_precision(settings.get("precision", "same"), CPU)[0]
    assert precision == (by_rule if "precision" in settings else "bfloat16")


def test_real_steps_leave_random_numbers_alone() -> None:
    """A measurement before a training must not change what its dropout draws."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    speeds = step_speeds(MODELS["test_cnn"], TRAIN, CPU, TWO, batch=4)

    assert torch.equal(torch.rand(3), expected)
    assert [(one.precision, one.memory_format) for one in speeds] == list(TWO)
    assert all(one.images_per_s > 0 for one in speeds)


def test_choices_take_turns() -> None:
    """What else a machine does for a while must not meet one of them alone."""
    order: list[int] = []

    def noted(network: nn.Module) -> Callable[[Tensor], Tensor]:
        number = len(networks)
        networks.append(network)

        def forward(images: Tensor) -> Tensor:
            order.append(number)
            logits: Tensor = network(images)
            return logits

        return forward

    networks: list[nn.Module] = []
    step_speeds(MODELS["test_cnn"], TRAIN, CPU, TWO, batch=4, forward_of=noted)

    assert order == [0, 1] * (1 + PROBED_STEPS)


def test_a_training_states_its_choice_and_a_later_one_makes_the_same(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured for real; then the numbers in the store say that float32 is the faster, and it is believed."""
    monkeypatch.setattr(module, "MIN_SHARE", 1)
    first = train_model(tiny.request(epochs=1))
    [kept] = (tiny.store.root / FOLDER).glob("*.json")
    assert Speeds.model_validate_json(kept.read_text()).speeds == first.speeds
    assert [(one.precision, one.memory_format) for one in first.speeds] == list(TWO)

    faster = first.speeds[1].model_copy(update={"first_s": 0.0, "images_per_s": 1e9})
    kept.write_text(Speeds(speeds=(first.speeds[0], faster)).model_dump_json())
    second = train_model(tiny.request(epochs=1))
    assert second.precision == "float32"
    assert second.speeds[1] == faster
    assert train_model(tiny.request(epochs=1, precision="float32")).checkpoint == second.checkpoint


def test_choices_are_those_that_can_be_fastest() -> None:
    """The usual one first; a processor without bfloat16 has no choice."""
    assert choices_of(CPU) == (TWO if native_bfloat16_on_cpu() else TWO[1:])
    usual, *others = choices_of(torch.device("cuda"))
    assert usual == resolve_precision("same", torch.device("cuda"))
    assert others == [("float32", "contiguous"), (usual[0], "channels_last")]
