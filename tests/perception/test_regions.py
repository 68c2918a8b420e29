"""Crops around people: geometry, the way back to the frame, and which detector looks where."""

from __future__ import annotations

import numpy as np
import pytest

from whim.conventions import Side
from whim.perception.regions import Crop, detect_hands, person_crop, person_crops
from whim.perception.registry import BuiltHands
from whim.perception.types import HandVote, Person

WIDTH, HEIGHT = 641, 357


def person(*box: float) -> Person:
    return Person(box=np.array(box, dtype=float), score=0.9, detector="a", implementation="a")


class MarkDetector:
    """Finds the red rectangle in a picture: a hand whose place is known."""

    detector = "mark"
    implementation = "mark"

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.closed = 0

    def detect(self, image: np.ndarray) -> list[HandVote]:
        assert image.flags.c_contiguous
        self.sizes.append((image.shape[1], image.shape[0]))
        y, x = np.nonzero(image[..., 0] == 255)
        if not len(x):
            return []
        box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], dtype=float)
        keypoints = np.linspace(box[:2], box[2:], 21)
        return [
            HandVote(
                box=box,
                score=0.5,
                detector="mark",
                implementation="mark",
                side=Side.LEFT,
                keypoints=keypoints,
            )
        ]

    def close(self) -> None:
        self.closed += 1


def built(*regions: str) -> tuple[BuiltHands, MarkDetector]:
    detector = MarkDetector()
    return BuiltHands((detector,), (regions,), {"mark": 1.0}), detector  # type: ignore[arg-type]


def frame_with_hand(*box: int) -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2], 0] = 255
    return image


@pytest.mark.parametrize(
    "box", [(100.0, 50.0, 300.5, 200.25), (-80.0, -20.0, 120.0, 150.0), (500.0, 200.0, 900.0, 700.0)]
)
def test_votes_come_back_to_frame_pixels(box: tuple[float, ...]) -> None:
    """Also when the person is partly outside the frame: the hand is found where it was drawn."""
    hand = (505, 210, 530, 240) if box[0] > 400 else (104, 60, 119, 99)
    hands, detector = built("persons")
    (vote,) = detect_hands(frame_with_hand(*hand), [person(0, 0, 5, 5), person(*box)], hands)
    np.testing.assert_array_equal(vote.box, hand)
    assert vote.keypoints is not None
    np.testing.assert_allclose(vote.keypoints[[0, -1]].ravel(), hand)
    assert vote.person == 1
    assert vote.side is Side.LEFT
    assert len(detector.sizes) == 1  # the person of 5 x 5 pixels was not searched


def test_crop_is_padded_clipped_and_whole_pixels() -> None:
    assert person_crop(np.array([100.0, 50.0, 200.0, 250.0]), 3, 640, 360) == Crop(90, 30, 210, 270, 3)
    assert person_crop(np.array([-50.0, 10.3, 100.7, 390.0]), 0, 640, 360) == Crop(0, 0, 116, 360, 0)
    assert person_crop(np.array([100.0, 50.0, 130.0, 250.0]), 0, 640, 360) is None  # 36 pixels wide
    assert person_crop(np.array([100.0, 50.0, 140.0, 250.0]), 0, 640, 360) == Crop(96, 30, 144, 270, 0)
    assert person_crop(np.array([700.0, 50.0, 900.0, 250.0]), 0, 640, 360) is None  # outside


def test_crop_cuts_what_it_says() -> None:
    image = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint32).astype(np.uint8).reshape(HEIGHT, WIDTH, 3)
    crop = Crop(3, 7, 60, 101, 0)
    np.testing.assert_array_equal(crop.cut(image), image[7:101, 3:60])


def test_a_crop_nearly_as_large_as_the_frame_is_searched_once() -> None:
    large = person(20, 10, WIDTH - 20, HEIGHT - 5)
    assert person_crops([large], WIDTH, HEIGHT, whole_frame=True) == []
    assert len(person_crops([large], WIDTH, HEIGHT, whole_frame=False)) == 1
    hands, detector = built("frame", "persons")
    detect_hands(frame_with_hand(100, 100, 120, 120), [large], hands)
    assert detector.sizes == [(WIDTH, HEIGHT)]


def test_frame_and_crop_both_vote() -> None:
    hands, _ = built("frame", "persons")
    votes = detect_hands(frame_with_hand(100, 100, 120, 120), [person(80, 60, 180, 200)], hands)
    assert [vote.person for vote in votes] == [-1, 0]
    np.testing.assert_array_equal(votes[0].box, votes[1].box)


def test_each_detector_has_its_own_regions() -> None:
    first, second = MarkDetector(), MarkDetector()
    hands = BuiltHands((first, second), (("frame",), ("persons",)), {})
    detect_hands(frame_with_hand(0, 0, 9, 9), [person(80, 60, 180, 200)], hands)
    assert first.sizes == [(WIDTH, HEIGHT)]
    assert second.sizes == [(120, 168)]


def test_boxes_are_clipped_to_the_frame_and_empty_ones_dropped() -> None:
    class Outside(MarkDetector):
        def detect(self, image: np.ndarray) -> list[HandVote]:
            boxes = [(-30.0, -20.0, 40.0, 60.0), (700.0, 10.0, 800.0, 50.0)]
            return [HandVote(box=np.array(b), score=1.0, detector="o", implementation="o") for b in boxes]

    hands = BuiltHands((Outside(),), (("frame",),), {})
    (vote,) = detect_hands(np.zeros((HEIGHT, WIDTH, 3), np.uint8), [], hands)
    np.testing.assert_array_equal(vote.box, (0, 0, 40, 60))


def test_no_people_and_no_frame_means_no_search() -> None:
    hands, detector = built("persons")
    assert detect_hands(frame_with_hand(0, 0, 9, 9), [], hands) == []
    assert detector.sizes == []
