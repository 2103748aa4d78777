"""Where in an image a network finds evidence: maps of single cases, and whether they depend on what was learned."""

from __future__ import annotations

from pydantic import Field

from medcompare.base.record import Artifact, Record

MAX_RANDOM_SHARE = 0.5
"""A convention: where half or more of the variation of its maps needs no learned weight, maps are not shown."""


class SaliencyMaps(Record):
    """Grad-CAM of the log-odds of the positive class, of one trained network.

    ``maps`` is a NumPy file, float32 of shape (n_cases, cells, cells): above 0 evidence for the positive class, below 0
    evidence against it. Cell (i, j) looks at the pixel (origin + i * step, origin + j * step) of what the network sees,
    the centre square of `image_size_px` of an image whose shorter side is `resize_px`.
    """

    model: str
    cases: tuple[str, ...] = Field(min_length=1, description="Pseudonyms, in the order of the maps.")
    maps: Artifact
    cells: int = Field(ge=1, description="Cells along a side of the grid.")
    origin_px: float = Field(description="Where the first cell is centred.")
    step_px: float = Field(gt=0, description="From one cell to the next.")
    image_size_px: int
    resize_px: int
    random_shares: tuple[float | None, ...] = Field(
        description="Of each map: squared rank correlation with the map of the same network with random weights, mean "
        "over such networks; None: a map without variation."
    )
    random_share_median: float | None = Field(description="Of the shares; None: none is defined.")
    random_share_lowest: float | None
    random_share_highest: float | None
    n_random: int = Field(ge=1, description="Networks with random weights.")
    library: str = Field(description="Name and version.")

    @property
    def readable(self) -> bool:
        """Whether the maps depend on what was learned, so that they can be shown."""
        return self.random_share_median is not None and self.random_share_median < MAX_RANDOM_SHARE
