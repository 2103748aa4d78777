"""Cost: counts checked by hand, intervals against the binomial distribution, real measurements plausible."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from scipy import stats
from torch import nn

from medcompare.base.hardware import core_numbers
from medcompare.config.schema import CostConfig
from medcompare.models.registry import build_model
from medcompare.models.zoo import MODELS
from medcompare.predictions.costs import CostMeasurement
from medcompare.training import cost_instruments
from medcompare.training.cost import count_flops, implementation_of, measure_cost, time_equivalent
from medcompare.training.cost_instruments import (
    CLEAR_REFS,
    Budget,
    EnergyCounter,
    OtherLoad,
    median_interval,
    peak_resident_bytes,
    resident_bytes,
)
from medcompare.training.loop import train_model
from medcompare.training.requests import CostRequest
from medcompare.training.scoring import Placement
from medcompare.training.timing import measure_energy, time_forward

ROOT = Path(__file__).resolve().parents[2]
CPU = Placement(device=torch.device("cpu"), memory_format="contiguous")


@pytest.mark.parametrize("n", [6, 10, 17, 60, 200, 1000, 1100, 20_000])
def test_the_interval_of_the_median_has_its_coverage(n: int) -> None:
    """The narrowest symmetric pair of order statistics that covers at least 95 %."""
    low, high = (int(rank) for rank in median_interval([float(value) for value in range(1, n + 1)]))
    coverage = stats.binom.cdf(high - 1, n, 0.5) - stats.binom.cdf(low - 1, n, 0.5)
    narrower = stats.binom.cdf(high - 2, n, 0.5) - stats.binom.cdf(low, n, 0.5)

    assert low + high == n + 1
    assert coverage >= 0.95
    assert narrower < 0.95


def test_the_interval_of_a_published_table() -> None:
    """N = 10: the second and ninth value (Conover, table A3: 97.9 %)."""
    assert median_interval([float(value) for value in range(1, 11)]) == (2.0, 9.0)


@pytest.mark.parametrize("n", range(6))
def test_a_median_of_few_passes_has_no_interval(n: int) -> None:
    """Even the range of five values covers the median with 93.75 % only: a range is not called an interval."""
    assert 1 - 2 * stats.binom.cdf(0, n, 0.5) < 0.95
    assert median_interval([float(value) for value in range(n)]) is None


def test_flops_of_a_network_counted_by_hand() -> None:
    """Two per multiplication with addition: 3x3 kernel, 3 to 4 channels, 8x8 positions, then 4 to 2."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )

    assert count_flops(network.eval(), CPU, size_px=8) == 2 * (3 * 9 * 4 * 64 + 4 * 2)


def test_flops_of_resnet50_agree_with_the_published_figure() -> None:
    """Torchvision states 4.09 GMAC at 224 px with 1000 classes; two classes less than a hundredth fewer."""
    network = build_model(MODELS["resnet50"], seed=0).eval()

    assert count_flops(network, CPU, size_px=224) / 2 == pytest.approx(4.09e9, rel=0.01)


