"""From pixels to a camera that looks straight at the hand, and back.

Fitting in that virtual camera keeps a hand near the border of the picture from being fitted obliquely: there,
the view direction differs from the camera's axis by up to half the field of view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from whim.fitting.energy import Observations
from whim.fitting.state import HandState
from whim.hands.model import Floats

# Points so many median distances from the middle are no part of the hand: real ones stay within 2.5.
_OUTLIER = 4.0
_FEWEST_KEYPOINTS = 6

# What a lens can see, over the focal length: 76 degrees off the axis, and a hand that fills 90 degrees.
_WIDEST_VIEW, _LARGEST_BOX = 4.0, 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class VirtualCamera:
    """Cameras turned towards the hands, one each."""

    rotation: Floats
    """(B, 3, 3) from the real camera's axes to the virtual one's."""
    box: Floats
    """(B,) longer side of the hand's box at distance 1, which is one over the focal length in box units."""

    def to_real(self, state: HandState) -> tuple[Floats, Floats]:
        """Global rotation (B, 3, 3) and wrist position (B, 3), metres, in the real camera."""
        depth = 1.0 / (self.box * np.exp(state.log_scale))
        wrist = np.concatenate([state.shift * (depth * self.box)[:, None], depth[:, None]], axis=1)
        back = np.swapaxes(self.rotation, 1, 2)
        return back @ state.rotation, (back @ wrist[..., None])[..., 0]

    def turn(self, points: Floats) -> Floats:
        """Vectors (B, K, 3) in the axes of the virtual cameras."""
        return points @ np.swapaxes(self.rotation, 1, 2)


def usable(points: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """(B, K) bool: points (B, K, 2) that are finite, of positive weight and near enough to the others."""
    points, weights = np.asarray(points, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    # Beyond 1e9 pixels there is no picture, and squares of huge numbers overflow.
    kept = np.isfinite(points).all(axis=2) & (np.abs(points) < 1e9).all(axis=2) & (weights > 0.0)
    kept &= np.isfinite(weights)
    rows = kept.any(axis=1)
    masked = np.where(kept[..., None], points, np.nan)[rows]
    distance = np.linalg.norm(masked - np.nanmedian(masked, axis=1, keepdims=True), axis=2)
    near = distance <= _OUTLIER * np.nanmedian(distance, axis=1, keepdims=True)
    kept[rows] &= near
    return kept


def longer_side(points: Floats, kept: np.ndarray) -> Floats:
    """(B,) longer side of the box around the kept points (B, K, 2); 0 without any."""
    low = np.where(kept[..., None], points, np.inf).min(axis=1)
    high = np.where(kept[..., None], points, -np.inf).max(axis=1)
    return np.where(kept.any(axis=1), (high - low).max(axis=1), 0.0)


def hopeless(points: Floats, kept: np.ndarray, focal: Floats, center: Floats) -> np.ndarray:
    """(B,) bool: too few keypoints, all in one place, or no lens that sees them."""
    side = longer_side(points, kept)
    camera = np.isfinite(focal) & (focal > 0.0) & np.isfinite(center).all(axis=1)
    known, middle = np.where(camera, focal, 1.0), np.where(camera[:, None], center, 0.0)
    away = np.abs(np.where(kept[..., None], points - middle[:, None], 0.0)).max(axis=(1, 2))
    seen = (away <= _WIDEST_VIEW * known) & (side <= _LARGEST_BOX * known)
    tiny = side <= np.maximum(1e-9 * away, 1e-6)
    return (kept.sum(axis=1) < _FEWEST_KEYPOINTS) | tiny | ~camera | ~seen


def look_at(
    points: Floats, kept: np.ndarray, weights: Floats, focal: Floats, center: Floats
) -> tuple[VirtualCamera, Observations]:
    """Cameras that look at the middle of the hands, and what they see.

    Points (B, 21, 2) and centres (B, 2) in pixels; the observations are in the order of the points.
    """
    plane = (points - center[:, None]) / focal[:, None, None]
    plane = np.where(kept[..., None], plane, 0.0)
    low = np.where(kept[..., None], plane, np.inf).min(axis=1)
    high = np.where(kept[..., None], plane, -np.inf).max(axis=1)
    rotation = _towards(0.5 * (low + high))
    rays = np.concatenate([plane, np.ones((*plane.shape[:2], 1))], axis=2) @ np.swapaxes(rotation, 1, 2)
    seen = rays[..., :2] / np.maximum(rays[..., 2:], 1e-3)
    box = longer_side(seen, kept)
    observed = Observations(
        points=np.where(kept[..., None], seen / box[:, None, None], 0.0),
        weights=np.where(kept, weights, 0.0),
        inverse_focal=box,
    )
    return VirtualCamera(rotation=rotation, box=box), observed


def _towards(plane: Floats) -> Floats:
    """(B, 3, 3) shortest rotations that take the rays through (x, y, 1) to the axis z."""
    ray = np.concatenate([plane, np.ones((len(plane), 1))], axis=1)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    x, y, z = ray.T
    # Rodrigues' formula for the axis (y, -x, 0): the ray has z > 0, so it is never singular.
    share = 1.0 / (1.0 + z)
    return np.stack(
        [
            np.stack([1.0 - x * x * share, -x * y * share, -x], axis=1),
            np.stack([-x * y * share, 1.0 - y * y * share, -y], axis=1),
            ray,
        ],
        axis=1,
    )
