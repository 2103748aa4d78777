"""Builders of run summaries for the tests of history, changes, mail and trend."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from medcompare.runs.summary import Failure, ModelFigures, RunFiles, RunSummary, VerdictSummary
from medcompare.stats.records import Estimate, Outcome

CONFIG: dict[str, Any] = {
    "name": None,
    "models": ["resnet50", "efficientnet_b0"],
    "seed": 0,
    "out": "runs",
    "store": ".medcompare",
    "data": {"source": "images/oral", "positive": []},
    "train": {"epochs": 20, "recipes": {}, "batch_size": 32},
    "evaluate": {"subgroups": []},
}


def estimate(value: float, half: float = 0.05) -> Estimate:
    """An estimate with a symmetric interval."""
    return Estimate(value=value, ci_low=value - half, ci_high=min(1.0, value + half), method="by hand")


def figures(model: str, name: str, auc: float | Estimate, **changes: Any) -> ModelFigures:
    """Figures of one model."""
    values: dict[str, Any] = {
        "model": model,
        "display_name": name,
        "auc": auc if isinstance(auc, Estimate) else estimate(auc),
        "sensitivity": estimate(0.9),
        "specificity": estimate(0.8),
        "training_time_s": 600.0,
        "latency_ms_median": 12.5,
        "latency_ms_median_ci": (12.1, 12.9),
    }
    return ModelFigures(**(values | changes))


def verdict(**changes: Any) -> VerdictSummary:
    """A verdict for the cheaper model."""
    values: dict[str, Any] = {
        "outcome": Outcome.PREFER_CHEAPER,
        "model": "efficientnet_b0",
        "headline": "Prefer EfficientNet-B0",
        "sentence": "EfficientNet-B0 is as accurate within the margin and cheaper.",
        "caveats": ("The margins are software defaults.",),
    }
    return VerdictSummary(**(values | changes))


def summary(night: int = 1, *, config: dict[str, Any] | None = None, **changes: Any) -> RunSummary:
    """A completed run of the given night of November 2026."""
    text = json.dumps(config if config is not None else CONFIG, sort_keys=True)
    values: dict[str, Any] = {
        "run_id": f"run-{night}",
        "name": f"2026-11-{night:02d}_oral",
        "series": "nightly",
        "status": "completed",
        "started_at": f"2026-11-{night:02d}T02:00:00+00:00",
        "finished_at": f"2026-11-{night:02d}T02:30:00+00:00",
        "host": "ward7",
        "pid": 4242,
        "data_name": "oral",
        "data_fingerprint": "f" * 64,
        "n_images": 851,
        "n_patients": None,
        "n_positive": 561,
        "code_commit": "a" * 40,
        "code_dirty": False,
        "code_digest": "c" * 64,
        "versions": (("numpy", "2.4.0"), ("torch", "2.15.0")),
        "machine": "a processor",
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "config_json": text,
        "seed": 0,
        "models": (
            figures("resnet50", "ResNet-50", 0.91),
            figures("efficientnet_b0", "EfficientNet-B0", 0.90),
        ),
        "verdict": verdict(),
        "files": RunFiles(
            folder="runs/x", pdf="runs/x/report.pdf", html="runs/x/report.html", results="runs/x/results.json"
        ),
    }
    if changes.get("status") in {"failed", "crashed"}:
        values |= {
            "verdict": None,
            "models": (),
            "files": None,
            "failure": Failure(
                stage="training of ResNet-50", kind="TrainingError", cause="loss is not finite"
            ),
        }
    if changes.get("status") == "running":
        values |= {"verdict": None, "models": (), "files": None, "finished_at": None}
    return RunSummary(**(values | changes))
