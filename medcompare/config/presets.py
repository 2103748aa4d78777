"""Presets: named sets of values that fill the fields the user leaves alone.

Each is plain data, so that a preset can say nothing that a user could not say too.
"""

from __future__ import annotations

from typing import Any, Literal

PresetName = Literal["published", "tuned", "quick", "demo"]

PUBLISHED: dict[str, Any] = {}
"""The recipes of the published study: the defaults of every field.

``python -m flows.compare --data my_images``. ResNet-50 with Adam (learning rate 1e-5) and
EfficientNet-B0 with AdamW (1e-3, weight decay 1e-4), both from ImageNet weights, at 224 px.
Needs a GPU or patience. The study reported 92 % and 71 % accuracy on its own images;
expect other figures on yours.
"""

TUNED: dict[str, Any] = {"tune": {"n_trials": 16}}
"""The recipes of the study as the first of 16 trials of each model, then trainings with the best settings found.

``python -m flows.compare --data my_images --preset tuned``. With 15 settings drawn at random one of the best
tenth is among them with probability 1 - 0.9^15 = 79 % (Bergstra & Bengio 2012, JMLR 13:281, have the argument).
"""

QUICK: dict[str, Any] = {
    "seeds": 1,
    "train": {"image_size_px": 128, "epochs": 5, "patience": 3},
    "evaluate": {"n_resamples": 2000},
}
"""A first look in minutes: smaller images, few epochs. Not for decisions.

``python -m flows.compare --data my_images --preset quick``
"""

DEMO: dict[str, Any] = {
    "seeds": 1,
    # Generated images are cheap and training on them is not: a quarter of the patients is trained on,
    # and more than half are tested, so that the test subset can decide.
    "split": {"test_fraction": 0.53, "validation_fraction": 0.39},
    "train": {
        "image_size_px": 40,
        "epochs": 5,
        "patience": 5,
        "batch_size": 16,
        "initial_weights": "none",
        "crop_scale_min": 0.6,
        "recipes": {"resnet50": {"learning_rate": 5e-4}, "efficientnet_b0": {"learning_rate": 2e-3}},
    },
    # A threshold that weighs the errors in both classes varies less with the few validation patients than
    # one that a handful of missed cancers decides.
    "evaluate": {"n_resamples": 2000, "threshold_rule": "cost_ratio", "cost_ratio": 5.0},
}
"""The embedded synthetic data, both networks from scratch (no download).

``make compare``. Learning rates differ from the published recipes because these networks
start from random weights; the report says so.
"""

PRESETS: dict[PresetName, dict[str, Any]] = {
    "published": PUBLISHED,
    "tuned": TUNED,
    "quick": QUICK,
    "demo": DEMO,
}


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` laid on top, section by section."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
