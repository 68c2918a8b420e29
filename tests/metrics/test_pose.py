"""Pose errors against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from whim.metrics import pose


def hands() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.05, size=(4, 21, 3))


def test_a_shift_counts_only_in_the_camera() -> None:
    truth = hands()
    moved = truth + np.array([0.03, 0.0, 0.04])
    np.testing.assert_allclose(pose.mpjpe(moved, truth), 0.05)
    np.testing.assert_allclose(pose.root_relative_mpjpe(moved, truth), 0.0, atol=1e-15)
    np.testing.assert_allclose(pose.pa_mpjpe(moved, truth), 0.0, atol=1e-12)


def test_a_turned_and_scaled_hand_is_right_after_alignment() -> None:
    truth = hands()
    turned = 1.7 * truth @ Rotation.from_euler("x", 40, degrees=True).as_matrix() + 0.2
    assert pose.root_relative_mpjpe(turned, truth).min() > 0.01
    np.testing.assert_allclose(pose.pa_mpjpe(turned, truth), 0.0, atol=1e-12)


def test_one_wrong_keypoint() -> None:
    truth = hands()
    wrong = truth.copy()
    wrong[:, 8, 0] += 0.021
    np.testing.assert_allclose(pose.mpjpe(wrong, truth), 0.001)
    wrong_root = truth.copy()
    wrong_root[:, 0, 0] += 0.021
    np.testing.assert_allclose(pose.root_relative_mpjpe(wrong_root, truth), 0.020)
    # Least squares spreads the error over the hand, so the mean distance grows; the mean square falls.
    assert (pose.pa_mpjpe(wrong, truth) > 0.0005).all()
    assert (pose.pa_mpjpe(wrong, truth) < 0.003).all()


def test_pck_and_its_area() -> None:
    distances = np.array([0.0, 0.01, 0.03, np.nan])
    assert pose.pck(distances, 0.01) == 0.5
    assert np.isnan(pose.pck([], 0.01))
    assert pose.pck_auc(np.zeros(3), 0.05) == pytest.approx(1.0)
    assert pose.pck_auc(np.full(3, 0.025), 0.05) == pytest.approx(0.5, abs=0.01)
    assert pose.pck_auc(np.full(3, 0.06), 0.05) == 0.0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        pose.mpjpe(np.zeros((2, 21, 3)), np.zeros((2, 20, 3)))
