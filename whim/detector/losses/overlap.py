"""Similarity of boxes and of keypoints."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIGMA = 1.0 / 21
"""Tolerance of every keypoint in OKS, over the square root of the box's area; no hand-specific values exist."""
_EPS = 1e-7


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """(...) complete IoU of boxes (..., 4) xyxy: IoU less the distance of centres and the difference of shapes.

    Zheng et al., AAAI 2020. 1 for equal boxes, down to below -1.
    """
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    union = size_a.prod(dim=-1) + size_b.prod(dim=-1) - shared + _EPS
    iou = shared / union
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).pow(2).sum(dim=-1) / 4
    distance = apart / (around.pow(2).sum(dim=-1) + _EPS)
    angles = [torch.atan(size[..., 0] / (size[..., 1] + _EPS)) for size in (size_a, size_b)]
    shape = 4 / math.pi**2 * (angles[1] - angles[0]).pow(2)
    with torch.no_grad():
        weight = shape / (shape - iou + 1 + _EPS)
    return iou - distance - weight * shape


def keypoint_error(points: Tensor, truth: Tensor, area: Tensor) -> Tensor:
    """(..., 21) squared distance over twice the squared tolerance; OKS is the mean of exp(-this).

    Args:
        points: (..., 21, 2) pixels.
        truth: (..., 21, 2).
        area: (...) of the true box, square pixels.
    """
    square = (points - truth).pow(2).sum(dim=-1)
    return square / (2 * (2 * SIGMA) ** 2 * area[..., None].clamp(min=1.0))
