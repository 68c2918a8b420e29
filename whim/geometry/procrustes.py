"""Least-squares alignment of point sets (Umeyama, PAMI 1991)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Similarity:
    """Maps x -> scale * rotation x + translation, one per point set."""

    scale: Floats
    """(B,)"""
    rotation: Floats
    """(B, 3, 3), determinant +1."""
    translation: Floats
    """(B, 3)"""

    def apply(self, points: ArrayLike) -> Floats:
        """Points (B, K, 3) after the map."""
        turned = np.asarray(points, dtype=np.float64) @ np.swapaxes(self.rotation, 1, 2)
        return self.scale[:, None, None] * turned + self.translation[:, None]


def align(source: ArrayLike, target: ArrayLike, *, scaled: bool = True) -> Similarity:
    """Similarities that bring points (B, K, 3) closest to others, never by a reflection.

    A source without extent keeps scale 1.

    Raises:
        ValueError: for sets of different shapes.
    """
    a, b = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3:
        raise ValueError(f"expected two arrays of the same shape (B, K, 3); got {a.shape} and {b.shape}")
    mean_a, mean_b = a.mean(axis=1, keepdims=True), b.mean(axis=1, keepdims=True)
    u, singular, vt = np.linalg.svd(np.swapaxes(b - mean_b, 1, 2) @ (a - mean_a))
    signs = np.ones((len(a), 3))
    signs[:, 2] = np.where(np.linalg.det(u @ vt) < 0.0, -1.0, 1.0)
    rotation = (u * signs[:, None]) @ vt
    scale = np.ones(len(a))
    if scaled:
        extent = ((a - mean_a) ** 2).sum(axis=(1, 2))
        np.divide((singular * signs).sum(axis=1), extent, out=scale, where=extent > 0.0)
    translation = mean_b[:, 0] - scale[:, None] * (rotation @ mean_a[:, 0, :, None])[..., 0]
    return Similarity(scale=scale, rotation=rotation, translation=translation)


def align_rotation(source: ArrayLike, target: ArrayLike) -> Floats:
    """Rotations (B, 3, 3) that turn points (B, K, 3) closest to others (Kabsch)."""
    return align(source, target, scaled=False).rotation
