"""Champion and challenger: noise is never promoted more often than said, and what is better is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.stats.succession import Meeting, decide, level_of_look, meet

EVALUATE = EvaluateConfig(n_resamples=200)
NAMES = {"v1": "the champion", "v2": "the challenger"}
PER_NIGHT = 40


def cases(rng: np.random.Generator, n: int, *, gain: float = 0.0, separation: float = 1.5) -> ScoredCases:
    """Scores of two models on the same cases, correlated 0.7; `gain` is added to the separation of the second."""
    y = (np.arange(n) % 2).astype(np.int64)
    shared, *own = rng.normal(size=(3, n))
    noise = [np.sqrt(0.7) * shared + np.sqrt(0.3) * one for one in own]
    scores = {
        "v1": 1 / (1 + np.exp(-(separation * (y - 0.5) + noise[0]))),
        "v2": 1 / (1 + np.exp(-((separation + gain) * (y - 0.5) + noise[1]))),
    }
    ids = tuple(f"c{i}" for i in range(n))
    return ScoredCases(
        case_id=ids, y_true=y, scores=scores, patient_id=None, classes=("benign", "malignant"), subset="test"
    )


def together(nights: list[ScoredCases]) -> ScoredCases:
    """All nights as one table."""
    n = sum(night.n for night in nights)
    return ScoredCases(
        case_id=tuple(f"c{i}" for i in range(n)),
        y_true=np.concatenate([night.y_true for night in nights]),
        scores={m: np.concatenate([night.scores[m] for night in nights]) for m in ("v1", "v2")},
        patient_id=None,
        classes=nights[0].classes,
        subset="test",
    )


def meeting(
    new: ScoredCases | None, reference: ScoredCases, *, looks_before: int = 0, **rule: float
) -> Meeting:
    """The two models, thresholds at one half."""
    return meet(
        new,
        reference,
        champion="v1",
        candidate="v2",
        names=NAMES,
        thresholds={"v1": 0.5, "v2": 0.5},
        looks_before=looks_before,
        rule=DecideConfig.model_validate(rule),
        evaluate=EVALUATE,
    )


def test_all_looks_together_spend_what_one_would() -> None:
    """A hundred thousand looks spend almost all of 5%, and never more; the first gets 44% of it."""
    spent = np.array([1 - level_of_look(k) for k in range(1, 100_001)])

    assert 0.0499 < spent.sum() < 0.05
    assert spent[0] / 0.05 == pytest.approx(0.4375, abs=1e-3)  # 1 / zeta(1.6), zeta(1.6) = 2.2858
    assert (np.diff(spent) < 0).all()


def promotions_of_noise(n_lives: int, n_nights: int, *, pooled: bool) -> tuple[int, int]:
    """Lives in which a challenger that is no better was promoted at least once: by the rule, and by looking at 95%."""
    n_promoted = n_naive = 0
    reference = cases(np.random.default_rng(99), 200)
    for life in range(n_lives):
        rng = np.random.default_rng([2026, life])
        nights: list[ScoredCases] = []
        looks, promoted, naive = 0, False, False
        for _ in range(n_nights):
            nights.append(cases(rng, 24 if pooled else 4 * PER_NIGHT))
            new = together(nights) if pooled else nights[-1]
            found = meeting(new, reference, looks_before=looks, min_units=20)
            looks = found.look
            area = found.auc_new
            if area is not None and area.value is not None and area.value > 0:
                # The gate alone, which is all that keeps noise out where the two are equal.
                promoted |= (area.ci_low or 0) > 0
                naive |= (area.p_value or 1) < 0.05
            if promoted:
                break
        n_promoted, n_naive = n_promoted + promoted, n_naive + naive
    return n_promoted, n_naive


@pytest.mark.parametrize("pooled", [True, False], ids=["one challenger", "another every night"])
def test_noise_is_not_promoted_within_thirty_nights(pooled: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Of 40 lives at most what 2.5% each allow; looking every night at 95% promotes more often."""
    promoted, naive = promotions_of_noise(40, 30, pooled=pooled)

    assert promoted <= stats.binom.ppf(0.999, 40, 0.025)
    assert naive > max(2, promoted)


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [True, False], ids=["one challenger", "another every night"])
def test_noise_is_not_promoted_within_two_hundred_nights(pooled: bool) -> None:  # noqa: FBT001 - a parameter
    """200 nights, 60 lives: as above."""
    promoted, naive = promotions_of_noise(60, 200, pooled=pooled)

    assert promoted <= stats.binom.ppf(0.999, 60, 0.025)
    assert naive > max(5, promoted)


