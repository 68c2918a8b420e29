"""Levenberg-Marquardt for a batch of hands, each with its own damping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whim.fitting.energy import HandEnergy, Observations
from whim.fitting.state import HandState, concatenate
from whim.hands.model import Floats

_DAMPING, _EASE, _BRAKE = 1e-2, 0.3, 5.0
_DAMPING_RANGE = (1e-6, 1e4)
_FLOOR = (
    1e-4  # added to the diagonal, for unknowns that nothing holds (the scale of a hand without keypoints)
)

_SCREENING, _FINALISTS = 2, 2  # steps from every start, and how many starts go on

SETTLED = 1e-3
"""A hand is done when an accepted step lowers its energy by less than this share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """Where the solver ended, for B hands."""

    state: HandState
    cost: Floats
    """(B,) energy."""
    converged: np.ndarray
    """(B,) bool: the last step no longer mattered."""


def minimise(energy: HandEnergy, start: HandState, seen: Observations, iterations: int) -> Minimum:
    """Lower the energy of each hand from its start, by ``iterations`` steps at most.

    Hands that have settled leave the batch, so easy ones do not pay for hard ones. A start of infinite energy
    stays where it is.
    """
    state, cost = start, energy.cost(start, seen)
    damping = np.full(len(start), _DAMPING)
    active = np.isfinite(cost)
    converged = np.zeros(len(start), dtype=bool)
    for _ in range(iterations):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        current, target = state.take(rows), seen.take(rows)
        gradient, matrix = energy.system(current, target)
        diagonal = np.einsum("bii->bi", matrix)
        diagonal += damping[rows, None] * diagonal + _FLOOR
        step = np.asarray(-np.linalg.solve(matrix, gradient[..., None])[..., 0], dtype=np.float64)
        tried = current.stepped(step)
        new_cost = energy.cost(tried, target)
        better = new_cost < cost[rows]
        gain = np.where(better, cost[rows] - new_cost, np.inf)
        settled = gain < SETTLED * cost[rows]
        state = state.replaced(rows[better], tried.take(better))
        cost[rows[better]] = new_cost[better]
        damping[rows] = np.clip(damping[rows] * np.where(better, _EASE, _BRAKE), *_DAMPING_RANGE)
        converged[rows] = settled
        active[rows] = ~settled & (damping[rows] < _DAMPING_RANGE[1])
    return Minimum(state=state, cost=cost, converged=converged)


def best_minimum(
    energy: HandEnergy, starts: Sequence[HandState], seen: Observations, iterations: int
) -> tuple[Minimum, np.ndarray]:
    """The lowest minimum of each of B hands over several starts, and which start (B,) led to it.

    A few steps from every start tell which are promising; only the best two of each hand go on. That finds
    nearly what following all would, in two thirds of the time.
    """
    batch, screening = len(starts[0]), min(_SCREENING, iterations)
    every = np.tile(np.arange(batch), len(starts))
    first = minimise(energy, concatenate(starts), seen.take(every), screening)
    ranking = first.cost.reshape(len(starts), batch).argsort(axis=0, kind="stable")[:_FINALISTS]
    finalists = (ranking * batch + np.arange(batch)).ravel()
    last = minimise(energy, first.state.take(finalists), seen.take(every[finalists]), iterations - screening)
    place = last.cost.reshape(len(ranking), batch).argmin(axis=0)
    winners = place * batch + np.arange(batch)
    converged = last.converged | first.converged[finalists]
    best = Minimum(state=last.state.take(winners), cost=last.cost[winners], converged=converged[winners])
    return best, ranking[place, np.arange(batch)]
