"""All settings of `whim train-reconstructor`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from whim.config import Config
from whim.hands.select import OPEN_HAND
from whim.reconstructor.config import ModelConfig, VitConfig
from whim.reconstructor.data.crops import CropAugmentConfig
from whim.reconstructor.data.labels import LabelRules
from whim.synth.config import SynthConfig
from whim.training.config import OptimiserConfig, ScheduleConfig, TrainingConfig

_RUNTIME = ("workers", "device", "checkpoint_minutes", "log_every", "tensorboard")


class HandSetConfig(Config):
    """One source of hands."""

    path: Path | None = None
    """Pixel shards, or labels (packed on the way)."""
    render: SynthConfig | None = None
    """Or scenes that are rendered while training, each new."""
    hands: int = Field(default=20_000, ge=1)
    """Rendered hands per epoch."""
    seed: int = Field(default=0, ge=0)
    """Of the rendered scenes."""
    weight: float = Field(default=1.0, gt=0)
    """How often each hand comes in an epoch. The released code gives shares of the whole instead: 0.2 for FreiHAND,
    0.1 or 0.05 for the other thirteen sets."""

    @model_validator(mode="after")
    def _one_source(self) -> HandSetConfig:
        if (self.path is None) == (self.render is None):
            raise ValueError("a set of hands has either a path or render")
        return self


class HandDataConfig(Config):
    """What is trained and validated on."""

    train: tuple[HandSetConfig, ...] = (HandSetConfig(path=Path("data/labels")),)
    validate_on: tuple[HandSetConfig, ...] = ()
    """Empty: recordings held out of the first training set."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of its hands, in whole recordings."""
    shares: bool = False
    """Weights are shares of the epoch, as in the released code, whose length is that of all sets together."""
    rules: LabelRules = LabelRules()


class TrainReconstructorConfig(ModelConfig):
    """Network and losses (``configs/reconstructor``), data, variation, loop."""

    hand: str = OPEN_HAND
    """Hand that the parameters are of: ``open-hand``, or the path of your ``MANO_RIGHT.pkl``."""
    data: HandDataConfig = HandDataConfig()
    augment: CropAugmentConfig = CropAugmentConfig()
    checkpointing: bool = False
    """Compute the transformer's blocks again in the backward pass instead of keeping them: memory for time, the same
    gradients."""
    training: TrainingConfig = TrainingConfig(
        batch=32,
        epochs=30,
        clip_norm=1.0,
        optimiser=OptimiserConfig(lr=1e-4),
        schedule=ScheduleConfig(warmup_epochs=1.0),
    )
    """For networks that begin with random weights. The paper's recipe is ``configs/reconstructor/full.yaml``."""

    @model_validator(mode="after")
    def _blocks_to_compute_again(self) -> TrainReconstructorConfig:
        if self.checkpointing and not isinstance(self.network.backbone, VitConfig):
            raise ValueError("checkpointing is for the blocks of a ViT")
        return self

    def recipe(self) -> dict[str, Any]:
        """What determines the result, as JSON: all but where data and first weights lie, and how the loop is run."""
        tree = self.model_dump(mode="json", exclude={"checkpointing", "vitpose", "begin_with"})
        for name in _RUNTIME:
            del tree["training"][name]
        for sets in (tree["data"]["train"], tree["data"]["validate_on"]):
            for one in sets:
                del one["path"]
        return tree
