"""The multi-scale refinement module: feature pyramid, reading at the vertices, residuals (section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whim.reconstructor.config import NetworkConfig, RefineConfig
from whim.reconstructor.sampling import read_maps
from whim.reconstructor.tokens import BETAS, CAMERA, POSE, Raw, small


class Upsample(nn.Module):
    """A deconvolution to twice the size and half the channels, normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(
            channels, channels // 2, kernel_size=4, stride=2, padding=1, bias=False
        )
        self.norm = nn.BatchNorm2d(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C / 2, 2 h, 2 w)."""
        return torch.relu(self.norm(self.deconv(x)))


class Pyramid(nn.Module):
    """Feature maps F0 to Fn from the backbone's map.

    Args:
        channels: of the backbone's map.
        config: levels, and how they hang together.
    """

    def __init__(self, channels: int, config: RefineConfig) -> None:
        super().__init__()
        self.chained = config.pyramid == "chained"
        self.reduce: nn.Module = nn.Identity()
        if config.reduce:
            self.reduce = nn.Conv2d(channels, channels // 2, kernel_size=1)
            channels //= 2
        self.channels = tuple(channels >> level for level in range(config.levels))
        """Of each map, coarsest first."""
        self.branches = nn.ModuleList(
            nn.Sequential(
                *(Upsample(channels >> step) for step in range(level if self.chained else 0, level + 1))
            )
            for level in range(config.levels - 1)
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """Maps, coarsest first: (B, C', h, w), (B, C' / 2, 2 h, 2 w), ..."""
        maps = [self.reduce(features)]
        for branch in self.branches:
            maps.append(branch(maps[-1] if self.chained else maps[0]))
        return maps


class Refinement(nn.Module):
    """Residuals on a coarse hand from the picture's features where its mesh is."""

    def __init__(self, config: NetworkConfig, shift: float) -> None:
        super().__init__()
        assert config.refinement is not None
        self.config = config.refinement
        self.focal, self.crop, self.width, self.shift = config.focal, config.crop, config.width, shift
        self.pyramid = Pyramid(config.backbone.channels, self.config)
        seen = sum(self.pyramid.channels)
        self.pose = _residual(seen, self.config.hidden, POSE)
        self.betas = _residual(seen, self.config.hidden, BETAS)
        self.camera = _residual(seen, self.config.hidden, CAMERA) if self.config.camera else None

    def forward(self, features: Tensor, coarse: Raw, vertices: Tensor) -> Raw:
        """The refined hand.

        Args:
            features: (B, C, rows, columns) of the backbone.
            coarse: the hand to refine.
            vertices: (B, V, 3) its mesh, metres.
        """
        maps = self.pyramid(features)
        # From here on in float32, as the places are finer than half precision and so are the residuals. Gradients
        # flow into the coarse hand through the places where it reads, too.
        with torch.autocast(features.device.type, enabled=False):
            seen = read_maps(
                maps[::-1],  # finest first, as in the released weights
                vertices,
                coarse.camera,
                alignment=self.config.alignment,
                aggregation=self.config.aggregation,
                focal=self.focal,
                crop=self.crop,
                width=self.width,
                shift=self.shift,
            )
            return Raw(
                pose=coarse.pose + self.pose(seen),
                betas=coarse.betas + self.betas(seen),
                camera=coarse.camera if self.camera is None else coarse.camera + self.camera(seen),
            )


def _residual(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """One linear layer, or two with a ReLU between; begins near zero."""
    last = nn.Linear(hidden or inputs, outputs)
    small(last)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), last) if hidden else last
