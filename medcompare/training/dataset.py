"""Images of one subset as batches: verified, decoded, cropped; augmentation without hidden state.

Images stay `uint8` until they are on the device, so that what is copied is small. Decoded ones are
kept in `medcompare.training.image_cache`: whole for training, cropped for evaluation.
"""

from __future__ import annotations

import atexit
import copy
import hashlib
import json
import multiprocessing
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from medcompare.base.errors import DataError
from medcompare.base.hardware import loading_processes, usable_cores
from medcompare.data.assignments import ImageRow, file_of
from medcompare.data.decoding import decode_rgb
from medcompare.data.reading import NotRegularError, read_regular
from medcompare.training.image_cache import image_cache, key_of
from medcompare.training.ranks import ALONE
from medcompare.training.stopping import end_if_asked
from medcompare.training.transforms import (
    STREAM_CROPS,
    STREAM_ORDER,
    evaluation_crop,
    no_larger_than,
    random_stream,
    training_limit_px,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from medcompare.config.train import TrainConfig
    from medcompare.models.spec import Interpolation
    from medcompare.training.augmentation import Augmentation
    from medcompare.training.image_cache import ImageCache
    from medcompare.training.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of one step."""

    images: Tensor
    """(n, 3, size, size), uint8."""
    labels: Tensor
    """(n,), int64."""
    of_all: tuple[int, ...] = ()
    """Labels of the batch with the rows of the other ranks, in training."""

    def pin_memory(self) -> Self:
        """The same in memory that a GPU can copy from while it computes; called by torch's loader."""
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())


