"""Images measured by the machines of a cluster, before they are ingested here."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from medcompare.data.measured import Measured
from medcompare.data.measuring import keep_shard, looked_at, measure_shard, shards_of
from medcompare.training.progress import file_counter
from tasks.cache import RETRIES, redact_tracebacks, run_each

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.data import DataConfig
    from medcompare.data.measuring import Shard
    from medcompare.data.sources.listing import ImageSource
    from medcompare.data.validation import ImageMeasurement
    from medcompare.runs.cluster import Cluster

SHARDS_PER_PLACE = 4
"""Handed out at once: what they find is held in memory until all have ended, and lost with the run until then."""


@redact_tracebacks
@task(name="measure", task_run_name="measure images", cache_policy=NO_CACHE, persist_result=False, **RETRIES)
def measure(shard: Shard) -> list[ImageMeasurement] | None:
    """What is in the images of `shard`; None where the worker does not see them."""
    return measure_shard(shard)


def measure_on(cluster: Cluster, source: ImageSource, data: DataConfig, store: Path) -> None:
    """Let `cluster` measure the images of `source` that `store` does not know, as far as it sees them."""
    logger, tell = get_run_logger(), file_counter(f"measuring images on {cluster.engine}")
    with contextlib.closing(Measured(store)) as kept:
        shards = shards_of(source, data, kept, n_sharing=cluster.n_per_machine)
        n_at_once = SHARDS_PER_PLACE * cluster.n_slots
        n_all, n_done = sum(len(shard.names) for shard in shards), 0
        for start in range(0, len(shards), n_at_once):
            part = shards[start : start + n_at_once]
            looked = [looked_at(shard) for shard in part]
            found = run_each(measure, [{"shard": shard} for shard in part], cluster=cluster)
            for shard, before, measured in zip(part, looked, found, strict=True):
                if measured is None or not keep_shard(shard, before, measured, kept):
                    logger.warning(
                        "the workers of %s do not see the images where they are here, so they are read on this "
                        "machine: a file system that all machines mount at the same place would spread that work, too",
                        cluster.engine,
                    )
                    return
                n_done += len(shard.names)
                tell(n_done, n_all)
