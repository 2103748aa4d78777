"""What is asked of a training, prediction or cost-measuring process: small frozen records.

Names travel, objects are built at the far end: a request names the model and the files,
and the process that receives it builds the network and reads the images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from medcompare.base.file_access import FileAccess
from medcompare.base.file_names import EscapedPath
from medcompare.base.record import Record
from medcompare.config.schema import CostConfig
from medcompare.config.train import TrainConfig
from medcompare.data.records import DatasetSplit
from medcompare.models.spec import ResolvedWeights
from medcompare.models.zoo import PROBE
from medcompare.training.records import TrainedModel
from medcompare.training.search import Trial


class Elsewhere(Record):
    """What a worker of a cluster must know to do as the machine of the run would."""

    shared_store: str | None = Field(description="Bucket; None: folders that all machines see at one place.")
    file_access: FileAccess
    code: str = Field(description="Digest of the code, which must be the worker's too.")


class Rank(Record):
    """One process of a training on several devices."""

    number: int = Field(ge=0, description="The first, 0, reports and saves for all.")
    n: int = Field(ge=2)
    meeting: Path = Field(description="File in which they find each other, new for each attempt.")


class TrainingRequest(Record):
    """One training: everything its process needs to know."""

    model: str
    train: TrainConfig
    split: DatasetSplit
    data_root: EscapedPath = Field(description="Folder the split's image paths are relative to.")
    store_root: Path = Field(description="Folder of the artifact store.")
    weights: ResolvedWeights
    seed: int = Field(ge=0, le=2**31 - 1)
    n_parallel: int = Field(default=1, ge=1, description="Trainings side by side, this one included.")
    n_threads: int | None = Field(default=None, ge=1, description="None: all usable cores / n_parallel.")
    device_index: int = Field(
        default=0, ge=0, description="Which GPU, where there are several; of several devices the first."
    )
    n_gpus: int = Field(default=0, ge=0, description="GPUs of this machine to choose from; 0: take that one.")
    rank: Rank | None = Field(default=None, description="None: one device does all.")
    images_at_once: int | None = Field(
        default=None, ge=1, description="Of one pass on each device, where memory ran out before."
    )
    elsewhere: Elsewhere | None = Field(default=None, description="None: on the machine of the run.")

    @property
    def n_devices(self) -> int:
        """Devices that train together; a probe, which computes no gradients, has one."""
        return 1 if self.model.startswith(PROBE) else self.train.devices


class TrialRequest(TrainingRequest):
    """One trial of a search for hyperparameters; settings are those of the recipe, epochs those of a trial."""

    earlier: tuple[Trial, ...] = Field(description="The trials before it, in order.")
    searched: tuple[str, ...]
    pruning: Literal["median", "none"]


class PredictionRequest(Record):
    """Probabilities of one trained model on the validation and test subsets."""

    trained: TrainedModel
    train: TrainConfig
    split: DatasetSplit
    data_root: EscapedPath
    store_root: Path
    n_threads: int | None = Field(default=None, ge=1, description="None: all usable cores.")
    device_index: int = Field(default=0, ge=0)
    elsewhere: Elsewhere | None = None


class SaliencyRequest(PredictionRequest):
    """Maps of single cases of one trained model."""

    cases: tuple[str, ...] = Field(min_length=1, description="Ids of test images, in the order of the maps.")


class CostRequest(Record):
    """Cost of one trained model, measured with nothing else running."""

    trained: TrainedModel
    train: TrainConfig
    cost: CostConfig
    split: DatasetSplit
    data_root: EscapedPath
    store_root: Path
    n_threads: int | None = Field(default=None, ge=1, description="None: all usable cores.")
    device_index: int = Field(default=0, ge=0)