def test_a_better_challenger_is_promoted_once_there_are_enough_cases() -> None:
    """Held while cases are few, promoted when the interval of that look is above zero."""
    rng = np.random.default_rng(4)
    reference, nights, looks = cases(rng, 300, gain=1.2), [], 0
    for _ in range(30):
        nights.append(cases(rng, PER_NIGHT, gain=1.2))
        found = meeting(together(nights), reference, looks_before=looks)
        looks = found.look
        if found.better:
            break

    assert 1 < len(nights) < 20
    assert looks == len(nights) - 1  # the first night had 20 cases of a class, and no look
    assert found.level == pytest.approx(level_of_look(looks))
    assert found.auc_new is not None
    assert found.auc_new.ci_low is not None
    assert found.auc_new.ci_low > 0
    assert found.reason.startswith("The challenger is better than the champion (")
    done = decide({"challenger": found}, looks_before=looks - 1)
    assert (done.action, done.to, done.looks) == ("promote", "v2", looks)


def test_without_an_interval_nobody_is_promoted_and_it_is_said() -> None:
    """Champion and challenger that are both without an error in opposite ways: no variance to judge by."""
    new = cases(np.random.default_rng(5), 200)
    sure = np.where(new.y_true == 1, 0.9, 0.1)
    perfect = replace(new, scores={"v1": 1 - sure, "v2": sure})

    found = meeting(perfect, perfect)

    assert not found.better
    assert "not proven better" in found.reason
    assert "no interval: the estimated variance of the difference is zero" in found.reason


def test_the_reference_set_can_only_prevent() -> None:
    """Better on the new images and worse on the reference set is held; so is what has no new images."""
    rng = np.random.default_rng(5)
    new, worse = cases(rng, 600, gain=1.5), cases(rng, 600, gain=-1.2)

    against = meeting(new, worse)
    assert not against.better
    assert "not on the reference set" in against.reason
    assert against.auc_reference is not None
    assert against.auc_reference.value < 0  # type: ignore[operator]
    none = meeting(None, cases(rng, 600, gain=3.0), looks_before=3)
    assert (none.better, none.look) == (False, 3)
    assert "no labelled new images" in none.reason


def test_a_candidate_below_the_floor_is_not_promoted() -> None:
    """Better than a champion that is no good is not good enough: the floor of the verdict holds here too."""
    rng = np.random.default_rng(6)
    new = cases(rng, 2000, gain=0.5, separation=0.1)

    found = meeting(new, new)

    assert found.auc_new is not None
    assert found.auc_new.ci_low > 0  # type: ignore[operator]
    assert not found.better
    assert "The challenger has the higher AUC, but on the new images the rule" in found.reason


def test_rolling_back_comes_first() -> None:
    """The champion before is trusted already; with nobody to meet the champion stays."""
    better = Meeting(candidate="v0", better=True, reason="r", look=4)
    challenger = better.model_copy(update={"candidate": "v2", "look": 5})

    done = decide({"challenger": challenger, "previous": better}, looks_before=3)
    assert (done.action, done.to, done.looks) == ("roll back", "v0", 5)
    alone = decide({}, looks_before=7)
    assert (alone.action, alone.to, alone.looks) == ("hold", None, 7)
