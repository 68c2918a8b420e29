"""Adam (Kingma and Ba, ICLR 2015) on the energy of eqs. 2-4, for a batch of hands.

Steps of a hand depend on its own gradients alone, so a batch gives what its hands would give one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whim.fitting.energy import Observations
from whim.fitting.lm import Minimum
from whim.fitting.paper.energy import PaperEnergy, Unknowns
from whim.fitting.state import MAX_BETA, HandState, concatenate

_SHAPE_SPEED = 2.0  # shape coefficients are standard deviations, not radians: they have further to go

SETTLED = 1e-2
"""A hand is done when the last tenth of its steps lowered its energy by less than this share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """The best state that each hand passed, its energy (B,), and that energy before the last steps (B,)."""

    state: HandState
    cost: np.ndarray
    before: np.ndarray


def best_of_starts(
    energy: PaperEnergy, starts: Sequence[HandState], seen: Observations
) -> tuple[Minimum, np.ndarray]:
    """The lowest energy found for each of B hands, and which start (B,) led to it.

    A few steps from every start tell which is the most promising; that one goes on.
    """
    config, batch = energy.config, len(starts[0])
    every = np.tile(np.arange(batch), len(starts))
    first = _descend(energy, concatenate(starts), seen.take(every), config.screening, anneal=False)
    chosen = first.cost.reshape(len(starts), batch).argmin(axis=0)
    winners = chosen * batch + np.arange(batch)
    found = _descend(energy, first.state.take(winners), seen, config.iterations, anneal=True)
    converged = found.before - found.cost < SETTLED * found.cost
    return Minimum(state=found.state, cost=found.cost, converged=converged), chosen


def _descend(
    energy: PaperEnergy, start: HandState, seen: Observations, steps: int, *, anneal: bool
) -> _Found:
    """``steps`` of Adam; ``anneal`` lowers their length to zero along half a cosine."""
    unknowns, target = energy.unknowns(start), energy.target(seen)
    speed = energy.config.learning_rate
    others = [tensor for tensor in unknowns.free() if tensor is not unknowns.betas]
    adam = torch.optim.Adam(
        [{"params": others, "lr": speed}, {"params": [unknowns.betas], "lr": _SHAPE_SPEED * speed}]
    )
    initial = [group["lr"] for group in adam.param_groups]
    best = [tensor.detach().clone() for tensor in unknowns.free()]
    cost = torch.full((len(start),), torch.inf, dtype=energy.dtype)
    before = cost
    for step in range(steps + 1):
        adam.zero_grad()
        total, visible = energy(unknowns, target)
        cost = _keep_better(unknowns, best, cost, torch.where(visible, total.detach(), torch.inf))
        if step == steps - steps // 10:
            before = cost
        if step == steps:
            break
        total.sum().backward()
        if anneal:
            for group, most in zip(adam.param_groups, initial, strict=True):
                group["lr"] = most * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        adam.step()
        with torch.no_grad():
            unknowns.betas.clip_(-MAX_BETA, MAX_BETA)
    with torch.no_grad():
        for tensor, kept in zip(unknowns.free(), best, strict=True):
            tensor.copy_(kept)
    return _Found(state=energy.state(unknowns), cost=cost.double().numpy(), before=before.double().numpy())


def _keep_better(unknowns: Unknowns, best: list[Tensor], cost: Tensor, total: Tensor) -> Tensor:
    """Write the unknowns of hands that have improved into ``best``; the lower energies."""
    better = total < cost
    with torch.no_grad():
        for tensor, kept in zip(unknowns.free(), best, strict=True):
            kept[better] = tensor[better]
    return torch.where(better, total, cost)
