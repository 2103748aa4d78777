"""Our figures beside those of other software, and the table of both in the docs.

    python -m benchmarks.reference_values            # compare with the stored references
    python -m benchmarks.reference_values --refresh  # run R (and dcurves, skore, evidently, where installed)

Input is scikit-learn's breast-cancer data with two probabilities written down as
formulas, so that anybody can repeat it; "patients" are runs of six neighbouring rows.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer

from medcompare.stats.arrays import checked_clusters
from medcompare.stats.calibration.agreement import calibration
from medcompare.stats.calibration.loess import local_regression
from medcompare.stats.intervals.auc import auc_covariance, auc_difference, auc_interval, roc_auc
from medcompare.stats.intervals.proportions import (
    clustered_proportion,
    clustered_ratio_variance,
    normal_quantile,
    proportion,
)
from medcompare.stats.multiplicity import holm
from medcompare.stats.paired import mcnemar_p, newcombe_interval, tango_interval
from medcompare.stats.utility import net_benefit

HERE = Path(__file__).parent
STORED = HERE / "reference_values.csv"
TABLE = HERE.parent / "docs" / "reference-values.md"
CALLED_FROM = 0.5
NET_BENEFIT_AT = (0.05, 0.2, 0.5)


def inputs() -> dict[str, np.ndarray]:
    """Build the input: labels, two probabilities, a tied score and patients."""
    data = load_breast_cancer()
    radius, concavity = data.data[:, 0], data.data[:, 6]
    return {
        "y": (data.target == 0).astype(int),
        "a": 1 / (1 + np.exp(-(radius - 15) / 1.5)),
        "b": 1 / (1 + np.exp(-(concavity - 0.1) / 0.02)),
        "tied": np.round(radius),
        "patient": np.arange(radius.size) // 6,
    }


def our_values() -> dict[str, float]:
    """Compute every quantity of the table with medcompare."""
    d = inputs()
    y, a, b, patient = d["y"], d["a"], d["b"], d["patient"]
    codes = checked_clusters(patient, y.size)
    right_a, right_b = (a >= CALLED_FROM) == (y == 1), (b >= CALLED_FROM) == (y == 1)
    aucs, cov = auc_covariance(y, [a, b])
    one_a, one_tied = auc_interval(y, a), auc_interval(y, d["tied"])
    pair = auc_difference(y, a, b)
    clustered_cov = auc_covariance(y, [a, b], clusters=patient)[1]
    agreement = calibration(y, a, seed=0)
    clustered_agreement = calibration(y, a, seed=0, clusters=patient, n_resamples=100)
    right = clustered_proportion(right_a, patient)
    curve_at = np.array([0.1, 0.5, 0.9])
    curve = local_regression(a, y.astype(float), curve_at).fit
    adjusted = holm([0.049, 0.02, 0.3, None, 0.0004])
    values = {
        "auc(a)": aucs[0],
        "auc(tied)": roc_auc(y, d["tied"]),
        "auc variance(a)": cov[0, 0],
        "auc variance(tied)": auc_covariance(y, [d["tied"]])[1][0, 0],
        "auc covariance(a, b)": cov[0, 1],
        "auc logit low(a)": one_a.ci_low,
        "auc logit high(a)": one_a.ci_high,
        "auc logit low(tied)": one_tied.ci_low,
        "auc logit high(tied)": one_tied.ci_high,
        "auc difference(a, b)": pair.value,
        "auc difference p(a, b)": pair.p_value,
        "auc difference low(a, b)": pair.ci_low,
        "auc difference high(a, b)": pair.ci_high,
        "clustered auc variance(a)": clustered_cov[0, 0],
        "clustered auc covariance(a, b)": clustered_cov[0, 1],
        "wilson low(81/93)": proportion(81, 93).ci_low,
        "wilson high(81/93)": proportion(81, 93).ci_high,
        "wilson high(0/29)": proportion(0, 29).ci_high,
        "clopper-pearson low(81/93)": proportion(81, 93, method="clopper-pearson").ci_low,
        "clopper-pearson high(81/93)": proportion(81, 93, method="clopper-pearson").ci_high,
        "clopper-pearson high(0/29)": proportion(0, 29, method="clopper-pearson").ci_high,
        "wilson low(ppv 81/101)": proportion(81, 101).ci_low,
        "wilson high(ppv 81/101)": proportion(81, 101).ci_high,
        "clustered mean variance(a right)": clustered_ratio_variance(right_a, codes),
        "clustered mean variance(b - a right)": clustered_ratio_variance(right_b * 1.0 - right_a, codes),
        "clustered mean variance(b - a right), GEE": clustered_ratio_variance(right_b * 1.0 - right_a, codes),
        "clustered wilson low(a right)": right.ci_low,
        "clustered wilson high(a right)": right.ci_high,
        "newcombe low(59, 6, 16, 80)": newcombe_interval(59, 16, 6, 80)[0],
        "newcombe high(59, 6, 16, 80)": newcombe_interval(59, 16, 6, 80)[1],
        "mcnemar mid-p(6, 16)": mcnemar_p(6, 16),
        "mcnemar mid-p(1, 7)": mcnemar_p(1, 7),
        "calibration slope(a)": agreement.slope.value,
        "calibration slope low(a)": agreement.slope.ci_low,
        "calibration in the large(a)": agreement.in_the_large.value,
        "calibration in the large low(a)": agreement.in_the_large.ci_low,
        "clustered calibration slope error(a)": (
            (clustered_agreement.slope.ci_high or 0) - (clustered_agreement.slope.ci_low or 0)
        )
        / (2 * normal_quantile(0.95)),
        "brier(a)": agreement.brier.value,
        "slope(a), val.prob": agreement.slope.value,
        "auc low(a), ci.auc": one_a.ci_low,
        "auc high(a), ci.auc": one_a.ci_high,
        "intercept(a), val.prob": agreement.in_the_large.value,
        "auc(a), skore": aucs[0],
        "brier(a), skore": agreement.brier.value,
        "auc(a), evidently": aucs[0],
    }
    for name in ("ici", "e50", "e90"):
        found = getattr(agreement, {"ici": "integrated_calibration_index"}.get(name, name))
        values |= dict.fromkeys([f"{name}(a)", f"{name}(a), val.prob"], found.value)
    del values["e50(a), val.prob"]  # which it does not give
    called = a >= CALLED_FROM
    rates = {
        "accuracy": (called == y).mean(),
        "precision": y[called].mean(),
        "recall": called[y == 1].mean(),
        "specificity": 1 - called[y == 0].mean(),
    }
    values |= {f"{name}(a), evidently": rate for name, rate in rates.items()}
    values |= {f"{name}(a), skore": rates[name] for name in ("accuracy", "precision", "recall")}
    for gain, loss, n in ((6, 16, 161), (1, 7, 21), (40, 20, 160), (0, 0, 50)):
        low, high = tango_interval(loss, gain, n)
        values[f"tango low(gain {gain}, loss {loss}, n {n})"] = low
        values[f"tango high(gain {gain}, loss {loss}, n {n})"] = high
    for x, height in zip(curve_at, curve, strict=True):
        values[f"reliability curve(a) at {x:.1f}"] = height
    for i in (1, 2, 3, 5):
        values[f"holm({i})"] = adjusted[i - 1]
    for threshold, benefit in zip(NET_BENEFIT_AT, net_benefit(y, a, NET_BENEFIT_AT), strict=True):
        values[f"net benefit(a) at {threshold}"] = benefit
    return {name: float(value) for name, value in values.items() if value is not None}


Row = tuple[str, float, str, str]


def stored_rows() -> list[Row]:
    """Read what other software says: quantity, value, software with version, and why it is not ours."""
    with STORED.open(newline="", encoding="utf-8") as file:
        return [
            (row["quantity"], float(row["value"]), row["software"], row["why"])
            for row in csv.DictReader(file)
        ]


def stored_references() -> list[tuple[str, float, str]]:
    """Of these, the figures that ours must equal."""
    return [row[:3] for row in stored_rows() if not row[3]]


def refresh() -> None:
    """Run the other software and store what it says."""
    d = inputs()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.csv"
        table = np.column_stack(list(d.values()))
        np.savetxt(path, table, fmt="%.17g", delimiter=",", header=",".join(d), comments="")
        script = str(HERE / "reference_values.R")
        said = subprocess.run(["Rscript", script, str(path)], check=True, capture_output=True, text=True)  # noqa: S603, S607
    rows = [line.split("\t") for line in said.stdout.splitlines() if line.count("\t") == 3]
    for ask, name in ((_dcurves, "net benefit"), (_skore, "skore"), (_evidently, "evidently")):
        try:
            found = ask(d)
        except ImportError:  # an optional reference, never a dependency
            found = [row for row in stored_rows() if name in row[0]]
        rows += [[quantity, repr(value), *rest] for quantity, value, *rest in found]
    with STORED.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["quantity", "value", "software", "why"])
        writer.writerows(rows)


def _dcurves(d: dict[str, np.ndarray]) -> list[Row]:
    import dcurves  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    frame = pd.DataFrame({"y": d["y"], "a": d["a"]})
    found = dcurves.dca(data=frame, outcome="y", modelnames=["a"], thresholds=list(NET_BENEFIT_AT))
    found = found[found["model"] == "a"].set_index("threshold")["net_benefit"]
    software = f"dcurves {metadata.version('dcurves')}"
    return [(f"net benefit(a) at {t}", float(found.loc[t]), software, "") for t in NET_BENEFIT_AT]


class _Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # classes without types
    """Probabilities that are there already, as skore wants to have them."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:  # noqa: ARG002, N803 - scikit-learn's names
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        return np.column_stack([1 - X[:, 0], X[:, 0]])

    def predict(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        return (X[:, 0] >= CALLED_FROM).astype(int)


def _skore(d: dict[str, np.ndarray]) -> list[Row]:
    import skore  # noqa: PLC0415

    x, y = d["a"][:, None], d["y"]
    metrics = skore.EstimatorReport(_Given().fit(x, y), X_test=x, y_test=y, pos_label=1).metrics
    software, tie = f"skore {metadata.version('skore')}", "counts the case of score 0.5 as negative at 0.5"
    ours = {"auc": metrics.roc_auc, "brier": metrics.brier_score, "recall": metrics.recall}
    rows = [(f"{name}(a), skore", float(ask()), software, "") for name, ask in ours.items()]
    others = {"accuracy": metrics.accuracy, "precision": metrics.precision}
    return rows + [(f"{name}(a), skore", float(ask()), software, tie) for name, ask in others.items()]


def _evidently(d: dict[str, np.ndarray]) -> list[Row]:
    import pandas as pd  # noqa: PLC0415
    from evidently import BinaryClassification, DataDefinition, Dataset, Report  # noqa: PLC0415
    from evidently.presets import ClassificationPreset  # noqa: PLC0415

    task = BinaryClassification(target="y", prediction_probas="a", pos_label=1)
    frame = pd.DataFrame({"y": d["y"], "a": d["a"]})
    data = Dataset.from_pandas(frame, data_definition=DataDefinition(classification=[task]))
    said = Report([ClassificationPreset(probas_threshold=CALLED_FROM)]).run(data, None).dict()["metrics"]
    found = {(one.get("metric_name") or one["metric_id"]).partition("(")[0]: one["value"] for one in said}
    names = {
        "auc": "RocAuc",
        "accuracy": "Accuracy",
        "precision": "Precision",
        "recall": "Recall",
        "specificity": "TNR",
    }
    software = f"Evidently {metadata.version('evidently')}"
    return [(f"{ours}(a), evidently", float(found[theirs]), software, "") for ours, theirs in names.items()]


def write_table() -> float:
    """Write the table of the docs; return the largest difference."""
    ours, worst = our_values(), 0.0
    lines = [
        "# Our figures beside those of other software",
        "",
        "Written by `python -m benchmarks.reference_values`; the input is built there by formula from",
        "scikit-learn's breast-cancer data, the other software's side is in",
        "`benchmarks/reference_values.R`. `a`, `b` and `tied` are three scores of the same 569 cases.",
        "The unit tests hold us to a difference of at most one millionth of the reference in every row.",
        "Rows that name a way in brackets are computed in R from the definition, by another route than ours,",
        "because no packaged software was at hand; what is published is in the second table.",
        "",
        "| quantity | ours | reference | difference | software |",
        "|---|---|---|---|---|",
    ]
    for quantity, reference, software in stored_references():
        difference = ours[quantity] - reference
        worst = max(worst, abs(difference))
        lines.append(
            f"| {quantity} | {ours[quantity]:.9g} | {reference:.9g} | {difference:.0e} | {software} |"
        )
    lines += [
        "",
        f"Largest difference: {worst:.1e}.",
        "",
        "## Where another figure is shown",
        "",
        "The same cases in the way in which these programs are used; the difference is one of definition.",
        "",
        "| quantity | ours | theirs | difference | software | why |",
        "|---|---|---|---|---|---|",
        *(
            f"| {quantity} | {ours[quantity]:.6f} | {theirs:.6f} | {ours[quantity] - theirs:.0e} | {software} | {why} |"
            for quantity, theirs, software, why in stored_rows()
            if why
        ),
        "",
        "What a reader sees of each program, and what ours lacks: [side by side](side-by-side.md).",
        "",
        "## Published figures",
        "",
        "| quantity | ours | published | source |",
        "|---|---|---|---|",
        *_published(),
        "",
    ]
    TABLE.write_text("\n".join(lines), encoding="utf-8")
    return worst


def _published() -> list[str]:
    low, high = tango_interval(16, 6, 161)
    newcombe = newcombe_interval(59, 16, 6, 80)
    cavo = "Cavo 2012 data; tests of R package contingencytables (Fagerland, Lydersen & Laake)"
    return [
        f"| Tango interval, table 59, 6, 16, 80 | {low:.4f} to {high:.4f} | -0.1240 to -0.0054 | {cavo} |",
        (
            f"| Newcombe interval, same table | {newcombe[0]:.4f} to {newcombe[1]:.4f} "
            f"| -0.1186 to -0.0046 | {cavo} |"
        ),
        f"| McNemar mid-p, same table | {mcnemar_p(6, 16):.6f} | 0.034690 | {cavo} |",
        (
            f"| McNemar mid-p, 1 and 7 discordant | {mcnemar_p(1, 7):.3f} | 0.039 "
            "| Fagerland, Lydersen & Laake (2013), BMC Med Res Methodol 13:91 |"
        ),
    ]


def main() -> None:
    """Compare, and refresh the references first where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--refresh", action="store_true", help="run the other software, not its stored results"
    )
    if parser.parse_args().refresh:
        refresh()
    print(f"largest difference {write_table():.1e}; table written to {TABLE.name}")


if __name__ == "__main__":
    main()
