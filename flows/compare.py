"""The comparison: images in, a recommendation and a PDF report out.

Trigger      ``python -m flows.compare``, a manual run from the Prefect UI, or the nightly
             deployment in ``prefect.yaml``.
Caching      every stage is keyed on the content of its inputs and on the code that does the
             work (`tasks.cache`); the report is always rendered, as it names the run.
Parallelism  trainings run side by side, each in a process of its own, tagged ``gpu``, on this machine or on a
             cluster of Dask or Ray (``runner``); cost is measured afterwards, on this machine, one model at a time
             with nothing else running.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # The command line is read, and bad input refused, before Prefect is imported. The flow
    # then runs from the module `flows.compare`: names of `__main__` must not enter cache keys.
    from medcompare.cli.app import main

    sys.exit(main(["compare", *sys.argv[1:]]))

import logging
from typing import TYPE_CHECKING

from prefect import flow
from prefect.logging import get_run_logger

from flows.lifecycle import RunLifecycle, parameter, run_recorded, title
from flows.preflight import checked, external_data, locate_images
from flows.recover import after_crash
from flows.trainings import Prediction, Trainer, Training
from medcompare.base.artifacts import ArtifactStore, write_atomically
from medcompare.base.language import message
from medcompare.config.data import DEMO, DataConfig
from medcompare.config.schema import CompareConfig
from medcompare.config.settings_table import set_by_user
from medcompare.data.assignments import read_assignments
from medcompare.data.characteristics import characteristics, chosen_subgroups
from medcompare.data.external import shown_alike
from medcompare.data.fingerprint import fingerprint
from medcompare.data.sources.resolve import source_name
from medcompare.predictions.cases import insist_on_patients
from medcompare.predictions.join import running_scores, scored_cases
from medcompare.predictions.table import write_prediction_table
from medcompare.report.collect import gather
from medcompare.report.hard_cases import mapped_models, shown_cases
from medcompare.runs.evidence import TABLES, evidence_of
from medcompare.runs.folder import now, run_folder
from medcompare.runs.provenance import SETTINGS_FILE, collect_provenance, settings_to_repeat
from medcompare.runs.result import RunResult, run_result
from medcompare.runs.stages import in_stage
from medcompare.training.findings import not_converged, not_evaluated_as_trained
from medcompare.training.identity import cost_identity, images_digest
from medcompare.training.progress import (
    file_counter,
    sentence_about_cost,
    sentence_about_images,
    sentence_about_split,
)
from medcompare.training.requests import CostRequest
from medcompare.training.worker.process import plan_parallel
from tasks.cache import run_cached
from tasks.decide import decide
from tasks.evaluate import evaluate
from tasks.evaluate_external import evaluate_external
from tasks.external import external_set
from tasks.ingest import ingest
from tasks.measure import measure_on
from tasks.measure_cost import measure_cost
from tasks.split import split as split_images

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from medcompare.data.assignments import ImageRow
    from medcompare.data.records import DatasetManifest, DatasetSplit
    from medcompare.data.sources.listing import ImageSource
    from medcompare.runs.cluster import Cluster


def data_name_given() -> str:
    """Name of the data set, from the parameters the run was started with, which may be anything."""
    given = parameter("config", "data", "source")
    return source_name(DataConfig(source=DEMO if given is None else given))


@flow(
    name="compare",
    description="Compare image classifiers fairly, from images to a PDF report.",
    flow_run_name=lambda: title(data_name_given()),
    on_crashed=[after_crash],
    persist_result=False,
    # Done below instead, so that a bad value reads the same here and on the command line.
    validate_parameters=False,
)
def compare(config: CompareConfig = CompareConfig()) -> RunResult:  # noqa: B008 - frozen, and shown in the UI form
    """Ingest, split, train, predict, evaluate, measure cost, decide, report."""
    # A caller gets the result of the state.
    return run_recorded(CompareConfig, config, kind="compare", data_name=data_name_given(), work=_compare)  # type: ignore[return-value]


def _compare(config: CompareConfig, name: str, lifecycle: RunLifecycle) -> RunResult:
    logger, started_at, store = get_run_logger(), now(), ArtifactStore(config.store)
    with in_stage(message("checks before work")):
        weights, listed, external_sources, cluster = checked(config)
        source = listed or locate_images(config)
    n_each = config.seeds + (config.folds or 0) * config.fold_repeats
    plan = plan_parallel(len(config.models) * n_each, config.train, on_cluster=cluster is not None)

    with run_folder(config.out, name) as folder:
        manifest = _ingested(source, config.data, config.store, cluster)
        split = run_cached(
            split_images,
            config.store,
            manifest=manifest,
            config=config.split.model_copy(update={"random_beside": False}),  # which draws nothing else
            seed=config.seed,
            store=config.store,
        )
        # Said from here, not from the tasks: also where an earlier result is reused.
        _tell(manifest, split)
        images = _images(split, config)
        tabulated = characteristics(images)
        subgroups = chosen_subgroups(config.evaluate.subgroups, manifest.extra_columns, tabulated)
        evaluate_config = config.evaluate.model_copy(update={"subgroups": subgroups})
        # Before any training: another hospital's images that cannot be used cost seconds.
        external_splits = {
            set_name: _external_split(set_name, config, outside, split, images, cluster=cluster)
            for set_name, outside in external_sources.items()
        }
        trainer = Trainer(config, weights=weights, plan=plan, data_root=source.root, cluster=cluster)
        parts = trainer.folds(split, manifest)
        trainer.tune(split)
        trained = trainer.train(
            Training(model=model, seed=seed, split=split)
            for model in config.models
            for seed in config.training_seeds
        )
        predictions = trainer.predict(Prediction(trained=one, split=split) for one in trained)
        # Case by case one checkpoint is shown, that of the first seed; the verdict rests on all.
        judged = trained[:: config.seeds]
        evaluations = [
            run_cached(
                evaluate,
                config.store,
                model=one.model,
                predictions=one,
                config=evaluate_config,
                seed=config.seed,
                store=config.store,
            )
            for one in predictions[:: config.seeds]
        ]
        costs = [
            run_cached(
                measure_cost,
                config.store,
                fresh=config.cost.fresh,
                model=one.model,
                identity=cost_identity(one, config.cost, plan),
                request=CostRequest(
                    trained=one, train=trainer.settings, cost=config.cost, split=split, **trainer.places
                ),
            )
            for one in judged
        ]
        for one, cost in zip(judged, costs, strict=True):
            doubtful = cost.disturbed or cost.cut_short
            logger.log(
                logging.WARNING if doubtful else logging.INFO,
                "%s",
                sentence_about_cost(one.display_name, cost),
            )
        unfit, cut_short = not_evaluated_as_trained(trained, predictions), not_converged(trained)
        external = {
            set_name: tuple(
                trainer.predict(
                    Prediction(
                        trained=one, split=parts, root=external_sources[set_name].root, name=f" on {set_name}"
                    )
                    for one in judged
                )
            )
            for set_name, parts in external_splits.items()
        }
        on_external = [
            run_cached(
                evaluate_external,
                config.store,
                name=set_name,
                predictions=there,
                internal=tuple(predictions[:: config.seeds]),
                evaluations=tuple(evaluations),
                costs=tuple(costs),
                evaluate=evaluate_config,
                rule=config.decide,
                seed=config.seed,
                split=external_splits[set_name],
                store=config.store,
            )
            for set_name, there in external.items()
        ]
        assessment = run_cached(
            decide,
            config.store,
            predictions=tuple(predictions),
            evaluations=tuple(evaluations),
            costs=tuple(costs),
            evaluate=evaluate_config,
            rule=config.decide,
            seed=config.seed,
            set_by_user=set_by_user(config),
            not_evaluated_as_trained=unfit,
            not_converged=cut_short,
            manifest=manifest,
            split=split,
            external=tuple(on_external),
            store=config.store,
        )
        if parts:
            assessment = assessment.model_copy(
                update={"cross_validation": trainer.cross_validated(parts, assessment, evaluate_config)}
            )
        test, validation = (
            scored_cases(predictions, store, "test", subgroups=subgroups),
            scored_cases(predictions, store, "val", subgroups=subgroups),
        )
        if config.split.random_beside:
            careless, why_not = trainer.beside_random_split(test, split, manifest)
            if why_not:
                logger.warning("%s", why_not)
            assessment = assessment.model_copy(
                update={"random_split": careless, "notes": (*assessment.notes, *filter(None, [why_not]))}
            )
        tables = {TABLES["test"]: test, TABLES["val"]: validation}
        tables |= {
            f"predictions_external_{one}.csv": scored_cases(there, store, "test")
            for one, there in external.items()
        }
        for filename, cases in tables.items():
            write_atomically(folder / filename, write_prediction_table(cases))
        write_atomically(folder / "config.json", config.model_dump_json(indent=2).encode())
        write_atomically(folder / SETTINGS_FILE, settings_to_repeat(config))
        provenance = collect_provenance(
            config,
            run_name=name,
            started_at=started_at,
            gpu=next((one.device for one in trained if trainer.plan.n_gpus), None),
        )
        judged_test = test.per_patient(config.evaluate.per_patient)
        inputs = gather(
            config,
            run_name=name,
            assessment=assessment,
            manifest=manifest,
            split=split,
            images=images,
            tabulated=tabulated,
            trained=judged,
            further_trainings=[one for one in trained if one not in judged],
            searches=trainer.searches,
            test=judged_test,
            saliency=trainer.saliency(
                [one for one in judged if one.model in mapped_models(assessment)],
                split,
                tuple(judged_test.case_id[i] for i in shown_cases(judged_test, assessment)[0]),
            ),
            provenance=provenance,
            data_root=source.root,
            store=store,
            context=lifecycle.look_back(
                folder=config.out / name,
                assessment=assessment,
                provenance=provenance,
                manifest=manifest,
                trained=judged,
                test_images=images_digest(split, store, ("test",)),
            ),
            evidence=evidence_of(
                judged_test,
                validation.per_patient(config.evaluate.per_patient),
                medcompare_version=provenance.medcompare_version,
                evaluate=evaluate_config,
                rule=config.decide,
                seed=config.seed,
                set_by_user=set_by_user(config),
                not_evaluated_as_trained=unfit,
                not_converged=cut_short,
                running={
                    one.model: scores
                    for one in predictions[:: config.seeds]
                    if (scores := running_scores(one, store, "test", per_patient=config.evaluate.per_patient))
                    is not None
                },
            ),
        )
        files = lifecycle.report(inputs, folder, config.report.pdf_time_limit_s)
    result = run_result(config.out, name, assessment.verdict, files.no_pdf)
    lifecycle.end(inputs, result)
    logger.info("verdict: %s", assessment.verdict.headline)
    return result


def _images(split: DatasetSplit, config: CompareConfig) -> list[ImageRow]:
    """The images of a split; whether they can be judged as `config` says is looked at before any training."""
    rows = read_assignments(ArtifactStore(config.store).read(split.assignments))
    how = config.evaluate.per_patient
    insist_on_patients([row.patient_id for row in rows], [row.label for row in rows], how)
    return rows


def _tell(manifest: DatasetManifest, split: DatasetSplit) -> None:
    """What was found, and how it is split."""
    logger = get_run_logger()
    logger.info("%s", sentence_about_images(manifest))
    for warning in manifest.warnings:
        logger.warning("%s", warning)
    logger.info("%s. %s", split.method, sentence_about_split(split))
    for note in split.notes:
        logger.info("%s", note)


def _ingested(
    source: ImageSource, data: DataConfig, store: Path, cluster: Cluster | None, variant: str = ""
) -> DatasetManifest:
    """The usable images of `source`."""
    if cluster is not None:
        measure_on(cluster, source, data, store)
    return run_cached(
        ingest,
        store,
        fingerprint=fingerprint(source, data, store=store, progress=file_counter("validating images")),
        rules=(
            data.max_rejected_fraction,
            data.min_side_px,
            data.max_file_mb,
            data.near_duplicates,
            data.intensity_range,
        ),
        source=source,
        data=data,
        store=store,
        variant=variant,
    )


def _external_split(
    name: str,
    config: CompareConfig,
    outside: ImageSource,
    split: DatasetSplit,
    images: Iterable[ImageRow],
    *,
    cluster: Cluster | None,
) -> DatasetSplit:
    """The images of another hospital as a test subset, and what is to be said of them."""
    logger, (data, notes) = get_run_logger(), shown_alike(external_data(config, name), images)
    manifest = _ingested(outside, data, config.store, cluster, f" {name}")
    found = run_cached(
        external_set,
        config.store,
        name=name,
        manifest=manifest,
        split=split,
        near_duplicates=data.near_duplicates,
        config=config.split,
        store=config.store,
    )
    logger.info("external set %s: %s; all are tested", name, sentence_about_images(manifest))
    notes = (*found.notes, *notes, *manifest.warnings)
    for note in notes:
        logger.warning("external set %s: %s", name, note)
    return found.model_copy(update={"notes": notes})
