"""Running mean of weights and buffers."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from whim.training.config import EmaConfig


class Ema:
    """A second network whose weights are the running mean of the trained one's.

    decay(t) = decay * (1 - exp(-t / ramp)) after t steps. Buffers of floating type (statistics of batch norm) are
    averaged too; whole numbers are copied. With ``decay`` 0 it is a plain copy.
    """

    def __init__(self, model: nn.Module, config: EmaConfig) -> None:
        self.config = config
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimiser step ``step``, counted from 1."""
        decay = self.config.decay * (1.0 - math.exp(-step / self.config.ramp))
        mean, new = self.model.state_dict(), model.state_dict()
        floats = [name for name, value in mean.items() if value.dtype.is_floating_point]
        with torch.no_grad():
            targets: list[Tensor] = [mean[name] for name in floats]
            torch._foreach_lerp_(targets, [new[name] for name in floats], 1.0 - decay)
            for name, value in mean.items():
                if not value.dtype.is_floating_point:
                    value.copy_(new[name])
