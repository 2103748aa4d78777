"""What a model costs."""

from __future__ import annotations

from pydantic import Field

from medcompare.base.language import message, t
from medcompare.base.phrase import Phrase
from medcompare.base.record import Record

FEWEST_PASSES = 6
"""A median of fewer values has no 95% interval: the whole range of n covers it with probability 1 - 2 / 2**n only."""

DISTURBING_CORES = 0.5
"""A convention: less than half a core is what a desktop and this software's own server use by the way."""

PASSES = {
    "n_warmup": message("{done:,} of {planned:,} warm-up passes"),
    "n_repeats": message("{done:,} of {planned:,} timed passes"),
    "n_throughput_batches": message("{done:,} of {planned:,} batches for the throughput"),
    "n_training_steps": message("{done:,} of {planned:,} training steps"),
}
"""Counts of a measurement that may be less than planned."""


class CostMeasurement(Record):
    """What one model costs, measured alone on a named device.

    Counts are of what was really done; where the time for measuring did not last they are
    smaller than those planned, which are given beside them.
    """

    model: str
    implementation: str | None = Field(
        default=None, description="Library that provides the network, with its version."
    )
    n_parameters: int | None = None
    flops: int | None = Field(default=None, description="Per image, one forward pass; 2 x MACs.")
    checkpoint_bytes: int | None = None
    latency_ms_median: float | None = Field(default=None, description="Per image, batch 1.")
    latency_ms_median_ci: tuple[float, float] | None = Field(
        default=None,
        description="95% interval of the median (order statistics); None with fewer than 6 passes.",
    )
    latency_ms_p95: float | None = Field(default=None, description="None with fewer than 20 passes.")
    throughput_images_per_s: float | None = Field(default=None, description="Median, at throughput_batch.")
    throughput_images_per_s_ci: tuple[float, float] | None = Field(
        default=None,
        description="95% interval of the median (order statistics); None with fewer than 6 batches.",
    )
    throughput_batch: int | None = None
    peak_memory_bytes: int | None = Field(
        default=None, description="Peak of the measuring process (CPU) or of the allocator (GPU)."
    )
    energy_j_per_image: float | None = Field(
        default=None,
        description="Joules per image at throughput_batch, of the whole device and whatever else it does.",
    )
    energy_source: str | None = Field(
        default=None, description="What counted the energy, or why nothing did: 'unavailable: ...'."
    )
    kernels: str | None = Field(default=None, description="How the library chose the kernels of inference.")
    training_images_per_s: float | None = Field(default=None, description="Measured alone.")
    training_time_s: float | None = Field(
        default=None, description="Wall time of the training as it ran (see training_conditions)."
    )
    training_conditions: Phrase | None = None
    equivalent_model: str | None = Field(
        default=None,
        description="The same architecture in a maintained library, for a network of a library that is not.",
    )
    equivalent_implementation: str | None = Field(default=None, description="That library, with its version.")
    equivalent_latency_ms_median: float | None = Field(
        default=None, description="What latency_ms_median is for that implementation, all else the same."
    )
    equivalent_latency_ms_median_ci: tuple[float, float] | None = None
    equivalent_n_repeats: int | None = Field(default=None, description="Timed passes of one image.")
    image_size_px: int | None = None
    n_warmup: int | None = Field(default=None, description="Passes of one image before timing.")
    n_warmup_planned: int | None = None
    n_repeats: int | None = Field(default=None, description="Timed passes of one image.")
    n_repeats_planned: int | None = None
    n_throughput_batches: int | None = Field(default=None, description="Timed passes of throughput_batch.")
    n_throughput_batches_planned: int | None = None
    n_training_steps: int | None = Field(default=None, description="Timed steps.")
    n_training_steps_planned: int | None = None
    n_threads: int | None = None
    precision: str | None = None
    device: str | None = None
    budget_s: float | None = Field(default=None, description="Time that the measurement was given.")
    elapsed_s: float | None = Field(default=None, description="Time that the measurement took.")
    other_load_cores: float | None = Field(
        default=None,
        ge=0,
        description="Processor cores that other programs kept busy meanwhile, which makes times longer: mean over "
        "inference, over the training steps or over the equivalent, whichever is largest.",
    )

    @property
    def disturbed(self) -> bool:
        """Whether other programs kept so many cores busy that times may be too long."""
        return self.other_load_cores is not None and self.other_load_cores > DISTURBING_CORES

    @property
    def cut_short(self) -> tuple[str, ...]:
        """What there was no time for, e.g. ``23 of 60 timed passes``; empty where all was done as planned."""
        counts = ((getattr(self, n), getattr(self, f"{n}_planned"), words) for n, words in PASSES.items())
        return tuple(
            t(words, done=done, planned=planned)
            for done, planned, words in counts
            if done is not None and planned is not None and done < planned
        )
