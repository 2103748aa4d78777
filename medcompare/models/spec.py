"""What a network is, as data: builder, head, transforms, recipe and published weights.

Importing this module, or the zoo, does not import torch: builders import their
library when called, so that the command line can list models at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from medcompare.base.language import message
from medcompare.base.phrase import Phrase
from medcompare.base.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

Interpolation = Literal["bilinear", "bicubic"]

TORCHVISION_LICENCE = message("none stated by torchvision for its weights")
"""Its README: pretrained models "may have their own licenses or terms and conditions derived from the dataset"."""

MIN_CELLS = 4
"""Along a side of a grid of features: with fewer a map cannot point anywhere, nor be told from chance by its ranks."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser settings a model is trained with unless the user overrides them."""

    optimizer: Literal["adam", "adamw", "sgd"]
    learning_rate: float
    weight_decay: float
    source: str


class InitialWeights(Record):
    """Where a network's starting weights came from."""

    kind: Literal["imagenet", "none"]
    name: str = Field(description="e.g. 'ResNet50_Weights.IMAGENET1K_V1' or 'random initialisation'.")
    version: str | None = Field(description="V1 or V2; None for random initialisation.")
    sha256: str | None = None
    source: str | None = Field(default=None, description="weights-dir, a cache, a package or download.")
    licence: str | None = Field(
        default=None, description="As the publisher states it; 'unknown' where it does not."
    )


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A published file of pretrained weights.

    `sha256_prefix` is what the publisher printed: the first eight hexadecimal digits of
    the SHA-256, which also stand in the file name; empty where nothing was printed.
    """

    name: str
    url: str
    sha256_prefix: str
    licence: str = message("unknown")
    saved_as: str | None = None
    """Name of the downloaded file, where the last part of its address does not tell whose it is."""
    other_names: tuple[str, ...] = ()
    """Where else below a folder it may lie, as patterns: what other tools call the same file."""
    package: str | None = None
    """Installed package that brings the file along; then it is not downloaded."""
    has_versions: bool = True
    """Whether the publisher counts versions (``V1``, ``V2``)."""

    @property
    def filename(self) -> str:
        """Name of the file, the last part of its address unless `saved_as` says otherwise."""
        return self.saved_as or self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One network of the table."""

    name: str
    display_name: str
    build: Callable[[], nn.Module]
    """Builds the network with its original 1000-class head and random weights."""
    head: str
    """Dotted path of the layer that `build_model` replaces, e.g. ``classifier.2``."""
    n_parameters: int
    """Trainable numbers of the network with its 1000-class head, as published."""
    recipe: Recipe
    weights: dict[str, WeightsFile] = field(default_factory=dict)
    """Published weights by version (``V1``, ``V2``)."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    source: str
    maintained_equivalent: str | None = None
    """Model of the same architecture in a maintained library, where this one's library is not."""
    hidden: bool = False
    """For tests: left out of the lists that people read."""
    build_with: Callable[[Path], nn.Module] | None = None
    """Builds the network with the weights of a file, where its library must read them itself."""
    needs: tuple[str, ...] = ()
    """Packages that only this network needs, by the name they are imported with."""
    interpolation: Interpolation = "bilinear"
    """How its images are resized."""
    crop_pct: float = 224 / 256
    """Side of the centre crop over the shorter side of the resized image, at test time."""
    fixed_size_px: int | None = None
    """The only side of an image it can work with; None: any."""
    pooling: str | None = None
    """Dotted path of the layer that pools the last grid of features over the image, e.g. ``avgpool``: Grad-CAM weighs
    its input, (n, channels, height, width). None: there is no such grid, and the report shows no maps of it."""
    cell_px: int = 32
    """Pixels of the image for each cell of that grid, along a side."""
    probe: bool = False
    """Whether only a linear head is trained, on the features of the frozen network."""

    def has_maps(self, image_size_px: int) -> bool:
        """Whether the grid of images of this size is fine enough for Grad-CAM to point anywhere."""
        return self.pooling is not None and image_size_px >= MIN_CELLS * self.cell_px

    @property
    def transforms(self) -> Phrase:
        """How an image becomes its input, in words for the report."""
        values: dict[str, int | float | str] = {"interpolation": self.interpolation, "share": self.crop_pct}
        if len(set(self.mean)) == len(set(self.std)) == 1:
            text = message("{interpolation}, centre {share:.3g}; mean {mean:.3g}; SD {sd:.3g}")
            return Phrase(text=text, values={**values, "mean": self.mean[0], "sd": self.std[0]})
        text = message(
            "{interpolation}, centre {share:.3g}; mean {r:.3g}, {g:.3g}, {b:.3g}; SD {sd_r:.3g}, {sd_g:.3g}, {sd_b:.3g}"
        )
        values |= dict(zip(("r", "g", "b"), self.mean, strict=True))
        values |= dict(zip(("sd_r", "sd_g", "sd_b"), self.std, strict=True))
        return Phrase(text=text, values=values)


class ResolvedWeights(Record):
    """Initial weights of one model, found and verified before any work starts."""

    model: str
    initial: InitialWeights
    path: Path | None = Field(default=None, description="The verified file; None for random initialisation.")

    @property
    def identity(self) -> str:
        """What of the weights can change a result: for cache keys, in place of path and source."""
        return f"{self.initial.kind} {self.initial.name} {self.initial.version} {self.initial.sha256}"
