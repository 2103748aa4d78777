"""How the configuration shows in the orchestrator's form, which is made from its JSON Schema."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medcompare.base.record import Record
from medcompare.config.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

TITLES = {
    "positive": "Positive classes",
    "random_beside": "Compare with a random split",
    "exclude": "Classes left out",
    "group_by": "Columns that stay together",
    "image_root": "Folder of the images",
    "label_column": "Column of the class",
    "path_column": "Column of the files",
    "auc_floor": "Minimum AUC",
    "backbone_lr_factor": "Learning rate of the backbone (factor)",
    "batch_size": "Batch size (images)",
    "clip_norm": "Largest gradient norm",
    "ema_decay": "Decay of averaged weights",
    "focal_gamma": "Gamma of the focal loss",
    "cache_gb": "Disk for decoded images (gigabytes)",
    "budget_s": "Time for measuring a network (seconds)",
    "crop_scale_min": "Smallest crop",
    "file_timeout_s": "Time limit per image (seconds)",
    "external": "Images of other hospitals",
    "file_access": "Who may read the files",
    "fresh": "Measure again",
    "image_size_px": "Image size (pixels)",
    "level": "Confidence level",
    "margin_auc": "Margin of AUC",
    "margin_sensitivity": "Margin of sensitivity",
    "margin_specificity": "Margin of specificity",
    "max_file_mb": "Max. file size (megabytes)",
    "max_parallel": "Trainings side by side",
    "max_rejected_fraction": "Max. rejected fraction",
    "min_side_px": "Shortest side (pixels)",
    "min_units": "Min. patients per class",
    "mixup_alpha": "Alpha of mixup",
    "n_patients": "Patients",
    "n_repeats": "Timed passes",
    "price_per_hour": "Price per hour",
    "price_per_kwh": "Price per kilowatt hour",
    "n_resamples": "Bootstrap resamples",
    "n_warmup": "Passes before timing",
    "num_workers": "Loading processes",
    "out": "Folder of the runs",
    "resize_px": "Resize (pixels)",
    "seeds": "Trainings per model",
    "sensitivity_floor": "Minimum sensitivity",
    "specificity_floor": "Minimum specificity",
    "shared_store": "Bucket of the cache",
    "store": "Folder of the cache",
    "throughput_batch": "Batch size of throughput",
    "timeout_minutes": "Time limit (minutes)",
    "weights_dir": "Folder of weights",
}
"""What the form calls a field, where its name alone is no title."""


def _title(name: str, _: object) -> str:
    return TITLES.get(name, name.replace("_", " ").capitalize())


FIRST = (
    "predictions",
    "validation",
    "data",
    "source",
    "positive",
    "preset",
    "models",
    "seeds",
    "mail_to",
    "name",
)
LAST = ("folds", "fold_repeats", "external", "seed", "out", "store", "shared_store", "file_access")
"""What the form shows above and below the sections."""


AS_FORM: ContextVar[bool] = ContextVar("AS_FORM", default=True)
"""Whether a schema is made for the form; that of results.json says what a file may hold, null included."""


def _for_the_form(schema: dict[str, Any]) -> None:
    """Order the fields, and show an optional one as a field to leave empty, where Prefect would ask for its type."""
    if not AS_FORM.get():
        return
    for name, field in schema["properties"].items():
        if name in FIRST:
            field["position"] = FIRST.index(name) - len(FIRST)
        elif name in LAST:
            field["position"] = 1 + LAST.index(name)
        if "anyOf" in field and field.get("default", ...) is None:
            del field["default"]
            field.update(next(choice for choice in field.pop("anyOf") if choice != {"type": "null"}))


class Settings(Record):
    """A part of the configuration."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        field_title_generator=_title,
        json_schema_extra=_for_the_form,
        title="all settings",  # the button that opens a section
    )

    @model_validator(mode="before")
    @classmethod
    def _as_text(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic hands over anything
        """Take a class called 1 or a run called 2026 as text, wherever it was written without quotes."""
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            name: _text(value) if name in fields and takes_text(fields[name].annotation) else value
            for name, value in values.items()
        }


