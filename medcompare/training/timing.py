"""Forward passes of a network: how long they take, and how much energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from medcompare.base.language import message
from medcompare.training.cost_instruments import NVML, RAPL, Budget, EnergyCounter

if TYPE_CHECKING:
    from torch import nn

    from medcompare.training.scoring import Placement

ENERGY_S, MAX_ENERGY_PASSES = 2.0, 100_000
"""Time of forward passes whose energy is counted."""

LATEST_THROUGHPUT = 0.7
"""Share of the budget by which throughput and energy are measured."""


def time_forward(
    network: nn.Module,
    placement: Placement,
    *,
    size_px: int,
    batch: int,
    n_warmup: int,
    n_repeats: int,
    budget: Budget,
    latest: tuple[float, float] = (1.0, 1.0),
    at_least: tuple[int, int] = (0, 0),
    expected_s: float = 0.0,
) -> tuple[int, list[float]]:
    """Time forward passes, after some that do not count, as many of both as fit.

    Parameters
    ----------
    network, placement, size_px, batch
        What runs, where, and on how many images of which side.
    n_warmup, n_repeats : int
        Passes planned before timing, and timed.
    budget : Budget
        The time there is.
    latest : (float, float)
        Shares of the budget by which the passes before timing, and the timed ones, end.
    at_least : (int, int)
        Passes of either kind that are done in any case.
    expected_s : float, default=0.0
        What the first pass is thought to take.

    Returns
    -------
    int, list of float
        Passes done before timing, and the seconds of each timed one.
    """
    inputs = random_inputs(placement, batch, size_px)

    def once() -> float:
        _wait_for(placement.device)
        started = budget.clock()
        network(inputs)
        _wait_for(placement.device)
        return budget.clock() - started

    with torch.inference_mode():
        before = budget.as_many(once, n_warmup, latest=latest[0], at_least=at_least[0], expected_s=expected_s)
        if not before:
            return 0, []
        timed = budget.as_many(once, n_repeats, latest=latest[1], at_least=at_least[1], expected_s=before[-1])
    return len(before), timed


NO_TIME = {
    NVML: message("NVML, the whole GPU: no time to measure it, see cost.budget_s"),
    RAPL: message("RAPL, the processor packages: no time to measure it, see cost.budget_s"),
}


def measure_energy(
    network: nn.Module, placement: Placement, *, size_px: int, batch: int, budget: Budget
) -> tuple[float | None, str]:
    """Joules per image over `ENERGY_S` of forward passes, and what counted them; None where nothing does.

    The counters are renewed 10 to 1000 times a second, so that a few passes would not do.
    """
    counter = EnergyCounter(placement.device)
    left_s = min(ENERGY_S, LATEST_THROUGHPUT * budget.seconds - budget.elapsed_s())
    if counter.source not in NO_TIME or left_s <= 0:
        return None, counter.source
    _, times_s = time_forward(
        network,
        placement,
        size_px=size_px,
        batch=batch,
        n_warmup=1,
        n_repeats=MAX_ENERGY_PASSES,
        budget=Budget(left_s, clock=budget.clock),
    )
    joules = counter.joules()
    if joules is None or sum(times_s) < ENERGY_S / 2:
        return None, NO_TIME[counter.source]
    return joules / (batch * (1 + len(times_s))), counter.source


def random_inputs(placement: Placement, batch: int, size_px: int) -> torch.Tensor:
    """A batch of noise, the same every time: values are no matter for the time."""
    generator = torch.Generator().manual_seed(0)
    return placement.tensor(torch.randn((batch, 3, size_px, size_px), generator=generator))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
