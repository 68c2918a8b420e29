"""The camera of a crop: scale and shift, projected in full perspective with a long focal length.

Places in the crop are fractions of its side from its centre, x right, y down, -0.5 to 0.5 inside. A fraction u is
at the continuous pixel position (u + 0.5) * side.
"""

from __future__ import annotations

import torch
from torch import Tensor


def translation_from_camera(camera: Tensor, focal: float, side: float) -> Tensor:
    """Where the hand's origin is, (B, 3) metres in camera axes, from scale and shift (B, 3).

    The depth puts a metre at ``scale * side / 2`` pixels. It means something only relative to ``focal`` (pixels of
    a crop of ``side`` pixels): the crop does not know its own zoom.
    """
    scale, shift_x, shift_y = camera.unbind(-1)
    return torch.stack([shift_x, shift_y, 2.0 * focal / (side * scale + 1e-9)], dim=-1)


def project(points: Tensor, translation: Tensor, focal: float, side: float) -> Tensor:
    """Points (B, N, 3) in metres to fractions of the crop (B, N, 2); pi of eq. 6."""
    placed = points + translation[:, None]
    return focal / side * placed[..., :2] / placed[..., 2:]
