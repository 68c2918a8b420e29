"""All settings of `whim train-detector`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from whim.config import Config
from whim.detector.config import DetectorConfig
from whim.detector.data.config import AugmentConfig, LabelConfig, SetConfig
from whim.training.config import TrainingConfig

LABELS = Path("data/labels")

_RUNTIME = ("workers", "device", "checkpoint_minutes", "log_every", "tensorboard")
"""Settings of the loop that do not change its result: a run may go on with others."""


class DataConfig(Config):
    """What is trained and validated on."""

    train: tuple[SetConfig, ...] = (SetConfig(path=LABELS),)
    """Several sets are mixed by their weights."""
    validate_on: tuple[SetConfig, ...] = ()
    """Empty: recordings held out of the training sets."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the pictures that is held out, in whole recordings, when ``validate_on`` is empty."""
    labels: LabelConfig = LabelConfig()


class TrainDetectorConfig(Config):
    """A detector training: network and losses, data, variation, loop."""

    size: int = Field(default=640, ge=32)
    """Side of the square input in pixels; a multiple of 32."""
    monitor: Literal["ap", "ap50", "ap_side", "val_loss"] = "ap"
    """What decides which weights are best, and when to stop. The paper: the loss (section 7.1)."""
    detector: DetectorConfig = DetectorConfig()
    """Network, assignment, losses: what goes with the weights."""
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()

    @field_validator("size")
    @classmethod
    def _in_strides(cls, size: int) -> int:
        if size % 32:
            raise ValueError(f"{size} is not a multiple of 32")
        return size

    def recipe(self) -> dict[str, Any]:
        """What determines the result, as JSON: everything but where the data lies and how the loop is run."""
        tree = self.model_dump(mode="json")
        for name in _RUNTIME:
            del tree["training"][name]
        for sets in (tree["data"]["train"], tree["data"]["validate_on"]):
            for one in sets:
                del one["path"]
        return tree
