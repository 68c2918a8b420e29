"""Rotations as six numbers (Zhou et al. 2019): the first two columns of the matrix, one after the other.

Not the interleaved rows (3 x 2) of older human mesh code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def matrix_from_6d(numbers: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) from six numbers each (..., 6), by Gram-Schmidt.

    Defined, with finite gradients, for any numbers; two parallel vectors give no rotation but no NaN either.
    """
    first, second = numbers[..., :3], numbers[..., 3:]
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (x * second).sum(dim=-1, keepdim=True) * x, dim=-1)
    # The axis is named: without it torch takes the first one of length three, which may be the batch.
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], dim=-1)


def six_from_matrix(matrices: Tensor) -> Tensor:
    """Six numbers (..., 6) of rotation matrices (..., 3, 3)."""
    return matrices[..., :2].transpose(-1, -2).flatten(-2)
