"""Which detectors are measured on which sets. YAML files of this form lie in ``configs/benchmark/``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from whim.benchmark.rows import check_names
from whim.config import Config

Column: TypeAlias = Literal["coco-whole", "oxford-hands", "whim"]
"""A data set of the paper's tables."""
Boxes: TypeAlias = Literal["annotated", "keypoint-hull"]


class RowConfig(Config):
    """One method."""

    name: str
    """As shown in the table."""
    checkpoint: Path | None = None
    """Weights that `whim train-detector` wrote."""
    training: str | None = None
    """Configuration that the weights come from; named when they are missing."""
    detector: str | None = None
    """A detector of ``whim/perception/registry.py``, such as ``mediapipe-hands``."""
    settings: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """The detector's own parameters."""
    least_score: float = Field(default=0.001, ge=0, le=1)
    """Hands below this score are not asked for: COCO's AP needs the doubtful ones too (paper 5.1)."""
    published: str | None = None
    """Row of the published table, shown beside what is measured, or in its place."""
    note: str = ""
    """Shown below the table."""

    @model_validator(mode="after")
    def _one_source(self) -> RowConfig:
        if self.checkpoint is not None and self.detector is not None:
            raise ValueError("a row has a checkpoint or a detector, not both")
        if self.checkpoint is None and self.detector is None and self.published is None:
            raise ValueError("a row needs a checkpoint, a detector or a published row")
        return self


class SetConfig(Config):
    """One test set: pixel shards, as `whim import`, `whim pack` and `whim synth` write them."""

    name: str
    """As shown in the table."""
    path: Path
    """Folder of pixel shards, or labels (packed on the way)."""
    column: Column | None = None
    """Data set of the published tables that this is, whole."""
    splits: tuple[str, ...] = ()
    """Only these splits; empty: all."""
    truth: Boxes = "annotated"
    """Boxes as labelled, or hulls of the labelled keypoints."""
    predicted: Boxes = "annotated"
    """The detector's boxes, or hulls of its keypoints: sets that box keypoints favour those that box skin no longer."""
    ignore_unlabelled: bool = False
    """Do not judge predictions where a hand may be that nobody labelled; False is the strict protocol."""
    sides: bool = True
    """Also measure left and right hands apart, where the set knows sides."""
    recordings: Literal["all", "odd"] = "all"
    """``odd``: every second recording in the order of the shards, for sets whose other half something was tuned on."""
    held_out_of: Path | None = None
    """Run folder of `whim train-detector`: only the recordings that it validated on and did not train on."""


class SpeedConfig(Config):
    """How frames per second are measured: one picture at a time, in its own size."""

    warm_up: int = Field(default=3, ge=0)
    """Pictures before the clock starts."""
    pictures: int = Field(default=30, ge=0)
    """Pictures on the clock; the median counts. 0: not measured."""


class DetectionBenchmarkConfig(Config):
    """A table."""

    table: Literal[1, 2] = 1
    """Published table that rows refer to."""
    title: str = "Hand detection"
    rows: tuple[RowConfig, ...]
    """At least one."""
    sets: tuple[SetConfig, ...]
    """At least one."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many pictures of each set, spread over it."""
    batch: int = Field(default=1, ge=1)
    """Pictures handed to a detector at once."""
    device: str = "auto"
    """Where checkpoints run: ``auto``, ``cpu``, ``cuda``."""
    speed: SpeedConfig = SpeedConfig()
    out: Path | None = None
    """Folder for the report (json, csv, markdown, curves) and the predictions."""
    published: Path = Path("configs/benchmark/published.yaml")
    """The paper's numbers."""

    @model_validator(mode="after")
    def _distinct(self) -> DetectionBenchmarkConfig:
        check_names("rows", self.rows)
        check_names("sets", self.sets)
        return self
