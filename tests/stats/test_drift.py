"""Drift: quiet nights are quiet, and a change is called by its name."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medcompare.stats.drift import (
    FEATURES,
    N_PERMUTATIONS,
    Alarm,
    Cases,
    alarm,
    compare,
    energy_coefficient,
)

BASE = "the reference set"


def draw(
    rng: np.random.Generator,
    n: int,
    *,
    prevalence: float = 0.4,
    stain: float = 0.0,
    scanner: float = 0.0,
    relabelled: float = 0.0,
    per_patient: int = 1,
) -> Cases:
    """Cases of a model that is calibrated at a prevalence of 0.4; images of a patient are alike."""
    patient = np.arange(n) // per_patient
    y = (rng.random(n) < prevalence).astype(np.int64)[patient]
    shared = rng.normal(size=n)[patient] if per_patient > 1 else np.zeros(n)
    features = rng.normal(size=(n, 12)) + shared[:, None]
    features[:, 0] += 1.5 * y
    features[:, :2] += stain
    probability = 1 / (1 + np.exp(-(1.5 * (features[:, 0] - 0.75) + np.log(0.4 / 0.6))))
    images = {
        "brightness": 150 + 10 * rng.normal(size=n) + 8 * y + 12 * scanner + 10 * shared,
        "share of red in the colours": 0.4 + 0.02 * rng.normal(size=n) + 0.02 * stain,
    }
    truth = np.where(rng.random(n) < relabelled, 1 - y, y)
    return Cases(
        patient=patient,
        images=images,
        features=features,
        called=probability >= 0.5,
        probability=probability,
        y_true=truth,
    )


def night(new: Cases, base: Cases, *, seed: int = 0) -> Alarm:
    """The alarm of one night against one base."""
    return alarm({BASE: compare(new, base, seed=seed)})


def quiet_nights(n: int, *, per_patient: int = 1) -> int:
    """Alarms of `n` nights without any change; the base is drawn anew every twenty."""
    rng = np.random.default_rng(7)
    n_alarms = 0
    for i in range(n):
        if i % 20 == 0:
            base = draw(rng, 160, per_patient=per_patient)
        n_alarms += bool(night(draw(rng, 60, per_patient=per_patient), base, seed=i).changed)
    return n_alarms


def test_quiet_nights_are_quiet() -> None:
    """One alarm in a hundred nights is nominal: of 20 nights at most what chance allows."""
    assert quiet_nights(20) <= stats.binom.ppf(0.999, 20, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("per_patient", [1, 4])
def test_two_hundred_quiet_nights_have_few_false_alarms(per_patient: int) -> None:
    """Nominal are 2 of 200, also where each patient has four images that are alike."""
    assert quiet_nights(200, per_patient=per_patient) <= stats.binom.ppf(0.999, 200, 0.01)


@pytest.mark.parametrize(
    ("change", "changed", "words"),
    [
        ({"stain": 1.0}, ("data",), "share of red in the colours"),
        ({"scanner": 1.0}, ("data",), "brightness"),
        ({"prevalence": 0.75}, ("labels",), "another share of positives"),
        ({"relabelled": 0.45}, ("labels",), "The labels changed"),
    ],
    ids=["stain", "scanner", "prevalence", "labelling"],
)
def test_a_change_is_called_by_its_name(
    change: dict[str, float], changed: tuple[str, ...], words: str
) -> None:
    """In nights of 150 images, each of four times."""
    base = draw(np.random.default_rng(1), 250)
    for seed in range(4):
        found = night(draw(np.random.default_rng([8, seed]), 150, **change), base)  # type: ignore[arg-type]

        assert found.changed == changed
        assert words in " ".join(found.sentences)


def test_another_prevalence_is_data_where_labels_are_not_known() -> None:
    """Without labels nobody can tell a change of prevalence from one of the images."""
    rng = np.random.default_rng(3)
    base, new = draw(rng, 300), draw(rng, 300, prevalence=0.95)
    unlabelled = Cases(**{**vars(new), "y_true": None})

    assert night(new, base).changed == ("labels",)
    assert night(unlabelled, base).changed == ("data",)
    assert not {"labels", "calibration"} & {one.subject for one in compare(unlabelled, base)}


def test_a_model_that_scores_the_same_images_otherwise_is_told_first() -> None:
    """Rounding of another machine is none."""
    rng = np.random.default_rng(2)
    signals = {BASE: compare(draw(rng, 60), draw(rng, 200))}

    assert alarm(signals, model_moved=1e-5).changed == ()
    found = alarm(signals, model_moved=0.2)
    assert found.changed == ("model",)
    assert "moved by up to 0.2" in found.sentences[0]


def test_the_coefficient_of_features_by_hand() -> None:
    """Points 0, 1 beside 3: E|X-Y| = 2.5, E|X-X'| = 0.5, E|Y-Y'| = 0; so (5 - 0.5) / 5 = 0.9. Equal samples: 0."""
    points = np.array([0.0, 1.0, 3.0])
    distances = np.abs(points[:, None] - points)

    assert energy_coefficient(distances, np.array([[1.0, 1.0, 0.0]])) == pytest.approx([0.9])
    twice = np.array([0.0, 1.0, 0.0, 1.0])
    assert energy_coefficient(
        np.abs(twice[:, None] - twice), np.array([[1.0, 1.0, 0.0, 0.0]])
    ) == pytest.approx([0.0])


def test_limits_are_three_standard_deviations_of_chance() -> None:
    """Of a share they are those of the p-chart of textbooks, up to the uncertainty of the base."""
    rng = np.random.default_rng(12)
    base, new = draw(rng, 4000), draw(rng, 100)
    (labels,) = (one for one in compare(new, base) if one.subject == "labels")

    pooled = np.concatenate([new.y_true, base.y_true]).mean()  # type: ignore[list-item]
    reach = 3 * np.sqrt(pooled * (1 - pooled) * (1 / 100 + 1 / 4000))
    assert (labels.high - labels.low) / 2 == pytest.approx(reach, rel=0.06)
    assert (labels.low + labels.high) / 2 == pytest.approx(labels.base)


def test_few_patients_are_not_tested_and_no_p_value_is_zero() -> None:
    """Four patients with 40 images are four."""
    rng = np.random.default_rng(13)
    base = draw(rng, 100)

    assert compare(draw(rng, 40, per_patient=10), base) == ()
    far = compare(draw(rng, 60, stain=9.0), base)
    (features,) = (one for one in far if one.name == FEATURES)
    assert features.p_value == pytest.approx(7 / (1 + N_PERMUTATIONS))
    assert 0.5 < features.effect <= 1
