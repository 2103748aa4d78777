"""Shortcuts: planted ones are found, their absence too, and a careless split looks better than it is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from medcompare.base.artifacts import ArtifactStore
from medcompare.data.file_facts import FILE_FACTS, N_COLOUR, N_THUMBNAIL, is_kept, small_picture
from medcompare.data.tables import read_images
from medcompare.predictions.cases import ScoredCases
from medcompare.report.notices import easy_data
from medcompare.stats.records import Estimate
from medcompare.stats.shortcuts import beside_random_split, cross_validated_auc, out_of_fold, shortcuts
from tests.report.sample import make_assessment, make_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.stats.in_detail import Shortcut

N = 240
"""Images, two of each patient."""


def found_in(
    folder: Path, *, planted: str = "", seed: int = 0, test_score: float = 0.0
) -> dict[str, Shortcut]:
    """Shortcuts of images that are alike but for what is planted; of a network that is right by `test_score`."""
    rng = np.random.default_rng(seed)
    y = np.repeat(rng.permutation(np.repeat([0, 1], N // 4)), 2)
    patient = np.arange(N) // 2
    digests = [f"{i:064x}" for i in rng.permutation(N)]
    facts = np.zeros(N, dtype=FILE_FACTS)
    facts["sha256"], facts["format"], facts["n_bytes"] = digests, "PNG", rng.integers(1000, 2000, N)
    facts["colour"] = rng.integers(0, 40, (N, N_COLOUR))
    facts["thumbnail"] = rng.integers(0, 190, (N, N_THUMBNAIL))
    width = np.full(N, 64)
    if planted == "file":
        width += 32 * y
    elif planted:
        facts[planted][:, 3:60] += (60 * y).astype(np.uint8)[:, None]
    store = ArtifactStore(folder)
    table = pd.DataFrame(
        {
            "case_id": [f"case-{i}" for i in range(N)],
            "path": [f"{'ab'[label]}/{i}.png" for i, label in enumerate(y)],
            "label": y, "patient_id": [f"P{i}" for i in patient], "sha256": digests,
            "width_px": width, "height_px": 64, "mode": "RGB",
        }
    )  # fmt: skip
    order = np.argsort(digests)
    out = io.BytesIO()
    np.save(out, facts[order])
    manifest = make_manifest(synthetic=False).model_copy(
        update={
            "images": store.write(table.to_csv(index=False).encode(), ".csv"),
            "file_facts": store.write(out.getvalue(), ".npy"),
            "copies": None, "extra_columns": (), "n_patients": N // 2,
        }
    )  # fmt: skip
    tested = np.arange(N) % 4 < 2
    test = ScoredCases(
        case_id=tuple(table["case_id"][tested]),
        y_true=y[tested].astype(np.int64),
        scores={"net": rng.normal(size=tested.sum()) + test_score * y[tested]},
        patient_id=table["patient_id"][tested].to_numpy(dtype=str),
        classes=("no", "yes"),
        subset="test",
    )
    found = shortcuts(read_images(manifest, store), manifest, store, test, level=0.95, seed=0)
    return {one.kind: one for one in found}


@pytest.mark.parametrize(
    ("planted", "kind"), [("file", "file"), ("colour", "colours"), ("thumbnail", "thumbnail")]
)
def test_a_planted_shortcut_is_found_where_it_is(planted: str, kind: str, tmp_path: Path) -> None:
    """Near 1 for the model that can see it; the others' intervals do not leave chance far behind."""
    found = found_in(tmp_path, planted=planted)

    assert found[kind].auc.value > 0.95
    assert found[kind].auc.n == N
    for other in {"file", "colours", "thumbnail"} - {kind}:
        assert found[other].auc.ci_low < 0.55


def test_without_a_shortcut_the_interval_holds_chance() -> None:
    """In nearly all of 60 data sets of noise, as 95 % intervals should; DeLong's own does so in 85 % or less."""
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = np.repeat(rng.permutation(np.repeat([0, 1], 60)), 2)
        patient = np.arange(240) // 2
        scores = out_of_fold(rng.normal(size=(240, 24)), y, patient, seed=0)
        auc = cross_validated_auc(y, scores, patient, level=0.95)
        held.append(auc.ci_low <= 0.5 <= auc.ci_high)

    assert np.mean(held) >= 0.93


def test_a_network_is_compared_on_the_same_test_images(tmp_path: Path) -> None:
    """A good one is better than colours without a shortcut, a random one worse than a planted one."""
    good = found_in(tmp_path, test_score=4.0)["colours"].differences["net"]
    blind = found_in(tmp_path, planted="thumbnail")["thumbnail"].differences["net"]

    assert good.ci_low > 0
    assert blind.ci_high < 0
    assert good.n == blind.n == N // 2


