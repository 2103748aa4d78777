"""What ``templates/report.js`` says: sortable tables, their copies, thresholds to try out."""

from __future__ import annotations

from medcompare.base.language import message, t

SAID = {
    "percent": message("{number}%"),
    "undefined": message("not defined"),
    "unsorted": message("In the order of the report."),
    "ascending": message("Sorted by {column}, ascending."),
    "descending": message("Sorted by {column}, descending."),
    "copy": message("Copy as CSV"),
    "copy_of": message("Copy as CSV: {table}"),
    "copied": message("Copied"),
    "refused": message("The browser does not let pages copy"),
    "roc": message("ROC curve of {model} with the point of this threshold"),
    "false_alarms": message("1 \u2212 specificity"),
    "sensitivity": message("Sensitivity"),
    "precision_recall": message("Precision and recall of {model} with the point of this threshold"),
    "recall": message("Recall"),
    "precision": message("Precision"),
    "own": message("{threshold}, that of the report"),
    "rates": message("Sensitivity {sensitivity}, specificity {specificity}."),
    "cases": message(
        "Of 1,000 cases, {positive} of them positive: missed {missed}, false alarms {alarms}; PPV {ppv}, NPV {npv}."
    ),
    "thousand": message("Positive cases per 1,000: a number from 0 to 1,000."),
}


def said_on_screen() -> dict[str, str]:
    """The texts of the script in the language spoken; their gaps are filled by the script."""
    return {name: t(text) for name, text in SAID.items()}
