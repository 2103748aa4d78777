"""A contact sheet of augmented training images: what the network really sees, for the report."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import torch
from PIL import Image

if TYPE_CHECKING:
    from medcompare.training.dataset import SubsetImages

N_IMAGES, N_DRAWS = 4, 7
THUMBNAIL_PX, GAP_PX = 96, 4


def contact_sheet(training: SubsetImages, plain: SubsetImages) -> bytes:
    """PNG with a row for each of a few training images: as in evaluation, then as in epochs 1 to 7.

    Parameters
    ----------
    training : SubsetImages
        Gives the draws; the classes are taken in turn.
    plain : SubsetImages
        Crops images as in evaluation.

    Returns
    -------
    bytes
        Half of the rows each class, negative first.
    """
    chosen = [
        index
        for wanted in (0, 1)
        for index in [i for i, label in enumerate(training.labels) if label == wanted][: N_IMAGES // 2]
    ]
    step = THUMBNAIL_PX + GAP_PX
    size = ((1 + N_DRAWS) * step + GAP_PX, len(chosen) * step - GAP_PX)
    sheet = Image.new("RGB", size, "white")
    for row, index in enumerate(chosen):
        draws = [training[epoch, index] for epoch in range(1, N_DRAWS + 1)]
        tiles = [plain.prepared(training.read(index)), *draws]
        for column, tile in enumerate(tiles):
            picture = Image.fromarray(tile.permute(1, 2, 0).to(torch.uint8).contiguous().numpy())
            place = (column * step + (GAP_PX if column else 0), row * step)
            sheet.paste(picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS), place)
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    return content.getvalue()
