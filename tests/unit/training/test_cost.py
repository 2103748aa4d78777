"""Cost: counts checked by hand, intervals against the binomial distribution, real measurements plausible."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from scipy import stats
from torch import nn

from medcompare.config import CostConfig
from medcompare.cost import (
    CLEAR_REFS,
    OtherLoad,
    count_flops,
    measure_cost,
    median_interval,
    peak_resident_bytes,
    quantile,
    resident_bytes,
    time_forward,
)
from medcompare.hardware import core_numbers
from medcompare.models.registry import build_model
from medcompare.models.zoo import MODELS
from medcompare.scoring import Placement
from medcompare.training import train_model
from medcompare.training_requests import CostRequest

ROOT = Path(__file__).resolve().parents[3]
CPU = Placement(device=torch.device("cpu"), memory_format="contiguous")


@pytest.mark.parametrize("n", [6, 10, 17, 60, 200, 1000])
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
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)


def test_quantiles_agree_with_numpy() -> None:
    """Linear interpolation."""
    values = np.random.default_rng(0).gamma(2, size=37).tolist()

    for share in (0.0, 0.5, 0.95, 1.0):
        assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)))


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

    times = time_forward(Counting(), CPU, size_px=8, batch=3, n_warmup=2, n_repeats=5)

    assert len(times) == 5
    assert calls == [(3, 3, 8, 8)] * 7


MEMORY_PROBE = """
import torch
from medcompare.cost import PeakMemory

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


def test_every_field_is_measured(tiny: Any) -> None:
    """Parameters and FLOPs exact, times positive and in order, conditions in words."""
    trained = train_model(tiny.request(epochs=1, precision="float32"))
    request = CostRequest(
        trained=trained,
        train=tiny.request().train,
        cost=CostConfig(n_warmup=1, n_repeats=20, throughput_batch=4),
        split=tiny.split,
        data_root=tiny.root,
        store_root=tiny.store.root,
        n_threads=1,
    )
    stages: list[str] = []
    cost = measure_cost(request, emit=lambda event: stages.append(event["stage"]))

    assert all(value is not None for value in cost.model_dump().values())
    assert cost.n_parameters == 3 * 9 * 16 + 32 + 16 * 9 * 32 + 64 + 32 * 2 + 2
    assert cost.flops == 2 * (3 * 9 * 16 * 16 * 16 + 16 * 9 * 32 * 8 * 8 + 32 * 2)
    assert cost.checkpoint_bytes == trained.checkpoint.n_bytes
    low, high = cost.latency_ms_median_ci
    assert 0 < low <= cost.latency_ms_median <= high
    assert cost.latency_ms_p95 >= cost.latency_ms_median
    assert cost.throughput_images_per_s > 0
    assert cost.training_images_per_s > 0
    assert cost.training_time_s == trained.elapsed_s
    assert cost.training_conditions.endswith("1 threads, float32, alone")
    assert stages == ["latency", "throughput", "training steps"]
