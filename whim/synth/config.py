"""What rendered scenes look like, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from whim.config import Config
from whim.synth.degrade import DegradeConfig


class SynthConfig(Config):
    """Settings of ``whim synth``. The same settings and seed give the same pictures."""

    width: int = Field(default=640, ge=32)
    """Pixels of the longer side."""
    height: int = Field(default=480, ge=32)
    """Pixels of the shorter side. A quarter of the pictures stand upright."""
    people: float = Field(default=0.35, ge=0)
    """Weight of scenes with whole persons; small hands."""
    arms: float = Field(default=0.35, ge=0)
    """Weight of scenes with one or two single arms; large hands from all directions."""
    first_person: float = Field(default=0.15, ge=0)
    """Weight of scenes seen by the person whose hands they are."""
    interacting: float = Field(default=0.15, ge=0)
    """Weight of scenes with two hands that touch or nearly do."""
    occluders: float = Field(default=0.35, ge=0, le=1)
    """Share of scenes in which things stand in the way or are held."""
    empty: float = Field(default=0.03, ge=0, le=1)
    """Share of pictures without any hand."""
    hand_pixels: tuple[float, float] = (0.08, 0.65)
    """Length of single hands in the picture, as a share of its shorter side."""
    supersample: int = Field(default=1, ge=1, le=3)
    """Render at so many times the size; smoother edges, slower by the square."""
    renderer: Literal["numpy", "auto", "opengl"] = "numpy"
    """``numpy`` gives the same pictures everywhere; ``auto`` takes OpenGL where it opens: faster, and different at
    single pixels of edges."""
    backgrounds: str | None = None
    """Folder of pictures to put behind half of the scenes; none by default, backgrounds are made from noise."""
    degrade: DegradeConfig = DegradeConfig()
    sequence_s: float | None = Field(default=None, gt=0)
    """Seconds of each shot when pictures come in sequences with smooth motion; null: single pictures."""
    fps: float = Field(default=25.0, gt=0)
    """Frames per second of sequences."""
    motion_samples: int = Field(default=3, ge=1)
    """Moments of the exposure that are rendered in sequences: 1 is a frozen picture."""

    @field_validator("backgrounds")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        return None if value is None else str(Path(value).expanduser().resolve())
