"""Ten nights with a planted stain shift and a planted better model, through the commands that users type.

    python benchmarks/ten_nights.py /tmp/nights [URI of an MLflow server]

Draws small images of tissue (more dark nuclei: positive) and trains a network of three layers on pale stain. Noise on
its filters makes the champion of it, and more training on both stains the challenger, which comes on the third night.
From the eighth night on the stain is the other one. Mails wait in the outbox of the store, as no server takes them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from medcompare.config.registry import NightConfig
from medcompare.handover.images import load_image
from medcompare.handover.likeness import TrainingImages, pixel_statistics
from medcompare.handover.networks import positive_score
from medcompare.handover.night import night
from medcompare.handover.night_end import finished, logged
from medcompare.handover.nights_page import told
from medcompare.handover.records import (
    DESCRIPTION,
    DIGESTS,
    FEATURES,
    GRAPH,
    WEIGHTS,
    Export,
    read_export,
    write_digests,
)
from medcompare.handover.registry import ModelRegistry
from medcompare.handover.torch_network import Graph, write_graph
from medcompare.models.registry import build_model
from medcompare.models.zoo import find_model
from medcompare.notify.nightly import mail_about
from medcompare.notify.settings import mail_config_from_environment

SIDE, PER_NIGHT, STAINED_FROM = 48, 120, 7
PALE, DARK = np.array([232, 205, 222.0]), np.array([196, 160, 196.0])


def tissue(rng: np.random.Generator, *, positive: bool, stain: float) -> Image.Image:
    """One image; `stain` 0 is pale and 1 is dark."""
    n_nuclei = rng.poisson(13 if positive else 9)
    points = np.zeros((SIDE, SIDE))
    points[tuple(rng.integers(0, SIDE, (2, n_nuclei)))] = 1
    nuclei = np.clip(ndimage.gaussian_filter(points, 1.6) * 16, 0, 1)[..., None]
    back = (1 - stain) * PALE + stain * DARK + rng.normal(0, 3, 3)
    ink = np.array([110, 70, 140.0]) - stain * np.array([-40, 10, 40])
    pixels = back * (1 - nuclei) + ink * nuclei + rng.normal(0, 5, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw(folder: Path, n: int, *, seed: int, stain: float | None) -> Path:
    """`n` images in folders of classes; without `stain` half of them are of each."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        name = ("normal", "tumour")[i % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        of = float(rng.integers(2)) if stain is None else stain
        tissue(rng, positive=bool(i % 2), stain=of).save(folder / name / f"{seed}-{i}.png")
    return folder


def medcompare(*arguments: object) -> None:
    """The command, in a process of its own."""
    subprocess.run([sys.executable, "-m", "medcompare", *map(str, arguments)], check=True)  # noqa: S603 - our own


def trained(root: Path, name: str, images: Path, epochs: int) -> Path:
    """The export of a network trained on `images`."""
    export = root / "exports" / name
    if not export.exists():
        values = {
            "train.epochs": epochs,
            "train.image_size_px": SIDE,
            "train.initial_weights": "none",
            "seeds": 1,
            "evaluate.n_resamples": 200,
            "evaluate.threshold_rule": "youden",
        }
        sets = [part for field, value in values.items() for part in ("--set", f"{field}={value}")]
        places = ["--store", root / "training", "--out", root / "runs"]
        medcompare(
            "compare",
            "--data",
            images,
            "--models",
            "test_cnn",
            "--positive",
            "tumour",
            "--name",
            name,
            *places,
            *sets,
        )
        medcompare(
            "export",
            root / "runs" / name,
            "--model",
            "test_cnn",
            "--to",
            export,
            "--store",
            root / "training",
        )
    return export


