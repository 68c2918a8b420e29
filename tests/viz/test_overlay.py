"""Labels drawn on pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from shards.factories import make_hand, make_row

from whim.conventions import Side
from whim.viz.overlay import SIDE_COLOURS, draw_labels


def grey(width: int = 640, height: int = 360) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def row_of(
    side: Side, box: list[float], vote: list[float] | None = None, keypoints: bool = False
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    hand = make_hand(rng, side=side, detectors=["mediapipe"], keypoints=keypoints)
    votes = (replace(hand.votes[0], box=np.array(vote if vote else box)),)
    hand = replace(hand, box=np.array(box), votes=votes)
    return make_row(rng, width=640, height=360, hands=[hand])


@pytest.mark.parametrize("side", list(Side))
def test_the_fused_box_has_the_colour_of_its_side(side: Side) -> None:
    picture = draw_labels(grey(), row_of(side, [100, 100, 200, 180]), longest=640)
    for x, y in ((100, 140), (200, 140), (150, 180)):
        near = picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(int)
        assert np.abs(near - SIDE_COLOURS[side]).sum(axis=1).min() < 60
    assert (picture[140, 150] == 128).all(), "the inside stays free"


def test_the_given_picture_stays_as_it_was() -> None:
    image = grey()
    draw_labels(image, row_of(Side.LEFT, [100, 100, 200, 180], keypoints=True), longest=640)
    assert (image == 128).all()


def test_boxes_scale_with_the_picture_and_lines_do_not() -> None:
    row = row_of(Side.RIGHT, [160, 80, 480, 280])
    small = draw_labels(grey(), row, longest=320)
    assert small.shape == (180, 320, 3)
    line = np.abs(small[60, :, :].astype(int) - SIDE_COLOURS[Side.RIGHT]).sum(axis=1) < 90
    assert set(np.flatnonzero(line)) <= {*range(77, 83), *range(237, 243)}
    assert 2 <= line[:160].sum() <= 3


def test_votes_are_drawn_and_can_be_left_out() -> None:
    row = row_of(Side.LEFT, [100, 100, 200, 180], vote=[300, 200, 400, 300])
    image = grey()
    assert (draw_labels(image, row, longest=640)[190:310, 290:410] != 128).any()
    assert (draw_labels(image, row, longest=640, votes=False)[190:310, 290:410] == 128).all()


def test_hands_at_and_beyond_the_edge_do_not_fail() -> None:
    for box in ([-50, -40, 30, 20], [600, 340, 700, 400], [0, 0, 640, 360], [5, 5, 5, 5]):
        picture = draw_labels(grey(), row_of(Side.RIGHT, box, keypoints=True), longest=640)
        assert (picture != 128).any()


def test_a_frame_without_hands_is_only_scaled() -> None:
    row = make_row(np.random.default_rng(0), hands=[])
    assert (draw_labels(grey(), row, longest=100) == 128).all()
    assert draw_labels(grey(), row, longest=4000).shape == (360, 640, 3), "never enlarged"
