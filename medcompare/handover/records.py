"""What an export says of itself: ``export.json``, and the digests that tell whether its files are as they were."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from medcompare import __version__
from medcompare.base.artifacts import sha256_of_file
from medcompare.base.errors import DataError
from medcompare.base.record import Record
from medcompare.models.spec import InitialWeights, Interpolation
from medcompare.stats.estimates import OperatingPoint

FORMAT: Literal["1"] = "1"
DESCRIPTION, CARD, WEIGHTS, GRAPH, FEATURES = (
    "export.json",
    "README.md",
    "weights.safetensors",
    "model.onnx",
    "features.safetensors",
)
FILES = (DESCRIPTION, CARD, WEIGHTS, GRAPH, FEATURES)
DIGESTS = "SHA256SUMS"
"""As ``sha256sum`` writes and checks it."""


class Preprocessing(Record):
    """From a decoded image to what the network is given; `medcompare.handover.preprocessing` executes it.

    Decoding is that of medcompare: EXIF orientation applied, transparency dropped, everything converted to RGB, the
    first frame; DICOM as a viewer shows it.
    """

    resize_px: int = Field(description="The shorter side is resized to this, with antialiasing.")
    size_px: int = Field(description="Side of the centre square that is cut out.")
    interpolation: Interpolation
    grey_range: tuple[float, float] | None = Field(
        description="Values shown black and white in images of more than 8 bits, as in training. None: see below."
    )
    deep_images: Literal["refused", "range", "type"] = Field(
        description="Images of more than 8 bits: refused, as none were trained on; shown over grey_range; or over the "
        "range of their own type, as data.intensity_range=full says."
    )
    min_side_px: int = Field(description="Images with a shorter side are not scored.")
    max_file_mb: int
    mean: tuple[float, ...] = Field(description="Inside the graph: subtracted after division by 255.")
    std: tuple[float, ...]
    log_class_weights: tuple[float, float] = Field(
        description="Inside the graph: subtracted from the logits, so that probabilities are those of the training "
        "prevalence."
    )


class Recalibration(Record):
    """The map from a score to a calibrated probability, fitted on the validation subset."""

    kind: Literal["none", "temperature", "platt", "isotonic"]
    intercept: float = 0.0
    slope: float = 1.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    note: str | None = None


class Share(Record):
    """A count of a count."""

    k: int
    n: int


class Referral(Record):
    """The band of scores that is referred to a person.

    Scores below `low` are called negative and those from `high` on positive without asking. Both are the closest
    to the threshold for which at most `max_error` of the validation cases beyond them are called wrongly (Chow 1970,
    IEEE Trans Inf Theory 16:41, with the error rate estimated on validation). None: no such score, so that every
    call of that side is referred.
    """

    max_error: float = Field(ge=0, le=0.5)
    low: float | None
    high: float | None
    unit: Literal["image", "patient"]
    errors_below: Share = Field(description="Positives among validation cases below `low`.")
    errors_above: Share = Field(description="Negatives among validation cases from `high` on.")
    referred: Share = Field(description="Validation cases within the band.")
    test_errors: Share = Field(description="Wrong calls among test cases that are not referred.")
    test_referred: Share


class Likeness(Record):
    """When an image counts as unlike the training images."""

    method: str = (
        "Mahalanobis distance to the nearer class mean, one covariance (Ledoit-Wolf) for both classes (Lee et al. "
        "2018, NeurIPS, equation 2), in the network's penultimate features and in five statistics of the pixels"
    )
    n_training: int = Field(description="Training images that means and covariance are from.")
    quantile: float = Field(
        gt=0,
        lt=1,
        description="Share of the validation images that both limits, which are in features.safetensors, leave alone "
        "at least.",
    )
    n_validation: int
    test_flagged: Share


class Difference(Record):
    """How far two ways to the same scores are apart."""

    what: str
    n: int
    largest: float = Field(description="Largest absolute difference of a probability.")
    calls_changed: int = Field(description="Cases that fall on the other side of the threshold.")
    tolerance: float


class Licences(Record):
    """As far as they are known."""

    code: str = "Apache-2.0 (medcompare)"
    architecture: str
    initial_weights: str
    weights: str = (
        "not chosen: whoever trained them decides, within the licence of the initial weights and the data"
    )


class Export(Record):
    """Content of ``export.json``: no file names of images, no ids of patients."""

    format: Literal["1"] = FORMAT
    medcompare_version: str
    model: str = Field(description="Name of the network in medcompare.")
    display_name: str
    run: str
    made_at: str
    seed: int
    n_seeds: int = Field(
        description="Trainings of this network in the run; the first, judged one is exported."
    )
    classes: tuple[str, str] = Field(description="(negative, positive).")
    preprocessing: Preprocessing
    test_time_augmentation: Literal["none", "hflip", "dihedral"]
    threshold: OperatingPoint = Field(
        description="Of the score, before recalibration; positive: score >= threshold."
    )
    per_patient: Literal["none", "mean", "max"] = Field(
        description="Whether the threshold is one of patients, whose score is the mean or largest of their images."
    )
    recalibration: Recalibration
    referral: Referral
    likeness: Likeness
    data_name: str
    data_fingerprint: str
    checkpoint_sha256: str
    n_features: int
    initial_weights: InitialWeights
    licences: Licences
    parity: tuple[Difference, ...]
    libraries: tuple[tuple[str, str], ...]


def write_digests(folder: Path) -> None:
    """Write the digest of every file of `folder` into it."""
    lines = [f"{sha256_of_file(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / DIGESTS).write_text("".join(lines), encoding="utf-8")


def read_export(folder: Path) -> Export:
    """What the export in `folder` says of itself, every file of it checked against its digest.

    Raises
    ------
    DataError
        If it is no export, a file is missing or was altered, or another version made it; the message names the file.
    """
    if not (folder / DIGESTS).is_file():
        what = "holds no export" if folder.is_dir() else "is not there"
        near = sorted(path.parent.name for path in folder.glob(f"*/{DIGESTS}")) if folder.is_dir() else []
        hint = f"; exports in it: {', '.join(near[:5])}" if near else ""
        msg = f"{folder} {what}{hint}. Give the folder that medcompare export wrote"
        raise DataError(msg)
    try:
        return _checked(folder)
    except OSError as error:
        msg = f"{folder}: {Path(str(error.filename)).name} cannot be read ({error.strerror})"
        raise DataError(msg) from None


def _checked(folder: Path) -> Export:
    remedy = "copy it again from where it was made, or make it again with medcompare export"
    lines = (folder / DIGESTS).read_text(encoding="utf-8", errors="replace").splitlines()
    digests = {Path(name).name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in dict.fromkeys([*FILES, *digests]):
        path = folder / name
        if not path.is_file():
            msg = f"{folder}: {path.name} is missing; {remedy}"
            raise DataError(msg)
        if name not in digests:
            msg = f"{folder}: {DIGESTS} does not name {name}, so that nobody can tell whether it was altered; {remedy}"
            raise DataError(msg)
        if sha256_of_file(path) != digests[name]:
            msg = f"{folder}: {path.name} was altered: its SHA-256 is not that of {DIGESTS}; {remedy}"
            raise DataError(msg)
    try:
        return Export.model_validate_json((folder / DESCRIPTION).read_bytes())
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"])) or "it is no JSON"
    raise other_version(folder, f"{DESCRIPTION}: {field}")


def other_version(folder: Path, what: str) -> DataError:
    """The error where `what` of the export in `folder` is whole, and still not as this version writes it."""
    made_by = "another version"
    with contextlib.suppress(ValueError, KeyError, TypeError):
        made_by = f"medcompare {json.loads((folder / DESCRIPTION).read_bytes())['medcompare_version']}"
    msg = (
        f"{folder} is no export as medcompare {__version__}, which runs here, makes it ({what}); it was made by "
        f"{made_by}: make it again with medcompare export, or score with the version that made it"
    )
    return DataError(msg)
