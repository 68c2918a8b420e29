"""PANet: features go down from coarse to fine and up again."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whim.detector.config import Scale
from whim.detector.network.backbone import SCALES
from whim.detector.network.blocks import ConvUnit, CspBlock


class PaNet(nn.Module):
    """C3, C4, C5 of any widths -> P3, P4, P5 of the scale's widths."""

    def __init__(self, channels: tuple[int, ...], scale: Scale) -> None:
        super().__init__()
        multipliers = SCALES[scale]
        p3, p4, p5 = (multipliers.channels(base) for base in (256, 512, 1024))
        depth = multipliers.repeats(3)
        c3, c4, c5 = channels
        self.down4 = CspBlock(c5 + c4, p4, depth, shortcut=False)
        self.down3 = CspBlock(p4 + c3, p3, depth, shortcut=False)
        self.stride3 = ConvUnit(p3, p3, 3, 2)
        self.up4 = CspBlock(p3 + p4, p4, depth, shortcut=False)
        self.stride4 = ConvUnit(p4, p4, 3, 2)
        self.up5 = CspBlock(p4 + c5, p5, depth, shortcut=False)
        self.channels = (p3, p4, p5)

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at strides 8, 16, 32."""
        middle = self.down4(torch.cat([F.interpolate(c5, scale_factor=2.0), c4], dim=1))
        p3 = self.down3(torch.cat([F.interpolate(middle, scale_factor=2.0), c3], dim=1))
        p4 = self.up4(torch.cat([self.stride3(p3), middle], dim=1))
        p5 = self.up5(torch.cat([self.stride4(p4), c5], dim=1))
        return p3, p4, p5
