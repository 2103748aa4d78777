"""Presets: named sets of values that fill the fields the user leaves alone.

Each is plain data, so that a preset can say nothing that a user could not say too.
"""

from __future__ import annotations

from typing import Any, Literal

PresetName = Literal["published", "quick", "demo"]

PUBLISHED: dict[str, Any] = {}
"""The recipes of the published study: the defaults of every field.

``python -m flows.compare --data my_images``. ResNet-50 with Adam (learning rate 1e-5) and
EfficientNet-B0 with AdamW (1e-3, weight decay 1e-4), both from ImageNet weights, at 224 px.
Needs a GPU or patience. The study reported 92 % and 71 % accuracy on its own images;
expect other figures on yours.
"""

QUICK: dict[str, Any] = {
    "train": {"image_size_px": 128, "epochs": 5, "patience": 3},
    "evaluate": {"n_resamples": 2000},
}
"""A first look in minutes: smaller images, few epochs. Not for decisions.

``python -m flows.compare --data my_images --preset quick``
"""

DEMO: dict[str, Any] = {
    "train": {
        "image_size_px": 64,
        "epochs": 6,
        "patience": 6,
        "batch_size": 16,
        "initial_weights": "none",
        "crop_scale_min": 0.6,
        "recipes": {"resnet50": {"learning_rate": 5e-4}},
    },
    "evaluate": {"n_resamples": 2000},
}
"""The embedded synthetic data, both networks from scratch (no download).

``make compare``. Learning rates differ from the published recipes because these networks
start from random weights; the report says so.
"""

PRESETS: dict[PresetName, dict[str, Any]] = {"published": PUBLISHED, "quick": QUICK, "demo": DEMO}


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` laid on top, section by section."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
