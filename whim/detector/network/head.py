"""Three decoupled branches per level: box, side, keypoints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whim.detector.network.backbone import STRIDES
from whim.detector.network.blocks import ConvUnit

SIDES = 2
"""Network class 0 is the left hand and 1 the right one, as Side counts and as in the released detector."""
KEYPOINTS = 21


@dataclass(frozen=True, kw_only=True)
class Raw:
    """What one head says, before decoding; A cells, fine level first."""

    box: Tensor
    """(B, A, 4 * bins)."""
    side: Tensor
    """(B, A, 2) logits."""
    keypoints: Tensor
    """(B, A, 63): x, y, visibility logit of each keypoint."""
    centres: Tensor
    """(A, 2) centres of the cells, in strides."""
    strides: Tensor
    """(A,) pixels."""


class Branches(nn.Module):
    """The branches of all levels."""

    def __init__(self, channels: tuple[int, ...], bins: int) -> None:
        super().__init__()
        self.bins = bins
        box = max(16, channels[0] // 4, 4 * bins)
        side = max(channels[0], SIDES)
        points = max(channels[0] // 4, 3 * KEYPOINTS)
        self.box = nn.ModuleList(_branch(c, box, 4 * bins) for c in channels)
        self.side = nn.ModuleList(_branch(c, side, SIDES) for c in channels)
        self.keypoints = nn.ModuleList(_branch(c, points, 3 * KEYPOINTS) for c in channels)
        for level, stride in enumerate(STRIDES):
            nn.init.constant_(_last(self.box[level]).bias, 1.0)  # boxes of some cells, rather than none
            # A hand in five of the cells of a picture of 640 pixels, whatever the level.
            nn.init.constant_(_last(self.side[level]).bias, math.log(5 / SIDES / (640 / stride) ** 2))

    def forward(self, features: tuple[Tensor, ...]) -> Raw:
        """Features (B, C, H, W) of each level -> all cells."""
        parts = [
            [branch(x).flatten(2).transpose(1, 2) for branch, x in zip(branches, features, strict=True)]
            for branches in (self.box, self.side, self.keypoints)
        ]
        centres, strides = [], []
        for stride, x in zip(STRIDES, features, strict=True):
            rows, columns = x.shape[-2:]
            y, z = torch.meshgrid(
                torch.arange(rows, device=x.device, dtype=torch.float32) + 0.5,
                torch.arange(columns, device=x.device, dtype=torch.float32) + 0.5,
                indexing="ij",
            )
            centres.append(torch.stack([z, y], dim=-1).reshape(-1, 2))
            strides.append(torch.full((rows * columns,), float(stride), device=x.device))
        box, side, keypoints = (torch.cat(levels, dim=1) for levels in parts)
        return Raw(
            box=box, side=side, keypoints=keypoints, centres=torch.cat(centres), strides=torch.cat(strides)
        )


def _branch(before: int, width: int, after: int) -> nn.Sequential:
    return nn.Sequential(ConvUnit(before, width, 3), ConvUnit(width, width, 3), nn.Conv2d(width, after, 1))


def _last(branch: nn.Module) -> nn.Conv2d:
    assert isinstance(branch, nn.Sequential)
    conv = branch[-1]
    assert isinstance(conv, nn.Conv2d)
    return conv
