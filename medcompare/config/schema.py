"""Everything a user can set, in one pydantic model with nine sections.

`CompareConfig` is the only parameter of the flow: the command line, a TOML file, the
form in the Prefect UI and ``prefect.yaml`` all fill these same fields. No default
depends on the machine: ``auto`` is resolved where it is used, and recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, field_validator, model_validator

from medcompare.base.file_access import ACCESS, FileAccess
from medcompare.base.hosts import Addresses, Names  # noqa: TC001 - read by pydantic, Names
from medcompare.base.record import Record
from medcompare.config.data import DEMO, DataConfig, ExternalSets, SafeName, SplitConfig
from medcompare.config.form import Settings, clinical, left_to_preset, no_default, only_given, section
from medcompare.config.presets import PRESETS, PresetName, merged
from medcompare.config.report import ReportConfig
from medcompare.config.runner import Bucket, RunnerConfig
from medcompare.config.thresholds import check_threshold_rule
from medcompare.config.train import TrainConfig, TuneConfig, check_options, known_model, too_long
from medcompare.models.zoo import BY_NAME, LISTED, PROBE


class EvaluateConfig(Settings):
    """How intervals are computed, thresholds chosen, and which subgroups are shown."""

    level: float = Field(default=0.95, ge=0.5, lt=1, description="Confidence level of every interval.")
    n_resamples: int = Field(
        default=5000,
        ge=200,
        le=100_000,
        description="Bootstrap resamples (2000 or more for a report).",
        json_schema_extra=left_to_preset("evaluate.n_resamples"),
    )
    proportion_interval: Literal["wilson", "clopper-pearson"] = Field(
        default="wilson", description="Interval of sensitivity, specificity, PPV, NPV and accuracy."
    )
    paired_test: Literal["mid-p", "exact"] = Field(default="mid-p", description="Kind of McNemar's test.")
    threshold_rule: Literal["target_sensitivity", "youden", "fixed", "cost_ratio"] = Field(
        default="target_sensitivity",
        description="How the threshold is chosen on the validation subset.",
        json_schema_extra=left_to_preset("evaluate.threshold_rule"),
    )
    target_sensitivity: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Sensitivity to reach on validation, where threshold_rule is 'target_sensitivity'.",
    )
    fixed_threshold: float = Field(
        default=0.5, ge=0, le=1, description="Threshold, where threshold_rule is 'fixed'."
    )
    cost_ratio: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Harm of a missed cancer over harm of a false alarm, where threshold_rule is 'cost_ratio'.",
        json_schema_extra=left_to_preset("evaluate.cost_ratio"),
    )
    stated_prevalence: float | None = Field(
        default=None, gt=0, lt=1, description="Prevalence at which PPV and NPV are also given."
    )
    subgroups: tuple[str, ...] | None = Field(
        default=None,
        description="Columns to report by subgroup, e.g. ['sex', 'site']; not set: every further column of the images "
        "with 2 to 8 values. [] for none.",
    )
    per_patient: Literal["none", "mean", "max"] = Field(
        default="none",
        description="One score per patient in place of one per image: the 'mean' or the 'max' (largest) of the scores "
        "of their images, such as patches of a slide; thresholds, intervals and verdict are then those of patients.",
    )
    recalibration: Literal["none", "temperature", "platt", "isotonic"] = Field(
        default="none", description="Recalibration of probabilities, fitted on validation only."
    )


class DecideConfig(Settings):
    """Margins and floors of the recommendation, which a clinician must justify; page one says who set them."""

    margin_auc: float = clinical(0.03, "Loss of AUC that is still acceptable.", gt=0, lt=0.5)
    margin_sensitivity: float = clinical(0.05, "Loss of sensitivity that is still acceptable.", gt=0, lt=1)
    margin_specificity: float = clinical(0.10, "Loss of specificity that is still acceptable.", gt=0, lt=1)
    auc_floor: float = clinical(0.70, "AUC the lower confidence limit must exceed.", ge=0.5, lt=1)
    sensitivity_floor: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Sensitivity the lower confidence limit must exceed; not set: no floor.",
    )
    specificity_floor: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Specificity the lower confidence limit must exceed; not set: no floor.",
    )
    guard: Literal["strict", "veto"] = Field(
        default="strict",
        description="'strict': sensitivity and specificity must be non-inferior too; "
        "'veto': they only block on a proven loss.",
    )
    min_units: int = Field(
        default=30, ge=2, le=100_000, description="Patients (or images) of each class needed for any verdict."
    )
    cost_metric: Literal[
        "latency_ms_median", "throughput_images_per_s", "peak_memory_bytes", "n_parameters", "flops"
    ] = Field(default="latency_ms_median", description="Cost that decides which model is cheaper.")
    cost_tolerance: float = Field(
        default=0.10, ge=0, le=1, description="Relative difference in cost that counts."
    )
    net_benefit_range: tuple[float, float] | None = Field(
        default=None,
        description="Threshold probabilities (low, high) at which you would act; "
        "without it the decision curve is shown, not used.",
    )

    @field_validator("net_benefit_range")
    @classmethod
    def _ordered_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] < value[1] < 1:
            msg = f"net_benefit_range {value} must be two probabilities, low before high"
            raise ValueError(msg)
        return value


class CostConfig(Settings):
    """How cost is measured."""

    budget_s: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Seconds that measuring one network may take. What does not fit is left out, and the report says "
        "so; one warm-up pass and three timed passes of one image are always done.",
    )
    n_warmup: int = Field(default=10, ge=1, le=1000, description="Forward passes before timing starts.")
    n_repeats: int = Field(default=60, ge=10, le=10_000, description="Timed forward passes at batch 1.")
    throughput_batch: int = Field(default=16, ge=1, le=1024, description="Batch size for throughput.")
    price_per_hour: float | None = Field(
        default=None,
        gt=0,
        description="What an hour of this machine costs you, for the price of 1,000 images; not set: none is given.",
    )
    price_per_kwh: float | None = Field(
        default=None,
        gt=0,
        description="What a kilowatt hour costs you, where the energy is not in that price.",
    )
    currency: str = Field(default="", max_length=12, description="Printed behind prices, e.g. EUR.")
    fresh: bool = Field(
        default=False, description="Measure again even where an earlier measurement could be reused."
    )


class CompareConfig(Settings):
    """A whole comparison.

    Fields left out are filled by the preset: ``demo`` where no images are named,
    ``published`` where they are.
    """

    preset: PresetName = Field(
        default="published",
        description="Fills the fields you leave out: 'published' (the study's recipes, the default with "
        "images of your own), 'tuned' (first the same search for hyperparameters for every model), 'quick' (a first "
        "look in minutes), 'demo' (the embedded data).",
        json_schema_extra=no_default,
    )
    name: SafeName | None = Field(
        default=None, description="Name of the run and of its folder; not set: date and data set."
    )
    models: tuple[str, ...] = Field(
        default=("resnet50", "efficientnet_b0"),
        min_length=1,
        max_length=10,
        description=f"Models to compare: {', '.join(LISTED)}; {BY_NAME}.",
        json_schema_extra={"items": {"type": "string", "examples": list(LISTED)}},
    )
    mail_to: Addresses = Field(
        default=(),
        max_length=100,
        description="Who is mailed about this run, in place of the recipients of the mail settings. Not kept with it.",
    )
    seeds: int = Field(
        default=3,
        ge=1,
        le=50,
        description="Trainings per model, with the seeds seed, seed + 1 and so on: the verdict rests on their mean. "
        "Takes so many times as long.",
        json_schema_extra=left_to_preset("seeds"),
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        le=20,
        description="Cross-validate the images outside the test subset in so many folds, beside the verdict, which "
        "rests on the held-out test. One more training per model and fold.",
    )
    fold_repeats: int = Field(default=1, ge=1, le=20, description="How often the folds are drawn anew.")
    external: ExternalSets = Field(
        default={},
        description="Images of other hospitals by name: the finished models are tested on them, at their frozen "
        "thresholds. Read and labelled as the main data are, but for what external.NAME.positive, .exclude, "
        ".image_root, .path_column, .label_column, .group_by or .patient_pattern say.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of split, training and bootstrap.")
    out: Path = Field(default=Path("runs"), description="Folder that receives the runs.")
    store: Path = Field(
        default=Path(".medcompare"), description="Folder of the cache: results, checkpoints, demo data."
    )
    shared_store: Bucket | None = Field(
        default=None,
        description="Bucket that machines share the cache through, e.g. s3://bucket/folder; the folder 'store' is then "
        "this machine's copy of it. With runner.engine, images go there too.",
    )
    file_access: FileAccess = Field(default="owner", description=ACCESS)
    data: DataConfig = section(DataConfig, "source", "positive")
    split: SplitConfig = section(SplitConfig)
    train: TrainConfig = section(TrainConfig)
    tune: TuneConfig = section(TuneConfig)
    evaluate: EvaluateConfig = section(EvaluateConfig)
    decide: DecideConfig = section(DecideConfig)
    cost: CostConfig = section(CostConfig)
    report: ReportConfig = section(ReportConfig)
    runner: RunnerConfig = section(RunnerConfig)

    @model_validator(mode="wrap")
    @classmethod
    def _fill_from_preset(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - anything
        if not isinstance(values, dict):
            return validate(values)
        data = values.get("data") or {}
        source = data.get("source", DEMO) if isinstance(data, dict) else getattr(data, "source", DEMO)
        preset = values.get("preset") or ("demo" if source == DEMO else "published")
        if preset not in PRESETS:
            return validate(values)
        plain = {
            k: v.model_dump(exclude_unset=True) if isinstance(v, Record) else v for k, v in values.items()
        }
        config = validate({**merged(PRESETS[preset], plain), "preset": preset})
        only_given(config, plain)
        check_threshold_rule(config.evaluate, PRESETS[preset].get("evaluate", {}))
        return config

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """Seed of each training of a model; the first is that of the whole run."""
        return tuple((self.seed + i) % 2**31 for i in range(self.seeds))

    @model_validator(mode="after")
    def _options_go_together(self) -> Self:
        check_options(self.train)
        self._check_search()
        return self

    def _check_search(self) -> None:
        """Raise the ValueError that pydantic wants where a search would search nothing, or not as it is set."""
        if not self.tune.n_trials:
            if self.preset == "tuned":
                msg = (
                    "tune.n_trials: 0 trials search nothing, which the preset 'tuned' is for: set 2 or more, or use "
                    "--preset published"
                )
                raise ValueError(msg)
            return
        if all(model.startswith(PROBE) for model in self.models):
            msg = (
                "tune.n_trials: there is nothing to search, as a probe has none of these hyperparameters (it tries "
                "its penalties by itself): add a network to --models, or set tune.n_trials=0 with another preset"
            )
            raise ValueError(msg)
        for model in ("", *self.train.recipes):
            options = self.train.for_model(model)
            for name in too_long(options, self.tune.epochs):
                field = f"train.recipes.{model}.{name}" if model else f"train.{name}"
                msg = f"{field} ({getattr(options, name)}) must be smaller than tune.epochs ({self.tune.epochs})"
                raise ValueError(msg)

    @field_validator("models")
    @classmethod
    def _known_models(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            known_model(name)
        if len(set(value)) != len(value):
            msg = f"a model is named twice in {list(value)}"
            raise ValueError(msg)
        return value


class AssessConfig(Settings):
    """An assessment of predictions made elsewhere: no training at all."""

    name: SafeName | None = Field(
        default=None, description="Name of the run and of its folder; not set: date and file name."
    )
    predictions: Path = Field(
        description="Table of the test subset: case_id, y_true, [patient_id, subgroups,] a column per model."
    )
    validation: Path | None = Field(
        default=None, description="Table of the validation subset, same columns: thresholds come from it."
    )
    costs: Path | None = Field(default=None, description="TOML file with one table of costs per model.")
    positive: Names = Field(
        default=(),
        description="Values of y_true that are positive, all others are negative; empty: y_true must be 0/1.",
    )
    models: tuple[str, ...] = Field(
        default=(), description="Columns of scores; empty: all that look like it."
    )
    thresholds: dict[str, float] = Field(default={}, description="Threshold per model, without validation.")
    scores_are_probabilities: bool = Field(
        default=True, description="False switches calibration off and allows scores outside [0, 1]."
    )
    scores_are_percentages: bool = Field(default=False, description="Scores run from 0 to 100: divide them.")
    mail_to: Addresses = Field(
        default=(),
        max_length=100,
        description="Who is mailed about this run, in place of the recipients of the mail settings. Not kept with it.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of the bootstrap.")
    out: Path = Field(default=Path("runs"), description="Folder that receives the runs.")
    store: Path = Field(default=Path(".medcompare"), description="Folder of the cache.")
    file_access: FileAccess = Field(default="owner", description=ACCESS)
    evaluate: EvaluateConfig = section(EvaluateConfig)
    decide: DecideConfig = section(DecideConfig)
    report: ReportConfig = section(ReportConfig)

    @model_validator(mode="after")
    def _rule_uses_its_value(self) -> Self:
        check_threshold_rule(self.evaluate, {})
        return self
