"""Left hands: every quantity against a left model built without the mirror's code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from whim.conventions import Side
from whim.hands import kinematics, mirror
from whim.hands.model import HandModel

FLIP = np.diag([-1.0, 1.0, 1.0])


def signed_volume(points: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6.0)


@pytest.fixture
def left_model(open_hand: HandModel) -> HandModel:
    """The mirrored mesh as a model of its own, with pose blend shapes of the left hand."""
    return replace(
        open_hand,
        v_template=open_hand.v_template @ FLIP,
        shapedirs=np.einsum("ij,vjk->vik", FLIP, open_hand.shapedirs),
        faces=open_hand.faces[:, ::-1],
    )


def test_left_hands_equal_a_left_model(open_hand: HandModel, left_model: HandModel, random_hands) -> None:
    hands = random_hands(8)
    for function in (kinematics.keypoints, kinematics.vertices):
        expected = function(left_model, *hands)
        np.testing.assert_allclose(function(open_hand, *hands, Side.LEFT), expected, atol=1e-12)


def test_the_mirror_of_a_hand_is_the_hand_of_mirrored_parameters(open_hand: HandModel, random_hands) -> None:
    betas, pose, orient, shift = random_hands(8)
    mirrored = (betas, mirror.mirror_pose(pose), mirror.mirror_pose(orient), mirror.mirror_translation(shift))
    for function in (kinematics.keypoints, kinematics.vertices):
        right = function(open_hand, betas, pose, orient, shift, Side.RIGHT)
        np.testing.assert_allclose(
            function(open_hand, *mirrored, Side.LEFT), mirror.mirror_points(right), atol=1e-12
        )


def test_sides_may_be_mixed_in_a_batch(open_hand: HandModel, random_hands) -> None:
    hands = random_hands(4)
    sides = np.array([Side.LEFT, Side.RIGHT, Side.RIGHT, Side.LEFT])
    for function in (kinematics.keypoints, kinematics.vertices):
        mixed = function(open_hand, *hands, sides)
        left, right = function(open_hand, *hands, Side.LEFT), function(open_hand, *hands)
        np.testing.assert_array_equal(mixed, np.where((sides == Side.LEFT)[:, None, None], left, right))


@pytest.mark.parametrize("side", [Side.UNKNOWN, np.array([1, -1]), np.array([0, 2])])
def test_an_unknown_side_is_refused(open_hand: HandModel, random_hands, side) -> None:
    with pytest.raises(ValueError, match="needs a side"):
        kinematics.keypoints(open_hand, *random_hands(2), side)


def test_normals_point_outwards_on_both_sides(open_hand: HandModel, random_hands) -> None:
    betas, pose, orient, shift = random_hands(4)
    hands = (betas, 0.2 * pose, orient, shift)
    for right, left in zip(
        kinematics.vertices(open_hand, *hands), kinematics.vertices(open_hand, *hands, Side.LEFT), strict=True
    ):
        volume = signed_volume(right, open_hand.faces_closed)
        assert volume > 1e-4  # a hand has some 0.3 litres
        mirrored_faces = mirror.mirror_faces(open_hand.faces_closed)
        assert signed_volume(left, mirrored_faces) > 1e-4
        assert signed_volume(left, open_hand.faces_closed) < 0.0


def test_rotations_mirror_as_their_axis_angles() -> None:
    vectors = np.random.default_rng(1).normal(size=(30, 3))
    found = mirror.mirror_rotations(kinematics.rotation_from_axis_angle(vectors))
    expected = kinematics.rotation_from_axis_angle(mirror.mirror_pose(vectors))
    np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_allclose(found, FLIP @ kinematics.rotation_from_axis_angle(vectors) @ FLIP, atol=1e-14)


def test_twice_mirrored_is_unchanged() -> None:
    rng = np.random.default_rng(2)
    points, matrices, faces = rng.normal(size=(5, 3)), rng.normal(size=(5, 3, 3)), rng.integers(0, 9, (6, 3))
    for function in (mirror.mirror_points, mirror.mirror_pose, mirror.mirror_translation):
        np.testing.assert_array_equal(function(function(points)), points)
        assert not np.array_equal(function(points), points)
    np.testing.assert_array_equal(mirror.mirror_rotations(mirror.mirror_rotations(matrices)), matrices)
    np.testing.assert_array_equal(mirror.mirror_faces(mirror.mirror_faces(faces)), faces)


def test_pixels_mirror_in_the_flipped_picture() -> None:
    picture = np.zeros((4, 7), dtype=np.uint8)
    picture[1, 2] = 1
    centre = np.array([[2.5, 1.5]])  # of the pixel in column 2
    flipped = mirror.mirror_keypoints_2d(centre, 7)
    row, column = int(flipped[0, 1]), int(flipped[0, 0])
    assert picture[:, ::-1][row, column] == 1
    np.testing.assert_array_equal(mirror.mirror_keypoints_2d(flipped, 7), centre)
    np.testing.assert_array_equal(centre, [[2.5, 1.5]])  # the argument is left alone


def test_a_projected_left_hand_is_the_flipped_picture_of_a_right_hand(
    open_hand: HandModel, random_hands
) -> None:
    betas, pose, orient, shift = random_hands(3)
    shift = shift + np.array([0.0, 0.0, 2.0])
    width, focal = 640.0, 500.0

    def project(points: np.ndarray) -> np.ndarray:
        return focal * points[..., :2] / points[..., 2:] + (width / 2, 240.0)

    right = kinematics.keypoints(open_hand, betas, pose, orient, shift)
    mirrored = (betas, mirror.mirror_pose(pose), mirror.mirror_pose(orient), mirror.mirror_translation(shift))
    left = kinematics.keypoints(open_hand, *mirrored, Side.LEFT)
    np.testing.assert_allclose(project(left), mirror.mirror_keypoints_2d(project(right), width), atol=1e-9)
