"""Backbones: features C3, C4, C5 at strides 8, 16, 32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from whim.detector.config import Scale
from whim.detector.network.blocks import ConvUnit, CspBlock, PoolingPyramid
from whim.errors import UsageError, require
from whim.training.onednn import take_strides_first

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Multipliers:
    """Of one scale."""

    depth: float
    width: float
    most: int
    """Channels are cut off here before they are multiplied."""

    def channels(self, base: int) -> int:
        """Multiplied channels, a multiple of 8."""
        return -(-int(min(base, self.most) * self.width) // 8) * 8

    def repeats(self, base: int) -> int:
        """Multiplied depth, at least 1."""
        return max(round(base * self.depth), 1)


SCALES: dict[Scale, Multipliers] = {
    "n": Multipliers(1 / 3, 0.25, 1024),
    "s": Multipliers(1 / 3, 0.5, 1024),
    "m": Multipliers(2 / 3, 0.75, 768),
}


class CspDarknet(nn.Module):
    """Stem and four stages, each a strided convolution and a CSP block; a pooling pyramid at the end."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        multipliers = SCALES[scale]
        widths = [multipliers.channels(base) for base in (64, 128, 256, 512, 1024)]
        depths = [multipliers.repeats(base) for base in (3, 6, 6, 3)]
        self.stem = ConvUnit(3, widths[0], 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(ConvUnit(before, after, 3, 2), CspBlock(after, after, depth, shortcut=True))
            for before, after, depth in zip(widths, widths[1:], depths, strict=False)
        )
        self.pyramid = PoolingPyramid(widths[-1])
        self.channels = tuple(widths[2:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> C3, C4, C5."""
        c2 = self.stages[0](self.stem(x))
        c3 = self.stages[1](c2)
        c4 = self.stages[2](c3)
        return c3, c4, self.pyramid(self.stages[3](c4))


class TimmBackbone(nn.Module):
    """Any convolutional network of timm with features at strides 8, 16, 32 (Table 2: ResNet-50, HRNet).

    Needs timm (extra ``backbones``). It begins with random weights: pretrained ones would be a hidden download.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        timm: Any = require("timm", extra="backbones")
        try:
            model = timm.create_model(name, pretrained=False, features_only=True)
        except (RuntimeError, ValueError, TypeError) as error:
            raise UsageError(f"network.backbone: timm has no {name!r} with feature maps ({error})") from error
        strides = model.feature_info.reduction()
        if not set(STRIDES) <= set(strides):
            raise UsageError(f"network.backbone: {name} has features at strides {strides}, not at {STRIDES}")
        take_strides_first(model)
        self.body = model
        self._places = [strides.index(stride) for stride in STRIDES]
        self.channels = tuple(model.feature_info.channels()[place] for place in self._places)
        try:
            self._freeze_the_unread()
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"network.backbone: {name} does not turn pictures of any size into maps ({error})"
            ) from error

    def _freeze_the_unread(self) -> None:
        """Weights that nothing but finer features depends on (HRNet has some) are not trained.

        Processes that train together wait for a gradient of every weight that is.
        """
        weights = {
            name: torch.empty_like(value, device="meta").requires_grad_()
            for name, value in self.named_parameters()
        }
        buffers = {name: value.to("meta") for name, value in self.named_buffers()}
        self.eval()
        with torch.enable_grad():
            features = functional_call(self, {**weights, **buffers}, torch.zeros(1, 3, 64, 64, device="meta"))
            total = torch.stack([one.sum() for one in features]).sum()
            gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
        self.train()
        wanted = [
            (1, c, 64 // stride, 64 // stride) for c, stride in zip(self.channels, STRIDES, strict=True)
        ]
        if [one.shape for one in features] != wanted:
            raise ValueError(f"shapes {[tuple(one.shape) for one in features]} instead of {wanted}")
        for parameter, gradient in zip(self.parameters(), gradients, strict=True):
            parameter.requires_grad_(gradient is not None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> C3, C4, C5."""
        features = self.body(x)
        c3, c4, c5 = (features[place] for place in self._places)
        return c3, c4, c5


def make_backbone(name: str, scale: Scale) -> CspDarknet | TimmBackbone:
    """The backbone by name.

    Raises:
        MissingExtraError: timm is not installed.
        UsageError: timm has no such network with the needed features.
    """
    return CspDarknet(scale) if name == "csp-darknet" else TimmBackbone(name)
