"""Augmented copies: variants of one picture that their names betray, confirmed in pixels.

Sets are published with rotated, cropped and mirrored variants of each image as files of their own. Names such as
``aug_X_0_123`` or ``X_flipped`` propose what belongs together, so a weaker likeness confirms it than without names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medcompare.data.perceptual_hash import turned
from medcompare.data.phase_correlation import SAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medcompare.data.phase_correlation import Picture

VARIANT = 0.35
"""Agreement that confirms what the names say. Of 96 variants (turned by up to 15 degrees, cropped to 80 % and more; in
one set by up to 24 degrees against each other) 95 had more; of 84 pairs of different images the highest was 0.22."""

ANGLES = tuple(sorted(range(-24, 25, 3), key=abs))
"""Degrees; a difference of 2 degrees leaves an agreement of 0.7 and more."""

MAX_VARIANTS = 100
"""More files of one stem are no variants."""

MAX_PICTURES = 3
"""Different pictures of one stem with which a further file is compared."""

MAX_TESTED = 300
"""Files looked at; where most of them agree, the names are believed for the others."""

_WORDS = (
    r"aug(?:mented)?|transformed|(?:h|v|horizontal_?|vertical_?)?flip(?:ped)?|mirror(?:ed)?|rot(?:ate|ated|ation)?|"
    r"copy|kopie|crop(?:ped)?|zoom(?:ed)?|shear(?:ed)?|nois[ey]|blur(?:red)?|bright(?:ness)?|scaled|shifted"
)
_BEFORE = re.compile(r"^(?:aug(?:mented)?)[_\-. ]+(?=.)")
_KERAS = re.compile(r"(?:_\d+){2}$")
_AFTER = re.compile(rf"[_\-. ]+(?:{_WORDS})[_\-. ]*\d*[_\-. ]*$")
_NUMBERED = re.compile(r"(?: - (?:copy|kopie))?\s*\(\d+\)$")


def stem_of(path: str) -> tuple[str, bool]:
    """(stem in lower case, whether the name is that of a variant of that stem).

    Examples
    --------
    >>> stem_of("yes/aug_Y1_0_4711.jpg"), stem_of("a/X_transformed_7_.png"), stem_of("a/X (2).png"), stem_of("a/X.png")
    (('y1', True), ('x', True), ('x', True), ('x', False))
    """
    name = PurePosixPath(path).stem.lower()
    stem = _BEFORE.sub("", name)
    if stem != name:
        # Keras' ImageDataGenerator writes prefix_index_random; its prefix is aug_X here.
        stem = _KERAS.sub("", stem)
    shorter = ""
    while shorter != stem:
        shorter = stem
        for pattern in (_AFTER, _NUMBERED):
            stem = pattern.sub("", stem) or stem
    return stem, stem != name


def variant_groups(paths: Sequence[str]) -> list[list[int]]:
    """Numbers of the files that are variants of one picture by their names; an original, where there is one, first."""
    of_stem: defaultdict[str, list[tuple[bool, str, int]]] = defaultdict(list)
    words = set()
    for i, path in enumerate(paths):
        stem, is_variant = stem_of(path)
        of_stem[stem].append((is_variant, path, i))
        if is_variant and not _NUMBERED.search(PurePosixPath(path).stem.lower()):
            words.add(stem)
    # Numbers alone are of copies only beside an original: "benign (1)" to "benign (437)" are 437 images.
    return [
        [i for _, _, i in sorted(members)]
        for stem, members in sorted(of_stem.items())
        if 1 < len(members) <= MAX_VARIANTS
        and any(is_variant for is_variant, _, _ in members)
        and (stem in words or not min(members)[0])
    ]


def likeness(picture: Picture, other: NDArray[np.uint8]) -> float:
    """Agreement with `other` in any of the eight ways to lie, turned by up to 24 degrees besides; `SAME` is enough."""
    best = 0.0
    for turn in range(8):
        lying = Image.fromarray(np.ascontiguousarray(turned(other, turn)))
        for angle in ANGLES:
            best = max(
                best, picture.agreement(np.asarray(lying.rotate(angle, resample=Image.Resampling.BICUBIC)))
            )
            if best >= SAME:
                return best
    return best
