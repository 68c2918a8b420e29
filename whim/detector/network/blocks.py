"""Building blocks of CSP networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORM_EPS, NORM_MOMENTUM = 1e-3, 0.03


class ConvUnit(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, before: int, after: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(after, eps=NORM_EPS, momentum=NORM_MOMENTUM)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return self.act(self.norm(self.conv(x)))


class Bottleneck(nn.Module):
    """Two 3x3 units, with the input added when ``shortcut``."""

    def __init__(self, width: int, *, shortcut: bool) -> None:
        super().__init__()
        self.first = ConvUnit(width, width, 3)
        self.second = ConvUnit(width, width, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class CspBlock(nn.Module):
    """Half of the channels go through a chain of bottlenecks; every link of it is kept."""

    def __init__(self, before: int, after: int, depth: int, *, shortcut: bool) -> None:
        super().__init__()
        self.half = after // 2
        self.enter = ConvUnit(before, 2 * self.half)
        self.chain = nn.ModuleList(Bottleneck(self.half, shortcut=shortcut) for _ in range(depth))
        self.leave = ConvUnit((2 + depth) * self.half, after)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        kept = list(self.enter(x).chunk(2, dim=1))
        for link in self.chain:
            kept.append(link(kept[-1]))
        return self.leave(torch.cat(kept, dim=1))


class PoolingPyramid(nn.Module):
    """Maxima over windows of 5, 9 and 13, by pooling three times with 5 (SPP, fast form)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = ConvUnit(width, width // 2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.leave = ConvUnit(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        kept = [self.enter(x)]
        for _ in range(3):
            kept.append(self.pool(kept[-1]))
        return self.leave(torch.cat(kept, dim=1))
