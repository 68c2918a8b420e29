"""The annotation pipeline as configuration: which detectors, which thresholds, which sampling."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from whim.config import Config
from whim.fitting.config import FitConfig
from whim.hands.select import OPEN_HAND
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


class FitStageConfig(FitConfig):
    """The hand fit (paper, section 3, eqs. 2-4): whose hand, seen by which camera, and the solver's settings."""

    hand: str = OPEN_HAND
    """``open-hand``, or the path of your ``MANO_RIGHT.pkl``."""
    prior: str | None = None
    """File of ``whim prior fit``; null: the embedded prior, from an anatomical sampler."""
    focal_px: float | None = Field(default=None, gt=0)
    """Focal length of all videos, pixels, when it is known."""
    focal_diagonals: float = Field(default=1.0, gt=0)
    """Else the assumed focal length, in diagonals of the frame; 1 is a field of view of 53 degrees from corner to
    corner. Depth grows with it in proportion; poses hardly change."""

    @field_validator("hand", "prior")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        # Worker processes may run elsewhere.
        return value if value in (None, OPEN_HAND) else str(Path(value).expanduser().resolve())


class PipelineConfig(Config):
    """Everything that decides what the labels look like. Its hash is written into every label file."""

    name: str
    """Name of the pipeline."""
    sampling: SamplingConfig = SamplingConfig()
    segments: SegmentsConfig = SegmentsConfig()
    people: PeopleConfig
    hands: HandsConfig
    fusion: FusionConfig = FusionConfig()
    fit: FitStageConfig | None = FitStageConfig()
    """null: two-dimensional labels only."""
