"""The annotation pipeline as configuration: which detectors, which thresholds, which sampling."""

from __future__ import annotations

from pydantic import Field

from whim.config import Config
from whim.perception.config import HandsConfig, PeopleConfig
from whim.perception.fusion import FusionConfig


class SamplingConfig(Config):
    """Which frames of a video are annotated."""

    fps: float = Field(default=5.0, gt=0)
    """Frames per second of video. 5 over WHIM's 122 hours gives about the paper's 2 M (section 3)."""
    duplicate_distance: int = Field(default=2, ge=-1, le=256)
    """Frames whose 256-bit difference hash is this near the last kept one are dropped; -1 keeps all."""


class SegmentsConfig(Config):
    """How a video is cut into units of work."""

    length_s: float = Field(default=45.0, ge=1)
    """Length aimed at, in seconds; starts are snapped to key frames."""


class PipelineConfig(Config):
    """Everything that decides what the labels look like. Its hash is written into every label file."""

    name: str
    """Name of the pipeline."""
    sampling: SamplingConfig = SamplingConfig()
    segments: SegmentsConfig = SegmentsConfig()
    people: PeopleConfig
    hands: HandsConfig
    fusion: FusionConfig = FusionConfig()
