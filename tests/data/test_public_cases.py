"""Inputs as public bug reports describe them, made by the generators of the shared folder: what happens to each.

Every kind is also a test with input of its own, without that folder, in the file that the last column names.
"""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.config.schema import EvaluateConfig
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.split import split
from medcompare.data.tables import read_rejected
from medcompare.predictions.table import read_prediction_table
from medcompare.stats.evaluation import evaluate_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from medcompare.data.records import DatasetManifest, DatasetSplit

CASES = Path(os.environ.get("MEDCOMPARE_CASES", Path(__file__).resolve().parents[3] / "shared" / "cases"))

pytestmark = [
    pytest.mark.skipif(
        not CASES.is_dir(),
        reason="no generators: put them in ../shared/cases or name their folder in MEDCOMPARE_CASES",
    ),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Writes a case, once, and returns its folder."""
    root = tmp_path_factory.mktemp("cases")
    without_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    spec = importlib.util.spec_from_file_location("make_cases", CASES / "make_cases.py")
    assert spec is not None
    assert spec.loader is not None
    cases: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    path, argv = list(sys.path), list(sys.argv)

    def make(name: str) -> Path:
        if not (root / name).exists():
            if name in cases.CASES:
                cases.CASES[name](root / name)
            else:
                sys.argv = ["make.py", str(root / name)]
                runpy.run_path(str(CASES / "reported" / name / "make.py"))
        return root / name

    yield make
    sys.path, sys.argv, sys.dont_write_bytecode = path, argv, without_bytecode
    sys.modules.pop("base", None)


def taken_in(
    place: Path, store: Path, *, published: Any = None, **data: Any
) -> tuple[DatasetManifest, Callable[..., DatasetSplit], ArtifactStore]:
    """The images listed and validated; how to split them; where the tables are."""
    config = DataConfig.model_validate({"source": str(place), **data})
    keep = ArtifactStore(store)
    manifest = ingest(resolve_source(config, demo_root=store / "demo", published=published), config, keep)

    def parted(**settings: Any) -> DatasetSplit:
        return split(manifest, SplitConfig(published=published, **settings), seed=0, store=keep)

    return manifest, parted, keep


REFUSED = [
    (
        "published_split",
        "",
        {},
        r"split already: train \(60 images\), test \(23 images\).*\nTry: .*--published-split keep",
    ),
    (
        "train_test_folders",
        "",
        {},
        r"split already: train \(32 images\), test \(8 images\).*\nTry: .*--published-split keep",
    ),
    (
        "published_split_four_classes",
        "",
        {},
        r"holds 4 classes: .*keep --positive glioma,meningioma,pituitary$",
    ),
    ("kaggle_ids_without_ending", "", {}, r"Tables in it: metadata\.csv\. Try: .*--data \S*/metadata\.csv$"),
    (
        "kaggle_ids_without_ending",
        "metadata.csv",
        {},
        r"holds 6 classes: akiec \(10\).*\nTry: .*--group-by lesion_id --positive akiec,bcc,mel$",
    ),
    (
        "kaggle_csv",
        "HAM10000_metadata.csv",
        {},
        r"Found: mel \(20\), nv \(20\).*--group-by lesion_id --positive mel$",
    ),
    ("kaggle_csv", "ids.csv", {}, r"Found: mel \(20\), nv \(20\).*\nTry: .*ids\.csv --positive mel$"),
    ("kaggle_csv", "onehot.csv", {}, r"Found: MEL \(20\), NV \(20\).*\nTry: .*onehot\.csv --positive MEL$"),
    ("one_hot", "ground_truth.csv", {}, r"holds 4 classes: BCC \(12\).*\nTry: .*--positive BCC,MEL$"),
    (
        "spreadsheet_dialects",
        "missing_labels.csv",
        {"positive": "malignant"},
        r"4 of 30 images have no label \(empty or 'NaN'\): rows 2, 11, 20, 29.*--positive malignant --exclude NaN$",
    ),
    (
        "archives",
        "climbs_out.zip",
        {},
        r"2 of 26 members may not be unpacked: \.\./\.\./escaped\.png \(leads outside\)",
    ),
    ("archives", "bomb.zip", {}, r"unpacks to more than 315 MB from 0\.3 MB"),
    (
        "archives",
        "medmnist_style.npz",
        {},
        r"medmnist_style\.npz is split already: train \(40 images\), val \(10 images\)",
    ),
    (
        "archives",
        "medmnist_style.npz",
        {"positive": "1", "published": "keep"},
        r"too small \(70\).*28 x 28 pixels; to use such images: --set data\.min_side_px=28",
    ),
    (
        "tiny_and_rare",
        "empty_class",
        {},
        r"holds one class only: non_cancer \(20\); sub-folders without images: cancer",
    ),
    (
        "tiny_and_rare",
        "yes_no",
        {},
        r"positive\? Found: no \(15\), yes \(15\).*--positive yes, or --positive no.*\nTry: .*yes$",
    ),
    (
        "tiny_and_rare",
        "zero_one",
        {},
        r"Found: 0 \(15\), 1 \(15\).*--positive 1, or --positive 0.*\nTry: .*--positive 1$",
    ),
    (
        "positive_suggestion",
        "",
        {},
        r"benign \(20\), malignant \(20\).*--positive malignant, or --positive benign",
    ),
    ("recompressed_twins", "", {}, r"near-duplicate with opposite label \(16\).*data\.near_duplicates=false"),
    (
        "hostile_files",
        "",
        {"positive": "malignant"},
        r"5 of 36 files .* not a regular file \(2\), cannot be opened \(1\)",
    ),
]


@pytest.mark.parametrize(
    ("name", "within", "data", "message"), REFUSED, ids=[f"{c[0]} {c[1]} {i}" for i, c in enumerate(REFUSED)]
)
def test_refused_with_what_would_go_on(  # noqa: PLR0917 - one row per case
    made: Callable[[str], Path], tmp_path: Path, name: str, within: str, data: dict[str, Any], message: str
) -> None:
    """What was found, and the command, filled in with the user's own names."""
    with pytest.raises(DataError) as refused:
        taken_in(made(name) / within, tmp_path / "store", **data)
    assert re.search(message, str(refused.value), flags=re.DOTALL), str(refused.value)


DIALECTS = (
    "bom.csv",
    "german_excel.csv",
    "tabs.tsv",
    "utf16.csv",
    "table.xlsx",
    "windows_paths.csv",
    "windows_absolute.csv",
)
SEEN = [
    *(("spreadsheet_dialects", name, {"positive": "malignant"}, (15, 15), "") for name in DIALECTS),
    (
        "spreadsheet_dialects",
        "windows_absolute.csv",
        {"positive": "malignant"},
        (15, 15),
        "another machine: found by the end",
    ),
    (
        "spreadsheet_dialects",
        "label_variants.csv",
        {"positive": "malignant"},
        (15, 15),
        "taken as one class, malignant",
    ),
    (
        "spreadsheet_dialects",
        "german_excel.csv",
        {"positive": "malignant"},
        (15, 15),
        "Alter have a decimal comma",
    ),
    (
        "kaggle_ids_without_ending",
        "metadata.csv",
        {"positive": "mel,bcc,akiec", "group_by": "lesion_id"},
        (30, 30),
        "Positive: akiec (10), bcc (10), mel (10); negative: bkl (10), df (10), nv (10)",
    ),
    ("target_column", "train.csv", {}, (40, 20), "column target holds 0 and 1: 1 was taken as positive"),
    (
        "one_hot",
        "ground_truth.csv",
        {"positive": "MEL,BCC"},
        (24, 24),
        "columns MEL, NV, BCC, BKL hold one 1 per row",
    ),
    ("excel_sep_line", "m.csv", {}, (20, 20), "the line 'sep=,' names the separator and was passed over"),
    ("archives", "good.zip", {"positive": "malignant"}, (12, 12), "The images were unpacked from good.zip."),
    (
        "archives",
        "medmnist_style.npz",
        {"positive": "1", "published": "keep", "min_side_px": 28},
        (35, 35),
        "was kept",
    ),
    ("patients_with_both_labels", "", {"positive": "malignant"}, (40, 40), "The folder holds manifest.csv"),
    (
        "dicom",
        "",
        {"positive": "cancer"},
        (24, 24),
        "Patients were told apart by the patient id in the header",
    ),
    ("chinese_classes", "", {"positive": "恶性"}, (12, 12), ""),
    ("latin1_names", "", {}, (12, 12), ""),
    ("jfif_mixed", "", {}, (20, 20), "10 images of other endings (10 .jfif): used."),
    ("mode_by_class", "", {}, (30, 30), "Colour mode differs between the classes (Cramér's V 1.00"),
    ("patient_in_names", "", {}, (60, 60), "Names look like 20 patients with 6 images each"),
    (
        "patient_spelling",
        "manifest.csv",
        {},
        (60, 60),
        "30 patients seem to be in the table of images under several",
    ),
    ("set_positive_number", "", {"positive": 1}, (20, 20), ""),
    (
        "tiff_with_preview",
        "",
        {},
        (15, 15),
        "30 images with smaller preview pages, of which only the first page is used.",
    ),
    (
        "twelve_bit_png",
        "",
        {},
        (30, 30),
        "values from 160 to 4048, shown from 0 (black) to 4095 (white) in all",
    ),
]


@pytest.mark.parametrize(
    ("name", "within", "data", "counts", "said"), SEEN, ids=[f"{c[0]} {c[1]} {i}" for i, c in enumerate(SEEN)]
)
def test_read_and_said(  # noqa: PLR0917 - one row per case
    made: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    within: str,
    data: dict[str, Any],
    counts: tuple[int, int],
    said: str,
) -> None:
    """All images are used, and what was recognised is said."""
    # Copies have tests of their own.
    manifest, _, _ = taken_in(made(name) / within, tmp_path / "store", **{"near_duplicates": False, **data})

    assert manifest.class_counts == counts
    assert manifest.n_rejected == 0
    assert said in " ".join(manifest.warnings)
    assert "\N{REPLACEMENT CHARACTER}" not in " ".join(manifest.warnings)


@pytest.mark.parametrize(("name", "n"), [("masks_among_images", 30), ("masks_beside_images", 60)])
def test_masks(made: Callable[[str], Path], tmp_path: Path, name: str, n: int) -> None:
    """Left out and counted."""
    manifest, _, _ = taken_in(made(name), tmp_path / "store", positive="malignant")
    assert (manifest.n_images, manifest.rejected_by_reason) == (n, (("segmentation mask", n),))


def test_augmented_copies(made: Callable[[str], Path], tmp_path: Path) -> None:
    """24 pictures five times each; none is on two sides."""
    manifest, parted, _ = taken_in(made("augmented_copies"), tmp_path / "store", positive="yes")
    assert "Variants by their names: 120, of images: 24; confirmed in the pixels of 96 of 96" in " ".join(
        manifest.warnings
    )
    assert parted().n_duplicates_kept_together == 120


def test_near_duplicates(made: Callable[[str], Path], tmp_path: Path) -> None:
    """The pairs of the list: three kept together, three with opposite labels left out, none else."""
    manifest, _, store = taken_in(made("near_duplicates"), tmp_path / "store", max_rejected_fraction=0.5)
    lines = (made("near_duplicates").parent / "near_duplicates_truth.csv").read_text().splitlines()[1:]
    pairs = [line.split(",")[:2] for line in lines]
    opposite = {path for pair in pairs if len({p.split("/")[0] for p in pair}) == 2 for path in pair}
    assert set(read_rejected(manifest, store)["path"]) == opposite
    assert manifest.copies_by_kind == (("near-duplicate", 3, 6),)


def test_recompressed_twins(made: Callable[[str], Path], tmp_path: Path) -> None:
    """Eight pairs with opposite labels go, ten stay and stay together."""
    manifest, _, _ = taken_in(made("recompressed_twins"), tmp_path / "store", max_rejected_fraction=0.5)
    assert manifest.rejected_by_reason == (("near-duplicate with opposite label", 16),)
    assert manifest.copies_by_kind == (("near-duplicate", 10, 20),)


def test_copies_across_a_published_split(made: Callable[[str], Path], tmp_path: Path) -> None:
    """Counted, named and refused with the option that removes them from training."""
    place = made("published_split")
    _, parted, _ = taken_in(place, tmp_path / "store", published="keep")
    with pytest.raises(DataError, match=r"3 .*copies(?s:.*)--set split\.leaks=remove"):
        parted()
    kept = parted(leaks="remove")
    assert [(one.subset, one.n_images) for one in kept.subsets][-1] == ("test", 23)
    assert sum(one.n_images for one in kept.subsets) == 80


@pytest.mark.parametrize(
    ("within", "message"),
    [
        (
            "one_positive",
            r"class 'cancer' has 1 different images?; at least 3 are needed, one each for training",
        ),
        ("ten_images", None),
        (
            "one_in_hundred",
            r"would hold no image of class 'cancer', of which there are 3 in all",
        ),
    ],
)
def test_tiny_and_rare(made: Callable[[str], Path], tmp_path: Path, within: str, message: str | None) -> None:
    """Which class, how many there are, how many are needed and why."""
    _, parted, _ = taken_in(made("tiny_and_rare") / within, tmp_path / "store", near_duplicates=False)
    if message is None:
        assert all(min(one.class_counts) >= 1 for one in parted().subsets)
        return
    with pytest.raises(DataError, match=message):
        parted()


def test_patients_with_both_labels(made: Callable[[str], Path], tmp_path: Path) -> None:
    """Accepted and said; tested on another site."""
    _, parted, _ = taken_in(made("patients_with_both_labels"), tmp_path / "store", positive="malignant")
    assert "patients have images of both classes" in " ".join(parted().notes)
    assert parted(hold_out="site=siteB").subsets[2].n_images == 40


def test_pixel_formats(made: Callable[[str], Path], tmp_path: Path) -> None:
    """What can be shown is used; the rest is excluded for its own reason."""
    manifest, _, _ = taken_in(
        made("pixel_formats"), tmp_path / "store", positive="malignant", max_rejected_fraction=0.9
    )
    assert manifest.n_images == 31
    assert dict(manifest.rejected_by_reason) == {
        "empty file": 1,
        "not an image": 1,
        "several frames": 2,
        "truncated": 1,
        "values without a range": 1,
    }
    said = " ".join(manifest.warnings)
    assert (
        "2 images with more than 8 bits per pixel: values from 0 to 65535, shown from 0 (black) to 65535"
        in said
    )
    assert "2 images with a rotation mark (EXIF)" in said


def test_hostile_files(made: Callable[[str], Path], tmp_path: Path) -> None:
    """Nothing hangs; odd names are used, and each file that cannot be has its reason."""
    manifest, _, store = taken_in(
        made("hostile_files"), tmp_path / "store", positive="malignant", max_rejected_fraction=0.9
    )
    table = read_rejected(manifest, store)
    assert dict(zip(table["path"], table["reason"], strict=True)) == {
        "malignant/bomb.png": "too many pixels",
        "malignant/broken.png": "cannot be opened",
        "malignant/pipe.png": "not a regular file",
        "malignant/sparse.png": "too large",
        "malignant/zero.png": "not a regular file",
    }
    assert manifest.class_counts == (12, 19)


def test_scores_that_are_all_the_same() -> None:
    """Said as such; nothing is computed from rounding noise, and the other model is judged."""
    folder = CASES / "reported" / "constant_scores_overflow"
    test = read_prediction_table(folder / "test.csv")
    validation = read_prediction_table(folder / "validation.csv", subset="val", test=test)
    settings = EvaluateConfig(n_resamples=200)
    constant, other = (
        evaluate_model(test, validation, name, display_name=name, evaluate=settings, seed=0)
        for name in ("efficientnet_b0", "resnet50")
    )
    assert constant.constant_output
    assert not other.constant_output
    assert constant.calibration is not None
    assert constant.calibration.slope.value is None
