"""Decoding of part affinity fields on maps painted from known people."""

from __future__ import annotations

import numpy as np
import pytest

from whim.conventions import BODY_18
from whim.perception.hands import paf

ROWS, COLUMNS = 46, 61


def standing(x: float, y: float, size: float) -> np.ndarray:
    """(18, 2) joints of a person facing us, the neck at (x, y), ``size`` cells from neck to hip."""
    places = {
        "nose": (0, -0.3), "neck": (0, 0),
        "right_shoulder": (-0.3, 0.02), "right_elbow": (-0.6, 0.4), "right_wrist": (-0.7, 0.85),
        "left_shoulder": (0.3, 0.02), "left_elbow": (0.6, 0.4), "left_wrist": (0.7, 0.85),
        "right_hip": (-0.2, 1.0), "right_knee": (-0.22, 1.6), "right_ankle": (-0.22, 2.2),
        "left_hip": (0.2, 1.0), "left_knee": (0.22, 1.6), "left_ankle": (0.22, 2.2),
        "right_eye": (-0.08, -0.4), "left_eye": (0.08, -0.4),
        "right_ear": (-0.16, -0.36), "left_ear": (0.16, -0.36),
    }  # fmt: skip
    return np.array([(x + size * places[name][0], y + size * places[name][1]) for name in BODY_18])


def paint(people: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Heat maps and fields as the network is trained to give them."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    heat = np.zeros((ROWS, COLUMNS, 19), np.float32)
    fields = np.zeros((ROWS, COLUMNS, 38), np.float32)
    for joints in people:
        for kind, (jx, jy) in enumerate(joints):
            bump = np.exp(-((x - jx) ** 2 + (y - jy) ** 2) / 2)
            heat[..., kind] = np.maximum(heat[..., kind], bump)
        for first, second, channel in paf.LIMBS:
            along = joints[second] - joints[first]
            length = np.linalg.norm(along)
            unit = along / length
            t = (x - joints[first, 0]) * unit[0] + (y - joints[first, 1]) * unit[1]
            across = np.abs((x - joints[first, 0]) * unit[1] - (y - joints[first, 1]) * unit[0])
            fields[(across < 1) & (t > -0.5) & (t < length + 0.5), channel : channel + 2] = unit
    return heat, fields


def test_the_limb_table_is_a_tree_from_the_neck_with_every_field_once() -> None:
    reached = {BODY_18.index("neck")}
    for first, second, _ in paf.LIMBS:
        assert first in reached
        assert second not in reached
        reached.add(second)
    assert reached == set(range(18))
    channels = [channel for *_, channel in paf.LIMBS]
    # 18 and 26 are the ear-to-shoulder fields.
    assert sorted([*channels, 18, 26]) == list(range(0, 38, 2))


def test_peaks_are_found_between_cells() -> None:
    y, x = np.mgrid[:20, :30]
    heat = np.zeros((20, 30, 2), np.float32)
    for px, py, height in ((7.3, 5.6, 0.9), (20.0, 14.25, 0.6), (29.0, 0.0, 0.5), (3.0, 17.0, 0.05)):
        heat[..., 1] += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2).astype(np.float32)
    empty, peaks = paf.find_peaks(heat)
    assert empty.shape == (0, 3)
    np.testing.assert_allclose(peaks[:, :2], [(7.3, 5.6), (20.0, 14.25), (29.0, 0.0)], atol=0.12)
    assert (np.diff(peaks[:, 2]) < 0).all()


def test_line_integral_follows_the_field() -> None:
    field = np.zeros((20, 40, 2), np.float32)
    field[5, 4:15, 0] = 1.0  # a horizontal limb from (4, 5) to (14, 5)
    start, end = np.array([(4.0, 5.0), (4.0, 12.0)]), np.array([(14.0, 5.0), (14.0, 12.0)])
    scores = paf.score_limbs(start, end, field)
    np.testing.assert_allclose(scores, [[1.0, 0.0], [0.0, 0.0]])
    # The field has a direction: the same limb backwards has no support.
    np.testing.assert_allclose(paf.score_limbs(end, start, field), np.zeros((2, 2)))
    # A limb of length 25 in a picture of 20 rows is taxed by 10 / 25 - 1.
    field[5] = (1.0, 0.0)
    long = paf.score_limbs(np.array([(2.0, 5.0)]), np.array([(27.0, 5.0)]), field)
    np.testing.assert_allclose(long, [[1.0 - 0.6]], rtol=1e-6)


def test_match_takes_the_best_first_and_each_end_once() -> None:
    scores = np.array([[0.9, 0.8, 0.0], [0.85, 0.1, -0.2]])
    assert paf.match(scores) == [(0, 0), (1, 1)]
    assert paf.match(np.zeros((2, 0))) == []


def test_one_person() -> None:
    joints = standing(30.0, 10.0, 12.0)
    (body,) = paf.decode_people(*paint([joints]))
    np.testing.assert_allclose(body[:, :2], joints, atol=0.5)
    assert (body[:, 2] > 0.7).all()


def test_two_people_with_crossing_arms_keep_their_own_hands() -> None:
    left, right = standing(20.0, 12.0, 12.0), standing(40.0, 12.0, 12.0)
    elbow, wrist = BODY_18.index("left_elbow"), BODY_18.index("left_wrist")
    left[elbow], left[wrist] = (28.0, 18.0), (38.0, 24.0)
    elbow, wrist = BODY_18.index("right_elbow"), BODY_18.index("right_wrist")
    right[elbow], right[wrist] = (32.0, 18.0), (24.0, 26.0)
    bodies = paf.decode_people(*paint([left, right]))
    assert len(bodies) == 2
    bodies.sort(key=lambda body: body[1, 0])
    for body, joints in zip(bodies, (left, right), strict=True):
        np.testing.assert_allclose(body[:, :2], joints, atol=0.6)


def test_missing_joints_are_zeros_and_stray_joints_are_nobody() -> None:
    joints = standing(30.0, 10.0, 12.0)
    heat, fields = paint([joints])
    wrist = BODY_18.index("left_wrist")
    heat[..., wrist] = 0.0
    heat[40, 5, BODY_18.index("nose")] = 0.9
    (body,) = paf.decode_people(heat, fields)
    np.testing.assert_array_equal(body[wrist], 0.0)
    assert paf.decode_people(np.zeros_like(heat), np.zeros_like(fields)) == []


@pytest.mark.parametrize("flip", [False, True])
def test_mirroring_the_maps_and_names_mirrors_the_people(flip: bool) -> None:
    joints = standing(22.0, 10.0, 11.0)
    if flip:
        joints[:, 0] = COLUMNS - 1 - joints[:, 0]
        swap = [
            BODY_18.index(n.replace("left", "?").replace("right", "left").replace("?", "right"))
            for n in BODY_18
        ]
        joints = joints[swap]
    (body,) = paf.decode_people(*paint([joints]))
    np.testing.assert_allclose(body[:, :2], joints, atol=0.5)
