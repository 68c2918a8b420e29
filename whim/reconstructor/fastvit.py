"""FastViT through timm in place of the ViT (Table 5, "w. FastViT").

FastViT is convolutional and takes no tokens. Here the hand tokens read its last feature map by one cross-attention;
the map for the refinement joins its last two stages (strides 16 and 32) at stride 16. All its strided kernels are odd:
cells of every stage stand at the first pixel of their patches, not in the middle.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whim.errors import UsageError, require
from whim.reconstructor.config import FastVitConfig
from whim.training.onednn import take_strides_first


class FastVit(nn.Module):
    """Same interface as ``Vit``: pictures and extra tokens in, tokens and feature map out.

    Raises:
        MissingExtraError: timm is not installed.
        UsageError: timm has no FastViT of that name.
    """

    shift = 7.5
    """Of the cells' centres against the middles of their patches; the same in every FastViT of timm."""

    def __init__(self, config: FastVitConfig) -> None:
        super().__init__()
        timm = require("timm", extra="backbones")
        known = timm.list_models("fastvit*")
        if config.model not in known:
            raise UsageError(f"timm has no model {config.model!r}; it has {', '.join(known)}")
        self.width, self.heads = config.width, config.heads
        self.body = timm.create_model(config.model, pretrained=False, features_only=True, out_indices=(2, 3))
        take_strides_first(self.body)
        fine, coarse = self.body.feature_info.channels()
        self.merge = nn.Conv2d(fine + coarse, self.width, kernel_size=1)
        self.norm_tokens = nn.LayerNorm(self.width)
        self.norm_map = nn.LayerNorm(self.width)
        self.query = nn.Linear(self.width, self.width)
        self.key_value = nn.Linear(self.width, 2 * self.width)
        self.proj = nn.Linear(self.width, self.width)
        self.last_norm = nn.LayerNorm(self.width)

    def forward(self, pictures: Tensor, extra: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) and (B, T, C) to (B, T, C) and (B, C, H / 16, W / 16)."""
        fine, coarse = self.body(pictures)
        features = self.merge(torch.cat([fine, _twice(coarse)], dim=1))
        cells = self.norm_map(features.flatten(2).transpose(1, 2))
        key, value = self.key_value(cells).chunk(2, dim=-1)
        query = self.query(self.norm_tokens(extra))
        mixed = F.scaled_dot_product_attention(self._split(query), self._split(key), self._split(value))
        read = self.proj(mixed.transpose(1, 2).flatten(2))
        return self.last_norm(extra + read), features

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _twice(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 2 h, 2 w), linear: cell i of the result stands where cell i / 2 of x would."""
    rows, columns = x.shape[-2:]
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    x = F.interpolate(x, size=(2 * rows + 1, 2 * columns + 1), mode="bilinear", align_corners=True)
    return x[..., :-1, :-1]
