"""Optimisers with weight decay where it belongs."""

from __future__ import annotations

import torch
from torch import nn

from whim.training.config import OptimiserConfig


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD over the parameters that want a gradient, in two groups: decayed and not.

    Only weights of two or more dimensions outside norm layers are decayed.
    """
    decayed, free = split_by_decay(model)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay, "peak": config.lr},
        {"params": free, "weight_decay": 0.0, "peak": config.lr},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (config.momentum, config.beta2)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, betas=betas)


def split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters (to decay, not to decay), each once, in the model's order."""
    norms = (
        nn.modules.batchnorm._NormBase,
        nn.LayerNorm,
        nn.GroupNorm,
        nn.LocalResponseNorm,
    )
    in_norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, norms)
        for parameter in module.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            vector = parameter.ndim < 2 or id(parameter) in in_norms
            (free if vector else decayed).append(parameter)
    return decayed, free
