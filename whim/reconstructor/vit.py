"""The vision transformer with hand tokens in front (section 4.2). Names of weights are ViTPose's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from whim.reconstructor.config import VitConfig

PATCH = 16
EPS = 1e-6


class DropPath(nn.Module):
    """Skip a branch for some samples while training; the others are scaled up to keep the mean."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        return x * x.new_empty(len(x), 1, 1).bernoulli_(keep).div_(keep)


class Attention(nn.Module):
    """Self-attention over all tokens, one fused product for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        batch, count, width = x.shape
        qkv = self.qkv(x).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and feed-forward, each normalised before and added after."""

    def __init__(self, width: int, heads: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, hidden)
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Patches to tokens by one convolution."""

    def __init__(self, width: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH, padding=padding)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / 16 * W / 16, C), row by row."""
        return self.proj(pictures).flatten(2).transpose(1, 2)


class ConvolutionStem(nn.Module):
    """Pictures to tokens by four halvings, each after the first followed by another convolution.

    Kernels of 4 with padding 1 keep the centre of every token in the middle of its 16 x 16 pixels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        seen = 3
        for halving in range(4):
            channels = width >> (3 - halving)
            layers += _convolution(seen, channels, kernel=4, stride=2)
            if halving:
                layers += _convolution(channels, channels, kernel=3, stride=1)
            seen = channels
        self.layers = nn.Sequential(*layers)
        self.proj = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / 16 * W / 16, C), row by row."""
        return self.proj(self.layers(pictures)).flatten(2).transpose(1, 2)


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int) -> list[nn.Module]:
    """Convolution, norm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


class Vit(nn.Module):
    """Pictures and extra tokens through the transformer.

    Args:
        config: sizes.
        grid: rows and columns of patch tokens.

    Attributes:
        checkpointing: compute the blocks again in the backward pass instead of keeping what is inside them.
    """

    def __init__(self, config: VitConfig, grid: tuple[int, int]) -> None:
        super().__init__()
        self.width = config.channels
        self.grid = grid
        self.shift = config.shift
        self.checkpointing = False
        self.patch_embed = (
            PatchEmbed(self.width, config.padding) if config.stem == "patch" else ConvolutionStem(self.width)
        )
        # ViTPose keeps the place of a class token that it no longer has; that vector is added to every patch.
        self.pos_embed = nn.Parameter(torch.zeros(1, grid[0] * grid[1] + 1, self.width))
        hidden = int(self.width * config.mlp_ratio)
        depth = config.blocks
        self.blocks = nn.ModuleList(
            Block(self.width, config.attention_heads, hidden, config.drop * index / max(depth - 1, 1))
            for index in range(depth)
        )
        self.last_norm = nn.LayerNorm(self.width, eps=EPS)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor, extra: Tensor) -> tuple[Tensor, Tensor]:
        """Extra tokens (B, T, C) after the transformer, and the feature map (B, C, rows, columns).

        Args:
            pictures: (B, 3, 16 * rows, 16 * columns), normalised.
            extra: (B, T, C); they get no position.
        """
        patches = self.patch_embed(pictures)
        patches = patches + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        x = torch.cat([extra.to(patches.dtype), patches], dim=1)
        again = self.checkpointing and self.training
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        x = self.last_norm(x)
        count = extra.shape[1]
        return x[:, :count], x[:, count:].transpose(1, 2).unflatten(2, self.grid)
