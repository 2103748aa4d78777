"""Compiled training steps: chosen by the numbers, equal to the others within rounding, and exact after a kill."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch._inductor import config as inductor
from torch._inductor.utils import clear_caches

from medcompare.base.errors import ConfigError
from medcompare.config.train import TrainConfig, check_options
from medcompare.models.zoo import MODELS
from medcompare.training import compilation as module
from medcompare.training.compilation import Compilation, choose_compilation
from medcompare.training.kernels import FOLDER
from medcompare.training.loop import train_model
from medcompare.training.records import StepSpeed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medcompare.training.records import TrainedModel

CPU = torch.device("cpu")
CHOICE = ("float32", "channels_last")
N_IMAGES = 10_000


def speed(images_per_s: float, *, compiled: bool = False) -> StepSpeed:
    """As if measured: compiling took 250 s, a first step with kept kernels 10 s."""
    return StepSpeed(
        precision=CHOICE[0],
        memory_format=CHOICE[1],
        compiled=compiled,
        compile_s=250.0 * compiled,
        first_s=10.0 if compiled else 0.0,
        images_per_s=images_per_s,
    )


def chosen(store: Path, *found: StepSpeed, plain: float = 10.0, **settings: Any) -> Compilation:
    """For 10 epochs of 10,000 images where compiling is measured as `found`, or fails."""
    train = TrainConfig(image_size_px=32, epochs=10, batch_size=16, initial_weights="none", **settings)
    return choose_compilation(
        MODELS["test_cnn"],
        train,
        CPU,
        CHOICE,  # type: ignore[arg-type]
        store=store,
        n_images=N_IMAGES,
        speeds=(speed(plain),),
        measure=lambda *_, **__: found,
    )


def test_compiled_where_it_gains_more_than_noise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """100,000 images at 10 per second take 10,000 s; at 10.4 9,625 s, 4 % less; at 12.5 8,010 s.

    An image is 0.02 s faster at 12.5: 250 s are gained with 12,500 images, 10 s with 500.
    """
    caplog.set_level("INFO")
    assert chosen(tmp_path / "a", speed(10.4, compiled=True))[:2] == (False, "measured")
    assert chosen(tmp_path / "b", speed(9.0, compiled=True))[:2] == (False, "measured")
    compilation = chosen(tmp_path / "c", speed(12.5, compiled=True))

    assert compilation == (True, "measured", (speed(12.5, compiled=True),))
    assert (
        "12.5 images/s compiled, 10.0 uncompiled; compiling took 250 s, which pays from 12500 images on, and with the "
        "kept kernels from 500; this training has 100000: compiled" in caplog.text
    )


def test_a_short_training_is_not_compiled(tmp_path: Path) -> None:
    """At 25 images/s it takes 4,000 s, of which 250 s are 6 %; at 19 images/s 5,263 s, of which they are 4.8 %."""
    fast = speed(100.0, compiled=True)
    assert chosen(tmp_path, fast, plain=25.0) == (False, "short", ())
    assert chosen(tmp_path, fast, plain=19.0)[:2] == (True, "measured")


def test_what_was_measured_is_kept_for_the_training_that_goes_on(tmp_path: Path) -> None:
    """Whatever would be measured then; a failure is kept as well, as it costs minutes."""
    assert chosen(tmp_path / "a", speed(12.5, compiled=True)).compiled
    assert chosen(tmp_path / "a", speed(1.0, compiled=True)).compiled
    assert chosen(tmp_path / "b") == (False, "failed", ())
    assert chosen(tmp_path / "b", speed(12.5, compiled=True)) == (False, "failed", ())


def test_settings_and_rules_come_first(tmp_path: Path) -> None:
    """Off, on, and several devices."""
    fast = speed(100.0, compiled=True)
    assert chosen(tmp_path, fast, compile="off") == (False, "set", ())
    assert chosen(tmp_path, compile="on") == (True, "set", ())
    assert chosen(tmp_path, fast, devices=2) == (False, "rule", ())
    with pytest.raises(ValueError, match=r"train.compile must be 'auto' or 'off' with 2 devices"):
        check_options(TrainConfig(compile="on", devices=2, image_size_px=32))


def test_without_a_compiler_it_is_said_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is no program; headers that are not there. Asked for by name, it is an error with its remedy."""
    caplog.set_level("INFO")
    fast = speed(100.0, compiled=True)
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        assert chosen(tmp_path, fast) == (False, "no compiler", ())
        with pytest.raises(ConfigError, match=r"no C\+\+ compiler was found: install g\+\+, or set CXX.*off"):
            chosen(tmp_path, compile="on")
    assert "is trained uncompiled: no C++ compiler" in caplog.text
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(ConfigError, match="headers of Python are missing: install python3-dev"):
        chosen(tmp_path, compile="on")
    with pytest.raises(ConfigError, match="compiles nothing for mps"):
        choose_compilation(
            MODELS["test_cnn"],
            TrainConfig(compile="on"),
            torch.device("mps"),
            CHOICE,  # type: ignore[arg-type]
            store=tmp_path,
            n_images=1,
        )


