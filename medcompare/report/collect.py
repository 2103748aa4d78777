"""From the records of a run to what its report is made of.

The torch side and the statistics meet here for the last time: nothing is computed, only
gathered, worded and, for the images shown, made small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.file_names import shown
from medcompare.base.language import t
from medcompare.config.settings_table import set_by_user, settings_rows
from medcompare.data.spelling import words
from medcompare.data.tables import read_rejected
from medcompare.report.checklists.answers import read_answers
from medcompare.report.checklists.facts import RunRecords
from medcompare.report.checklists.fill import fill_checklists
from medcompare.report.fonts import words_of_report
from medcompare.report.hard_cases import Thumbnails, hard_cases, pseudonymous
from medcompare.report.inputs import (
    RejectedRow,
    ReportInputs,
    ScoreDistribution,
    ScoreSteps,
    SettingRow,
    count_scores,
    count_steps,
)
from medcompare.report.notices import assessment_notices, changed_data, earlier_looks, easy_data, notices
from medcompare.report.overlays import Overlays, read_maps
from medcompare.report.theme import read_theme
from medcompare.report.trend import trend_marks, trend_runs
from medcompare.runs.control import trend_control
from medcompare.runs.evidence import TABLES, evidence_of
from medcompare.runs.provenance import shortened
from medcompare.training.budget import budgets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.config.schema import AssessConfig, CompareConfig
    from medcompare.data.assignments import ImageRow
    from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit
    from medcompare.predictions.cases import ScoredCases
    from medcompare.predictions.saliency import SaliencyMaps
    from medcompare.predictions.table import PredictionTables
    from medcompare.runs.changes import HistoryContext
    from medcompare.runs.evidence import AttachedFile
    from medcompare.runs.provenance import Provenance
    from medcompare.stats.records import Assessment
    from medcompare.training.records import TrainedModel
    from medcompare.training.search import Search


def gather(
    config: CompareConfig,
    *,
    run_name: str,
    assessment: Assessment,
    manifest: DatasetManifest,
    split: DatasetSplit,
    images: Sequence[ImageRow],
    tabulated: tuple[Characteristic, ...],
    trained: Sequence[TrainedModel],
    further_trainings: Sequence[TrainedModel],
    searches: tuple[Search, ...],
    test: ScoredCases,
    saliency: tuple[SaliencyMaps, ...],
    provenance: Provenance,
    data_root: Path,
    store: ArtifactStore,
    context: HistoryContext,
    evidence: tuple[AttachedFile, ...],
) -> ReportInputs:
    """Everything the report of a comparison prints; pseudonyms in place of file names where the settings say so.

    Paths of `images` are relative to `data_root`, `tabulated` their characteristics, `test` the cases as judged.
    """
    cases, n_cases = hard_cases(
        test,
        assessment,
        thumbnails=Thumbnails(images, data_root),
        overlays=[Overlays(one, read_maps(one, store)) for one in saliency if one.readable],
    )
    settings = setting_rows(config)
    return ReportInputs(
        title=config.report.printed_title,
        organisation=config.report.organisation,
        theme=read_theme(config.report.theme),
        paper=config.report.paper,
        run_name=run_name,
        source="trained by medcompare",
        synthetic=manifest.synthetic,
        assessment=assessment,
        rule=config.decide,
        provenance=provenance,
        settings=settings,
        notices=(
            *notices(config, manifest, trained, searches),
            *changed_data(context.data),
            *easy_data(assessment),
            *earlier_looks(context),
        ),
        n_earlier_looks=context.n_earlier_looks,
        manifest=manifest,
        rejected=rejected_rows(manifest, store, pseudonymise=config.report.pseudonymise),
        pseudonymised=config.report.pseudonymise,
        split=split,
        characteristics=tabulated,
        trained=tuple(trained),
        preview_png=next((store.read(one.preview) for one in trained if one.preview is not None), None),
        further_trainings=tuple(further_trainings),
        budgets=budgets(
            [*trained, *further_trainings], split, config, costs=assessment.costs, searches=searches
        ),
        searches=searches,
        score_distributions=distributions(test),
        score_steps=score_steps(test),
        hard_cases=cases,
        n_hard_cases=n_cases,
        saliency=saliency,
        checklists=fill_checklists(
            RunRecords(
                assessment=assessment,
                provenance=provenance,
                manifest=manifest,
                split=split,
                characteristics=tabulated,
                trained=tuple(trained),
                searches=searches,
                saliency=saliency,
                settings=settings,
                n_earlier_looks=context.n_earlier_looks,
            ),
            read_answers(config.report.checklist_answers),
        ),
        files=(
            (TABLES["test"], t("probability of every model for every test image")),
            (TABLES["val"], t("the same for the validation subset, which set the thresholds")),
            ("config.json", t("the configuration, field by field")),
            ("settings.json", t("what was given of it, for the command that repeats the run")),
            ("results.json", t("every number of this report at full precision")),
        ),
        evidence=evidence,
        **_over_time(context),
    )


def words_of_tables(config: AssessConfig, tables: PredictionTables) -> list[tuple[str, str]]:
    """What the report of predictions made elsewhere prints of names, for `medcompare.report.fonts.require_fonts`."""
    return read_theme(config.report.theme, tables.test.classes).words + words_of_report(
        title=config.report.title,
        organisation=config.report.organisation,
        classes=tables.test.classes,
        models=tables.test.models,
        levels=sorted({level for column in tables.test.subgroups.values() for level in column.tolist()}),
    )


def gather_assessment(
    config: AssessConfig,
    *,
    run_name: str,
    assessment: Assessment,
    tables: PredictionTables,
    provenance: Provenance,
    context: HistoryContext,
) -> ReportInputs:
    """Everything the report of predictions made elsewhere prints."""
    cases, n_cases = hard_cases(tables.test, assessment, thumbnails=None)
    settings = setting_rows(config)
    return ReportInputs(
        title=config.report.printed_title,
        organisation=config.report.organisation,
        theme=read_theme(config.report.theme),
        paper=config.report.paper,
        run_name=run_name,
        source="predictions supplied",
        synthetic=False,
        assessment=assessment,
        rule=config.decide,
        provenance=provenance,
        settings=settings,
        notices=(*assessment_notices(config), *tables.caveats, *earlier_looks(context)),
        n_earlier_looks=context.n_earlier_looks,
        pseudonymised=config.report.pseudonymise,
        score_distributions=distributions(tables.test),
        score_steps=score_steps(tables.test),
        hard_cases=pseudonymous(cases) if config.report.pseudonymise else cases,
        n_hard_cases=n_cases,
        evidence=evidence_of(
            tables.test,
            tables.validation,
            medcompare_version=provenance.medcompare_version,
            evaluate=config.evaluate,
            rule=config.decide,
            seed=config.seed,
            set_by_user=set_by_user(config),
            thresholds=config.thresholds,
        ),
        checklists=fill_checklists(
            RunRecords(
                assessment=assessment,
                provenance=provenance,
                settings=settings,
                n_earlier_looks=context.n_earlier_looks,
            ),
            read_answers(config.report.checklist_answers),
        ),
        files=(("results.json", t("every number of this report at full precision")),),
        **_over_time(context),
    )


def _over_time(context: HistoryContext) -> dict[str, Any]:
    """The fields of the report on earlier runs; one run alone has no trend."""
    runs = context.runs if len(context.runs) > 1 else ()
    return {
        "trend": trend_runs(runs),
        "trend_marks": trend_marks(runs),
        "trend_control": trend_control(runs),
        "changes": context.changes.sentences,
        "data_changes": context.data,
    }


NO_PATHS = words(
    "models positive exclude group_by subgroups path_column label_column hold_out stratify_by title organisation "
    "currency"
)
"""Fields with names of classes, columns and networks, in which a slash parts no folders: ``timm/lcnet_050``."""


def setting_rows(config: CompareConfig | AssessConfig) -> tuple[SettingRow, ...]:
    """The configuration, field by field; of paths the last part, as folders may name people."""
    return tuple(
        SettingRow(
            field=field,
            value=shown(value if field.rpartition(".")[2] in NO_PATHS else shortened(value)),
            description=text,
            set_by=who,
        )
        for field, value, text, who in settings_rows(config)
    )


def rejected_rows(
    manifest: DatasetManifest, store: ArtifactStore, *, pseudonymise: bool
) -> tuple[RejectedRow, ...]:
    """Files excluded at ingest; with a pseudonym derived from the path where asked for."""
    return tuple(
        RejectedRow(
            name=t("file {digest}", digest=sha256_of_bytes(row["path"].encode())[:8])
            if pseudonymise
            else row["path"],
            label=row["label"] or None,
            reason=row["reason"],
            detail="" if pseudonymise else row["detail"],
        )
        for row in read_rejected(manifest, store).to_dict("records")
    )


def distributions(test: ScoredCases) -> tuple[ScoreDistribution, ...]:
    """Histogram of each model's test scores per class."""
    return tuple(count_scores(m, test.y_true, scores) for m, scores in test.scores.items())


def score_steps(test: ScoredCases) -> tuple[ScoreSteps, ...]:
    """What other thresholds would give; none of a model with few cases or a single score."""
    return tuple(filter(None, (count_steps(m, test.y_true, scores) for m, scores in test.scores.items())))
