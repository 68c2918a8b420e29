"""The whole network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whim.detector.config import NetworkConfig
from whim.detector.network.backbone import make_backbone
from whim.detector.network.head import Branches, Raw
from whim.detector.network.neck import PaNet


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Of both heads; ``one_to_one`` is None where the network has only one, ``one_to_many`` where it was dropped."""

    one_to_many: Raw | None
    one_to_one: Raw | None

    @property
    def best(self) -> Raw:
        """What inference reads."""
        raw = self.one_to_one or self.one_to_many
        assert raw is not None
        return raw


class Detector(nn.Module):
    """Pictures (B, 3, H, W), RGB in 0..1, sides multiples of 32 -> raw outputs of every cell (paper section 4.1)."""

    def __init__(self, config: NetworkConfig) -> None:
        """Raises: MissingExtraError, UsageError: a backbone that cannot be had."""
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config.backbone, config.scale)
        self.neck = PaNet(self.backbone.channels, config.scale)
        self.heads = Branches(self.neck.channels, config.bins)
        self.single_heads = Branches(self.neck.channels, config.bins) if config.one_to_one else None
        # The expectation over the bins. A constant that counts among the weights, as everywhere in this family.
        bins = nn.Conv2d(config.bins, 1, 1, bias=False).requires_grad_(False)
        bins.weight.data = torch.arange(config.bins, dtype=torch.float32).reshape(1, -1, 1, 1)
        self.expectation = bins if config.bins > 1 else None

    def forward(self, pictures: Tensor) -> Outputs:
        """Raw outputs of both heads; the second learns on features that it does not change."""
        features = self.neck(*self.backbone(pictures))
        single = None
        if self.single_heads is not None:
            single = self.single_heads(tuple(f.detach() for f in features) if self.training else features)
            if not self.training:
                return Outputs(one_to_many=None, one_to_one=single)
        return Outputs(one_to_many=self.heads(features), one_to_one=single)