def forget() -> None:
    """Kernels that this process holds, as another would have none."""
    torch._dynamo.reset()
    clear_caches()


def figures(trained: TrainedModel) -> list[tuple[float, ...]]:
    """What every epoch came to, to the last digit."""
    return [(log.train_loss, log.val_loss, log.val_balanced_accuracy) for log in trained.history]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_training_is_exact_and_equals_the_other_within_rounding(
    tiny: Any, random_cnn: str, cut_off: Callable[..., None], precision: str
) -> None:
    """With dropout, stochastic depth, a rest of 8 images in each epoch and averaged weights.

    The same bits from kept kernels, after a power cut in the middle of an epoch, and from kernels that are made anew.
    """
    settings = {"epochs": 4, "batch_size": 20, "precision": precision, "ema_decay": 0.9}
    plain = train_model(tiny.request(model=random_cnn, compile="off", **settings))
    request = tiny.request(model=random_cnn, compile="on", checkpoint_every_s=0, **settings)
    first = train_model(request)

    assert [(one.compiled, one.why_compiled) for one in (plain, first)] == [(False, "set"), (True, "set")]
    [kernels] = (request.store_root / FOLDER).iterdir()
    assert list(kernels.rglob("*.so"))
    losses = [[row[0] for row in figures(one)] for one in (plain, first)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5 if precision == "float32" else 0.02)

    cut_off(request, (2, 2))
    forget()
    assert train_model(request).checkpoint == first.checkpoint
    shutil.rmtree(kernels)
    forget()
    again = train_model(request)
    assert figures(again) == figures(first)
    assert again.checkpoint == first.checkpoint
    assert list(kernels.rglob("*.so"))


@pytest.mark.slow
def test_auto_measures_compiled_steps_and_states_them(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For real, though the training takes a second: a share of it is all that the limits are."""
    monkeypatch.setattr(module, "MIN_SHARE", 0)
    monkeypatch.setattr(module, "COMPILE_S", 0.0)
    trained = train_model(tiny.request(epochs=2, precision="float32"))

    [measured] = trained.speeds
    assert measured.compiled
    assert measured.compile_s > 0
    assert trained.why_compiled == "measured"


@pytest.mark.slow
def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a compiler that only fails: said with auto; with 'on' an error that names the remedy."""
    monkeypatch.setattr(module, "MIN_SHARE", 0)
    monkeypatch.setattr(module, "COMPILE_S", 0.0)
    monkeypatch.setattr(module, "missing_compiler", lambda _: "")
    with inductor.patch({"cpp.cxx": ("false",)}):
        trained = train_model(tiny.request(epochs=1, precision="float32"))
        assert (trained.compiled, trained.why_compiled, trained.speeds) == (False, "failed", ())
        assert "torch could not compile the network" in caplog.text
        with pytest.raises(ConfigError, match=r"test_cnn: torch could not compile.*--set train.compile=off"):
            train_model(tiny.request(epochs=1, precision="float32", compile="on"))
