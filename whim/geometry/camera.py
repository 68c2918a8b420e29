"""Cameras that nobody calibrated."""

from __future__ import annotations

import math


def assumed_focal(width: float, height: float) -> float:
    """Focal length in pixels when nobody knows it: the diagonal of the picture, as of a normal lens."""
    return math.hypot(width, height)
