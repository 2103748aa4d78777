"""The script one would write: `benchmarks.training` measures ours beside it. It imports nothing of ours.

    python benchmarks/plain_script.py FOLDER --epochs 5 --size 224 --batch 32

FOLDER holds ``train``, ``val`` and ``test``, each with a folder per class. Both networks are trained one after the
other, in float32 on what torchvision's usual transforms make of the files; the epoch with the best validation AUC
is tested with scikit-learn. Prints JSON.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_pytorch import EfficientNet
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    roc_auc_score,
)
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RATE = 1e-3


def loaders(asked: argparse.Namespace) -> dict[str, DataLoader[Any]]:
    """Batches of the three subsets."""
    size = asked.size
    normalise = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    training = transforms.Compose(
        [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *normalise]
    )
    testing = transforms.Compose(
        [transforms.Resize(round(size / 0.875)), transforms.CenterCrop(size), *normalise]
    )
    return {
        name: DataLoader(
            datasets.ImageFolder(str(asked.folder / name), training if name == "train" else testing),
            batch_size=asked.batch,
            shuffle=name == "train",
            num_workers=asked.num_workers,
            pin_memory=torch.cuda.is_available(),
        )
        for name in ("train", "val", "test")
    }


def scores(network: nn.Module, loader: DataLoader[Any], device: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of the second class."""
    network.eval()
    y_true, y_score = [], []
    with torch.no_grad():
        for images, labels in loader:
            y_score.append(network(images.to(device)).softmax(1)[:, 1].cpu().numpy())
            y_true.append(labels.numpy())
    return np.concatenate(y_true), np.concatenate(y_score)


def train(name: str, asked: argparse.Namespace, device: str) -> dict[str, float]:
    """Train one network and test its best epoch."""
    torch.manual_seed(asked.seed)
    batches = loaders(asked)
    if name == "efficientnet_b0":
        network = EfficientNet.from_name("efficientnet-b0", num_classes=2).to(device)
    else:
        network = getattr(models, name)(num_classes=2).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    labels = np.array(datasets.ImageFolder(str(asked.folder / "train")).targets)
    weights = torch.tensor(len(labels) / (2 * np.bincount(labels)), dtype=torch.float32, device=device)
    loss_of = nn.CrossEntropyLoss(weight=weights)
    best, best_state = -1.0, {}
    started = time.perf_counter()
    for _ in range(asked.epochs):
        network.train()
        for images, targets in batches["train"]:
            loss = loss_of(network(images.to(device)), targets.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # shown on a progress bar
        auc = float(roc_auc_score(*scores(network, batches["val"], device)))
        if auc > best:
            best, best_state = auc, copy.deepcopy(network.state_dict())
    training_s = time.perf_counter() - started
    network.load_state_dict(best_state)
    y_true, y_score = scores(network, batches["test"], device)
    y_pred = y_score.round()
    tn, fp, fn, tp = confusion_matrix(y_true, y_pred).ravel()
    return {
        "training_s": training_s,
        "auc": float(roc_auc_score(y_true, y_score)),
        "average_precision": float(average_precision_score(y_true, y_score)),
        "accuracy": float(accuracy_score(y_true, y_pred)),
        "balanced_accuracy": float(balanced_accuracy_score(y_true, y_pred)),
        "brier": float(brier_score_loss(y_true, y_score)),
        "sensitivity": float(tp / (tp + fn)),
        "specificity": float(tn / (tn + fp)),
    }


def main() -> None:
    """Train and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["resnet50", "efficientnet_b0"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--num-workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(json.dumps({name: train(name, asked, device) for name in asked.models}))


if __name__ == "__main__":
    main()