def test_warm_up_does_not_count() -> None:
    """As many times as repeats, the first passes left out."""
    calls = []

    class Counting(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            calls.append(images.shape)
            return images

    n_before, times = time_forward(
        Counting(), CPU, size_px=8, batch=3, n_warmup=2, n_repeats=5, budget=Budget(3600)
    )

    assert (n_before, len(times)) == (2, 5)
    assert calls == [(3, 3, 8, 8)] * 7


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


class Slow(nn.Module):
    """A network whose pass takes as many seconds by the clock as the images of the batch say."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The images themselves, later."""
        self.clock.now += self.seconds * len(images)
        return images


@pytest.mark.parametrize(
    ("pass_s", "expected"),
    [
        (0.4, (10, 60, 28.0)),  # all of it fits
        (1.0, (6, 24, 30.0)),  # 6 by a tenth of 60 s, then to the half
        (4.9, (1, 5, 29.4)),  # a sixth timed pass would end after 30 s
        (40.0, (1, 3, 160.0)),  # the least, which is always done
    ],
)
def test_passes_end_with_their_share_of_the_time(pass_s: float, expected: tuple[int, int, float]) -> None:
    """Of 60 s, warm-up passes to the tenth, timed ones to the half: counted by hand."""
    clock = Clock()
    budget = Budget(60, clock=clock)
    n_before, times = time_forward(
        Slow(clock, pass_s),
        CPU,
        size_px=8,
        batch=1,
        n_warmup=10,
        n_repeats=60,
        budget=budget,
        latest=(0.1, 0.5),
        at_least=(1, 3),
    )

    assert (n_before, len(times), budget.elapsed_s()) == pytest.approx(expected)
    assert times == pytest.approx([pass_s] * len(times))


def test_a_slow_first_pass_does_not_cut_the_warm_up_short() -> None:
    """On a loaded machine the first pass took seconds, the second a tenth: what the last one took is expected."""
    clock, took = Clock(), iter([5.0] + [0.1] * 9)

    def work() -> float:
        seconds = next(took)
        clock.now += seconds
        return seconds

    assert Budget(60, clock=clock).as_many(work, 10, latest=0.2, at_least=1) == [5.0] + [0.1] * 9


@pytest.mark.parametrize(("left_s", "n_done"), [(15.9, 0), (16.1, 1), (31.9, 1), (32.1, 1), (48.1, 2)])
def test_a_batch_that_does_not_fit_is_not_begun(left_s: float, n_done: int) -> None:
    """Sixteen images of one second: 16 s before timing, 16 s for each pass that counts."""
    clock = Clock()
    budget = Budget(left_s, clock=clock)
    n_before, times = time_forward(
        Slow(clock, 1.0), CPU, size_px=8, batch=16, n_warmup=1, n_repeats=6, budget=budget, expected_s=16.0
    )

    assert n_before == (left_s >= 16)
    assert len(times) == max(0, int(left_s // 16) - 1)
    assert budget.elapsed_s() <= left_s
    assert n_before + len(times) >= n_done


def test_steps_end_with_the_time_and_the_first_is_always_done() -> None:
    """Seven seconds a step: of 60 s and a share of 0.8, six steps end by 42 s, and a seventh would not."""
    clock = Clock()

    def steps_within(budget: Budget, n: int, latest: float) -> int:
        n_done = 0
        for _ in budget.limited(range(100), n, latest=latest):
            clock.now += 7
            n_done += 1
        return n_done

    assert steps_within(Budget(60, clock=clock), 50, 0.8) == 6
    assert steps_within(Budget(60, clock=clock), 4, 0.8) == 4
    assert steps_within(Budget(1, clock=clock), 50, 0.8) == 1


MEMORY_PROBE = """
import torch
from medcompare.training.cost_instruments import PeakMemory

earlier = torch.ones(128 * 2**20)
del earlier
memory = PeakMemory(torch.device("cpu"))
memory.reset_peak()
block = torch.ones(64 * 2**20)
print(memory.peak_bytes() / block.nbytes)
"""


def test_memory_is_that_of_what_happened_since() -> None:
    """256 MB touched after the reset are seen, most of them at least: the system may take other pages away.

    In a process of its own: what other tests left behind would be freed meanwhile, and hide the growth.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROBE], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert float(done.stdout) >= 0.6
    if CLEAR_REFS.exists():
        assert float(done.stdout) <= 1.5


def test_memory_is_read_from_the_status_file_or_asked_of_the_system(tmp_path: Path) -> None:
    """Kilobytes of the file where there is one; else the peak that the system knows."""
    status = tmp_path / "status"
    status.write_text("Name: x\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\n")

    assert (resident_bytes(status=status), peak_resident_bytes(status=status)) == (100 * 1024, 200 * 1024)
    assert peak_resident_bytes(status=tmp_path / "none") > 2**24
    assert resident_bytes(status=tmp_path / "none") > 2**24


def test_the_load_of_others_is_seen_and_ones_own_is_not() -> None:
    """At least what a process of ours used meanwhile, at most what this one left over, however busy the machine is."""
    spin = "import time; end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    with subprocess.Popen([sys.executable, "-c", spin]) as child:
        other, this = psutil.Process(child.pid), psutil.Process()
        load, started, before = OtherLoad(), time.perf_counter(), (other.cpu_times(), this.cpu_times())
        while time.perf_counter() - started < 2:
            sum(range(100_000))
        cores, elapsed_s, after = (
            load.cores(),
            time.perf_counter() - started,
            (other.cpu_times(), this.cpu_times()),
        )
        child.kill()
    used, own = (
        (now.user + now.system - then.user - then.system) / elapsed_s
        for now, then in zip(after, before, strict=True)
    )

    assert used > 0.02
    assert own > 0.02
    assert cores is not None
    assert used - 0.1 <= cores <= len(core_numbers()) - own + 0.1


def test_no_load_is_made_up_where_the_system_counts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of zeros, as some containers have: unknown, not quiet."""
    nothing = psutil.cpu_times(percpu=True)[0]
    monkeypatch.setattr(psutil, "cpu_times", lambda **_: [type(nothing)(*[0.0] * len(nothing))] * 1000)
    load = OtherLoad()
    started = time.process_time()
    while time.process_time() - started < 0.1:
        sum(range(10_000))

    assert load.cores() is None


def cost_request(tiny: Any, trained: Any, **cost: Any) -> CostRequest:
    """Cost of `trained`, measured with one thread."""
    return CostRequest(
        trained=trained,
        train=tiny.request().train,
        cost=CostConfig.model_validate({"n_warmup": 1, "n_repeats": 20, "throughput_batch": 4} | cost),
        split=tiny.split,
        data_root=tiny.root,
        store_root=tiny.store.root,
        n_threads=1,
    )


EQUIVALENT = {name for name in CostMeasurement.model_fields if name.startswith("equivalent_")}


def test_every_field_is_measured(tiny: Any) -> None:
    """Parameters and FLOPs exact, times positive and in order, conditions in words, counts as planned."""
    trained = train_model(tiny.request(epochs=1, precision="float32"))
    cost = measure_cost(cost_request(tiny, trained))

    # Whether anything counts energy is up to the machine; the source says so either way.
    unknown = EQUIVALENT | {"energy_j_per_image"}
    assert all(value is not None for value in cost.model_dump(exclude=unknown).values())
    assert (cost.energy_j_per_image is None) == cost.energy_source.startswith("unavailable")
    assert cost.model_dump(include=EQUIVALENT) == dict.fromkeys(EQUIVALENT)
    assert cost.n_parameters == 3 * 9 * 16 + 32 + 16 * 9 * 32 + 64 + 32 * 2 + 2
    assert cost.flops == 2 * (3 * 9 * 16 * 16 * 16 + 16 * 9 * 32 * 8 * 8 + 32 * 2)
    assert cost.checkpoint_bytes == trained.checkpoint.n_bytes
    low, high = cost.latency_ms_median_ci
    assert 0 < low <= cost.latency_ms_median <= high
    assert cost.latency_ms_p95 >= cost.latency_ms_median
    low, high = cost.throughput_images_per_s_ci
    assert 0 < low <= cost.throughput_images_per_s <= high
    assert cost.training_images_per_s > 0
    assert cost.training_time_s == trained.elapsed_s
    assert str(cost.training_conditions).endswith("1 threads, float32, alone")
    assert (cost.n_warmup, cost.n_repeats, cost.n_throughput_batches, cost.n_training_steps) == (1, 20, 6, 3)
    assert (cost.cut_short, cost.budget_s) == ((), 60)
    assert 0 < cost.elapsed_s < 60
    assert cost.implementation == f"torch {metadata.version('torch')}"


def test_with_no_time_the_least_is_measured_and_said(tiny: Any) -> None:
    """The real measurement by a clock that is far too fast: three passes, without interval, and counts are true."""
    trained = train_model(tiny.request(epochs=1, precision="float32"))
    cost = measure_cost(cost_request(tiny, trained, budget_s=1.0), clock=lambda: 1e5 * time.perf_counter())

    assert (cost.n_warmup, cost.n_repeats, cost.n_throughput_batches, cost.n_training_steps) == (1, 3, 0, 0)
    assert cost.latency_ms_median > 0
    assert cost.flops == 2 * (3 * 9 * 16 * 16 * 16 + 16 * 9 * 32 * 8 * 8 + 32 * 2)
    # Single images need less memory than a batch: the figure would not be that of other models.
    unknown = (
        "latency_ms_median_ci",
        "latency_ms_p95",
        "throughput_images_per_s",
        "throughput_images_per_s_ci",
    )
    unknown += ("peak_memory_bytes", "training_images_per_s")
    assert [name for name in unknown if getattr(cost, name) is not None] == []
    assert cost.cut_short == (
        "3 of 20 timed passes",
        "0 of 6 batches for the throughput",
        "0 of 3 training steps",
    )


def test_on_a_loaded_machine_the_budget_holds(tiny: Any) -> None:
    """More busy processes than cores: the parts that are measured take no longer than the budget, but for one step."""
    trained = train_model(tiny.request(epochs=1, precision="float32", image_size_px=256))
    spin = "import time; end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    busy = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2 * len(core_numbers()))]
    try:
        cost = measure_cost(cost_request(tiny, trained, budget_s=1.0, n_warmup=1000, n_repeats=10_000))
    finally:
        for each in busy:
            each.kill()
            each.wait()

    assert 3 <= cost.n_repeats < 10_000
    assert cost.n_warmup < 1000
    assert (cost.n_warmup_planned, cost.n_repeats_planned) == (1000, 10_000)
    assert f"{cost.n_repeats:,} of 10,000 timed passes" in cost.cut_short
    assert (cost.latency_ms_median_ci is None) == (cost.n_repeats < 6)
    if cost.other_load_cores is not None:
        assert cost.disturbed


def test_the_equivalent_is_timed_under_the_same_conditions(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that has one: its name, its library, and a time with an interval; nothing else changes."""
    trained = train_model(tiny.request(epochs=1, precision="float32"))
    monkeypatch.setitem(
        MODELS, "test_cnn", dataclasses.replace(MODELS["test_cnn"], maintained_equivalent="resnet50")
    )
    cost = measure_cost(cost_request(tiny, trained))

    assert (cost.equivalent_model, cost.implementation) == ("resnet50", f"torch {metadata.version('torch')}")
    assert cost.equivalent_implementation == f"torchvision {metadata.version('torchvision')}"
    low, high = cost.equivalent_latency_ms_median_ci
    assert 0 < low <= cost.equivalent_latency_ms_median <= high
    assert cost.equivalent_latency_ms_median > cost.latency_ms_median
    assert cost.equivalent_n_repeats == 20
    assert cost.n_parameters == 3 * 9 * 16 + 32 + 16 * 9 * 32 + 64 + 32 * 2 + 2


@pytest.mark.parametrize(("left_s", "n_timed"), [(30.0, 20), (5.0, 0)])
def test_building_kernels_leaves_the_equivalent_its_time(
    left_s: float, n_timed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first pass of 10 s, as EfficientNet-B0 had on an H100, then 10 ms each: all are timed where 30 s were left."""
    clock = Clock()

    class BuildsKernels(Slow):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.clock.now += 10.0 if self.clock.now == clock_at_start else 0.0
            return super().forward(images)

    clock_at_start = clock.now
    network = BuildsKernels(clock, 0.01)
    monkeypatch.setattr("medcompare.training.cost.build_model", lambda *_, **__: network)
    monkeypatch.setattr("medcompare.training.cost.implementation_of", lambda _: "")
    found = time_equivalent(
        MODELS["test_cnn"],
        CPU,
        size_px=8,
        cost=CostConfig(n_repeats=20),
        budget=Budget(left_s, clock=clock),
        latency_s=0.01,
    )
    assert found["equivalent_n_repeats"] == n_timed
    assert ("equivalent_latency_ms_median" in found) == bool(n_timed)
    assert found.get("equivalent_latency_ms_median", 10.0) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("model", "library"),
    [
        ("resnet50", "torchvision"),
        ("efficientnet_b0", "efficientnet-pytorch"),
        ("convnext_tiny", "torchvision"),
        ("efficientnet_b0_torchvision", "torchvision"),
        ("test_cnn", "torch"),
    ],
)
def test_the_implementation_is_that_of_the_network_built(model: str, library: str) -> None:
    """Library and installed version, read from the class of the network itself."""
    assert implementation_of(MODELS[model].build()) == f"{library} {metadata.version(library)}"


def test_energy_is_what_the_counters_of_the_packages_gained(tmp_path: Path) -> None:
    """Two packages in microjoules; a part of one is not counted again."""
    for name, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 1_000_000), ("intel-rapl:0:0", 7)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{value}\n")
    counter = EnergyCounter(torch.device("cpu"), powercap=tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("8000000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1500000\n")

    assert counter.joules() == pytest.approx(3.5)
    assert counter.source == "RAPL, the processor packages"
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("0\n")  # it began again
    assert counter.joules() is None


def test_energy_that_nothing_counts_is_said_to_be_unavailable(tmp_path: Path) -> None:
    """No counters, and a device without any."""
    counter = EnergyCounter(torch.device("cpu"), powercap=tmp_path)
    assert (counter.joules(), counter.source) == (
        None,
        "unavailable: the processor's counters (RAPL) are not there",
    )
    assert EnergyCounter(torch.device("meta")).source.startswith("unavailable: this device")


def test_energy_per_image_is_that_of_the_passes_it_was_counted_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter of 4 joules per second and passes of half a second: 2 joules for a batch of 8."""
    ticks = [0.0]
    counter_file = tmp_path / "intel-rapl:0" / "energy_uj"
    counter_file.parent.mkdir()
    counter_file.write_text("0")
    monkeypatch.setattr(cost_instruments, "POWERCAP", tmp_path)

    class Slow(torch.nn.Module):
        """Each pass takes half a second of the clock below."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            ticks[0] += 0.5
            counter_file.write_text(str(int(4e6 * ticks[0])))
            return images

    placement = Placement(device=torch.device("cpu"), memory_format="contiguous")
    budget = Budget(100.0, clock=lambda: ticks[0])
    joules, source = measure_energy(Slow(), placement, size_px=8, batch=8, budget=budget)

    assert (joules, source) == (pytest.approx(2 / 8), "RAPL, the processor packages")
