"""Bootstrap weights: how often each case occurs in each resample, in batches, on all cores.

One plan gives the same resamples every time it is walked through, so that all models
and all figures see common random numbers. Patients are resampled whole. Resamples are drawn
in one thread and counted and evaluated in several: neither their number nor the size of
the batches changes a figure.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from medcompare.base.errors import ConfigError
from medcompare.base.hardware import usable_cores
from medcompare.base.language import t

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from medcompare.stats.arrays import BoolArray, IntArray

WeightArray = NDArray[np.int32]
Result = TypeVar("Result")

BATCH_ELEMENTS = 2**18
"""Weights per batch: 1 MB fits the cache of a core; a batch has at least one resample."""

FEW_ELEMENTS = 2**21
"""Weights in all below which starting threads costs more than they save (some 10 ms)."""

PROGRESS_EVERY_S = 10.0
"""Time between two lines of a long bootstrap in the log."""

_STRATIFIED_STREAM, _FREE_STREAM = 1, 2

logger = logging.getLogger(__name__)


class ResamplingPlan:
    """Reproducible bootstrap resamples of cases or patients.

    Parameters
    ----------
    positive : ndarray of bool, shape (n_samples,)
        Labels, both classes present.
    clusters : ndarray of int, shape (n_samples,), optional
        Patient codes 0 … k - 1; None resamples cases.
    stratified : bool
        Draw positives and negatives separately, so that each resample has the sample's
        prevalence. With patients only possible where each has one class; see
        `is_stratified`.
    seed : int
        Seed of the draws.
    n_resamples : int
        Number of resamples, at least 100.

    Raises
    ------
    ConfigError
        If `n_resamples` is below 100 or `seed` is negative.
    """

    def __init__(
        self, positive: BoolArray, clusters: IntArray | None, *, stratified: bool, seed: int, n_resamples: int
    ) -> None:
        if n_resamples < 100:
            msg = f"n_resamples is {n_resamples}; a bootstrap needs at least 100, better 5000"
            raise ConfigError(msg)
        if seed < 0:
            msg = f"seed is {seed}; give a whole number from 0 up"
            raise ConfigError(msg)
        self.n_resamples = n_resamples
        self.clustered = clusters is not None
        codes = np.arange(positive.size) if clusters is None else clusters
        self._seed = seed
        self._stream = _STRATIFIED_STREAM if stratified else _FREE_STREAM
        n_units = int(codes.max()) + 1
        has_positive = np.bincount(codes, weights=positive, minlength=n_units) > 0
        has_negative = np.bincount(codes, weights=~positive, minlength=n_units) > 0
        self.is_stratified = stratified and not bool((has_positive & has_negative).any())
        strata = [np.flatnonzero(has_positive), np.flatnonzero(has_negative)]
        # Units drawn among themselves, with replacement, as many as there are.
        self._sizes = [stratum.size for stratum in strata] if self.is_stratified else [n_units]
        place = np.arange(n_units)
        if self.is_stratified:
            place[np.concatenate(strata)] = np.arange(n_units)
        # Where each case finds its unit's count among those of all strata, one after another.
        self._column = place[codes]

    @property
    def description(self) -> str:
        """How the resamples are drawn, in a few words, for the name of a method."""
        if self.is_stratified:
            return t("patients, stratified by class") if self.clustered else t("cases, stratified by class")
        return t("patients") if self.clustered else t("cases")

    def each(self, work: Callable[[WeightArray], Result]) -> list[Result]:
        """Do `work` on every batch of resamples, on all cores this process may use.

        Parameters
        ----------
        work : callable
            Gets weights of shape (n_in_batch, n_samples): how often each case occurs in
            each resample. Called from several threads at once; numpy's loops run side by
            side in them.

        Returns
        -------
        list
            Results in the order of the resamples, whatever the order they were ready in.
        """
        n_threads = usable_cores()
        if n_threads == 1 or self.n_resamples * self._column.size < FEW_ELEMENTS:
            return [work(self._weights(picks)) for picks in self._picks()]
        found: list[Result] = []
        waiting: deque[tuple[int, Future[Result]]] = deque()
        done, start = 0, time.monotonic()
        reported = start
        with ThreadPoolExecutor(n_threads) as pool:
            for picks in self._picks():
                waiting.append((len(picks[0]), pool.submit(self._worked, work, picks)))
                # Drawing runs ahead by a few batches only: memory stays bounded.
                while len(waiting) > 2 * n_threads:
                    size, future = waiting.popleft()
                    found.append(future.result())
                    done += size
                if time.monotonic() - reported >= PROGRESS_EVERY_S:
                    reported = time.monotonic()
                    self._tell(done, reported - start)
            found.extend(future.result() for _, future in waiting)
        return found

    def _picks(self) -> Iterator[list[IntArray]]:
        """Numbers of the units drawn, per stratum of shape (n_in_batch, size of the stratum)."""
        # One generator per stratum: the draws do not depend on the size of the batches.
        rngs = [np.random.default_rng([self._seed, self._stream, i]) for i in range(len(self._sizes))]
        size = max(1, min(self.n_resamples, BATCH_ELEMENTS // max(self._column.size, 1)))
        for start in range(0, self.n_resamples, size):
            shape = min(size, self.n_resamples - start)
            yield [
                rng.integers(0, k, size=(shape, k), dtype=np.int64)
                for rng, k in zip(rngs, self._sizes, strict=True)
            ]

    def _weights(self, picks: list[IntArray]) -> WeightArray:
        """How often each case was drawn, of shape (n_in_batch, n_samples)."""
        counts = []
        for drawn in picks:
            rows, k = drawn.shape
            cells = drawn + np.arange(0, rows * k, k)[:, None]
            counts.append(np.bincount(cells.ravel(), minlength=rows * k).reshape(rows, k))
        together = counts[0] if len(counts) == 1 else np.concatenate(counts, axis=1)
        return np.take(together.astype(np.int32), self._column, axis=1)

    def _worked(self, work: Callable[[WeightArray], Result], picks: list[IntArray]) -> Result:
        return work(self._weights(picks))

    def _tell(self, done: int, elapsed_s: float) -> None:
        left = f", {elapsed_s / done * (self.n_resamples - done):.0f} s left" if done else ""
        logger.info(
            "bootstrap of %s cases: %s of %s resamples%s",
            f"{self._column.size:,}",
            f"{done:,}",
            f"{self.n_resamples:,}",
            left,
        )
