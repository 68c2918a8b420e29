"""The same hand in neighbouring sampled frames: enough to decide its side together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from whim.conventions import Side
from whim.perception.types import Hand

LONGEST_GAP_S = 0.6
"""A track ends when its hand is not seen for longer."""
MOST_APART = 1.0
"""Centres of one hand in two frames lie no further apart, in sides of the larger box ..."""
LARGEST_RATIO = 1.7
"""... and its box grows or shrinks by no more."""
_OTHER_SIDE = 0.3  # added to the distance when the detectors call one left and the other right


def link_hands(frames: Sequence[Sequence[Hand]], times: Sequence[float]) -> list[list[int]]:
    """Number of the track of every hand, frame by frame.

    Frame by frame in time, each hand continues at most one track, so that the sum of distances is smallest
    (Hungarian).

    Args:
        frames: the hands of each sampled frame.
        times: seconds of each frame, ascending.
    """
    tracks: list[tuple[float, Hand]] = []  # when each was last seen, and as what
    numbers: list[list[int]] = []
    for hands, time in zip(frames, times, strict=True):
        alive = [index for index, (seen, _) in enumerate(tracks) if time - seen <= LONGEST_GAP_S]
        costs = np.array([[_distance(tracks[index][1], hand) for hand in hands] for index in alive])
        costs = costs.reshape(len(alive), len(hands))
        # A pair that is not allowed costs more than any number of allowed ones.
        matched = {
            int(column): alive[int(row)]
            for row, column in zip(
                *linear_sum_assignment(np.where(np.isfinite(costs), costs, 1e6)), strict=True
            )
            if np.isfinite(costs[row, column])
        }
        row_numbers = []
        for index, hand in enumerate(hands):
            number = matched.get(index, len(tracks))
            if number == len(tracks):
                tracks.append((time, hand))
            else:
                tracks[number] = (time, hand)
            row_numbers.append(number)
        numbers.append(row_numbers)
    return numbers


def _distance(a: Hand, b: Hand) -> float:
    """How unlike one hand two are, in sides of the larger box; infinite when they cannot be one."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.box.tolist(), b.box.tolist()
    first, second = (math.sqrt((ax2 - ax1) * (ay2 - ay1)), math.sqrt((bx2 - bx1) * (by2 - by1)))
    ratio = max(first, second) / min(first, second)
    apart = math.hypot(ax1 + ax2 - bx1 - bx2, ay1 + ay2 - by1 - by2) / 2 / max(first, second)
    if apart > MOST_APART or ratio > LARGEST_RATIO:
        return math.inf
    conflict = Side.UNKNOWN not in (a.side, b.side) and a.side != b.side
    return apart + math.log(ratio) + (_OTHER_SIDE if conflict else 0.0)
