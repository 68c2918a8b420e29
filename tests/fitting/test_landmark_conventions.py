"""Offsets of a detector's landmarks: found again on other views; what cannot be estimated is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from whim.fitting.landmarks import estimate_offsets, without_offsets

RNG = np.random.default_rng(0)
TRUE = RNG.normal(scale=0.05, size=(21, 2))
# A palm stays where the landmarks of its corners say: only then can the offsets be undone exactly.
TRUE[[0, 5, 9, 17]] = 0.0


def marked(joints: np.ndarray) -> np.ndarray:
    """What a detector with the offsets ``TRUE`` marks."""
    along, across = joints[:, 9] - joints[:, 0], joints[:, 5] - joints[:, 17]
    return joints + TRUE[:, :1] * along[:, None] + TRUE[:, 1:] * across[:, None]


def test_offsets_of_some_hands_are_those_of_other_views(make_scene: Callable[..., Any]) -> None:
    learnt, other = make_scene(80, seed=1).pixels, make_scene(40, seed=2).pixels
    points = marked(learnt)
    points[::9, 3] += 200.0  # a mark gone wrong in some hands must not pull the table
    table = estimate_offsets(points, learnt)
    np.testing.assert_allclose(np.delete(table, 3, axis=0), np.delete(TRUE, 3, axis=0), atol=1e-9)
    np.testing.assert_allclose(table[3], TRUE[3], atol=0.01)
    table = estimate_offsets(marked(learnt), learnt)
    np.testing.assert_allclose(without_offsets(marked(other), table), other, atol=1e-6)
    mirrored = other * (-1, 1)  # the picture of the other side's hand
    np.testing.assert_allclose(without_offsets(marked(mirrored), table), mirrored, atol=1e-6)
    np.testing.assert_allclose(without_offsets(other, np.zeros((21, 2))), other)


def test_points_that_say_nothing_are_refused() -> None:
    points = RNG.normal(size=(5, 21, 2))
    for wrong in (points[:1], points[:, :20], points[0]):
        with pytest.raises(ValueError, match="at least two hands"):
            estimate_offsets(wrong, wrong)
    with pytest.raises(ValueError, match="finite"):
        estimate_offsets(np.where(np.arange(21)[:, None] == 4, np.nan, points), points)