def crops_of(images: Path, export: Export) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a folder as the network is given them, and their labels."""
    files = sorted(images.rglob("*.png"))
    found = [load_image(file, export.preprocessing).crop for file in files]
    labels = torch.tensor([int(file.parent.name == export.classes[1]) for file in files])
    return torch.tensor(np.stack([crop for crop in found if crop is not None])), labels


def continued(
    root: Path, name: str, start: Path, images: Path, held_out: Path, *, epochs: int, spoil: float = 0.0
) -> Path:
    """The export `start`, its network trained further in a plain loop, or its filters spoilt by noise.

    What is unlike the training images is told from `held_out`.
    """
    to = root / "exports" / name
    if to.exists():
        return to
    export = read_export(start)
    crops, labels = crops_of(images, export)
    network = build_model(find_model(export.model), seed=0)
    network.load_state_dict(load_file(start / WEIGHTS), strict=True)
    graph = Graph(network, find_model(export.model), export.preprocessing, "none")
    optimizer = torch.optim.Adam(graph.parameters(), lr=3e-3)
    graph.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=torch.manual_seed(0)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(graph(crops[batch])[0], labels[batch]).backward()
            optimizer.step()
    graph.eval()
    torch.manual_seed(1)
    with torch.inference_mode():
        for weights in network.parameters():
            if spoil and weights.dim() > 2:
                weights.add_(spoil * weights.std() * torch.randn_like(weights))
        logits, features = (one.double().numpy() for one in graph(crops))
        held, _ = crops_of(held_out, export)
        new = graph(held)[1].double().numpy()
    shutil.copytree(start, to)
    for file in (WEIGHTS, GRAPH, FEATURES, DIGESTS):
        (to / file).unlink()
    write_graph(graph, to / GRAPH, size_px=export.preprocessing.size_px)
    save_file({"none": torch.zeros(1)}, to / WEIGHTS)
    seen, unseen = (
        (features, pixel_statistics(crops.numpy())),
        (new, pixel_statistics(held.numpy())),
    )
    TrainingImages.fitted(seen, labels.numpy(), unseen, quantile=0.99).write(to / FEATURES)
    print(name, "AUC on its own images", roc_auc_score(labels, positive_score(logits)))
    threshold = export.threshold.model_copy(update={"threshold": float(np.median(positive_score(logits)))})
    made = export.model_copy(update={"threshold": threshold, "display_name": f"Test CNN, {name}"})
    (to / DESCRIPTION).write_text(made.model_dump_json(indent=1), "utf-8")
    write_digests(to)
    return to


def run(root: Path, uri: str | None = None) -> None:
    """Everything, in the registry at `uri`."""
    os.environ |= {
        "MEDCOMPARE_SMTP_HOST": "127.0.0.1",
        "MEDCOMPARE_SMTP_PORT": "9",
        "MEDCOMPARE_SMTP_SECURITY": "none",
        "MEDCOMPARE_SMTP_SENDER": "nights@hospital.example",
        "MEDCOMPARE_SMTP_RECIPIENTS": "team@hospital.example",
    }
    pale = trained(root, "pale", draw(root / "pale", 600, seed=1, stain=0.0), 4)
    held = draw(root / "held", 400, seed=4, stain=0.0)
    champion = continued(root, "spoilt", pale, root / "pale", held, epochs=0, spoil=2.0)
    images, held = (
        draw(root / "both", 1200, seed=2, stain=None),
        draw(root / "held both", 400, seed=5, stain=None),
    )
    challenger = continued(root, "both stains", pale, images, held, epochs=15)
    reference = draw(root / "reference", 240, seed=3, stain=0.0)
    begin = datetime(2026, 11, 1, 2, tzinfo=UTC)
    settings = {"n_resamples": 200}
    for i in range(10):
        data = draw(root / f"night{i}", PER_NIGHT, seed=100 + i, stain=0.0 if i < STAINED_FROM else 1.0)
        config = NightConfig.model_validate(
            {
                "registry": {"uri": uri},
                "reference": {"source": str(reference)},
                "data": {"source": str(data)},
                "store": root / "store",
                "out": root / "pages",
                "evaluate": settings,
            }
        )
        if i == 0:
            kept = ModelRegistry(config.registry, config.store)
            report = root / "runs" / "pale" / "report.pdf"
            kept.add(
                champion, by="Dr. Ada Example", because="Best of the comparison of October.", report=report
            )
        if i == 2:
            kept.add(challenger, by="Dr. Ada Example", because="Trained on images of both stains.")
        found = night(config, kept, at=begin + timedelta(days=i))
        summary, changes, page = finished(config, kept, found)
        mail = mail_config_from_environment(os.environ)
        if mail is not None:
            mail_about(summary, mail, config.store, changes=changes, pauses_s=())
        logged(kept, found, summary, page)
        print(f"night {i + 1}: " + "\n  ".join(told(found)), flush=True)
        if found.succession.action == "promote" and not found.done:
            number = (found.succession.to or "").split()[1]
            kept.crown(number, action="promote", by="Dr. Ada Example", because="The mail of tonight.")
    print(page)


if __name__ == "__main__":
    run(Path(sys.argv[1]), *sys.argv[2:3])
