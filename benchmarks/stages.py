"""Stages other than training beside what one would write instead; a part of `benchmarks.training`.

ingest      validation, digests and copies, from files, against a loop of SHA-256 and PIL
inference   float32 scores from files, against `ImageFolder` and the loop of `plain_script`
statistics  bootstrap intervals of both models and their differences, against scikit-learn's metrics in a loop
report      HTML and PDF of two models, beside which there is nothing
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks import plain_script, statistics_speed
from medcompare.base.artifacts import ArtifactStore
from medcompare.base.hardware import keep_freed_memory
from medcompare.config.data import DataConfig
from medcompare.config.train import TrainConfig
from medcompare.data.fingerprint import fingerprint
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.models.registry import build_model
from medcompare.models.zoo import MODELS
from medcompare.report.render import write_report
from medcompare.training.dataset import EvaluationImages, loaders_of
from medcompare.training.scoring import Placement, logits_of, make_repeatable
from medcompare.training.transforms import evaluation_resize_px
from tests.report.sample import make_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from medcompare.data.assignments import ImageRow

N_CASES, N_RESAMPLES, N_LOOP_RESAMPLES = 1_000, 2_000, 40
"""A usual test subset, and the usual number of resamples; the loop is timed on fewer, each of which costs the same."""


class Pair(NamedTuple):
    """Seconds of ours and of the plain way in one round."""

    ours: float
    plain: float | None


def seconds(work: Callable[[], object]) -> float:
    """Time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ingest_round(folder: Path) -> Pair:
    """A first ingest into a fresh store."""
    data = DataConfig(source=str(folder), positive=[next(one.name for one in sorted(folder.iterdir()))])

    def plain() -> None:
        for path in sorted(folder.rglob("*.jpg")):
            hashlib.sha256(path.read_bytes()).hexdigest()
            with Image.open(path) as image:
                image.convert("RGB")

    with tempfile.TemporaryDirectory() as place:
        store = Path(place)

        def ours() -> None:
            source = resolve_source(data, demo_root=store)
            read = fingerprint(source, data, store=store)
            ingest(source, data, ArtifactStore(store), expected=read.digest)

        return Pair(seconds(ours), seconds(plain))


def inference_round(
    folder: Path,
    rows: Sequence[ImageRow],
    device: torch.device,
    model: str,
    _number: int,
    *,
    size: int,
    batch: int,
) -> Pair:
    """Scores of every image, which no cache holds yet; in the layout that is usual for the device."""
    spec = MODELS[model]
    make_repeatable(device)
    placement = Placement(
        device=device, memory_format="channels_last" if device.type == "cpu" else "contiguous"
    )
    resize = evaluation_resize_px(size, None, spec.crop_pct)
    images = EvaluationImages(rows, folder, size_px=size, resize_px=resize, interpolation=spec.interpolation)
    steps = [transforms.Resize(resize), transforms.CenterCrop(size), transforms.ToTensor()]
    files = datasets.ImageFolder(
        str(folder),
        transforms.Compose([*steps, transforms.Normalize(plain_script.MEAN, plain_script.STD)]),
    )
    network = placement.network(build_model(spec, seed=0))
    usual = build_model(spec, seed=0).to(device)
    with tempfile.TemporaryDirectory() as store:
        [loader] = loaders_of(
            [images],
            TrainConfig(image_size_px=size, batch_size=batch),
            device,
            store=Path(store),
            batch_size=batch,
        )
        ours = seconds(lambda: logits_of(network, loader, spec, placement))
    plain = seconds(lambda: plain_script.scores(usual, DataLoader(files, batch_size=batch), str(device)))
    return Pair(ours, plain)


def statistics_round(seed: int) -> Pair:
    """Intervals of both models and their differences, of every metric."""
    y, scores = statistics_speed.sample(N_CASES, seed)
    loop = seconds(lambda: statistics_speed.plain_loop(y, scores, N_LOOP_RESAMPLES))
    ours = seconds(lambda: statistics_speed.all_intervals(y, scores, n_resamples=N_RESAMPLES, seed=seed))
    return Pair(ours, loop * N_RESAMPLES / N_LOOP_RESAMPLES)


def report_round() -> Pair:
    """HTML and PDF of the tests' report on two models, whose figures are simulated."""
    inputs = make_inputs()
    with tempfile.TemporaryDirectory() as place:
        return Pair(seconds(lambda: write_report(inputs, Path(place))), None)


def measure(
    folder: Path,
    rows: Sequence[ImageRow],
    device: torch.device,
    *,
    models: Sequence[str],
    size: int,
    batch: int,
    rounds: int,
) -> None:
    """Print the table: medians of `rounds`, and of their ratios."""
    n = len(rows)
    keep_freed_memory()  # as predictions do; the plain loop gains by it, too
    score = partial(inference_round, folder, rows, device, size=size, batch=batch)
    stages: dict[str, Callable[[int], Pair]] = {
        f"ingest, {n:,} images": lambda _: ingest_round(folder),
        **{f"inference of {model}, {n:,} images": partial(score, model) for model in models},
        f"statistics, {N_CASES:,} cases, {N_RESAMPLES:,} resamples": statistics_round,
        "report, two models, HTML and PDF": lambda _: report_round(),
    }
    print("\nstage | ours, s | plain, s | ratio\n---|---:|---:|---:", flush=True)
    for name, one_round in stages.items():
        one_round(0)  # libraries, and files that the system keeps
        pairs = [one_round(number) for number in range(rounds)]
        ours = statistics.median(pair.ours for pair in pairs)
        beside = [(pair.plain, pair.ours / pair.plain) for pair in pairs if pair.plain is not None]
        cells = [f"{statistics.median(column):.3g}" for column in zip(*beside, strict=True)] or ["–", "–"]
        print(f"{name} | {ours:.2f} | {' | '.join(cells)}", flush=True)
