"""All settings of `whim train-reconstructor`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from whim.config import Config
from whim.hands.select import OPEN_HAND
from whim.reconstructor.config import ModelConfig
from whim.reconstructor.data.crops import CropAugmentConfig
from whim.training.config import OptimiserConfig, ScheduleConfig, TrainingConfig

_RUNTIME = ("workers", "device", "checkpoint_minutes", "log_every", "tensorboard")


class HandSetConfig(Config):
    """One source of hands."""

    path: Path
    """Pixel shards, or labels (packed on the way)."""
    weight: float = Field(default=1.0, gt=0)
    """How often each hand comes in an epoch; the paper mixes nine sets by weights (section 7.2)."""


class HandDataConfig(Config):
    """What is trained and validated on."""

    train: tuple[HandSetConfig, ...] = (HandSetConfig(path=Path("data/labels")),)
    validate_on: tuple[HandSetConfig, ...] = ()
    """Empty: recordings held out of the first training set."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of its hands, in whole recordings."""
    least_score: float = Field(default=0.6, ge=0, le=1)
    """Hands with a lower score are left out."""
    most_residual: float = Field(default=0.025, gt=0)
    """Fits with a larger residual teach only their 2D keypoints."""


class TrainReconstructorConfig(ModelConfig):
    """Network and losses (``configs/reconstructor``), data, variation, loop."""

    hand: str = OPEN_HAND
    """Hand that the parameters are of: ``open-hand``, or the path of your ``MANO_RIGHT.pkl``."""
    data: HandDataConfig = HandDataConfig()
    augment: CropAugmentConfig = CropAugmentConfig()
    training: TrainingConfig = TrainingConfig(
        batch=32,
        epochs=30,
        clip_norm=1.0,
        optimiser=OptimiserConfig(lr=1e-4),
        schedule=ScheduleConfig(warmup_epochs=1.0),
    )
    """The paper: AdamW, 1e-5, decay 1e-4, 1000 epochs (section 7.2), from ViTPose's weights. Larger from nothing."""

    def recipe(self) -> dict[str, Any]:
        """What determines the result, as JSON: everything but where the data lies and how the loop is run."""
        tree = self.model_dump(mode="json")
        for name in _RUNTIME:
            del tree["training"][name]
        for sets in (tree["data"]["train"], tree["data"]["validate_on"]):
            for one in sets:
                del one["path"]
        return tree
