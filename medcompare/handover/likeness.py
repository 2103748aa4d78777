"""How unlike the training images an image is: in the features of the network, and in its pixels.

Features alone miss much. A network that has settled a question gives every image nearly one of two feature vectors, and
so noise, negatives and swapped colours too; five simple statistics of the pixels tell these at once. What those
cannot tell, such as another tissue in the same colours, may show in the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from threadpoolctl import ThreadpoolController

from medcompare.base.file_access import follow_umask
from medcompare.base.language import message
from medcompare.handover.records import other_version

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

PIXEL_STATISTICS = (
    message("brightness (mean grey level)"),
    message("contrast (standard deviation of the grey levels)"),
    message("fine detail (differences of neighbouring pixels)"),
    message("share of red in the colours"),
    message("share of blue in the colours"),
)
_BLAS = ThreadpoolController().select(user_api="blas")
"""Of numpy. Its products are small here, and threads that wait for one another take more time than they spare."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as `medcompare.runs.data_changes`."""


def pixel_statistics(crops: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> FloatArray:
    """`PIXEL_STATISTICS` of crops (n, 3, size, size), shape (n, 5); brightness and contrast in grey levels of 255."""
    # For every image that is scored: float32, and one buffer for all, as fresh memory takes longer than the sums.
    buffer = np.empty(crops[0].shape, np.float32)
    with _BLAS.limit(limits=1):
        return np.array([_of_pixels(crop, buffer) for crop in crops], np.float64)


def _of_pixels(crop: NDArray[np.uint8], pixels: NDArray[np.float32]) -> tuple[float, ...]:
    np.copyto(pixels, crop)
    red, green, blue = pixels.mean(axis=(1, 2)).tolist()
    grey = np.tensordot(_GREY, pixels, axes=1)
    contrast, total = float(grey.std()), max(red + green + blue, 1.0)
    detail = float(np.abs(grey[1:] - grey[:-1]).mean() + np.abs(grey[:, 1:] - grey[:, :-1]).mean())
    return float(grey.mean()), contrast, detail / max(contrast, 1.0), red / total, blue / total


ROUNDING = 1e-4
"""Of a distance, relative: limits are distances of validation images, and engines round features otherwise."""


def is_unlike(distance: FloatArray) -> NDArray[np.bool_]:
    """Which images, of the distances (n,) that `TrainingImages.distances` gives, are unlike the training images."""
    return np.asarray(distance > 1 + ROUNDING)


@dataclass(frozen=True, kw_only=True)
class Space:
    """Where the training images lie among some numbers of each of them.

    Attributes
    ----------
    means : ndarray of shape (n_classes, n_features)
    whitening : ndarray of shape (n_features, n_features)
        ``(x - mean) @ whitening`` has the identity as its covariance.
    """

    means: NDArray[np.float32]
    whitening: NDArray[np.float32]

    @classmethod
    def fitted(cls, features: FloatArray, labels: IntArray) -> Self:
        """From features (n, d) of training images and their labels.

        References
        ----------
        Lee et al. (2018), "A simple unified framework for detecting out-of-distribution samples", NeurIPS;
        Ledoit & Wolf (2004), J Multivar Anal 88:365 (covariance from fewer images than features).
        """
        from sklearn.covariance import LedoitWolf

        means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
        _, of_class = np.unique(labels, return_inverse=True)
        covariance = LedoitWolf(assume_centered=True).fit(features - means[of_class]).covariance_
        scale = float(np.trace(covariance)) / len(covariance)
        if scale == 0:  # a network that gives every image the same features tells none apart
            return cls(means=means.astype(np.float32), whitening=np.zeros_like(covariance, dtype=np.float32))
        # Without correlation and noise the shrunken covariance may still be singular in the last digits.
        root = np.linalg.cholesky(covariance + 1e-9 * scale * np.eye(len(covariance)))
        return cls(means=means.astype(np.float32), whitening=np.linalg.inv(root).T.astype(np.float32))

    def distances(self, features: FloatArray) -> FloatArray:
        """Mahalanobis distance of images (n, d) to the nearer class mean, shape (n,)."""
        first = self.means[0]
        # One product for all classes, of small numbers: float32 is exact enough, and whitening is the larger part.
        white = (features - first).astype(np.float32) @ self.whitening
        each = [white - (mean - first) @ self.whitening for mean in self.means]
        nearest = np.min([np.square(one).sum(axis=1) for one in each], axis=0)
        return np.asarray(np.sqrt(nearest), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """What new images are held against.

    Attributes
    ----------
    features, pixels : Space
        Of the features of the network, and of `PIXEL_STATISTICS`.
    limits : ndarray of shape (2,)
        Distances in either, beyond which an image counts as unlike.
    """

    features: Space
    pixels: Space
    limits: NDArray[np.float64]

    @classmethod
    def fitted(
        cls,
        training: tuple[FloatArray, FloatArray],
        labels: IntArray,
        validation: tuple[FloatArray, FloatArray],
        *,
        quantile: float,
    ) -> Self:
        """From features and pixel statistics of training images, their labels, and those of validation images.

        Each limit is a quantile of the validation distances, such that both together flag at most ``1 - quantile`` of
        the validation images (Bonferroni).
        """
        features, pixels = training
        # The statistics have units of their own, which the shrinkage must not mix.
        unit = pixels.std(axis=0)
        unit[unit == 0] = 1.0
        scaled = Space.fitted(pixels / unit, labels)
        spaces = (
            Space.fitted(features, labels),
            Space(
                means=(scaled.means * unit).astype(np.float32),
                whitening=(scaled.whitening / unit[:, None]).astype(np.float32),
            ),
        )
        each = 1 - (1 - quantile) / 2
        limits = [
            np.quantile(space.distances(values), each, method="higher")
            for space, values in zip(spaces, validation, strict=True)
        ]
        return cls(features=spaces[0], pixels=spaces[1], limits=np.array(limits))

    def distances(self, features: FloatArray, pixels: FloatArray) -> FloatArray:
        """How far images (n,) are from the training images, in units of the limit: beyond 1 they are unlike them."""
        with _BLAS.limit(limits=1):
            found = np.stack([self.features.distances(features), self.pixels.distances(pixels)])
        limits = self.limits[:, None]
        # Without any spread on validation, whatever is different is infinitely far.
        beyond = np.where(found > 0, np.inf, 0.0)
        return np.asarray(np.divide(found, limits, out=beyond, where=limits > 0).max(axis=0))

    def write(self, path: Path) -> None:
        """Write to `path` as safetensors."""
        from safetensors.numpy import save_file

        arrays = {
            "means": self.features.means,
            "whitening": self.features.whitening,
            "pixel_means": self.pixels.means,
            "pixel_whitening": self.pixels.whitening,
            "limits": self.limits,
        }
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, path)
        follow_umask(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From the file that `write` wrote.

        Raises
        ------
        DataError
            If another version wrote it.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            found = load_file(path)
            return cls(
                features=Space(means=found["means"], whitening=found["whitening"]),
                pixels=Space(means=found["pixel_means"], whitening=found["pixel_whitening"]),
                limits=found["limits"],
            )
        except (KeyError, SafetensorError) as error:
            raise other_version(path.parent, f"{path.name}: {error}") from None
