"""Tracks and sides of the hands of a segment."""

from __future__ import annotations

import numpy as np
import pytest

from whim.annotate.sides import body_side, decide_sides
from whim.annotate.tracks import link_hands
from whim.conventions import Side
from whim.perception.types import Hand, HandVote, Person

LEFT, RIGHT, UNKNOWN = Side.LEFT, Side.RIGHT, Side.UNKNOWN


def hand(x: float, side: Side = UNKNOWN, score: float = 0.9, *, size: float = 40, person: int = -1) -> Hand:
    box = np.array([x, 100.0, x + size, 100 + size])
    vote = HandVote(
        box=box, score=0.9, detector="mediapipe", implementation="test", side=side, side_score=score
    )
    return Hand(
        box=box,
        side=side,
        side_score=1.0,
        score=0.9,
        keypoints=None,
        keypoint_scores=None,
        person=person,
        votes=(vote,),
        agreement=1.0,
    )


def person(left: tuple[float, float, float], right: tuple[float, float, float]) -> Person:
    return Person(
        box=np.array([0.0, 0, 300, 300]),
        score=0.9,
        detector="vitpose",
        implementation="test",
        wrists=np.array([left, right]),
    )


def times(count: int) -> list[float]:
    return [0.2 * index for index in range(count)]


def test_two_hands_that_move_keep_their_tracks_in_any_order() -> None:
    frames = [[hand(0 + 15 * i), hand(200 - 15 * i)][:: 1 if i % 2 else -1] for i in range(5)]
    links = link_hands(frames, times(5))
    by_place = [sorted(zip(numbers, [h.box[0] for h in found], strict=True), key=lambda p: p[1])
                for numbers, found in zip(links, frames, strict=True)]  # fmt: skip
    assert len({tuple(number for number, _ in row) for row in by_place}) == 1


def test_a_jump_a_gap_and_a_change_of_size_end_a_track() -> None:
    assert link_hands([[hand(0)], [hand(90)]], [0.0, 0.2]) == [[0], [1]]
    assert link_hands([[hand(0)], [], [hand(0)]], [0.0, 0.2, 0.4]) == [[0], [], [0]]
    assert link_hands([[hand(0)], [hand(0)]], [0.0, 0.7]) == [[0], [1]]
    assert link_hands([[hand(0)], [hand(0, size=80)]], [0.0, 0.2]) == [[0], [1]]
    assert link_hands([], []) == []


def test_hands_close_together_are_told_apart_by_their_sides() -> None:
    before = [hand(100, LEFT), hand(120, RIGHT)]
    after = [hand(112, LEFT), hand(108, RIGHT)]
    assert link_hands([before, after], [0.0, 0.2]) == [[0, 1], [0, 1]]


def test_one_wrong_frame_is_put_right_by_its_track() -> None:
    frames = [[hand(5 * i, LEFT if i == 2 else RIGHT, 0.8)] for i in range(5)]
    decided = decide_sides(frames, [[]] * 5, times(5))
    assert [found[0].side for found in decided] == [RIGHT] * 5
    assert 0.5 < decided[2][0].side_score < decided[0][0].side_score < 1.0
    assert decided[2][0].votes[0].side == LEFT  # what was said stays on record


def test_silence_stays_unknown_and_the_track_speaks_for_it() -> None:
    alone = decide_sides([[hand(0)]], [[]], [0.0])[0][0]
    assert (alone.side, alone.side_score) == (UNKNOWN, 0.0)
    decided = decide_sides([[hand(0, LEFT)], [hand(0)]], [[], []], [0.0, 0.2])
    assert decided[1][0].side == LEFT


def test_a_doubtful_arm_is_no_vote_for_the_other_side() -> None:
    assert decide_sides([[hand(0, LEFT, 0.25)]], [[]], [0.0])[0][0].side == UNKNOWN


def test_the_wrist_at_the_hand_tells_its_side() -> None:
    near, far = (20.0, 140.0, 0.9), (220.0, 140.0, 0.9)
    owned = hand(0, person=0)
    assert body_side(owned, [person(near, far)]) == LEFT
    assert body_side(owned, [person(far, near)]) == RIGHT
    assert decide_sides([[owned]], [[person(far, near)]], [0.0])[0][0].side == RIGHT


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((220, 140, 0.9), (240, 140, 0.9)),  # both far
        ((20, 140, 0.9), (24, 140, 0.9)),  # both near
        ((20, 140, 0.2), (24, 300, 0.2)),  # neither seen
    ],
)
def test_wrists_that_do_not_tell(left: tuple, right: tuple) -> None:
    assert body_side(hand(0, person=0), [person(left, right)]) == UNKNOWN


def test_nobody_and_somebody_without_wrists_do_not_tell() -> None:
    boxed = Person(box=np.zeros(4), score=1.0, detector="vitpose", implementation="test")
    assert body_side(hand(0), []) == body_side(hand(0, person=0), [boxed]) == UNKNOWN


def test_nobody_has_two_left_hands() -> None:
    sure, unsure = hand(0, LEFT, 0.95, person=0), hand(200, LEFT, 0.7, person=0)
    people = [person((0, 0, 0), (0, 0, 0))]
    first, second = decide_sides([[sure, unsure]], [people], [0.0])[0]
    assert (first.side, second.side) == (LEFT, RIGHT)
    assert 0.5 < second.side_score < 0.97
    # Both sure: then they are not one person's. Nor are hands of two people, or three in one box.
    both = [hand(0, LEFT, 0.98, person=0), hand(200, LEFT, 0.98, person=0)]
    assert [h.side for h in decide_sides([both], [people], [0.0])[0]] == [LEFT, LEFT]
    two = [hand(0, LEFT, 0.9, person=0), hand(200, LEFT, 0.7, person=1)]
    assert [h.side for h in decide_sides([two], [people * 2], [0.0])[0]] == [LEFT, LEFT]
    three = [*two[:1], hand(200, LEFT, 0.7, person=0), hand(400, LEFT, 0.7, person=0)]
    assert [h.side for h in decide_sides([three], [people], [0.0])[0]] == [LEFT] * 3


def test_the_only_two_hands_of_a_picture_belong_together() -> None:
    pair = [hand(0, RIGHT, 0.9), hand(200, RIGHT, 0.6)]
    assert [h.side for h in decide_sides([pair], [[]], [0.0])[0]] == [RIGHT, LEFT]
    stranger = [person((0, 0, 0), (0, 0, 0))]
    assert [h.side for h in decide_sides([pair], [stranger], [0.0])[0]] == [RIGHT, RIGHT]
