"""Boxes: arrays (..., 4) of ``x1, y1, x2, y2`` in pixels. Pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def area(boxes: ArrayLike) -> Array:
    """Areas (...) in square pixels; an inside-out box has area 0."""
    b = np.asarray(boxes, dtype=np.float64)
    size = np.clip(b[..., 2:] - b[..., :2], 0.0, None)
    return np.asarray(size[..., 0] * size[..., 1])


def iou(a: ArrayLike, b: ArrayLike) -> Array:
    """Intersection over union of every pair: (N, 4) and (M, 4) -> (N, M). Two empty boxes give 0."""
    return intersection(a, b)[1]


def intersection(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """Intersection areas (N, M) and intersection over union (N, M) of every pair."""
    a4 = np.asarray(a, dtype=np.float64).reshape(-1, 4)
    b4 = np.asarray(b, dtype=np.float64).reshape(-1, 4)
    low = np.maximum(a4[:, None, :2], b4[None, :, :2])
    high = np.minimum(a4[:, None, 2:], b4[None, :, 2:])
    size = np.clip(high - low, 0.0, None)
    inter = size[..., 0] * size[..., 1]
    union = area(a4)[:, None] + area(b4)[None, :] - inter
    return inter, np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def clip(boxes: ArrayLike, width: float, height: float) -> Array:
    """Boxes (..., 4) limited to the picture."""
    b = np.asarray(boxes, dtype=np.float64)
    return np.clip(b, 0.0, np.array([width, height, width, height], dtype=np.float64))


def expand(boxes: ArrayLike, fraction: float) -> Array:
    """Grow boxes (..., 4) on each side by ``fraction`` of their width and height."""
    b = np.asarray(boxes, dtype=np.float64)
    margin = (b[..., 2:] - b[..., :2]) * fraction
    return np.concatenate([b[..., :2] - margin, b[..., 2:] + margin], axis=-1)


def hull(points: ArrayLike) -> Array:
    """Smallest box (4,) around points (N, 2), N >= 1."""
    p = np.asarray(points, dtype=np.float64)
    return np.concatenate([p.min(axis=0), p.max(axis=0)])


def nms(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of kept boxes, best score first.

    Boxes (N, 4), scores (N,). A box is dropped when its IoU with a kept one exceeds ``threshold``.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    overlap = iou(boxes, boxes)
    kept: list[int] = []
    for index in order:
        if all(overlap[index, other] <= threshold for other in kept):
            kept.append(int(index))
    return np.asarray(kept, dtype=np.intp)
