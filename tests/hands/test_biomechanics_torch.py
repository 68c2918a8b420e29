"""Eq. 3 on tensors: the same numbers as on arrays, and slopes that finite differences confirm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from whim.hands import biomechanics as bmc
from whim.hands.kinematics import keypoints
from whim.hands.model import HandModel
from whim.hands.pose_prior import pose_from_angles, sample_angles

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "bone_lengths": bmc.bone_lengths,
    "joint_angles": bmc.joint_angles,
    "curvature": lambda points: bmc.palm_angles(points)[0],
    "spread": lambda points: bmc.palm_angles(points)[1],
    "bone_length_loss": lambda points: bmc.bone_length_loss(points, bmc.embedded_limits()),
    "joint_angle_loss": lambda points: bmc.joint_angle_loss(points, bmc.embedded_limits()),
    "root_bone_loss": lambda points: bmc.root_bone_loss(points, bmc.embedded_limits()),
    "loss": lambda points: bmc.biomechanical_loss(points, bmc.embedded_limits(), root_bones=True),
}


@pytest.fixture(scope="module")
def broken_hands(open_hand: HandModel) -> np.ndarray:
    """Hands with 1 cm of noise, so that most limits are exceeded somewhere."""
    rng = np.random.default_rng(0)
    pose = pose_from_angles(open_hand, sample_angles(rng, 12))
    place = rng.normal(size=(2, 12, 3))
    return keypoints(open_hand, rng.normal(size=(12, 10)), pose, *place) + rng.normal(
        scale=0.01, size=(12, 21, 3)
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tensors_give_the_numbers_of_arrays(broken_hands: np.ndarray, name: str) -> None:
    expected = FUNCTIONS[name](broken_hands)
    assert isinstance(expected, np.ndarray)
    assert np.abs(expected).max() > 1e-3
    exact = FUNCTIONS[name](torch.tensor(broken_hands))
    assert exact.dtype == torch.float64
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-12, atol=1e-14)
    single = FUNCTIONS[name](torch.tensor(broken_hands, dtype=torch.float32))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=2e-4, atol=2e-4)
    np.testing.assert_array_equal(FUNCTIONS[name](broken_hands.tolist()), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slopes_are_those_of_finite_differences(broken_hands: np.ndarray, name: str) -> None:
    points = torch.tensor(broken_hands[:3], requires_grad=True)
    assert torch.autograd.gradcheck(FUNCTIONS[name], points)
    slope = torch.autograd.grad(FUNCTIONS[name](points).sum(), points)[0].numpy()
    rng, step = np.random.default_rng(1), 1e-7
    way = rng.normal(size=(3, 21, 3))
    ahead, behind = (FUNCTIONS[name](broken_hands[:3] + s * step * way).sum() for s in (1, -1))
    assert (slope * way).sum() == pytest.approx((ahead - behind) / (2 * step), rel=1e-4)


def test_hands_inside_the_limits_feel_no_force(open_hand: HandModel) -> None:
    angles = sample_angles(np.random.default_rng(3), 4000).mean(axis=0, keepdims=True)
    still = np.zeros((1, 3))
    points = torch.tensor(
        keypoints(open_hand, np.zeros((1, 10)), pose_from_angles(open_hand, angles), still, still),
        requires_grad=True,
    )
    loss = FUNCTIONS["loss"](points).sum()
    loss.backward()
    assert loss.item() == 0.0
    assert points.grad.abs().max() == 0.0


def test_a_step_against_the_slope_mends_a_hand(broken_hands: np.ndarray) -> None:
    points = torch.tensor(broken_hands, requires_grad=True)
    before = FUNCTIONS["loss"](points)
    before.sum().backward()
    after = FUNCTIONS["loss"](points.detach() - 1e-5 * points.grad)
    assert (after < before).all()


@pytest.mark.parametrize("kind", ["a point", "a line", "no hand"])
def test_degenerate_hands_have_finite_slopes(kind: str) -> None:
    points = torch.zeros((0 if kind == "no hand" else 2, 21, 3))
    if kind == "a line":
        points[..., 0] = torch.arange(21.0)
    points.requires_grad_()
    loss = FUNCTIONS["loss"](points)
    loss.sum().backward()
    assert loss.shape == (len(points),)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(points.grad).all()
    with pytest.raises(ValueError, match="21"):
        bmc.bone_lengths(torch.zeros((2, 20, 3)))


def test_the_worst_joint_is_the_one_that_was_broken(broken_hands: np.ndarray, open_hand: HandModel) -> None:
    angles = sample_angles(np.random.default_rng(3), 4000).mean(axis=0, keepdims=True)
    angles[0, 4] = np.radians(-50.0)  # the index's middle joint bent backwards
    still = np.zeros((1, 3))
    points = keypoints(open_hand, np.zeros((1, 10)), pose_from_angles(open_hand, angles), still, still)
    excess = bmc.joint_angle_excess(points, bmc.embedded_limits())[0]
    assert excess.argmax() == 4  # thumb 0-2, index 3-5
    assert np.degrees(excess.max()) == pytest.approx(40, abs=8)
    assert bmc.joint_angle_loss(points, bmc.embedded_limits())[0] == pytest.approx(excess.mean())