def test_a_careless_split_knows_the_patients() -> None:
    """Values that name the patient are worth nothing in folds by patient, and nearly all in folds by image."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 10)
    y = rng.permutation(np.repeat([0, 1], 20))[patient]
    values = np.eye(40)[patient] + rng.normal(0, 0.1, (400, 40))

    by_patient = roc_auc_score(y, out_of_fold(values, y, patient, seed=0))
    by_image = roc_auc_score(y, out_of_fold(values, y, None, seed=0))

    assert by_image > 0.95
    assert by_patient < 0.7


def test_no_image_is_scored_by_a_model_that_saw_its_group() -> None:
    """Labels of a group that are all exchanged change the scores of the others only."""
    rng = np.random.default_rng(1)
    y, groups = np.tile([0, 1], 50), np.arange(100) // 2
    values = rng.normal(size=(100, 3)) + y[:, None]
    other = y.copy()
    other[:2] = 1 - y[:2]

    before, after = out_of_fold(values, y, groups, seed=0), out_of_fold(values, other, groups, seed=0)

    assert (before[:2] == after[:2]).all()
    assert (before != after).sum() > 50


def test_scores_are_those_of_linear_discriminant_analysis() -> None:
    """Beside scikit-learn's own with a covariance that needs no shrinkage: the same order of all cases."""
    rng = np.random.default_rng(2)
    y = np.tile([0, 1], 2000)
    values = rng.normal(size=(4000, 3)) @ rng.normal(size=(3, 3)) + 0.5 * y[:, None]
    ours = out_of_fold(values, y, None, seed=0)

    theirs = np.zeros(len(y))
    for train, held_out in StratifiedKFold(5, shuffle=True, random_state=0).split(values, y):
        theirs[held_out] = (
            LinearDiscriminantAnalysis().fit(values[train], y[train]).decision_function(values[held_out])
        )

    assert np.corrcoef(ours, theirs)[0, 1] == pytest.approx(1.0, abs=1e-4)
    assert roc_auc_score(y, ours) == pytest.approx(roc_auc_score(y, theirs), abs=1e-3)


def test_values_that_never_differ_give_every_image_one_score() -> None:
    """AUC one half, without dividing by zero."""
    y = np.tile([0, 1], 20)

    assert (out_of_fold(np.ones((40, 3)), y, None, seed=0) == 0).all()


def test_small_picture_of_a_red_image() -> None:
    """All pixels in the highest bin of red and the lowest of green and blue; every pixel of the thumbnail red."""
    colour = np.frombuffer(small_picture(Image.new("RGB", (30, 20), (255, 0, 0))), np.uint8)

    assert colour[:N_COLOUR].reshape(3, 8).tolist() == [[0] * 7 + [255], [255] + [0] * 7, [255] + [0] * 7]
    assert colour[N_COLOUR:].reshape(12, 12, 3).tolist() == [[[255, 0, 0]] * 12] * 12
    assert len(small_picture(Image.new("L", (5, 5)))) == N_COLOUR + N_THUMBNAIL


def test_of_a_million_images_about_twenty_thousand_are_kept() -> None:
    """By digest, and all where there are few."""
    digests = [f"{value:015x}" for value in np.random.default_rng(0).integers(0, 16**15, 20_000).tolist()]

    assert sum(is_kept(digest, 1_000_000) for digest in digests) == pytest.approx(400, abs=80)
    assert all(is_kept(digest, 20_000) for digest in digests)


def test_page_one_names_a_network_that_does_not_beat_a_shortcut(tmp_path: Path) -> None:
    """The best of the shortcuts that it is not shown to beat, with both numbers; silent where it beats all."""
    found = tuple(found_in(tmp_path).values())
    model = "resnet50"

    def with_difference(low: float) -> tuple[str, ...]:
        difference = Estimate(value=low + 0.1, ci_low=low, ci_high=low + 0.2, method="DeLong")
        changed = tuple(one.model_copy(update={"differences": {model: difference}}) for one in found)
        return easy_data(make_assessment(n=120).model_copy(update={"shortcuts": changed}))

    best = max(one.auc_test.value for one in found)
    [sentence] = with_difference(-0.05)
    assert "ResNet-50 is not shown to tell the classes apart better" in sentence
    assert f"AUC {best:.3f} on the same test images" in sentence
    assert (
        "+0.050 (95% interval \u22120.050 to +0.150)" in sentence
        or "+0.050 (\u22120.050 to +0.150)" in sentence
    )
    assert with_difference(0.01) == ()


def cases(n: int, separation: float, *, seed: int) -> ScoredCases:
    """Scores of one network on patients of one image each."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return ScoredCases(
        case_id=tuple(f"case-{i}" for i in range(n)),
        y_true=y.astype(np.int64),
        scores={"net": rng.normal(size=n) + separation * y},
        patient_id=None,
        classes=("no", "yes"),
        subset="test",
    )


def test_the_optimism_of_a_random_split_has_an_interval_that_holds_the_truth() -> None:
    """Two independent test subsets of networks with known AUCs, 300 times: in about 95 %."""
    truth = norm.cdf(2.0 / np.sqrt(2)) - norm.cdf(1.0 / np.sqrt(2))  # AUC of two normal distributions
    held = []
    for seed in range(300):
        test, random = cases(120, 1.0, seed=2 * seed), cases(120, 2.0, seed=2 * seed + 1)
        [found] = beside_random_split(test, random, n_leaked=7, level=0.95)
        assert found.difference.value == pytest.approx(found.auc_random.value - found.auc.value)
        held.append(found.difference.ci_low <= truth <= found.difference.ci_high)

    assert found.n_leaked == 7
    assert 0.92 <= np.mean(held) <= 0.985


def test_an_auc_that_is_undefined_has_no_optimism() -> None:
    """One class only: the reason travels along."""
    few = cases(120, 1.0, seed=1)
    few.y_true[:] = 0
    few.y_true[:3] = 1

    [found] = beside_random_split(few, cases(120, 1.0, seed=2), n_leaked=0, level=0.95)

    assert found.difference.value is None
    assert found.difference.note == found.auc.note
