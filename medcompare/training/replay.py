"""The batch whose loss was not finite: kept with the network that saw it, and gone through again.

``python -m medcompare.training.replay FILE`` says which images and which layer it begins with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medcompare.base.errors import MedcompareError, TrainingError, cannot_write
from medcompare.config.train import TrainConfig
from medcompare.models.registry import build_model
from medcompare.models.zoo import find_model
from medcompare.training.checkpoints import SUFFIX, load, save, state_on_cpu
from medcompare.training.dataset import Batch
from medcompare.training.options import training_loss, training_mode
from medcompare.training.scoring import Placement

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medcompare.training.dataset import BatchLoader
    from medcompare.training.epoch import NotFiniteError
    from medcompare.training.recipes import FitSettings

FOLDER = "replay"
CPU = torch.device("cpu")


def keep_batch(
    error: NotFiniteError, network: nn.Module, training: BatchLoader, settings: FitSettings, store_root: Path
) -> TrainingError:
    """Store the batch that `error` is about, with network, step and seed, but no name of a file or a patient.

    Returns
    -------
    TrainingError
        `error` with the command that goes through the batch again, or why it could not be kept.
    """
    path = (
        store_root / FOLDER / f"{settings.spec.name}-seed{settings.seed}-{error.epoch}-{error.step}{SUFFIX}"
    )
    batch = next(training.shuffled(seed=settings.seed, epoch=error.epoch, n_done=error.step - 1))
    content = {
        "model": settings.spec.name,
        "seed": settings.seed,
        "epoch": error.epoch,
        "step": error.step,
        "precision": settings.precision,
        "class_weights": settings.class_weights,
        "options": settings.options.model_dump(mode="json", exclude={"weights_dir", "recipes"}),
        "images": batch.images,
        "labels": batch.labels,
        "network": state_on_cpu(network),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(content, path)
    except (MedcompareError, OSError) as problem:
        why = cannot_write(problem, path.parent) if isinstance(problem, OSError) else problem
        return TrainingError(f"{error}. The batch could not be kept: {why}")
    return TrainingError(f"{error}. The batch is kept: python -m medcompare.training.replay {path}")


def replay(path: Path) -> list[str]:
    """Go through a batch of `keep_batch` again, on the CPU; what comes out, in sentences.

    Dropout draws anew, and mixed images (mixup) are gone through as they were before they were mixed.
    """
    kept = load(path)
    spec, options = find_model(kept["model"]), TrainConfig.model_validate(kept["options"])
    network = build_model(spec, seed=kept["seed"])
    network.load_state_dict(kept["network"])
    batch = Batch(images=kept["images"], labels=kept["labels"])
    training_mode(network, spec.head, frozen=kept["epoch"] <= options.frozen_epochs)
    weights = torch.tensor(kept["class_weights"])
    n_bad = sum(not value.isfinite().all() for value in kept["network"].values())
    what = (
        f"{kept['model']}, seed {kept['seed']}: epoch {kept['epoch']}, step {kept['step']}, "
        f"{len(batch.labels)} images, trained in {kept['precision']}; "
        f"{n_bad} of {len(kept['network'])} tensors of the network are not finite before it"
    )
    sentences = [what]
    for precision in dict.fromkeys((kept["precision"], "float32")):
        torch.manual_seed(kept["seed"])
        logits, layer = _forward(network, batch, spec.name, precision)
        loss = training_loss(logits, batch.labels, weights, options).item()
        bad = [number for number, row in enumerate(logits) if not row.isfinite().all()]
        where = (
            f"scores of images {bad} of the batch are not finite, first in layer '{layer}'"
            if bad
            else (f"all scores are finite, at most {logits.abs().max().item():.3g}")
        )
        sentences.append(f"{precision}: loss {loss:g}; {where}")
    return sentences


def _forward(network: nn.Module, batch: Batch, model: str, precision: str) -> tuple[Tensor, str]:
    """Logits, and the first layer whose output is not finite."""
    found: list[str] = []

    def look(name: str) -> object:
        def hook(_layer: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and not output.isfinite().all():
                found.append(name)

        return hook

    hooks = [
        layer.register_forward_hook(look(name))
        for name, layer in network.named_modules()
        if not list(layer.children())
    ]
    inputs = Placement(device=CPU, memory_format="contiguous").inputs(batch.images, find_model(model))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        logits = network(inputs).float()
    for one in hooks:
        one.remove()
    return logits, found[0] if found else ""


if __name__ == "__main__":
    sys.stdout.write("\n".join([*replay(Path(sys.argv[1])), ""]))
