"""SSD anchors and codes, the score and box of a pose, merging of people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from whim.perception.people import mediapipe_pose, ssdlite
from whim.perception.people.merge import merge_people
from whim.perception.types import Person


def test_anchors_by_hand() -> None:
    anchors = ssdlite.anchors()
    assert anchors.shape == (1917, 4)
    half = 2**0.5
    # Finest level, first cell: the small square, then 0.2 at 2:1 and 1:2 (centre y, x, height, width).
    centre = 0.5 / 19
    np.testing.assert_allclose(
        anchors[:3],
        [
            (centre, centre, 0.1, 0.1),
            (centre, centre, 0.2 / half, 0.2 * half),
            (centre, centre, 0.2 * half, 0.2 / half),
        ],
    )
    # The next anchors are those of the cell to the right.
    np.testing.assert_allclose(anchors[3, :2], (centre, 1.5 / 19))
    # Second level starts after 19 * 19 * 3 anchors, scale 0.35; its sixth shape is the square between levels.
    np.testing.assert_allclose(anchors[1083], (0.05, 0.05, 0.35, 0.35))
    np.testing.assert_allclose(anchors[1088], (0.05, 0.05, (0.35 * 0.5) ** 0.5, (0.35 * 0.5) ** 0.5))
    # The last level is one cell of scale 0.95, its square towards 1.
    np.testing.assert_allclose(anchors[-6:, :2], 0.5)
    np.testing.assert_allclose(anchors[-1, 2:], 0.95**0.5)


def test_decode_by_hand() -> None:
    prior = np.array([(0.5, 0.4, 0.2, 0.1)])
    np.testing.assert_allclose(ssdlite.decode(np.zeros((1, 4)), prior), [(0.35, 0.4, 0.45, 0.6)])
    # Codes 10, 10: one anchor size further; log 2 times 5: twice the size.
    codes = np.array([(10.0, -10.0, 5 * np.log(2), 0.0)])
    np.testing.assert_allclose(ssdlite.decode(codes, prior), [(0.25, 0.5, 0.35, 0.9)])


def test_pose_score_is_that_of_the_better_end_of_the_trunk() -> None:
    seen = np.zeros(33)
    seen[[11, 12]] = (0.9, 0.7)
    assert mediapipe_pose.pose_score(seen) == pytest.approx(0.8)
    seen[[23, 24]] = (1.0, 0.9)
    assert mediapipe_pose.pose_score(seen) == pytest.approx(0.95)
    seen[:] = 0.0
    seen[0] = 1.0  # a nose alone is nobody
    assert mediapipe_pose.pose_score(seen) == 0.0


def test_pose_box_is_around_seen_landmarks_only() -> None:
    points = np.full((33, 2), -500.0)
    seen = np.zeros(33)
    points[[0, 12, 23]] = [(50, 0), (0, 60), (100, 200)]
    seen[[0, 12, 23]] = 0.9
    box = mediapipe_pose.pose_box(points, seen)
    assert box is not None
    assert (box[:2] < (0, 0)).all()
    assert (box[2:] > (100, 200)).all()
    assert (box > -100).all()
    assert mediapipe_pose.pose_box(points, np.where(np.arange(33) == 0, 1.0, 0.0)) is None


def person(box: tuple[float, float, float, float], score: float, detector: str = "a") -> Person:
    return Person(box=np.array(box, dtype=float), score=score, detector=detector, implementation=detector)


def test_merge_keeps_the_better_of_two_boxes_of_one_person() -> None:
    people = [
        person((0, 0, 100, 200), 0.7, "a"),
        person((5, 0, 100, 210), 0.9, "b"),
        person((300, 0, 400, 200), 0.8, "a"),
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        merged = merge_people([people[i] for i in order])
        assert [(p.score, p.detector) for p in merged] == [(0.9, "b"), (0.8, "a")]
    assert merge_people([]) == []


def test_merge_leaves_people_side_by_side() -> None:
    people = [person((0, 0, 100, 200), 0.9), person((60, 0, 160, 200), 0.8)]
    assert len(merge_people(people)) == 2


def test_merge_takes_a_part_inside_a_whole_for_one_person_only_across_detectors() -> None:
    whole, part = person((0, 0, 100, 300), 0.8, "a"), person((10, 0, 90, 120), 0.95, "b")
    assert [p.score for p in merge_people([whole, part])] == [0.95]
    child = person((10, 0, 90, 120), 0.95, "a")  # one detector says these are two people
    assert len(merge_people([whole, child])) == 2


def test_a_box_without_wrists_takes_them_from_its_twin() -> None:
    wrists = np.array([[10.0, 50, 0.9], [90, 50, 0.8]])
    boxed = person((0, 0, 100, 200), 0.9)
    posed = replace(person((2, 0, 100, 190), 0.8, "b"), wrists=wrists)
    other = person((300, 0, 400, 200), 0.7)
    for people in ([boxed, posed, other], [other, posed, boxed]):
        first, second = merge_people(people)
        assert first.score == 0.9
        assert first.wrists is wrists
        assert second.wrists is None
