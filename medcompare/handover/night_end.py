"""What follows a night: history, page of all nights, a run in MLflow, and what the mail says."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.artifacts import write_atomically
from medcompare.base.errors import RegistryError
from medcompare.base.language import t, tn
from medcompare.handover.night import SUBJECTS, Night, past_nights
from medcompare.handover.nights_page import metrics_of, nights_page
from medcompare.predictions.cases import ScoredCases
from medcompare.runs.changes import Changes
from medcompare.runs.history import history_path, list_runs, record_run, this_host
from medcompare.runs.summary import (
    ModelFigures,
    RunSummary,
    VerdictSummary,
    failed_run,
    failure_of,
    start_of_run,
)
from medcompare.stats.assessment import assess
from medcompare.stats.records import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.config.registry import NightConfig
    from medcompare.handover.registry import ModelRegistry


def finished(config: NightConfig, registry: ModelRegistry, found: Night) -> tuple[RunSummary, Changes, Path]:
    """Record and draw a night; what a mail about it is made of, and the page."""
    run, changes = recorded(config, registry, found)
    runs = list_runs(history_path(config.store), series=run.series, status="completed")
    path = (config.out / f"nights-{registry.model}.html").absolute()
    write_atomically(path, nights_page(nights_of(registry), tuple(reversed(runs))).encode())
    return run, changes, path


def logged(registry: ModelRegistry, found: Night, run: RunSummary, page: Path) -> None:
    """Log a night that is `finished` in MLflow: last of all, so that a server that is down takes no mail with it.

    Raises
    ------
    RegistryError
        If the registry does not answer.
    """
    n_nights, alarm = len(nights_of(registry)), " ".join(found.alarm.sentences)
    try:
        registry.log_night(
            f"Night {n_nights}: {found.succession.action}",
            night=n_nights,
            at=datetime.fromisoformat(found.at),
            note="\n\n".join(one for one in (f"**{found.headline}**", found.succession.reason, alarm) if one),
            tags={
                "run": run.name,
                "decision": found.headline,
                "champion": found.champion,
                "alarm": " and ".join(SUBJECTS[one] for one in found.alarm.changed) or "none",
            },
            metrics=metrics_of(found, run),
            record=found.model_dump_json(indent=1),
            page=page.read_text("utf-8"),
        )
    except RegistryError as error:
        msg = f"the night is done, and MLflow does not have it (page, history and mail do): {error}"
        raise RegistryError(msg) from None


def nights_of(registry: ModelRegistry) -> tuple[Night, ...]:
    """All nights of the model, oldest first."""
    files = sorted((registry.folder / "nights").glob("*.json"))
    return tuple(Night.model_validate_json(file.read_bytes()) for file in files)


def begun_at(config: NightConfig, at: datetime) -> RunSummary:
    """The night as a run of the history that begins at `at`."""
    model = config.registry.model
    return start_of_run(
        config,
        run_id=f"night-{model}-{at:%Y%m%dT%H%M%S}",
        name=f"night-{model}-{at:%Y%m%d-%H%M%S}",
        kind="night",
        data_name=model,
        seed=0,
        started_at=at,
        host=this_host(),
        pid=os.getpid(),
    )


def failed_at(config: NightConfig, at: datetime, error: Exception) -> RunSummary:
    """Record that the night which began at `at` came to nothing; for a mail that says so."""
    failure = failure_of(error, "the night of the registry")
    run = failed_run(begun_at(config, at), failure=failure, finished_at=datetime.now(UTC))
    record_run(history_path(config.store), run)
    return run


def recorded(config: NightConfig, registry: ModelRegistry, found: Night) -> tuple[RunSummary, Changes]:
    """The night in the history, and what its mail says changed."""
    at = datetime.fromisoformat(found.at)
    begun = begun_at(config, at)
    figures = _figures(config, registry, at)
    champion = found.succession.to or found.champion
    values = {
        "status": "completed",
        "finished_at": max(datetime.now(UTC), at).isoformat(),
        "n_images": found.n_new,
        "n_positive": found.n_new_positive,
        "models": figures,
        "verdict": VerdictSummary(
            outcome=Outcome.USE_MODEL,
            model=next((row.model for row in figures if row.display_name == champion), champion),
            headline=found.headline,
            # What rings is read first, on a lock screen too.
            sentence=" ".join(found.alarm.sentences) or found.succession.reason,
            caveats=_caveats(found),
        ),
    }
    run = RunSummary.model_validate(
        {**{name: getattr(begun, name) for name in RunSummary.model_fields}, **values}
    )
    earlier = list_runs(history_path(config.store), series=run.series, status="completed", limit=1)
    record_run(history_path(config.store), run)
    changes = Changes(
        # A mail about changes only is sent on the first night, about every alarm and every change of the champion.
        previous=None if found.alarm.changed or not earlier else earlier[0].name,
        current=run.name,
        causes=(),
        verdict_changed=found.succession.action != "hold",
        sentences=() if found.alarm.changed else (t("No change of images, labels or model was found."),),
    )
    return run, changes


def _caveats(found: Night) -> tuple[str, ...]:
    said = [found.succession.reason] if found.alarm.changed else []
    if found.succession.action != "hold" and not found.done:
        command = "rollback"
        if found.succession.action == "promote":
            command = f"promote {found.meetings['challenger'].candidate}"
        said.append(
            t("A person decides: medcompare registry {command} --by NAME --because REASON.", command=command)
        )
    if found.n_left_out:
        said.append(
            tn(
                "{n} image left out: in the reference set, or new on an earlier night.",
                "{n:,} images left out: in the reference set, or new on an earlier night.",
                found.n_left_out,
            )
        )
    if found.n_not_scored:
        said.append(
            tn("{n} image could not be scored.", "{n:,} images could not be scored.", found.n_not_scored)
        )
    return tuple(said)


def _figures(config: NightConfig, registry: ModelRegistry, at: datetime) -> tuple[ModelFigures, ...]:
    """AUC, sensitivity and specificity on the labelled new images of this night."""
    kept = past_nights(registry, at + timedelta(seconds=1))[-1][1]
    y = kept["y_true"]
    numbers = [name.removeprefix("score-") for name in kept if name.startswith("score-")]
    if not len(y) or (y < 0).any() or len(np.unique(y)) < 2 or len(np.unique(kept["patient"])) < 2:
        return ()
    versions = {number: registry.version(number) for number in numbers}
    cases = ScoredCases(
        case_id=tuple(f"{one:016x}" for one in kept["sha256"].tolist()),
        y_true=y,
        scores={number: kept[f"score-{number}"] for number in numbers},
        patient_id=kept["patient"].astype(str),
        classes=next(iter(versions.values())).export.classes,
        subset="test",
    )
    made = assess(
        cases,
        None,
        (),
        display_names={number: one.name for number, one in versions.items()},
        evaluate=config.evaluate,
        rule=config.decide,
        thresholds={number: one.export.threshold.threshold for number, one in versions.items()},
        seed=0,
    )
    return tuple(
        ModelFigures(
            model=one.model,
            display_name=one.display_name,
            **{name: one.decisive(name) for name in ("auc", "sensitivity", "specificity")},
        )
        for one in made.evaluations
    )
