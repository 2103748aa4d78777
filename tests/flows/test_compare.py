"""The real flow on a small real run: what runs, what is reused, what is left on disk."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from flows.compare import compare
from medcompare.artifacts import ArtifactStore
from medcompare.config import CompareConfig
from medcompare.errors import DataError, InputError

if TYPE_CHECKING:
    from medcompare.run_result import RunResult

MODELS = ("test_cnn", "efficientnet_b0")


def _config(images: Path, root: Path, **changes: Any) -> CompareConfig:
    train = {
        "image_size_px": 32,
        "epochs": 2,
        "batch_size": 16,
        "initial_weights": "none",
        "device": "cpu",
        "precision": "float32",
        **changes.pop("train", {}),
    }
    return CompareConfig.model_validate(
        {
            "models": MODELS,
            "out": root / "runs",
            "store": root / "store",
            "data": {"source": str(images), **changes.pop("data", {})},
            "train": train,
            "evaluate": {"n_resamples": 200},
            "cost": {"n_warmup": 1, "n_repeats": 10, "throughput_batch": 2},
            **changes,
        }
    )


def _run(config: CompareConfig) -> tuple[RunResult, dict[str, str]]:
    """Result of a run, and the final state of each of its tasks by name."""
    state = compare(config, return_state=True)
    result = state.result()
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        )
    return result, {run.name: run.state_name for run in runs}


def _cached(states: dict[str, str]) -> set[str]:
    return {name for name, state in states.items() if state == "Cached"}


EVERY_STAGE = {
    "ingest",
    "split",
    *(
        f"{stage} {model}"
        for stage in ("train", "predict", "evaluate", "measure cost of")
        for model in MODELS
    ),
    "decide",
    "report",
}


def test_second_run_trains_nothing_and_says_the_same(images: Path, tmp_path: Path) -> None:
    """First run: everything computed. Second: everything reused but the report, same figures."""
    first, states = _run(_config(images, tmp_path))
    again, states_again = _run(_config(images, tmp_path))

    assert set(states) == EVERY_STAGE
    assert set(states.values()) == {"Completed"}
    assert _cached(states_again) == EVERY_STAGE - {"report"}
    one, two = (json.loads(Path(run.results).read_text()) for run in (first, again))
    assert one["assessment"] == two["assessment"]
    assert Path(first.pdf).read_bytes().startswith(b"%PDF")
    assert (tmp_path / "runs/latest").resolve() == Path(again.folder).resolve()


def test_exactly_what_depends_on_a_change_runs_again(images: Path, tmp_path: Path) -> None:
    """Hyperparameter of one model; a changed image; moved data; a lost and an altered file."""
    _run(_config(images, tmp_path))

    recipe = {"recipes": {"test_cnn": {"learning_rate": 0.002}}}
    _, states = _run(_config(images, tmp_path, train=recipe))
    assert EVERY_STAGE - _cached(states) == {
        "train test_cnn",
        "predict test_cnn",
        "evaluate test_cnn",
        "measure cost of test_cnn",
        "decide",
        "report",
    }

    moved = images.rename(tmp_path / "elsewhere")
    _, states = _run(_config(moved, tmp_path))
    # Only ingest, which records the new name of the data set, and the report that prints it.
    assert EVERY_STAGE - _cached(states) == {"ingest", "report"}

    with Image.open(moved / "cancer/000.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(moved / "cancer/000.png")
    _, states = _run(_config(moved, tmp_path))
    assert not _cached(states) & {"ingest", "split", "decide", *(f"predict {model}" for model in MODELS)}


def test_lost_and_altered_files_are_computed_anew(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cached result is not trusted when its file is gone or not what it was."""
    result, _ = _run(_config(images, tmp_path))
    trained = json.loads(Path(result.results).read_text())["trained"]
    store = tmp_path / "store"
    (store / trained[0]["checkpoint"]["path"]).unlink()
    (store / trained[1]["checkpoint"]["path"]).write_bytes(b"not a checkpoint")

    with caplog.at_level(logging.WARNING):
        again, _ = _run(_config(images, tmp_path))

    assert "train test_cnn: the cached result cannot be used (stored file" in caplog.text
    assert "is missing" in caplog.text
    assert "was altered" in caplog.text
    retrained = json.loads(Path(again.results).read_text())["trained"]
    for before, after in zip(trained, retrained, strict=True):
        assert [epoch["val_loss"] for epoch in after["history"]] == [
            epoch["val_loss"] for epoch in before["history"]
        ]
        assert ArtifactStore(store).root.joinpath(after["checkpoint"]["path"]).is_file()


def test_bad_input_stops_before_any_task(images: Path, tmp_path: Path) -> None:
    """One class only: the message names it, no task ran, nothing is left in the output folder."""
    for path in (images / "non_cancer").iterdir():
        path.unlink()
    (images / "non_cancer").rmdir()

    state = compare(_config(images, tmp_path), return_state=True)

    with pytest.raises(DataError, match="class"):
        state.result()
    assert list((tmp_path / "runs").iterdir()) == []


def test_too_many_unreadable_images_stop_the_run(images: Path, tmp_path: Path) -> None:
    """Never retried, and no half-written report remains."""
    for number in range(10):
        (images / "cancer" / f"{number:03d}.png").write_bytes(b"broken")

    state = compare(_config(images, tmp_path), return_state=True)

    with pytest.raises(InputError, match="max_rejected_fraction"):
        state.result()
    assert not list((tmp_path / "runs").glob("**/report*"))
