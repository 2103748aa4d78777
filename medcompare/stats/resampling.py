"""Bootstrap weights: how often each case stands in each resample, in batches.

One plan gives the same resamples every time it is walked through, so that all models
and all figures see common random numbers. Patients are resampled whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medcompare.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medcompare.stats.arrays import BoolArray, FloatArray, IntArray

BATCH_ELEMENTS = 2**18
"""Weights per batch: 2 MB fit the cache of a core, and are long enough for vector code."""

_STRATIFIED_STREAM, _FREE_STREAM = 1, 2


@dataclass(frozen=True, kw_only=True)
class _Stratum:
    """Units drawn among themselves, with replacement, as many as there are."""

    units: IntArray


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
        self,
        positive: BoolArray,
        clusters: IntArray | None,
        *,
        stratified: bool,
        seed: int,
        n_resamples: int,
    ) -> None:
        if n_resamples < 100:
            msg = f"n_resamples is {n_resamples}; a bootstrap needs at least 100, better 5000"
            raise ConfigError(msg)
        if seed < 0:
            msg = f"seed is {seed}; give a whole number from 0 up"
            raise ConfigError(msg)
        self.n_resamples = n_resamples
        self.clustered = clusters is not None
        self._codes = np.arange(positive.size) if clusters is None else clusters
        self._seed = seed
        self._stream = _STRATIFIED_STREAM if stratified else _FREE_STREAM
        n_units = int(self._codes.max()) + 1
        has_positive = np.bincount(self._codes, weights=positive, minlength=n_units) > 0
        has_negative = np.bincount(self._codes, weights=~positive, minlength=n_units) > 0
        self.is_stratified = stratified and not bool((has_positive & has_negative).any())
        if self.is_stratified:
            self._strata = [
                _Stratum(units=np.flatnonzero(has_positive)),
                _Stratum(units=np.flatnonzero(has_negative)),
            ]
        else:
            self._strata = [_Stratum(units=np.arange(n_units))]
        self._n_units = n_units

    @property
    def description(self) -> str:
        """How the resamples are drawn, in a few words, for the name of a method."""
        what = "patients" if self.clustered else "cases"
        return f"{what}, stratified by class" if self.is_stratified else what

    def batches(self) -> Iterator[FloatArray]:
        """Walk through the resamples.

        Yields
        ------
        ndarray of float64, shape (n_samples, n_in_batch)
            Whole numbers: how often each case stands in each resample. One row per case,
            so that choosing or ordering cases moves whole rows.
        """
        # One generator per stratum: the draws do not depend on the size of the batches.
        rngs = [np.random.default_rng([self._seed, self._stream, i]) for i in range(len(self._strata))]
        size = max(1, min(self.n_resamples, BATCH_ELEMENTS // max(self._codes.size, 1)))
        for start in range(0, self.n_resamples, size):
            yield self._draw(rngs, min(size, self.n_resamples - start))

    def _draw(self, rngs: list[np.random.Generator], size: int) -> FloatArray:
        units = np.zeros((self._n_units, size))
        for rng, stratum in zip(rngs, self._strata, strict=True):
            k = stratum.units.size
            picks = rng.integers(0, k, size=(size, k), dtype=np.int64)
            picks *= size
            picks += np.arange(size)[:, None]
            counts = np.bincount(picks.ravel(), minlength=k * size).reshape(k, size)
            units[stratum.units] = counts
        return units[self._codes] if self.clustered else units
