"""What a model costs."""

from __future__ import annotations

from pydantic import Field

from medcompare.records import Record


class CostMeasurement(Record):
    """What one model costs, measured alone on a named device."""

    model: str
    n_parameters: int | None = None
    flops: int | None = Field(default=None, description="Per image, one forward pass; 2 x MACs.")
    checkpoint_bytes: int | None = None
    latency_ms_median: float | None = Field(default=None, description="Per image, batch 1.")
    latency_ms_median_ci: tuple[float, float] | None = Field(
        default=None, description="95 % interval of the median (order statistics)."
    )
    latency_ms_p95: float | None = None
    throughput_images_per_s: float | None = Field(default=None, description="At throughput_batch.")
    throughput_batch: int | None = None
    peak_memory_bytes: int | None = Field(
        default=None, description="Peak of the measuring process (CPU) or of the allocator (GPU)."
    )
    training_images_per_s: float | None = Field(default=None, description="Measured alone.")
    training_time_s: float | None = Field(
        default=None, description="Wall time of the training as it ran (see training_conditions)."
    )
    training_conditions: str | None = None
    image_size_px: int | None = None
    n_repeats: int | None = None
    n_threads: int | None = None
    precision: str | None = None
    device: str | None = None
    other_load_cores: float | None = Field(
        default=None,
        ge=0,
        description="Processor cores that other programs kept busy meanwhile, which makes times longer: mean over "
        "inference or over the training steps, whichever is larger.",
    )
