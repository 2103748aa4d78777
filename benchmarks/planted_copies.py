"""How many planted copies are found, and how many different images are taken for copies.

``python benchmarks/planted_copies.py FOLDER...``: every second image below each folder, and of each kind `N_PLANTED` of
them again, changed. Missed is a copy that is not found with its original; a false alarm is a pair of others that is not
found without the copies either. The table is in docs/data.md.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medcompare.data.copies import near_duplicates
from medcompare.data.measured import Measured
from medcompare.data.validation import measure_image

if TYPE_CHECKING:
    from collections.abc import Callable

N_PLANTED = 25
BICUBIC = Image.Resampling.BICUBIC


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Written as JPEG and read again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def crop(image: Image.Image, share: float, right: float, down: float) -> Image.Image:
    """A part of the image, enlarged to its size; a shift of 1 reaches the edge."""
    left, top = (
        (side - side * share) / 2 * (1 + shift) for side, shift in zip(image.size, (right, down), strict=True)
    )
    return image.resize(
        image.size, BICUBIC, box=(left, top, left + image.width * share, top + image.height * share)
    )


def kinds(rng: np.random.Generator) -> dict[str, Callable[[Image.Image], Image.Image]]:
    """What is done to a copy."""

    def anywhere(share: float) -> Callable[[Image.Image], Image.Image]:
        return lambda image: crop(image, share, *rng.uniform(-1, 1, 2).tolist())

    return {
        "recompressed (JPEG 50)": lambda image: jpeg(image, 50),
        "half the size": lambda image: image.resize((image.width // 2, image.height // 2), BICUBIC),
        "brighter by 15 %": lambda image: image.point(lambda v: min(255, int(v * 1.15 + 6))),
        "gamma 0.7": lambda image: image.point(lambda v: int(255 * (v / 255) ** 0.7)),
        "tinted": lambda image: image.convert("RGB", (1.15, 0, 0, 0, 0, 0.9, 0, 0, 0, 0, 1.05, 0)),
        "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "turned by 90°": lambda image: image.transpose(Image.Transpose.ROTATE_90),
        "turned by 2°": lambda image: image.rotate(2, resample=BICUBIC),
        "cropped to 95 %, anywhere": anywhere(0.95),
        "cropped to 92 %, anywhere": anywhere(0.92),
        "cropped to 90 %, anywhere": anywhere(0.9),
        "cropped to 90 %, in a corner": lambda image: crop(image, 0.9, 1, 1),
        "cropped to 93 %, JPEG 60, brighter": lambda image: jpeg(
            anywhere(0.93)(image).point(lambda v: min(255, int(v * 1.1 + 6))), 60
        ),
        "cropped to 85 %, anywhere": anywhere(0.85),
    }


def content(image: Image.Image) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def kept_in(kept: Measured, contents: list[bytes]) -> dict[str, int]:
    """Digest of the pixels of each file -> its number in `kept`, in order."""
    measured = [measure_image(one, small=False) for one in contents]
    for one in measured:
        kept.add(str(one.sha256), one, b"", None)
    kept.flush()
    number = kept.numbers([str(one.sha256) for one in measured])
    return {str(one.pixel_sha256): number[str(one.sha256)] for one in measured}


def found_among(kept: Measured, numbers: dict[str, int]) -> set[tuple[str, str]]:
    """Pairs of pixels that are found to show the same."""
    pixels = sorted(numbers)
    return set(near_duplicates(np.array(pixels, "S64"), np.array([numbers[one] for one in pixels]), kept))


def main() -> None:
    """A row for each folder and kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    print("| set | kind | planted | found | false alarms |\n|---|---|---|---|---|")
    for folder in parser.parse_args().folders:
        images = []
        for path in sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".png"})[::2]:
            try:
                images.append(Image.open(path).convert("RGB"))
            except OSError:
                continue
        kept, rng = Measured(None), np.random.default_rng(0)
        contents = list({content(image): None for image in images})
        images = [Image.open(io.BytesIO(one)) for one in contents]
        numbers = kept_in(kept, contents)
        digests, before = list(numbers), found_among(kept, numbers)
        for kind, change in kinds(rng).items():
            chosen = rng.choice(len(images), N_PLANTED, replace=False).tolist()
            copies = [content(change(images[i]).convert("RGB")) for i in chosen]
            copied = kept_in(kept, copies)
            pairs = found_among(kept, numbers | copied)
            of_copy = dict(zip(copied, [digests[i] for i in chosen], strict=True))
            planted = {(min(pair), max(pair)) for pair in of_copy.items()}
            # An image that had a near-duplicate before may be found with that one's copy as well.
            known = {one for pair in before for one in pair}
            known |= {copy for copy, original in of_copy.items() if original in known}
            false = [pair for pair in pairs - planted - before if not known & set(pair)]
            print(
                f"| {folder.name} ({len(images)}) | {kind} | {N_PLANTED} | {len(pairs & planted)} | {len(false)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
