"""Learning rate as a pure function of the step."""

from __future__ import annotations

import math

import torch

from whim.training.config import ScheduleConfig


def learning_rate_share(step: int, *, steps_per_epoch: int, epochs: int, config: ScheduleConfig) -> float:
    """Share (0..1) of the peak learning rate for optimiser step ``step``, counted from 0.

    Linear warm-up, a plateau when the descent is shorter than the rest, then linear or cosine down to
    ``config.final``, reached with the last step.
    """
    total = steps_per_epoch * epochs
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.shape == "constant":
        return 1.0
    length = total - 1 - warmup
    if config.decay_epochs is not None:
        length = min(length, max(1, round(config.decay_epochs * steps_per_epoch)))
    done = (step - (total - 1 - length)) / length if length else 1.0
    done = min(max(done, 0.0), 1.0)
    fall = done if config.shape == "linear" else (1 - math.cos(math.pi * done)) / 2
    return 1.0 - fall * (1.0 - config.final)


def set_learning_rate(optimiser: torch.optim.Optimizer, share: float) -> float:
    """Give every group ``share`` of its peak (``group['peak']``); returns the first group's rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share
    return float(optimiser.param_groups[0]["lr"])
