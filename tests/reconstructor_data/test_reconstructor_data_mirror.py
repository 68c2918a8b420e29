"""Left hands become right ones, and turned hands stay themselves: every quantity against exact projections."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from whim.conventions import Side  # noqa: E402
from whim.hands import kinematics  # noqa: E402
from whim.hands.mirror import (  # noqa: E402
    mirror_keypoints_2d,
    mirror_points,
    mirror_pose,
    mirror_translation,
)
from whim.hands.open_hand import load_open_hand  # noqa: E402
from whim.reconstructor.crops import Crops  # noqa: E402
from whim.reconstructor.data.crops import CropAugmentConfig, make_sample  # noqa: E402
from whim.reconstructor.data.labels import HandLabels  # noqa: E402

WIDTH, HEIGHT, FOCAL = 160, 120, 200.0
OFF = CropAugmentConfig.off()


def a_hand(side: Side, seed: int, *, centred: bool = False) -> tuple[np.ndarray, HandLabels]:
    """A noisy picture and an exact label before a camera whose principal point is off the middle."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0.0, 0.4, (1, 15, 3))
    orient, betas = rng.normal(0.0, 1.0, (1, 3)), rng.normal(size=(1, 10))
    place = np.array([[0.03, -0.02, 0.5]])
    joints = kinematics.keypoints(load_open_hand(), betas, pose, orient, place, side)[0]
    points = project(joints, center=principal(mirrored=False))
    low, high = points.min(axis=0), points.max(axis=0)
    if centred:
        half = np.abs(points - principal(mirrored=False)).max(axis=0)
        low, high = principal(mirrored=False) - half, principal(mirrored=False) + half
    hand = HandLabels(
        picture=np.zeros(1, np.int64),
        box=np.concatenate([low, high])[None],
        side=np.array([int(side)]),
        keypoints_2d=points[None],
        joints_3d=joints[None],
        global_orient=orient,
        hand_pose=pose,
        betas=betas,
        translation=place,
        recording=np.zeros(1, np.int64),
    )
    return rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8), hand


def principal(*, mirrored: bool) -> np.ndarray:
    x, y = 70.0, 65.0
    return np.array([WIDTH - x if mirrored else x, y])


def project(joints: np.ndarray, center: np.ndarray) -> np.ndarray:
    return joints[..., :2] / joints[..., 2:] * FOCAL + center


def mirrored_label(hand: HandLabels) -> HandLabels:
    """The same hand in the flipped picture: the other side."""
    box = mirror_keypoints_2d(hand.box.reshape(2, 2), WIDTH)
    return replace(
        hand,
        box=np.concatenate([box.min(axis=0), box.max(axis=0)])[None],
        side=1 - hand.side,
        keypoints_2d=mirror_keypoints_2d(hand.keypoints_2d, WIDTH),
        joints_3d=mirror_points(hand.joints_3d),
        global_orient=mirror_pose(hand.global_orient),
        hand_pose=mirror_pose(hand.hand_pose),
        translation=mirror_translation(hand.translation),
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_left_hand_is_the_right_hand_of_the_flipped_picture(seed: int) -> None:
    picture, left = a_hand(Side.LEFT, seed)
    right = mirrored_label(left)
    back = mirrored_label(right)
    for name, value in vars(left).items():
        np.testing.assert_allclose(getattr(back, name), value, atol=1e-12)
    # The mirrored camera shows the mirrored joints where the mirrored keypoints are.
    np.testing.assert_allclose(
        project(right.joints_3d[0], principal(mirrored=True)), right.keypoints_2d[0], atol=1e-9
    )
    rng = np.random.default_rng
    a = make_sample(picture, left, 64, OFF, rng(0))
    b = make_sample(np.ascontiguousarray(picture[:, ::-1]), right, 64, OFF, rng(0))
    for name in ("keypoints_2d", "joints_3d", "rotations", "betas"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-6)
    assert np.abs(a.picture.astype(int) - b.picture.astype(int)).max() <= 2  # rounding of the interpolation


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_places_in_the_crop_go_back_to_the_picture(side: Side) -> None:
    picture, hand = a_hand(side, 5)
    sample = make_sample(picture, hand, 64, OFF, np.random.default_rng(0))
    back = Crops.around(hand.box, hand.side).to_picture(sample.keypoints_2d[None])
    np.testing.assert_allclose(back, hand.keypoints_2d, atol=1e-4)


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
@pytest.mark.parametrize("seed", range(3))
def test_turned_joints_project_onto_turned_keypoints(side: Side, seed: int) -> None:
    """Around the principal point a turn of the picture is exactly a turn of the camera."""
    picture, hand = a_hand(side, seed, centred=True)
    turned = CropAugmentConfig(scale=0.0, shift=0.0, rotated=1.0, rotation=70.0, colour=0.0, masked=0.0)
    sample = make_sample(picture, hand, 64, turned, np.random.default_rng(seed))
    size = float(Crops.around(hand.box, hand.side).sides[0])
    seen = project(sample.joints_3d.astype(np.float64), np.zeros(2)) / size
    np.testing.assert_allclose(seen, sample.keypoints_2d, atol=1e-5)
    plain = make_sample(picture, hand, 64, OFF, np.random.default_rng(seed))
    assert np.abs(plain.keypoints_2d - sample.keypoints_2d).max() > 0.02  # it did turn


def test_variation_keeps_its_limits() -> None:
    picture, hand = a_hand(Side.RIGHT, 1)
    size = float(Crops.around(hand.box, hand.side).sides[0])
    moves = CropAugmentConfig(scale=0.3, shift=0.05, rotated=0.0, colour=0.0, masked=0.0)
    spread = np.linalg.norm(hand.keypoints_2d[0] - hand.keypoints_2d[0, 0], axis=1).sum()
    zooms, shifts = [], []
    for seed in range(200):
        points = make_sample(picture, hand, 16, moves, np.random.default_rng(seed)).keypoints_2d
        zoom = np.linalg.norm(points - points[0], axis=1).sum() / spread * size
        zooms.append(1.0 / zoom)
        middle = points * size / zoom
        shifts.append((middle - (hand.keypoints_2d[0] - Crops.around(hand.box, hand.side).centers[0])) / size)
    assert 0.7 - 1e-4 <= min(zooms) < 0.75
    assert 1.25 < max(zooms) <= 1.3 + 1e-4
    assert 0.03 < np.abs(np.array(shifts)[:, 0]).max() <= 0.05 * 1.3 + 1e-3
