"""A comparison without Prefect: the functions of `medcompare`, called one after the other.

What `benchmarks.overhead` holds the flow against.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from benchmarks.overhead import StopWatch
from flows.preflight import check_before_work, locate_images
from medcompare.base.artifacts import ArtifactStore
from medcompare.config.settings_table import set_by_user
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import fingerprint
from medcompare.data.split import split
from medcompare.notify import nightly
from medcompare.predictions.join import scored_cases
from medcompare.report.collect import gather
from medcompare.report.render import write_report
from medcompare.runs.folder import default_run_name, now, run_folder
from medcompare.runs.history import history_path, record_run, this_host
from medcompare.runs.provenance import collect_provenance
from medcompare.runs.summary import RunFiles, completed_run, start_of_run
from medcompare.stats.assessment import assemble
from medcompare.stats.evaluation import evaluate_model
from medcompare.training.requests import CostRequest, PredictionRequest, TrainingRequest
from medcompare.training.worker.process import (
    plan_parallel,
    run_cost_measurement,
    run_prediction,
    run_training,
)

if TYPE_CHECKING:
    from medcompare.config.schema import CompareConfig


def run_plain(config: CompareConfig) -> dict[str, float]:
    """Every stage by calling the functions of `medcompare`; Prefect is not even imported."""
    watch, store, started_at = StopWatch(), ArtifactStore(config.store), now()
    weights, listed = check_before_work(config)
    source = listed or locate_images(config)
    fingerprint(source, config.data)
    plan = plan_parallel(len(config.models), config.train)
    name = config.name or default_run_name(started_at, source.name)
    begun = start_of_run(
        config,
        run_id="benchmark",
        name=name,
        kind="compare",
        data_name=source.name,
        seed=config.seed,
        started_at=started_at,
        host=this_host(),
        pid=os.getpid(),
        series="benchmark",
    )
    record_run(history_path(config.store), begun)
    with run_folder(config.out, name) as folder:
        with watch.running("ingest"):
            manifest = ingest(source, config.data, store)
        with watch.running("split"):
            parts = split(manifest, config.split, seed=config.seed, store=store)
        places: dict[str, Any] = {"data_root": source.root, "store_root": config.store}
        with watch.running("train"):
            trained = [
                run_training(
                    TrainingRequest(
                        model=model,
                        train=config.train,
                        split=parts,
                        weights=weights[model],
                        seed=config.seed,
                        n_parallel=plan.n_parallel,
                        n_threads=plan.n_threads,
                        **places,
                    )
                )
                for model in config.models
            ]
        with watch.running("predict"):
            predictions = [
                run_prediction(PredictionRequest(trained=one, train=config.train, split=parts, **places))
                for one in trained
            ]
        with watch.running("evaluate"):
            evaluations = [
                evaluate_model(
                    scored_cases((one,), store, "test", subgroups=config.evaluate.subgroups),
                    scored_cases((one,), store, "val", subgroups=config.evaluate.subgroups),
                    one.model,
                    display_name=one.display_name,
                    evaluate=config.evaluate,
                    seed=config.seed,
                )
                for one in predictions
            ]
        with watch.running("measure cost"):
            costs = [
                run_cost_measurement(
                    CostRequest(trained=one, train=config.train, cost=config.cost, split=parts, **places)
                )
                for one in trained
            ]
        with watch.running("decide"):
            assessment = assemble(
                scored_cases(predictions, store, "test", subgroups=config.evaluate.subgroups),
                scored_cases(predictions, store, "val", subgroups=config.evaluate.subgroups),
                evaluations,
                costs,
                evaluate=config.evaluate,
                rule=config.decide,
                seed=config.seed,
                set_by_user=frozenset(set_by_user(config)),
            )
        provenance = collect_provenance(config, run_name=folder.name, started_at=started_at, gpu=None)
        ended = completed_run(
            begun,
            files=RunFiles(folder=str(folder), pdf="report.pdf", html="report.html", results="results.json"),
            finished_at=now(),
            assessment=assessment,
            provenance=provenance,
            manifest=manifest,
            trained=trained,
        )
        inputs = gather(
            config,
            run_name=name,
            assessment=assessment,
            manifest=manifest,
            split=parts,
            trained=trained,
            predictions=predictions,
            provenance=provenance,
            data_root=source.root,
            store=store,
            context=nightly.look_back(config.store, ended),
        )
        with watch.running("report"):
            write_report(inputs, folder)
    record_run(history_path(config.store), ended)
    return dict(watch.seconds)
