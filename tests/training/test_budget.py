"""The equal-chances table: what each model was given, and a comparison of unequal budgets refused."""

from __future__ import annotations

import pytest

from medcompare.base.errors import DataError
from medcompare.config.schema import CompareConfig
from medcompare.predictions.costs import CostMeasurement
from medcompare.training.budget import EQUAL, OF_SEARCH, budgets, check_equal, not_tuned_alike, tuned_alike
from tests.report.sample import make_search, make_split, make_trained

CONFIG = CompareConfig.model_validate({"train": {"epochs": 12}})


def test_sums_over_the_trainings_of_a_model() -> None:
    """Two trainings of a, two of b: epochs, images and seconds add up."""
    trained = [make_trained(m, m.upper()).model_copy(update={"seed": s}) for m in "ab" for s in (0, 1)]

    found = budgets(
        trained, make_split(), CONFIG, costs=[CostMeasurement(model="a", implementation="torchvision")]
    )

    assert [(one.model, one.n_trainings, one.implementation) for one in found] == [
        ("a", 2, "torchvision"),
        ("b", 2, None),
    ]
    one = make_trained("a", "A")
    assert found[0].seconds == pytest.approx(2 * one.elapsed_s)
    assert found[0].epochs_run == 2 * len(one.history)
    assert found[0].n_training_images == make_split().subsets[0].n_images


@pytest.mark.parametrize("field", EQUAL)
def test_unequal_budgets_are_refused(field: str) -> None:
    """Whatever one model has more of is named, with both numbers."""
    trained = [make_trained(m, m.upper()) for m in "ab"]
    one, other = budgets(trained, make_split(), CONFIG, costs=())
    had = getattr(other, field)
    more = other.model_copy(update={field: "pruning: none" if field == "search" else had + 7})

    told = had if isinstance(had, str) else f"{had:,}"
    with pytest.raises(DataError, match=f"not given the same chance: .* differ .A {told}, B "):
        check_equal([one, more])
    if field in OF_SEARCH:  # a probe has nothing that could be searched
        check_equal([one, more.model_copy(update={"probe": True})])


def test_a_search_is_counted_whole_and_a_shorter_one_refused() -> None:
    """Pruned trials are trials; used epochs may differ between models, the allowance may not."""
    trained = [make_trained(m, m.upper()) for m in "ab"]
    one, other = (make_search(m, m.upper()) for m in "ab")

    found = budgets(trained, make_split(), CONFIG, costs=(), searches=[one, other])
    assert [(b.n_trials, b.trial_epochs, b.n_pruned, b.search_epochs_run) for b in found] == [
        (4, 3, 1, 11)
    ] * 2
    less = other.model_copy(update={"trials": other.trials[:-1]})
    with pytest.raises(DataError, match=r"trials differ \(A 4, B 3\)"):
        budgets(trained, make_split(), CONFIG, costs=(), searches=[one, less])
    with pytest.raises(DataError, match=r"trials differ \(A 4, B 0\)"):
        budgets(trained, make_split(), CONFIG, costs=(), searches=[one])
    assert "4 trials of at most 3 epochs, judged on the validation" in tuned_alike([one, other], "ab")
    assert "linear probe" in tuned_alike([one], "ab")


def test_a_training_less_is_refused() -> None:
    """Three trainings of one model, two of the other."""
    trained = [make_trained(m, m.upper()) for m in "aaabb"]

    with pytest.raises(DataError, match=r"trainings differ \(A 3, B 2\)"):
        budgets(trained, make_split(), CONFIG, costs=())


def test_recipes_that_differ_are_told() -> None:
    """Both recipes stand in the sentence; with one recipe for all there is none."""
    one, other = (make_trained(m, m.upper()) for m in "ab")
    told = not_tuned_alike([one, other.model_copy(update={"optimizer": "SGD, learning rate 0.1"})])

    assert len(told) == 1
    assert f"(A: {one.optimizer}; B: SGD, learning rate 0.1)" in told[0]
    assert not_tuned_alike([one, other.model_copy(update={"optimizer": one.optimizer})]) == []