class PackedRows(Sequence[ImageRow]):
    """Rows written into one block of memory, and made anew when they are asked for.

    Python counts references within each object: of a million rows as objects a loading process that only reads
    them copies every page. Of this block it copies none.
    """

    def __init__(self, rows: Iterable[ImageRow]) -> None:
        parts = [json.dumps(list(vars(row).values())).encode() for row in rows]
        self._ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        self._text = b"".join(parts)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> ImageRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageRow]: ...
    def __getitem__(self, index: int | slice) -> ImageRow | list[ImageRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        values = json.loads(self._text[self._ends[index - 1] if index else 0 : self._ends[index]])
        row = dict(zip(_FIELDS, values, strict=True))
        row["extra"] = tuple(map(tuple, row["extra"]))
        row["grey_range"] = row["grey_range"] and tuple(row["grey_range"])
        return ImageRow(**row)


_FIELDS = tuple(field.name for field in fields(ImageRow))


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
    """

    form = "decoded"
    """What is kept of an image, in words: part of its key in the cache."""

    def __init__(self, rows: Sequence[ImageRow], data_root: Path, *, size_px: int) -> None:
        self.rows = PackedRows(rows)
        self._labels = np.fromiter((row.label for row in rows), np.uint8, len(rows))
        self.size_px = size_px
        self._data_root = data_root
        self._cache: ImageCache | None = None
        self._checked = bytearray(len(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> list[int]:
        """Labels in the order of `rows`."""
        return [int(label) for label in self._labels[: len(self)]]

    def first(self, n_images: int) -> Self:
        """The first `n_images` of these images."""
        part = copy.copy(self)
        part.rows = PackedRows(self.rows[:n_images])
        return part

    def names(self) -> Iterator[str]:
        """Names of these images in a cache."""
        return (key_of(row, self.form) for row in self.rows)

    def keep_in(self, cache: ImageCache | None) -> None:
        """Look for images in `cache` from now on, and keep them there."""
        self._cache = cache

    def read(self, index: int) -> Tensor:
        """Image `index`, (3, height, width), uint8, its content checked against the split.

        Raises
        ------
        DataError
            If it is gone, changed, no regular file any more or cannot be decoded.
        """
        row = self.rows[index]
        try:
            content = read_regular(file_of(row, self._data_root))
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

    def prepared(self, image: Tensor) -> Tensor:
        """What is kept of the decoded `image`: what does not change from epoch to epoch."""
        raise NotImplementedError

    def crop(self, kept: Tensor, epoch: int, index: int) -> Tensor:  # noqa: ARG002 - of those that change
        """What the network sees of what is `kept` of an image."""
        return kept

    def _kept(self, index: int) -> Tensor:
        if self._cache is None:
            return self.prepared(self.read(index))
        key = key_of(self.rows[index], self.form)
        kept = self._cache.get(key, check=not self._checked[index])
        if kept is None:
            kept = self.prepared(self.read(index))
            self._cache.put(key, kept)
        self._checked[index] = True
        return kept

    def __getitem__(self, position: tuple[int, int]) -> Tensor:
        epoch, index = position
        return self.crop(self._kept(index), epoch, index)

    def __getitems__(self, positions: list[tuple[int, int]]) -> Batch | DataError:
        """One batch, or the error that prevents it: raised where it can be read as it is."""
        images = torch.empty((len(positions), 3, self.size_px, self.size_px), dtype=torch.uint8)
        images = images.contiguous(memory_format=torch.channels_last)
        try:
            for place, position in enumerate(positions):
                images[place] = self[position]
        except DataError as error:
            return error
        labels = torch.tensor([int(self._labels[index]) for _, index in positions], dtype=torch.int64)
        return Batch(images=images, labels=labels)


class TrainingImages(SubsetImages):
    """Images changed at random; kept as they were decoded, or reduced where they are large (`training_limit_px`)."""

    def __init__(
        self,
        rows: Sequence[ImageRow],
        data_root: Path,
        *,
        size_px: int,
        crop_scale_min: float,
        augmentations: Sequence[Augmentation],
        seed: int,
    ) -> None:
        super().__init__(rows, data_root, size_px=size_px)
        self._augmentations = tuple(augmentations)
        self._seed = seed
        self._limit_px = training_limit_px(size_px, crop_scale_min)
        self.form = f"decoded, shorter side at most {self._limit_px}"

    def prepared(self, image: Tensor) -> Tensor:
        """`image`, reduced where it is larger than any crop can use."""
        return no_larger_than(image, self._limit_px)

    def crop(self, kept: Tensor, epoch: int, index: int) -> Tensor:
        """The image after every augmentation; the same for the same epoch and index."""
        rng = random_stream(self._seed, STREAM_CROPS, epoch, index)
        for augmentation in self._augmentations:
            kept = augmentation(kept, rng)
        return kept


class EvaluationImages(SubsetImages):
    """Centre crops, the same every epoch."""

    def __init__(
        self,
        rows: Sequence[ImageRow],
        data_root: Path,
        *,
        size_px: int,
        resize_px: int,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        super().__init__(rows, data_root, size_px=size_px)
        self._resize_px = resize_px
        self._interpolation: Interpolation = interpolation
        self.form = f"centre {size_px} of {resize_px} {interpolation}"

    def prepared(self, image: Tensor) -> Tensor:
        """Centre of `image`."""
        return evaluation_crop(
            image, resize_px=self._resize_px, size_px=self.size_px, mode=self._interpolation
        )


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

    def __init__(
        self, images: SubsetImages, *, batch_size: int, num_workers: int = 0, pinned: bool = False
    ) -> None:
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
            worker_init_fn=_end_with_the_training,
            pin_memory=pinned,
            # Its own: each pass draws a seed for its workers, which must not come from the
            # global generator that the network's dropout draws from. No image depends on it.
            generator=torch.Generator(),
        )

    @property
    def n_steps(self) -> int:
        """Batches per epoch."""
        return len(self._spans)

    def in_order(self, ranks: Ranks = ALONE) -> Iterator[Batch]:
        """Batches in the order of the rows, one in turn for each of `ranks`; raises StoppedError if told to end."""
        for batch in self._batches(
            0, [list(range(*span)) for span in self._spans[ranks.number :: ranks.size]]
        ):
            end_if_asked()
            yield batch

    def shuffled(self, *, seed: int, epoch: int, n_done: int = 0, ranks: Ranks = ALONE) -> Iterator[Batch]:
        """Batches in the random order of (seed, epoch), without the first `n_done`; of each, the rows of this rank."""
        order = random_stream(seed, STREAM_ORDER, epoch).permutation(len(self.images)).tolist()
        wholes = [order[start:stop] for start, stop in self._spans[n_done:]]
        batches = self._batches(epoch, [whole[ranks.rows(len(whole))] for whole in wholes])
        labels = self.images.labels
        for whole, batch in zip(wholes, batches, strict=True):
            yield replace(batch, of_all=tuple(labels[index] for index in whole))

    def _batches(self, epoch: int, batches: list[list[int]]) -> Iterator[Batch]:
        self._plan.batches = [[(epoch, index) for index in batch] for batch in batches]
        for answer in self._loader:
            if isinstance(answer, DataError):
                raise answer
            yield answer


def loaders_of(
    subsets: Sequence[SubsetImages],
    train: TrainConfig,
    device: torch.device,
    *,
    store: Path,
    batch_size: int,
    n_parallel: int = 1,
) -> list[BatchLoader]:
    """A loader for each of `subsets`, on one cache, with the loading processes that `train` or the machine asks for.

    Parameters
    ----------
    subsets : sequence of SubsetImages
        Changed to use the cache.
    train : TrainConfig
        Loading processes and room for the cache.
    device : torch.device
        Where the batches go.
    store : Path
        The store, which the cache is in.
    batch_size : int
        Images per batch.
    n_parallel : int
        Processes side by side that fill the cache, ranks of the same training among them.
    """
    num_workers = train.num_workers
    if num_workers is None:
        num_workers = loading_processes(
            device.type,
            n_threads=torch.get_num_threads(),
            n_cores=usable_cores(),
            n_parallel=n_parallel,
            batch_bytes=3 * batch_size * train.image_size_px**2,
        )
    cache = image_cache(
        store,
        round(1e9 * train.cache_gb),
        n_writers=n_parallel * max(1, num_workers * len(subsets)),
        wanted=(key for images in subsets for key in images.names()),
    )
    for images in subsets:
        images.keep_in(cache)
    return [
        BatchLoader(images, batch_size=batch_size, num_workers=num_workers, pinned=device.type == "cuda")
        for images in subsets
    ]


def _end_with_the_training(_number: int) -> None:
    """Where all processes of a job get SIGTERM, the training still needs its next batch."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register
def _end_loading() -> None:
    """End loading processes that are left: `multiprocessing` sends them SIGTERM at exit and would wait for ever."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler reports a killed one as an error
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def _as_is(batch: Any) -> Any:  # noqa: ANN401 - `__getitems__` has made the batch, or says why not
    return batch
