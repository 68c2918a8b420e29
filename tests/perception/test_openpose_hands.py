"""OpenPose's arm rule by hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest

from whim.conventions import BODY_18, Side
from whim.perception.hands.openpose import hand_square, hands_of


def test_square_from_a_straight_arm() -> None:
    # Forearm 100, upper arm 100: side 1.5 * 100, centre 33 beyond the wrist.
    square = hand_square(np.array([300.0, 50.0]), np.array([200.0, 50.0]), np.array([100.0, 50.0]))
    np.testing.assert_allclose(square, [333 - 75, 50 - 75, 333 + 75, 50 + 75])


def test_square_when_the_forearm_is_foreshortened() -> None:
    # Forearm 30, upper arm 100: side 1.5 * 0.9 * 100.
    square = hand_square(np.array([100.0, 230.0]), np.array([100.0, 200.0]), np.array([100.0, 100.0]))
    np.testing.assert_allclose(square, [100 - 67.5, 239.9 - 67.5, 100 + 67.5, 239.9 + 67.5])


def test_square_may_leave_the_picture() -> None:
    assert hand_square(np.array([2.0, 2.0]), np.array([50.0, 50.0]), np.array([90.0, 60.0]))[0] < 0


def body(**joints: tuple[float, float, float]) -> np.ndarray:
    points = np.zeros((18, 3))
    for name, value in joints.items():
        points[BODY_18.index(name)] = value
    return points


def test_side_is_the_arms_and_score_its_worst_joint() -> None:
    person = body(
        left_wrist=(60, 0, 0.9), left_elbow=(30, 0, 0.4), left_shoulder=(0, 0, 0.8),
        right_wrist=(-60, 0, 0.7), right_elbow=(-30, 0, 0.95), right_shoulder=(-5, 0, 0.6),
    )  # fmt: skip
    (left, left_box, left_score), (right, right_box, right_score) = hands_of(person)
    assert (left, right) == (Side.LEFT, Side.RIGHT)
    assert (left_score, right_score) == (0.4, 0.6)
    np.testing.assert_allclose(left_box, [69.9 - 22.5, -22.5, 69.9 + 22.5, 22.5])
    assert right_box[2] < 0 < left_box[0]


@pytest.mark.parametrize("missing", ["wrist", "elbow", "shoulder"])
def test_an_arm_needs_all_three_joints(missing: str) -> None:
    joints = {f"right_{name}": (10.0 * i, 0.0, 0.5) for i, name in enumerate(("shoulder", "elbow", "wrist"))}
    assert len(hands_of(body(**joints))) == 1
    joints[f"right_{missing}"] = (*joints[f"right_{missing}"][:2], 0.03)
    assert hands_of(body(**joints)) == []


def test_a_square_of_ten_pixels_or_less_is_ignored() -> None:
    arm = {
        "left_shoulder": (0, 0, 1.0),
        "left_elbow": (2, 0, 1.0),
        "left_wrist": (4, 0, 1.0),
    }  # side 3: area 9
    assert hands_of(body(**arm)) == []
