"""Settings of the fit."""

from __future__ import annotations

from pydantic import Field

from whim.config import Config


class FitConfig(Config):
    """Weights and effort of the fit. Defaults: smallest error on rendered hands with exact truth."""

    sigma: float = Field(0.03, gt=0)
    """Standard deviation of keypoints, in units of the longer side of the hand's box."""
    huber: float = Field(2.0, gt=0)
    """Residuals beyond so many standard deviations count linearly."""
    limit_sigma_deg: float = Field(4.0, gt=0)
    """Standard deviation of angles beyond their anatomical limits, degrees."""
    iterations: int = Field(10, ge=1)
    """Steps of the solver, at most, from each start."""
    threads: int = Field(1, ge=1)
    """Chunks of hands solved at the same time. Leave it at 1 where many processes share the cores."""
