"""Whether two ways to a score agree, from file to score: on the images of the run, and on odd ones."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from medcompare.base.errors import ExportError
from medcompare.data.decoding import decode_rgb
from medcompare.handover.images import load_image
from medcompare.handover.networks import positive_score
from medcompare.handover.records import Difference
from medcompare.handover.rules import reached
from medcompare.training.transforms import evaluation_crop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.handover.networks import FloatArray, Network
    from medcompare.handover.records import Export, Preprocessing

SAME_ENGINE, OTHER_ENGINE = 1e-3, 1e-4
"""Largest difference of a probability that is accepted: between the run and its network loaded again, perhaps on
another device or with another number of threads; between torch and onnxruntime on the same files. In float32 the
former is some 1e-6 on one machine, the latter too."""


def difference(
    what: str, one: FloatArray, other: FloatArray, *, threshold: float, tolerance: float
) -> Difference:
    """How far two sets of scores (n,) of the same images are apart."""
    return Difference(
        what=what,
        n=len(one),
        largest=float(np.abs(one - other).max()),
        calls_changed=int((reached(one, threshold) != reached(other, threshold)).sum()),
        tolerance=tolerance,
    )


def parity_of_engines(
    other: Network,
    in_torch: Network,
    *,
    files: Sequence[Path],
    in_torch_scores: FloatArray,
    export: Export,
    scratch: Path,
) -> list[Difference]:
    """Scores from file to score: `other` against torch, on the test images and on odd ones.

    Parameters
    ----------
    other, in_torch : Network
        The graph on onnxruntime, and the network of the run.
    files : sequence of Path
        Test images.
    in_torch_scores : ndarray of shape (n,)
        Theirs in torch.
    export : Export
        How images are prepared.
    scratch : Path
        Folder for odd images, which are removed again.
    """
    how, point = export.preprocessing, export.threshold
    step = 32
    scores = [
        positive_score(other(_stacked([load_image(path, how).crop for path in files[i : i + step]]))[0])
        for i in range(0, len(files), step)
    ]
    found = [
        difference(
            "onnxruntime against torch, test images, from file to score",
            np.concatenate(scores),
            in_torch_scores,
            threshold=point.threshold,
            tolerance=OTHER_ENGINE,
        )
    ]
    any_depth = how if how.deep_images != "refused" else how.model_copy(update={"deep_images": "type"})
    with _odd_images(scratch / "odd", how.resize_px) as odd:
        theirs = other(_stacked([load_image(path, any_depth).crop for path in odd]))[0]
        ours = in_torch(_stacked([_in_training(path.read_bytes(), any_depth) for path in odd]))[0]
    # Odd images have extreme logits, and probabilities of 0 or 1 whatever is wrong: smaller ones are compared.
    scale = max(1.0, float(np.abs(ours).max()))
    return [
        *found,
        difference(
            "onnxruntime against torch, odd images (EXIF, 16 bit, CMYK, transparent, not square)",
            positive_score(theirs / scale),
            positive_score(ours / scale),
            threshold=point.threshold,
            tolerance=OTHER_ENGINE,
        ),
    ]


def _stacked(crops: Sequence[NDArray[np.uint8] | None]) -> NDArray[np.uint8]:
    return np.stack([crop for crop in crops if crop is not None])


def _in_training(content: bytes, how: Preprocessing) -> NDArray[np.uint8]:
    """An image as the trainings decode and crop it."""
    pixels = decode_rgb(content, name="", grey_range=how.grey_range or (0.0, 65_535.0))
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    crop = evaluation_crop(image, resize_px=how.resize_px, size_px=how.size_px, mode=how.interpolation)
    found: NDArray[np.uint8] = crop.contiguous().numpy()
    return found


@contextlib.contextmanager
def _odd_images(folder: Path, side: int) -> Iterator[list[Path]]:
    """Images such as people have and networks rarely see, generated; larger and smaller than `side` pixels."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    try:
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        large, small = (
            coarse.resize((int(1.7 * k), int(1.2 * k)), Image.Resampling.BICUBIC)
            for k in (side, side // 2 + 20)
        )
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter
        large.save(folder / "exif.jpg", exif=exif)
        large.convert("CMYK").save(folder / "cmyk.jpg")
        deep = np.asarray(large.convert("L")).astype(np.uint16) * 257 + 3
        Image.fromarray(deep).save(folder / "deep.png")
        transparent = small.copy()
        transparent.putalpha(90)
        transparent.save(folder / "transparent.png")
        small.convert("P").save(folder / "palette.png")
        large.resize((side // 2 + 20, 3 * side)).save(folder / "tall.png")
        large.convert("L").save(folder / "grey.tif")
        yield sorted(folder.iterdir())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def said(one: Difference) -> str:
    """`one` in a sentence."""
    changed = f", {one.calls_changed} on the other side of the threshold" if one.calls_changed else ""
    return f"{one.what}: {one.n} images, largest difference {one.largest:.2g} (at most {one.tolerance:g}){changed}"


def insist_on(parity: Sequence[Difference]) -> None:
    """Raise ExportError where a difference is larger than its tolerance."""
    for one in parity:
        if not one.largest <= one.tolerance:  # also where it is no number
            msg = f"the export is refused and nothing was written: {said(one)}"
            raise ExportError(msg)