def takes_text(annotation: Any) -> bool:  # noqa: ANN401 - any type expression
    """Whether a field of this type holds text or a path, by itself or in a list."""
    if get_origin(annotation) in {Annotated, Union, UnionType, tuple}:
        return any(takes_text(part) for part in get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, str | Path)


def _text(value: Any) -> Any:  # noqa: ANN401 - any value of JSON or TOML
    if isinstance(value, list | tuple):
        return [_text(each) for each in value]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | dt.date | dt.time) else value


def left_to_preset(field: str) -> Callable[[dict[str, Any]], None]:
    """Show `field` as empty, and say what each preset would fill in.

    The form sends what it shows: a default shown would override the preset.

    Parameters
    ----------
    field : str
        Dotted name, such as ``train.epochs`` or ``seeds``.
    """
    section, _, name = field.rpartition(".")

    def change(schema: dict[str, Any]) -> None:
        default = schema.pop("default")
        of_section = {
            preset: values.get(section, {}) if section else values for preset, values in PRESETS.items()
        }
        values = {preset: given.get(name, default) for preset, given in of_section.items()}
        listed = ", ".join(f"{preset} {value}" for preset, value in values.items())
        schema["description"] += f" Empty: as the preset says ({listed})."

    return change


def clinical(default: float, description: str, **bounds: Any) -> Any:  # noqa: ANN401 - as pydantic's Field
    """Field that a clinician must justify; the form shows it empty, so that what is in it was typed."""

    def change(schema: dict[str, Any]) -> None:
        schema["description"] += f" Empty: {schema.pop('default'):g}, which nobody has justified."

    return Field(default=default, description=description, json_schema_extra=change, **bounds)


def no_default(schema: dict[str, Any]) -> None:
    """The form sends a default that it shows, and so overrides the preset."""
    del schema["default"]


def section(of: type[Settings], *shown: str) -> Any:  # noqa: ANN401 - as pydantic's Field, a default of any type
    """Field that holds a part of the configuration; its meaning is the first line of that part's docstring.

    The form shows the fields named in `shown`, and all of them after a click: it has no other way to fold a part.
    """

    def fold(schema: dict[str, Any]) -> None:
        no_default(schema)
        fields = of.model_json_schema()["properties"] if shown else {}
        some = {"type": "object", "properties": {name: fields[name] for name in shown}}
        folded = (
            {**some, "additionalProperties": False, "title": "main settings"}
            if shown
            else {"type": "null", "title": "defaults"}
        )
        schema["anyOf"] = [folded, {"$ref": schema.pop("$ref")}]

    return Field(default=of(), description=inspect.getdoc(of), json_schema_extra=fold)


def only_given(record: BaseModel, given: Mapping[str, Any]) -> None:
    """Let ``model_fields_set`` of `record` and its sections name what a person gave, whatever the value.

    Parameters
    ----------
    record : BaseModel
        Validated from `given` and a preset below it.
    given : mapping
        Nested values by name.
    """
    record.model_fields_set.intersection_update(given)
    for name in type(record).model_fields:
        value, below = getattr(record, name), given.get(name)
        inner = below if isinstance(below, Mapping) else {}
        if isinstance(value, BaseModel):
            only_given(value, inner)
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, BaseModel) and not isinstance(inner.get(key), str):
                    only_given(item, inner.get(key) or {})


def without_shown_defaults(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` without the defaults that the form shows: it sends them whether or not a person looked at them."""
    fields = model.model_json_schema()["properties"]
    kept = {}
    for name, value in given.items():
        field = model.model_fields.get(name)
        inner = None if field is None else field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            kept[name] = without_shown_defaults(inner, value)
        elif value is None and isinstance(inner, type) and issubclass(inner, BaseModel):
            pass  # a section that was not opened
        elif value != fields.get(name, {}).get("default", ...):
            kept[name] = value
    return kept
