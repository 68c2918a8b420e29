"""Bone lengths and joint angles of 21 keypoints, their limits and losses (eq. 3)."""

from __future__ import annotations

import numpy as np
import pytest

from whim.conventions import HAND_BONES
from whim.hands import biomechanics as bmc
from whim.hands.kinematics import keypoints
from whim.hands.model import HandModel
from whim.hands.pose_prior import pose_from_angles, sample_angles

FINGERS = ((0, 1, 2, 3, 4), (0, 5, 6, 7, 8), (0, 9, 10, 11, 12), (0, 13, 14, 15, 16), (0, 17, 18, 19, 20))
MANO_CHAIN = {1: 0, 2: 3, 3: 9, 4: 6}  # finger, thumb to little -> first row of its joints in MANO's poses


def sampled(model: HandModel, count: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = pose_from_angles(model, sample_angles(rng, count))
    turn = rng.normal(size=(count, 3))
    return keypoints(model, rng.normal(size=(count, 10)), pose, turn, rng.normal(size=(count, 3)))


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def slow_angles(hand: np.ndarray) -> np.ndarray:
    """One hand, finger by finger, with rotation matrices."""
    rays = [hand[finger[1]] - hand[0] for finger in FINGERS]
    n = [unit(np.cross(rays[i + 1], rays[i])) for i in range(4)]
    dorsal = [n[0], n[1], unit(n[1] + n[2]), unit(n[2] + n[3]), n[3]]
    result = []
    for finger, ray, back in zip(FINGERS, rays, dorsal, strict=True):
        z = unit(ray)
        y = unit(np.cross(z, -back))
        frame = np.stack([np.cross(y, z), y, z])
        for joint in range(3):
            child = hand[finger[joint + 2]] - hand[finger[joint + 1]]
            x, y_, z_ = frame @ child
            result.append((np.arctan2(x, z_), np.arctan2(y_, np.hypot(x, z_))))
            axis = np.cross(frame[2], unit(child))
            sine, cosine = np.linalg.norm(axis), frame[2] @ unit(child)
            if sine > 1e-12:
                a = axis / sine
                k = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
                frame = frame @ (np.eye(3) + sine * k + (1 - cosine) * k @ k).T
    return np.array(result)


def slow_losses(hand: np.ndarray, limits: bmc.JointLimits) -> tuple[float, float]:
    palm = np.linalg.norm(hand[9] - hand[0])
    bone = 0.0
    for (parent, child), (low, high) in zip(HAND_BONES, limits.bones, strict=True):
        length = np.linalg.norm(hand[child] - hand[parent]) / palm
        bone += max(low - length, 0.0) + max(length - high, 0.0)
    angle = 0.0
    for (flexion, abduction), reach in zip(slow_angles(hand), limits.reach, strict=True):
        worst = 0.0
        for step in range(8):
            a = step * np.pi / 4
            worst = max(worst, flexion * np.cos(a) + abduction * np.sin(a) - reach[step])
        angle += worst
    return bone / 20, angle / 15


def test_angles_and_losses_equal_a_plain_loop(open_hand: HandModel) -> None:
    hands = sampled(open_hand, 40) + np.random.default_rng(3).normal(scale=0.01, size=(40, 21, 3))
    limits = bmc.embedded_limits()
    angles = bmc.joint_angles(hands)
    assert np.abs(angles - [slow_angles(hand) for hand in hands]).max() < 1e-9
    expected = np.array([slow_losses(hand, limits) for hand in hands])
    assert expected.min(axis=0).min() > 0.0
    np.testing.assert_allclose(bmc.bone_length_loss(hands, limits), expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose(bmc.joint_angle_loss(hands, limits), expected[:, 1], rtol=1e-9)
    np.testing.assert_allclose(bmc.biomechanical_loss(hands, limits), expected.sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("finger", MANO_CHAIN)
@pytest.mark.parametrize("joint", [0, 1, 2])
def test_flexing_a_joint_changes_its_flexion_alone(open_hand: HandModel, finger: int, joint: int) -> None:
    angles = np.zeros((2, 15, 3))
    angles[1, MANO_CHAIN[finger] + joint, 1] = 0.5
    zero = np.zeros((2, 3))
    points = keypoints(
        open_hand, np.zeros((2, 10)), pose_from_angles(open_hand, angles.reshape(2, 45)), zero, zero
    )
    change = np.diff(bmc.joint_angles(points), axis=0)[0]
    assert change[3 * finger + joint, 0] == pytest.approx(0.5, abs=0.04)
    rest = np.delete(change, 3 * finger + joint, axis=0)
    assert np.abs(rest).max() < 0.05


def test_abduction_is_towards_the_thumb(open_hand: HandModel) -> None:
    angles = np.zeros((2, 15, 3))
    angles[1, 0, 2] = 0.2
    zero = np.zeros((2, 3))
    points = keypoints(
        open_hand, np.zeros((2, 10)), pose_from_angles(open_hand, angles.reshape(2, 45)), zero, zero
    )
    moved = np.linalg.norm(points[:, 8] - points[:, 4], axis=1)
    change = np.diff(bmc.joint_angles(points)[:, 3, 1])[0]
    assert np.sign(change) == np.sign(moved[0] - moved[1])
    assert abs(change) == pytest.approx(0.2, abs=0.02)


def test_losses_ignore_size_place_and_turn(open_hand: HandModel) -> None:
    hands = sampled(open_hand, 20) + np.random.default_rng(3).normal(scale=0.01, size=(20, 21, 3))
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    limits = bmc.embedded_limits()
    before = bmc.biomechanical_loss(hands, limits, root_bones=True)
    after = bmc.biomechanical_loss(2.5 * hands @ turn.T + 1.0, limits, root_bones=True)
    np.testing.assert_allclose(after, before, rtol=1e-7, atol=1e-12)


def test_sampled_hands_keep_the_limits_and_broken_ones_do_not(open_hand: HandModel) -> None:
    limits = bmc.embedded_limits()
    hands = sampled(open_hand, 500, seed=2)
    assert bmc.biomechanical_loss(hands, limits, root_bones=True).mean() < 1e-3
    backwards = hands.copy()
    backwards[:, 7:9] = 2 * backwards[:, [6]] - backwards[:, 7:9]  # the index folded back onto itself
    assert bmc.joint_angle_loss(backwards, limits).min() > 0.05
    longer = hands.copy()
    longer[:, 12] += longer[:, 12] - longer[:, 11]
    assert bmc.bone_length_loss(longer, limits).min() > 0.001
    mirrored = hands * (-1, 1, 1)
    assert bmc.joint_angle_loss(mirrored, limits).mean() > 100 * bmc.joint_angle_loss(hands, limits).mean()


def test_the_root_bone_loss_sees_a_spread_palm(open_hand: HandModel) -> None:
    limits = bmc.embedded_limits()
    hands = sampled(open_hand, 5)
    assert bmc.root_bone_loss(hands, limits).max() < 0.01
    hands[:, 5] += 0.5 * (hands[:, 5] - hands[:, 17])
    assert bmc.root_bone_loss(hands, limits).min() > 0.02


def test_limits_follow_the_samples(open_hand: HandModel) -> None:
    rng = np.random.default_rng(4)
    flat = np.zeros((600, 15, 3)) + rng.normal(scale=0.01, size=(600, 15, 3))
    stiff = bmc.fit_limits(open_hand, flat, np.zeros((600, 10)))
    assert (stiff.reach <= bmc.embedded_limits().reach + 0.2).all()
    assert bmc.joint_angle_loss(sampled(open_hand, 50), stiff).mean() > 0.05
    with pytest.raises(ValueError, match="at least 500"):
        bmc.fit_limits(open_hand, flat[:100], np.zeros((100, 10)))


def test_degenerate_hands_give_finite_losses() -> None:
    hands = np.zeros((2, 21, 3))
    hands[1, :, 0] = np.arange(21)
    assert np.isfinite(bmc.biomechanical_loss(hands, bmc.embedded_limits(), root_bones=True)).all()
    with pytest.raises(ValueError, match="21"):
        bmc.bone_lengths(np.zeros((2, 20, 3)))
