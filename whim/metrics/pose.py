"""Errors of 3D hand poses. Points are metres, results too."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from whim.geometry.procrustes import Floats, align


def mpjpe(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """(B,) mean distance between keypoints (B, K, 3) in the same frame."""
    return _distances(predicted, truth).mean(axis=1)


def root_relative_mpjpe(predicted: ArrayLike, truth: ArrayLike, *, root: int = 0) -> Floats:
    """(B,) the same after both hands are moved to have ``root`` (the wrist) at the origin."""
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    return mpjpe(p - p[:, [root]], t - t[:, [root]])


def pa_mpjpe(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """(B,) the same after the best similarity (rotation, translation, scale) of each hand: PA-MPJPE."""
    return mpjpe(align(predicted, truth).apply(predicted), truth)


def pck(distances: ArrayLike, threshold: float) -> float:
    """Share of distances within ``threshold``; NaN without any. A distance of NaN counts as missed."""
    d = np.asarray(distances, dtype=np.float64)
    return float((d <= threshold).mean()) if d.size else float("nan")


def pck_auc(distances: ArrayLike, limit: float, *, steps: int = 100) -> float:
    """Area under the curve of ``pck`` over thresholds from 0 to ``limit``, divided by ``limit``."""
    thresholds = np.linspace(0.0, limit, steps + 1)
    curve = np.array([pck(distances, float(t)) for t in thresholds])
    return float(((curve[1:] + curve[:-1]) / 2.0).mean())


def _distances(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.shape != t.shape or p.ndim != 3 or p.shape[2] != 3:
        raise ValueError(f"expected two arrays of the same shape (B, K, 3); got {p.shape} and {t.shape}")
    return np.asarray(np.linalg.norm(p - t, axis=2))
