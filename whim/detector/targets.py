"""Hands of a batch as the losses read them: the contract between the loader and the losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class HandTargets:
    """All hands of a batch, one after the other.

    Pixels are those of the network input, 0-based, the centre of the first pixel at 0.5.
    """

    boxes: Tensor
    """(N, 4) float32: x1, y1, x2, y2."""
    side: Tensor
    """(N,) int64: :class:`whim.conventions.Side` values; UNKNOWN is masked."""
    keypoints: Tensor
    """(N, 21, 2) float32: x, y in OpenPose order."""
    visibility: Tensor
    """(N, 21) int64: 0 not labelled, 1 hidden, 2 visible."""
    image_index: Tensor
    """(N,) int64: picture of the batch that the hand is in."""

    def to(self, device: torch.device, *, non_blocking: bool = False) -> HandTargets:
        """The same on another device."""
        return HandTargets(
            **{name: value.to(device, non_blocking=non_blocking) for name, value in vars(self).items()}
        )
