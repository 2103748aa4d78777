"""Images of one subset as batches: verified, decoded, cropped; augmentation without hidden state.

Images stay `uint8` until they are on the device, so that what is copied is small, and
are kept in memory up to a stated budget: whole ones for training, cropped ones for
evaluation. The rest is read and decoded again each epoch.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from medcompare.base.errors import DataError
from medcompare.base.file_names import file_at
from medcompare.base.hardware import memory_bytes
from medcompare.data.decoding import decode_rgb
from medcompare.data.reading import NotRegularError, read_regular
from medcompare.training.transforms import (
    STREAM_CROPS,
    STREAM_ORDER,
    evaluation_crop,
    random_stream,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from medcompare.data.assignments import ImageRow
    from medcompare.models.spec import Interpolation
    from medcompare.training.augmentation import Augmentation

CACHE_BYTES = 2 << 30
CACHE_SHARE = 8
"""At most this fraction (1/8) of the memory holds decoded images."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of one step."""

    images: Tensor
    """(n, 3, size, size), uint8."""
    labels: Tensor
    """(n,), int64."""


def cache_budget_bytes(n_parallel: int) -> int:
    """Memory one of `n_parallel` processes may fill with decoded images, bytes."""
    return min(CACHE_BYTES, memory_bytes() // CACHE_SHARE) // n_parallel


class SubsetImages(Dataset["Tensor"]):
    """Images of one subset; asked for by lists of (epoch, index).

    Parameters
    ----------
    rows : sequence of ImageRow
        The images.
    data_root : Path
        Folder their paths are relative to.
    size_px : int
        Side of the square the network sees.
    cache_bytes : int
        How much may be kept in memory.
    """

    def __init__(
        self,
        rows: Sequence[ImageRow],
        data_root: Path,
        *,
        size_px: int,
        cache_bytes: int,
    ) -> None:
        self.rows = list(rows)
        self.size_px = size_px
        self._data_root = data_root
        self._kept: dict[int, Tensor] = {}
        self._room_bytes = cache_bytes

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> list[int]:
        """Labels in the order of `rows`."""
        return [row.label for row in self.rows]

    def first(self, n_images: int) -> Self:
        """The first `n_images` of these images; what is kept in memory is shared."""
        part = copy.copy(self)
        part.rows = self.rows[:n_images]
        return part

    def read(self, index: int) -> Tensor:
        """Image `index`, (3, height, width), uint8, its content checked against the split.

        Raises
        ------
        DataError
            If it is gone, changed, no regular file any more or cannot be decoded.
        """
        row = self.rows[index]
        try:
            content = read_regular(file_at(self._data_root, row.path))
        except FileNotFoundError as error:
            msg = (
                f"image {row.path} is gone from {self._data_root}; it was there when the data were validated"
            )
            raise DataError(msg) from error
        except NotRegularError as error:
            msg = f"image {row.path} is now {error}; it was a file when the data were validated"
            raise DataError(msg) from error
        if hashlib.sha256(content).hexdigest() != row.sha256:
            msg = f"image {row.path} changed since ingest; start the run again to validate the data again"
            raise DataError(msg)
        # A channels-last view: the layout the resizing is fastest on.
        return torch.from_numpy(decode_rgb(content, name=row.path, grey_range=row.grey_range)).permute(
            2, 0, 1
        )

    def crop(self, image: Tensor, epoch: int, index: int) -> Tensor:
        """What the network sees of `image`; each kind of subset has its own."""
        raise NotImplementedError

    def _keep(self, index: int, image: Tensor) -> None:
        if image.nbytes <= self._room_bytes:
            self._room_bytes -= image.nbytes
            self._kept[index] = image

    def __getitem__(self, position: tuple[int, int]) -> Tensor:
        epoch, index = position
        return self.crop(self.read(index), epoch, index)

    def __getitems__(self, positions: list[tuple[int, int]]) -> Batch | DataError:
        """One batch, or the error that prevents it: raised where it can be read as it is."""
        images = torch.empty((len(positions), 3, self.size_px, self.size_px), dtype=torch.uint8)
        images = images.contiguous(memory_format=torch.channels_last)
        try:
            for place, position in enumerate(positions):
                images[place] = self[position]
        except DataError as error:
            return error
        return Batch(images=images, labels=torch.tensor([self.rows[index].label for _, index in positions]))


class TrainingImages(SubsetImages):
    """Images changed at random; kept in memory as they were read."""

    def __init__(
        self,
        rows: Sequence[ImageRow],
        data_root: Path,
        *,
        size_px: int,
        cache_bytes: int,
        augmentations: Sequence[Augmentation],
        seed: int,
    ) -> None:
        super().__init__(rows, data_root, size_px=size_px, cache_bytes=cache_bytes)
        self._augmentations = tuple(augmentations)
        self._seed = seed

    def crop(self, image: Tensor, epoch: int, index: int) -> Tensor:
        """`image` after every augmentation; the same for the same epoch and index."""
        rng = random_stream(self._seed, STREAM_CROPS, epoch, index)
        for augmentation in self._augmentations:
            image = augmentation(image, rng)
        return image

    def __getitem__(self, position: tuple[int, int]) -> Tensor:
        epoch, index = position
        image = self._kept.get(index)
        if image is None:
            image = self.read(index)
            self._keep(index, image)
        return self.crop(image, epoch, index)


class EvaluationImages(SubsetImages):
    """Centre crops; the crops are kept in memory, as they are the same every epoch."""

    def __init__(
        self,
        rows: Sequence[ImageRow],
        data_root: Path,
        *,
        size_px: int,
        cache_bytes: int,
        resize_px: int,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        super().__init__(rows, data_root, size_px=size_px, cache_bytes=cache_bytes)
        self._resize_px = resize_px
        self._interpolation: Interpolation = interpolation

    def crop(self, image: Tensor, epoch: int, index: int) -> Tensor:  # noqa: ARG002 - no randomness here
        """Centre of `image`, the same in every epoch."""
        return evaluation_crop(
            image, resize_px=self._resize_px, size_px=self.size_px, mode=self._interpolation
        )

    def __getitem__(self, position: tuple[int, int]) -> Tensor:
        epoch, index = position
        kept = self._kept.get(index)
        if kept is None:
            # clone: a view would keep the whole resized image alive.
            kept = self.crop(self.read(index), epoch, index).clone(memory_format=torch.contiguous_format)
            self._keep(index, kept)
        return kept


def batch_starts(n_images: int, batch_size: int) -> list[tuple[int, int]]:
    """(first, last + 1) of each batch; a rest of one image joins the batch before it.

    A batch of one image has no variance for batch normalisation to divide by where the
    feature map is a single pixel; dropping it instead would leave an image out.
    """
    stops = [*range(batch_size, n_images, batch_size), n_images]
    if len(stops) > 1 and stops[-1] - stops[-2] == 1:
        del stops[-2]
    return list(zip([0, *stops[:-1]], stops, strict=True))


class _Plan(Sampler[list[tuple[int, int]]]):
    """Lists of (epoch, index), replaced for each epoch."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class BatchLoader:
    """Batches of a subset, in this process or loaded by `num_workers` others; the same either way."""

    def __init__(self, images: SubsetImages, *, batch_size: int, num_workers: int = 0) -> None:
        self.images = images
        self.batch_size = batch_size
        self._spans = batch_starts(len(images), batch_size)
        self._plan = _Plan()
        self._loader: DataLoader[Tensor] = DataLoader(
            images,
            batch_sampler=self._plan,
            collate_fn=_as_is,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            # Its own: each pass draws a seed for its workers, which must not come from the
            # global generator that the network's dropout draws from. No image depends on it.
            generator=torch.Generator(),
        )

    @property
    def n_steps(self) -> int:
        """Batches per epoch."""
        return len(self._spans)

    def in_order(self) -> Iterator[Batch]:
        """Batches in the order of the rows."""
        return self._batches(0, list(range(len(self.images))))

    def shuffled(self, *, seed: int, epoch: int, n_done: int = 0) -> Iterator[Batch]:
        """Batches in the random order of (seed, epoch), without the first `n_done`."""
        order = random_stream(seed, STREAM_ORDER, epoch).permutation(len(self.images))
        return self._batches(epoch, order.tolist(), n_done)

    def _batches(self, epoch: int, order: list[int], n_done: int = 0) -> Iterator[Batch]:
        spans = self._spans[n_done:]
        self._plan.batches = [[(epoch, index) for index in order[start:stop]] for start, stop in spans]
        for answer in self._loader:
            if isinstance(answer, DataError):
                raise answer
            yield answer


def _as_is(batch: Any) -> Any:  # noqa: ANN401 - `__getitems__` has made the batch, or says why not
    return batch
