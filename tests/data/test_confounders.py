"""Signs that the classes differ in something other than disease."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats.contingency import association

from medcompare.data.confounders import confounder_warnings, cramers_v

CLASSES = ("healthy", "ill")


def warn(n: int = 200, **changes: object) -> list[str]:
    """Findings on `n` images that differ in nothing but what `changes` says."""
    arguments: dict[str, object] = {
        "y": [i % 2 for i in range(n)],
        "classes": CLASSES,
        "paths": [f"{CLASSES[i % 2]}/{i}.png" for i in range(n)],
        "sizes": [(64, 64)] * n,
        "formats": ["PNG"] * n,
        "modes": ["RGB"] * n,
        "columns": {},
    }
    return confounder_warnings(**{**arguments, **changes})  # type: ignore[arg-type]


class TestCramersV:
    """The association of class and group."""

    def test_perfect_association(self) -> None:
        """Two groups that are the classes."""
        v, p_value = cramers_v([0, 1] * 50, ["a", "b"] * 50)

        assert v == pytest.approx(1.0)
        assert p_value < 1e-20

    def test_bias_correction_by_hand(self) -> None:
        """Table 30/20 and 20/30: chi2 = 4, phi2 = 0.04 - 1/99, both sides corrected to 2 - 1/99."""
        y = [0] * 50 + [1] * 50
        groups = ["a"] * 30 + ["b"] * 20 + ["a"] * 20 + ["b"] * 30

        v, p_value = cramers_v(y, groups)

        assert v == pytest.approx(np.sqrt((0.04 - 1 / 99) / (1 - 1 / 99)))
        assert p_value == pytest.approx(0.04550026389635839)  # chi-squared 4, one degree of freedom

    def test_close_to_scipy_in_large_samples(self) -> None:
        """The correction fades: scipy's uncorrected V is its limit."""
        rng = np.random.default_rng(1)
        y = rng.integers(0, 2, 20_000)
        groups = (y + rng.integers(0, 4, 20_000)) % 5
        table = np.array([[np.sum((y == c) & (groups == g)) for g in range(5)] for c in range(2)])

        assert cramers_v(y.tolist(), groups.astype(str).tolist())[0] == pytest.approx(
            association(table, method="cramer"), abs=1e-3
        )

    def test_many_small_groups_by_chance(self) -> None:
        """Without the correction 30 groups of 7 would look associated (V about 0.38)."""
        rng = np.random.default_rng(0)
        values = [
            cramers_v(rng.integers(0, 2, 200).tolist(), rng.integers(0, 30, 200).astype(str).tolist())[0]
            for _ in range(50)
        ]

        assert np.mean(values) < 0.12

    @pytest.mark.parametrize(("y", "groups"), [([0, 1], ["a", "a"]), ([1, 1], ["a", "b"])])
    def test_nothing_to_associate(self, y: list[int], groups: list[str]) -> None:
        """One group or one class."""
        assert cramers_v(y, groups) == (0.0, 1.0)


class TestWarnings:
    """Sentences a person can act on."""

    def test_nothing_stands_out(self) -> None:
        """No news about images that are alike."""
        assert warn() == []

    def test_size(self) -> None:
        """Another image size for one class."""
        sizes = [(64, 64) if i % 2 or i % 3 else (96, 96) for i in range(200)]

        (sentence,) = warn(sizes=sizes)

        assert sentence.startswith("Image size differs between the classes")
        assert "0% of ill" in sentence
        assert "of healthy" in sentence

    def test_freely_cropped_sizes(self) -> None:
        """Hundreds of different sizes are compared by quarters of the area."""
        rng = np.random.default_rng(2)
        sizes = [(int(rng.integers(60, 160)) + 60 * (i % 2), 100) for i in range(400)]

        (sentence,) = warn(400, sizes=sizes)

        assert "Image size differs" in sentence
        assert "quarter: " in sentence

    def test_format(self) -> None:
        """PNG for one class, JPEG for the other."""
        (sentence,) = warn(formats=["PNG" if i % 2 else "JPEG" for i in range(200)])

        assert (
            "File format differs between the classes (Cramér's V 1.00; JPEG: 0% of ill, 100% of healthy)"
            in sentence
        )

    @pytest.mark.parametrize(("mode", "word"), [("L", "grey"), ("CMYK", "CMYK")])
    def test_colour_mode(self, mode: str, word: str) -> None:
        """Grey files, or those for print, in one class."""
        (sentence,) = warn(modes=["RGB" if i % 2 else mode for i in range(200)])

        share = f"{word}: 0% of ill, 100%" if word < "RGB" else "RGB: 100% of ill, 0%"
        assert f"Colour mode differs between the classes (Cramér's V 1.00; {share} of healthy)" in sentence

    def test_magnification_in_file_names(self) -> None:
        """One sentence for 100x and 400x, which are two sides of one thing; none for counters."""
        paths = [
            f"{CLASSES[i % 2]}/N_{'400x' if (i % 2 or i % 4) and i % 5 else '100x'}_{i}.png"
            for i in range(400)
        ]

        (sentence,) = warn(400, paths=paths)

        assert sentence.startswith("File names with '100x' make up ")

    def test_class_name_in_file_names(self) -> None:
        """A token of one class only is its name, which no network sees."""
        assert warn(paths=[f"{i % 2}/{'normal' if i % 2 else 'tumour'}_{i}.png" for i in range(200)]) == []

    def test_column(self) -> None:
        """A manifest column that goes with the class; one that does not."""
        site = ["A" if i % 2 or i % 5 == 0 else "B" for i in range(200)]
        sex = ["f" if i % 4 < 2 else "m" for i in range(200)]

        (sentence,) = warn(columns={"site": site, "sex": sex})

        assert sentence.startswith("Column 'site' differs")

    def test_column_counts_patients_not_images(self) -> None:
        """Twenty images of each of ten patients are ten observations, too few for a finding."""
        y = [i % 2 for i in range(200)]
        patients = [f"p{i % 10}" for i in range(200)]
        sex = ["f" if i % 10 in {0, 2, 4, 1} else "m" for i in range(200)]

        assert warn(y=y, columns={"sex": sex})
        assert warn(y=y, columns={"sex": sex}, patients=patients) == []

    def test_numeric_column_by_quarters(self) -> None:
        """Ages are grouped; empty ones form a group of their own."""
        age = ["" if i % 20 == 0 else str(30 + i % 37 + 20 * (i % 2)) for i in range(400)]

        (sentence,) = warn(400, columns={"age": age})

        assert "Column 'age' differs" in sentence
        assert "quarter" in sentence

    @pytest.mark.parametrize("value", ["note {}", "nan", "inf{}"])
    def test_free_text_is_skipped(self, value: str) -> None:
        """Columns of many different words, or of numbers that are none, are left alone."""
        values = [value.format(i) if i % 2 else str(i) for i in range(200)]

        assert warn(columns={"note": values}) == []
