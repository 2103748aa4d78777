"""The model card of an export, in the form of the Hugging Face hub: what it is for, how good it is, what it is not.

Every figure is that of the run's report. File names of images and ids of patients are in none of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medcompare.base.code_identity import TEMPLATES
from medcompare.base.formatting import format_estimate
from medcompare.base.language import in_language
from medcompare.handover.records import CARD
from medcompare.report.notices import notices
from medcompare.stats.verdict.caveats import threshold_caveats, use_caveats
from medcompare.stats.verdict.situation import Situation

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.handover.records import Export
    from medcompare.handover.source_run import SourceRun

TEMPLATE = "model_card.md.j2"
FIGURES = {
    "auc": "AUC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV at the test prevalence",
    "npv": "NPV at the test prevalence",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier score (lower is better)",
}
HUB_NAMES = {"auc": "roc_auc", "sensitivity": "recall", "specificity": "specificity", "accuracy": "accuracy"}
"""What the hub calls a metric."""


def write_card(folder: Path, export: Export, source: SourceRun) -> None:
    """Write ``README.md`` into the `folder` of an export."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown
    )
    environment.filters |= {
        "interval": format_estimate,
        "share": lambda share: f"{share.k} of {share.n}",
        "significant": _significant,
        "percent": lambda share: f"{100 * share:g}%",
    }
    evaluation, results = source.evaluation, source.results
    negative, positive = export.classes
    per_patient = f"patient ({export.per_patient} of the scores of their images)"
    figures = [
        *((text, evaluation.metrics[name]) for name, text in FIGURES.items() if name in evaluation.metrics),
        *(
            (f"{FIGURES[name]}, mean of {export.n_seeds} trainings", estimate)
            for name, estimate in evaluation.over_seeds.items()
        ),
    ]
    text = environment.get_template(TEMPLATE).render(
        export=export,
        how=export.preprocessing,
        point=export.threshold,
        band=export.referral,
        like=export.likeness,
        negative=negative,
        positive=positive,
        unit="image" if export.per_patient == "none" else per_patient,
        verdict=results.assessment.verdict,
        evaluation=evaluation,
        manifest=source.manifest,
        split=results.split,
        figures=figures,
        limits=_limits(export, source),
        model_index=_model_index(export, source),
    )
    (folder / CARD).write_text(text, encoding="utf-8")


def _significant(value: float, digits: int = 6) -> str:
    return f"{value:.{digits}g}"


def _limits(export: Export, source: SourceRun) -> list[str]:
    """What the report says against relying on this network: nothing about the others of its run, nothing about cost.

    Sentences that name several networks are made again for this one.
    """
    results, config, trained = source.results, source.config, source.trained
    verdict = results.assessment.verdict
    # Longest first: one name may begin another.
    names = sorted((one.display_name for one in results.trained), key=len, reverse=True)
    alone = Situation(
        evaluations=(source.evaluation,),
        comparisons=(),
        costs=(),
        rule=results.rule,
        evaluate=config.evaluate,
    )
    with in_language(config.report.language):
        told = notices(config, source.manifest, results.trained, results.searches)
        found = [
            *notices(
                config.model_copy(update={"models": (trained.model,)}),
                source.manifest,
                (trained,),
                tuple(one for one in results.searches if one.model == trained.model),
            ),
            *use_caveats(alone),
            *threshold_caveats(alone),
        ]
    for text in (*results.notices, *verdict.caveats):
        rest, named = text, set()
        for name in names:
            if name in rest:
                named.add(name)
                rest = rest.replace(name, "")
        if text not in {*told, *verdict.cost_remarks} and named <= {export.display_name}:
            found.append(text)
    found += [text for text in source.evaluation.warnings if f"{export.display_name}: {text}" not in found]
    return list(dict.fromkeys(found))


def _model_index(export: Export, source: SourceRun) -> str:
    """The figures for programs, as JSON, which YAML reads."""
    metrics = [
        {"type": hub, "name": FIGURES[name], "value": source.evaluation.metrics[name].value}
        for name, hub in HUB_NAMES.items()
        if source.evaluation.metrics[name].value is not None
    ]
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"type": "private", "name": export.data_name, "split": "test"},
        "metrics": metrics,
    }
    return json.dumps([{"name": export.display_name, "results": [result]}], ensure_ascii=False)
