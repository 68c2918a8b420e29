"""Left hands are mirrored right hands: the one place that says how.

The mirror is the plane x = 0, ``M = diag(-1, 1, 1)``. A point p becomes M p, a rotation R becomes M R M,
hence an axis-angle vector (a, b, c) becomes (a, -b, -c). Shape coefficients stay. Every function is its own
inverse.

This also keeps WHIM clear of the published left MANO file, whose first shape component has the wrong sign in
x (smplx issue 48).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from whim.conventions import Side
from whim.hands.model import Floats, Ints

POINT_SIGNS: tuple[float, float, float] = (-1.0, 1.0, 1.0)
AXIS_ANGLE_SIGNS: tuple[float, float, float] = (1.0, -1.0, -1.0)


def mirror_points(points: ArrayLike) -> Floats:
    """Points (..., 3) seen in the mirror."""
    return np.asarray(points, dtype=np.float64) * POINT_SIGNS


def mirror_translation(translation: ArrayLike) -> Floats:
    """Translations (..., 3) of the mirrored hand."""
    return mirror_points(translation)


def mirror_pose(axis_angle: ArrayLike) -> Floats:
    """Axis-angle vectors (..., 3) of the mirrored hand; global orientation and finger joints alike."""
    return np.asarray(axis_angle, dtype=np.float64) * AXIS_ANGLE_SIGNS


def mirror_rotations(rotations: ArrayLike) -> Floats:
    """Rotation matrices (..., 3, 3) of the mirrored hand."""
    return np.asarray(rotations, dtype=np.float64) * np.multiply.outer(POINT_SIGNS, POINT_SIGNS)


def mirror_faces(faces: ArrayLike) -> Ints:
    """Triangles (F, 3) with the winding reversed, so that normals of the mirrored mesh still point
    outwards."""
    return np.ascontiguousarray(np.asarray(faces, dtype=np.int64)[:, ::-1])


def mirror_keypoints_2d(points: ArrayLike, width: float) -> Floats:
    """Pixel positions (..., 2) in the horizontally flipped picture of that width.

    Positions are continuous (the picture spans 0 to ``width``), as everywhere in WHIM.
    """
    result = np.array(points, dtype=np.float64)
    result[..., 0] = width - result[..., 0]
    return result


def is_left(side: ArrayLike, batch: int) -> np.ndarray:
    """Which of ``batch`` hands are left, (B,) of bool, from one ``Side`` or an array of them.

    Raises:
        ValueError: for an unknown side: which mesh to use must be decided before.
    """
    sides = np.broadcast_to(np.asarray(side, dtype=np.int64), (batch,))
    if not np.isin(sides, (Side.LEFT, Side.RIGHT)).all():
        raise ValueError("every hand needs a side, left or right, before its kinematics can be computed")
    return sides == Side.LEFT
