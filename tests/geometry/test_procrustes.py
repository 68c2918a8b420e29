"""Similarity alignment."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from whim.geometry.procrustes import align, align_rotation


def cloud(batch: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, 21, 3))


def test_a_known_similarity_is_found_again() -> None:
    points = cloud()
    rng = np.random.default_rng(1)
    turn = Rotation.random(6, random_state=2).as_matrix()
    scale, shift = rng.uniform(0.2, 5.0, 6), rng.normal(size=(6, 3))
    moved = scale[:, None, None] * points @ np.swapaxes(turn, 1, 2) + shift[:, None]
    found = align(points, moved)
    np.testing.assert_allclose(found.scale, scale)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-12)
    np.testing.assert_allclose(found.translation, shift, atol=1e-12)
    np.testing.assert_allclose(found.apply(points), moved, atol=1e-12)
    np.testing.assert_allclose(align_rotation(points, moved / scale[:, None, None]), turn, atol=1e-12)


def test_a_reflection_is_never_used() -> None:
    points = cloud()
    found = align(points, points * (-1, 1, 1))
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1.0)
    assert np.linalg.norm(found.apply(points) - points * (-1, 1, 1), axis=2).mean() > 0.3


def test_no_small_change_does_better() -> None:
    points = cloud()
    target = points + np.random.default_rng(3).normal(scale=0.3, size=points.shape)
    found = align(points, target)
    least = ((found.apply(points) - target) ** 2).sum(axis=(1, 2))
    for seed in range(20):
        turn = Rotation.from_rotvec(np.random.default_rng(seed).normal(scale=0.02, size=(6, 3))).as_matrix()
        other = found.apply(points) @ turn
        assert (((other - target) ** 2).sum(axis=(1, 2)) > least).all()
        assert (((found.apply(points) * 1.01 - target) ** 2).sum(axis=(1, 2)) > least).all()


def test_without_scale_and_degenerate_sets() -> None:
    points = cloud()
    np.testing.assert_array_equal(align(points, 3 * points, scaled=False).scale, 1.0)
    still = align(np.zeros((2, 5, 3)), np.ones((2, 5, 3)))
    np.testing.assert_allclose(still.apply(np.zeros((2, 5, 3))), 1.0)
    assert align(np.zeros((0, 5, 3)), np.zeros((0, 5, 3))).scale.shape == (0,)
    with pytest.raises(ValueError, match="same shape"):
        align(points, points[:, :3])
