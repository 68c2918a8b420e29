"""Which picture comes when: a pure function of (seed, epoch), so that a run can go on inside an epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def stream(size: int, start: int, stop: int, *, key: Sequence[int]) -> Indices:
    """Entries ``start`` to ``stop`` of an endless sequence of permutations of ``range(size)``.

    Whatever is cut out, every picture comes equally often, and twice only when all others have come.
    """
    if size == 0 or stop <= start:
        return np.zeros(0, dtype=np.int64)
    parts = []
    for cycle in range(start // size, (stop - 1) // size + 1):
        order = np.random.default_rng([*key, cycle]).permutation(size)
        parts.append(order[max(0, start - cycle * size) : stop - cycle * size])
    return np.concatenate(parts)


def epoch_order(sizes: Sequence[int], weights: Sequence[float], *, seed: int, epoch: int) -> Indices:
    """Indices of one epoch over the concatenation of several sets, shuffled.

    A set of weight w brings w times its size: 0.25 a quarter of it, another quarter in the next epoch; 2 all of it
    twice. The length of an epoch does not change by more than one per set.
    """
    taken, offset = [], 0
    for number, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        share = round(size * weight)
        part = stream(size, epoch * share, (epoch + 1) * share, key=(seed, number))
        taken.append(part + offset)
        offset += size
    order = np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)
    return np.random.default_rng([seed, epoch, 1]).permutation(order)


def share_of_step(step: int, batch: int, *, rank: int, world: int, part: int, parts: int) -> range:
    """Positions in the epoch's order of one micro-batch.

    Step ``step`` covers ``batch`` positions; process ``rank`` of ``world`` works on them in ``parts`` parts. Over all
    processes and parts the positions of a step are the same however it is divided.
    """
    size = batch // (world * parts)
    start = step * batch + (rank * parts + part) * size
    return range(start, start + size)


def shares_of_whole(size: int, batch: int, *, rank: int, world: int) -> list[range]:
    """Batches of the part of ``range(size)`` that process ``rank`` of ``world`` measures: each position once."""
    rows = range(rank * size // world, (rank + 1) * size // world)
    return [rows[start : start + batch] for start in range(0, len(rows), batch)]
