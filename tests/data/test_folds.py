"""Folds beside the held-out test: every image held out once, patients whole, the test in none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.data.folds import fold_splits
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.split import split
from medcompare.data.tables import read_split
from tests.data.test_external import hospital

if TYPE_CHECKING:
    from medcompare.data.records import DatasetManifest, DatasetSplit


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetSplit, DatasetManifest, ArtifactStore]:
    """Forty images of twenty patients, split."""
    root = tmp_path_factory.mktemp("folds")
    paths = sorted(hospital(root / "a", 1, n=20).rglob("*.png"))
    rows = [
        f"{path.relative_to(root / 'a')},{path.parent.name},{path.parent.name}{i // 2}"
        for i, path in enumerate(paths)
    ]
    (root / "a" / "t.csv").write_text("\n".join(["path,label,patient_id", *rows]))
    data, store = DataConfig(source=str(root / "a" / "t.csv")), ArtifactStore(root / "store")
    manifest = ingest(resolve_source(data, demo_root=Path(root / "demo")), data, store)
    return split(manifest, SplitConfig(), seed=0, store=store), manifest, store


def test_every_image_is_held_out_once_per_repetition(
    parts: tuple[DatasetSplit, DatasetManifest, ArtifactStore],
) -> None:
    """Patients in one subset, test images of the run in none, both classes everywhere."""
    whole, manifest, store = parts
    table = read_split(whole, store)

    found = fold_splits(whole, manifest, n_folds=3, n_repeats=2, seed=0, store=store)

    assert len(found) == 6
    held_out: Counter[str] = Counter()
    for fold in found:
        rows = read_split(fold, store)
        assert (rows.groupby("patient_id")["subset"].nunique() == 1).all()
        assert not set(rows["case_id"]) & set(table.query("subset == 'test'")["case_id"])
        assert all(min(one.class_counts) > 0 for one in fold.subsets)
        held_out.update(rows.query("subset == 'test'")["case_id"])
    assert set(held_out) == set(table.query("subset != 'test'")["case_id"])
    assert set(held_out.values()) == {2}
    assert found == fold_splits(whole, manifest, n_folds=3, n_repeats=2, seed=0, store=store)


def test_too_many_folds_are_refused(parts: tuple[DatasetSplit, DatasetManifest, ArtifactStore]) -> None:
    """The message says how many can be made."""
    with pytest.raises(
        DataError, match=r"folds: t has \d patients of class 'healthy' outside .* at most --folds \d can"
    ):
        fold_splits(*parts[:2], n_folds=15, n_repeats=1, seed=0, store=parts[2])
