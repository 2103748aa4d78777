"""Characteristics of the subsets: counted as pandas counts them, and never a name of a patient."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medcompare.data.assignments import ImageRow
from medcompare.data.characteristics import characteristics, chosen_subgroups, standardised_difference
from medcompare.data.records import MAX_LEVELS, ORIGINAL

SUBSETS = ("train", "val", "test")


def table(n: int = 300, *, seed: int = 0) -> pd.DataFrame:
    """Images of patients of two each, with columns of every kind."""
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // 2
    of_patient = lambda values: np.asarray(values)[patient]  # noqa: E731 - one line says it
    n_patients = patient[-1] + 1
    return pd.DataFrame(
        {
            "subset": of_patient(rng.choice(SUBSETS, n_patients, p=(0.6, 0.1, 0.3))),
            "label": rng.integers(0, 2, n),
            "patient_id": [f"P{i}" for i in patient],
            "sex": of_patient(rng.choice(["female", "male", ""], n_patients, p=(0.5, 0.4, 0.1))),
            "grade": of_patient(rng.choice(["1", "2", "10"], n_patients)),
            "age": of_patient([f"{age:.1f}" for age in rng.integers(30, 90, n_patients)]),
            "ward": of_patient([f"ward {i}" for i in rng.integers(0, 20, n_patients)]),
            "name": of_patient([f"Name {i}" for i in range(n_patients)]),
            "number": of_patient([str(1000 + i) for i in range(n_patients)]),
            "blank": "",
        }
    )


def rows_of(frame: pd.DataFrame) -> list[ImageRow]:
    """The same as rows of a split."""
    extra = [name for name in frame.columns if name not in {"subset", "label", "patient_id"}]
    return [
        ImageRow(
            case_id=f"case{i}",
            path=f"{i}.png",
            label=int(record["label"]),
            patient_id=record["patient_id"],
            sha256=str(i),
            subset=record["subset"],
            extra=tuple((name, record[name]) for name in extra),
        )
        for i, record in enumerate(frame.to_dict("records"))
    ]


def test_counts_are_those_of_a_cross_table() -> None:
    """Per subset, class and level, levels of numbers in the order of numbers, blanks last."""
    frame = table()

    found = [row for row in characteristics(rows_of(frame)) if row.column in {"sex", "grade"}]

    assert [(row.column, row.level) for row in found] == [
        ("sex", "female"), ("sex", "male"), ("sex", ""), ("grade", "1"), ("grade", "2"), ("grade", "10"),
    ]  # fmt: skip
    for row in found:
        expected = pd.crosstab(
            frame["subset"][frame[row.column] == row.level], frame["label"][frame[row.column] == row.level]
        ).reindex(index=SUBSETS, columns=[0, 1], fill_value=0)
        assert [list(pair) for pair in row.counts] == expected.to_numpy().tolist()
    for column in ("sex", "grade"):
        total = sum(
            negative + positive for row in found if row.column == column for negative, positive in row.counts
        )
        assert total == len(frame)


def test_numbers_with_many_values_have_quartiles() -> None:
    """The same as pandas computes, and counts of the images that have a value."""
    frame = table()
    frame.loc[frame.index[:30], "age"] = ""

    blank, row = sorted(
        (row for row in characteristics(rows_of(frame)) if row.column == "age"), key=lambda r: str(r.level)
    )

    assert (blank.level, row.level) == ("", None)
    assert sum(map(sum, blank.counts)) == 30
    assert row.quartiles is not None
    given = frame[frame["age"] != ""]
    for i, subset in enumerate(SUBSETS):
        ages = given["age"][given["subset"] == subset].astype(float)
        assert row.quartiles[i] == pytest.approx(ages.quantile([0.25, 0.5, 0.75]).tolist())
        assert sum(row.counts[i]) == len(ages)


def test_what_says_who_a_patient_is_is_left_out() -> None:
    """Names and numbers of patients, blanks, and many words: no value of them is in the table."""
    found = characteristics(rows_of(table()))

    assert {row.column for row in found} == {"sex", "grade", "age"}
    assert not any("Name" in str(row.level) for row in found)


@pytest.mark.parametrize("patients", [True, False])
def test_few_patients_are_not_named(patients: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Six patients, or six images without ids: fewer values than the table takes, and still who they are."""
    frame = table(12 if patients else 6)
    frame["name"] = [f"Name {i // 2 if patients else i}" for i in range(len(frame))]
    frame["sex"] = ["female", "male"] * (len(frame) // 2)
    if not patients:
        frame["patient_id"] = ""

    found = characteristics(rows_of(frame))

    assert frame["name"].nunique() <= MAX_LEVELS
    assert "name" not in {row.column for row in found}
    assert "sex" in {row.column for row in found}


def test_a_subset_without_numbers_has_no_quartiles() -> None:
    """Nothing is made up for a subset in which the column is blank, and no split has no table."""
    frame = table()
    frame.loc[frame["subset"] == "val", "age"] = ""

    row = next(row for row in characteristics(rows_of(frame)) if row.column == "age" and row.level is None)

    assert row.quartiles is not None
    assert row.quartiles[1] is None
    assert row.counts[1] == (0, 0)
    assert characteristics([]) == ()


def test_standardised_differences_of_numbers_are_those_of_the_formula() -> None:
    """Difference of means over the root of the mean variance, in the first row of the column only."""
    frame = table()
    age = frame["age"].astype(float)
    test, training, positive = frame["subset"] == "test", frame["subset"] == "train", frame["label"] == 1

    rows = [row for row in characteristics(rows_of(frame)) if row.column == "age"]

    for found, one, other in (
        (rows[0].difference_test, age[test], age[training]),
        (rows[0].difference_class, age[positive], age[~positive]),
    ):
        spread = ((one.var(ddof=0) + other.var(ddof=0)) / 2) ** 0.5
        assert found == pytest.approx(abs(one.mean() - other.mean()) / spread)


def test_standardised_difference_of_two_levels_is_that_of_one_share() -> None:
    """Austin 2009: (p - q) / sqrt((p (1 - p) + q (1 - q)) / 2), whichever level is counted."""
    one, other = np.array([1.0] * 30 + [0.0] * 70), np.array([1.0] * 45 + [0.0] * 5)
    expected = abs(0.3 - 0.9) / ((0.3 * 0.7 + 0.9 * 0.1) / 2) ** 0.5

    assert standardised_difference(one[:, None], other[:, None]) == pytest.approx(expected)
    both = [np.column_stack([group, 1 - group]) for group in (one, other)]
    assert standardised_difference(*both) == pytest.approx(expected)


def test_standardised_difference_of_three_levels_by_hand() -> None:
    """Shares (0.5, 0.3, 0.2) and (0.2, 0.3, 0.5): Mahalanobis' distance of two of them with their covariances."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    groups = [np.repeat(np.eye(3), (10 * share).round().astype(int), axis=0) for share in (p, q)]
    covariance = sum(np.diag(share[:2]) - np.outer(share[:2], share[:2]) for share in (p, q)) / 2
    expected = np.sqrt((p - q)[:2] @ np.linalg.solve(covariance, (p - q)[:2]))

    assert standardised_difference(*groups) == pytest.approx(expected)


def test_groups_that_cannot_be_compared_have_no_difference() -> None:
    """Nobody in one group, or two constants that differ; the same constant differs by nothing."""
    ones, zeros = np.ones((5, 1)), np.zeros((4, 1))

    assert standardised_difference(ones, np.zeros((0, 1))) is None
    assert standardised_difference(ones, zeros) is None
    assert standardised_difference(ones, np.ones((3, 1))) == 0.0


def chosen(subgroups: tuple[str, ...] | None, frame: pd.DataFrame) -> tuple[str, ...]:
    """Subgroups of the images of a table."""
    rows = rows_of(frame)
    return chosen_subgroups(subgroups, [name for name, _ in rows[0].extra], characteristics(rows))


def test_columns_of_few_values_are_subgroups_unless_others_are_named() -> None:
    """Two to eight values, not the names of patients, not numbers of many values."""
    assert chosen(None, table()) == ("sex", "grade")
    assert chosen((), table()) == ()
    assert chosen(("ward",), table()) == ("ward",)


def test_the_original_class_is_a_subgroup_unless_none_is_wanted() -> None:
    """However many there are, and whatever else is named: to see which class a model misses."""
    frame = table().rename(columns={"ward": ORIGINAL})

    assert chosen(None, frame) == ("sex", "grade", ORIGINAL)
    assert chosen(("sex",), frame) == ("sex", ORIGINAL)
    assert chosen((), frame) == ()


def test_levels_always_have_a_difference_where_they_vary() -> None:
    """Shares add up to 1: the direction without spread is rounding, and hides no difference. By a 2-by-2 inverse."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        groups = [np.repeat(np.eye(4)[1:], rng.integers(1, 200, 3), axis=0) for _ in range(2)]
        shares = [group.mean(axis=0)[1:3] for group in groups]  # of two levels; the third is the rest
        spread = sum(np.diag(share) - np.outer(share, share) for share in shares) / 2
        difference = shares[0] - shares[1]

        found = standardised_difference(*groups)

        assert found == pytest.approx(np.sqrt(difference @ np.linalg.inv(spread) @ difference))
