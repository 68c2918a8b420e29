"""Fusion: cases whose answer is known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from perception.votes import (
    CONTACT,
    DETECTORS,
    KEEP_ALL,
    MEDIAPIPE,
    OPENPOSE,
    PEOPLE,
    eq1,
    fuse_all,
    keypoints_in,
    plain,
    vote,
)

from whim.conventions import Side
from whim.geometry import boxes as bx
from whim.perception.fusion import FusionConfig, affinity, weighted_box

# --- eq. 1, score, side ----------------------------------------------------------------------------------


def test_eq1_by_hand():
    boxes = np.array([[0.0, 0, 10, 10], [4, 4, 14, 14]])
    assert weighted_box(boxes, np.array([0.9, 0.3])).tolist() == pytest.approx([1, 1, 11, 11])
    assert weighted_box(boxes, np.zeros(2)).tolist() == [2, 2, 12, 12]


def test_nothing_gives_nothing():
    assert fuse_all([], PEOPLE) == []


def test_single_vote_is_kept_as_it_is():
    keypoints = keypoints_in([10, 10, 50, 60])
    one = vote(MEDIAPIPE, [10, 10, 50, 60], 0.7, Side.LEFT, 0.8, keypoints)
    (hand,) = fuse_all([one])
    assert hand.box.tolist() == [10, 10, 50, 60]
    assert (hand.side, hand.side_score, hand.person) == (Side.LEFT, 1.0, -1)
    assert hand.score == pytest.approx(0.7)
    assert hand.agreement == pytest.approx(1 / 3)
    assert hand.keypoints is keypoints
    assert [used.box is one.box for used in hand.votes] == [True]


def test_identical_votes_of_all_detectors_agree_fully():
    (hand,) = fuse_all([vote(name, [10, 10, 50, 60]) for name in DETECTORS])
    assert hand.box.tolist() == pytest.approx([10, 10, 50, 60])
    assert hand.agreement == pytest.approx(1.0)
    assert len(hand.votes) == 3


def test_three_voters_rank_above_one_of_the_same_confidence():
    votes = [vote(name, [10, 10, 50, 60]) for name in DETECTORS] + [vote(CONTACT, [200, 10, 240, 60])]
    sure, doubtful = fuse_all(votes)
    assert len(sure.votes) == 3
    assert sure.score == pytest.approx(1 - 0.4**3)
    assert doubtful.score == pytest.approx(0.6)


def test_weight_zero_takes_a_detector_out_of_box_score_and_side():
    votes = [
        vote(MEDIAPIPE, [10, 10, 50, 50], 0.5, Side.LEFT),
        vote(OPENPOSE, [14, 14, 54, 54], 1.0, Side.RIGHT),
    ]
    (hand,) = fuse_all(votes, weights={OPENPOSE: 0.0})
    assert hand.box.tolist() == [10, 10, 50, 50]
    assert (hand.side, hand.side_score) == (Side.LEFT, 1.0)
    assert hand.score == pytest.approx(0.5)
    assert len(hand.votes) == 2


def test_all_weights_zero():
    votes = [
        vote(MEDIAPIPE, [10, 10, 50, 50], side=Side.LEFT),
        vote(CONTACT, [14, 14, 54, 54]),
    ]
    weights = dict.fromkeys(DETECTORS, 0.0)
    (hand,) = fuse_all(votes, weights=weights)
    assert hand.box.tolist() == [12, 12, 52, 52]
    assert (hand.score, hand.side, hand.side_score) == (0.0, Side.UNKNOWN, 0.0)
    assert fuse_all(votes, config=FusionConfig(), weights=weights) == []


def test_all_scores_zero():
    (hand,) = fuse_all([vote(MEDIAPIPE, [10, 10, 50, 50], 0.0), vote(CONTACT, [14, 14, 54, 54], 0.0)])
    assert hand.box.tolist() == [12, 12, 52, 52]
    assert hand.score == 0.0


def test_weights_turn_the_mean():
    votes = [vote(MEDIAPIPE, [0, 0, 40, 40], 0.8), vote(CONTACT, [8, 8, 48, 48], 0.8)]
    (hand,) = fuse_all(votes, weights={CONTACT: 1 / 3})
    assert hand.box.tolist() == pytest.approx([2, 2, 42, 42])


L, R = Side.LEFT, Side.RIGHT


@pytest.mark.parametrize(
    ("said", "side", "side_score"),
    [
        ([(0.9, L, 0.9), (0.6, R, 0.6)], L, 0.81 / 1.17),
        ([(0.6, L, 0.9), (0.5, R, 0.9), (0.5, R, 0.9)], R, 0.9 / 1.44),
        ([(0.6, L, 0.9), (0.9, R, 0.6)], L, 0.5),  # a tie: the surer voter
        ([(0.6, L, 0.9), (0.6, R, 0.9)], Side.UNKNOWN, 0.0),
        ([(0.6, L, 0.9), (0.9, Side.UNKNOWN, 0.0)], L, 1.0),
        ([(0.6, Side.UNKNOWN, 0.0), (0.9, Side.UNKNOWN, 0.0)], Side.UNKNOWN, 0.0),
        ([(0.6, L, 0.0), (0.9, Side.UNKNOWN, 0.0)], Side.UNKNOWN, 0.0),
    ],
)
def test_left_right_conflict(said, side, side_score):
    votes = [
        vote(name, [10, 10, 50, 50], score, claimed, sure)
        for name, (score, claimed, sure) in zip(DETECTORS, said, strict=False)
    ]
    (hand,) = fuse_all(votes)
    assert hand.side is side
    assert hand.side_score == pytest.approx(side_score)


def test_keypoints_come_from_the_most_trusted_vote_that_has_them():
    box = [10, 10, 50, 50]
    votes = [
        vote(MEDIAPIPE, box, 0.9, keypoints=keypoints_in(box, 1)),
        vote(OPENPOSE, box, 0.8, keypoints=keypoints_in(box, 1) + 1),
        vote(CONTACT, box, 1.0),
    ]
    assert fuse_all(votes)[0].keypoints is votes[0].keypoints
    assert fuse_all(votes, weights={MEDIAPIPE: 0.5})[0].keypoints is votes[1].keypoints


# --- association -----------------------------------------------------------------------------------------


def test_touching_hands_stay_two():
    left, right = [0, 0, 40, 60], [36, 0, 76, 60]
    votes = [vote(name, box) for name in DETECTORS for box in (left, right)]
    hands = fuse_all(votes)
    assert np.allclose(sorted(hand.box.tolist() for hand in hands), [left, right])
    assert [len(hand.votes) for hand in hands] == [3, 3]


def test_crossed_hands_are_told_apart_by_keypoints():
    """Boxes overlap by two thirds; only the keypoints say that there are two hands."""
    left, right = [0, 0, 60, 40], [12, 0, 72, 40]
    apart = [np.linspace([0, 0], [20, 40], 21), np.linspace([72, 0], [52, 40], 21)]
    votes = [
        vote(MEDIAPIPE, left, keypoints=apart[0], side=L),
        vote(MEDIAPIPE, right, keypoints=apart[1], side=R),
    ]
    assert [hand.side for hand in fuse_all(votes)] == [L, R]
    assert len(fuse_all([replace(one, keypoints=None, side=Side.UNKNOWN) for one in votes])) == 1


def test_crossed_squares_are_told_apart_by_side():
    """Arm squares over one another: opposite sides of one detector are two hands, and each finds its own."""
    votes = [
        vote(OPENPOSE, [0, 0, 60, 60], side=L),
        vote(OPENPOSE, [6, 0, 66, 60], side=R),
        vote(MEDIAPIPE, [6, 6, 50, 54], side=R, keypoints=keypoints_in([6, 6, 50, 54])),
    ]
    config = KEEP_ALL.model_copy(update={"side_conflict": 0.4})
    hands = {hand.side: hand for hand in fuse_all(votes, config=config)}
    assert [one.detector for one in hands[R].votes] == [MEDIAPIPE, OPENPOSE]
    assert [one.detector for one in hands[L].votes] == [OPENPOSE]


def test_wide_square_joins_the_hand_in_it():
    """OpenPose's square is twice as wide as the hand: IoU 0.25, yet one hand."""
    hand_box, square = [30, 30, 70, 70], [8, 12, 88, 92]
    assert bx.iou(hand_box, square)[0, 0] < 0.3
    (hand,) = fuse_all([vote(MEDIAPIPE, hand_box), vote(CONTACT, hand_box), vote(OPENPOSE, square)])
    assert len(hand.votes) == 3


def test_wide_squares_of_two_near_hands_join_the_right_ones():
    boxes = {L: [30, 30, 60, 60], R: [70, 30, 100, 60]}
    votes = [vote(MEDIAPIPE, box, side=side) for side, box in boxes.items()]
    votes += [vote(OPENPOSE, bx.expand(box, 0.5), side=side) for side, box in boxes.items()]
    hands = fuse_all(votes)
    assert sorted(hand.side for hand in hands) == [L, R]
    assert all(len({one.side for one in hand.votes}) == 1 and len(hand.votes) == 2 for hand in hands)


def test_a_fingertip_is_not_averaged_into_the_hand():
    (hand,) = fuse_all([vote(MEDIAPIPE, [0, 0, 80, 80], 0.9), vote(CONTACT, [30, 10, 50, 30], 0.6)])
    assert hand.box.tolist() == [0, 0, 80, 80]
    assert len(hand.votes) == 1


def test_assignment_is_the_best_in_sum():
    """Nearest first would pair the two boxes in the middle and leave two hands alone."""
    votes = [
        vote(CONTACT, [0, 0, 40, 40]),
        vote(CONTACT, [30, 0, 70, 40]),
        vote(MEDIAPIPE, [18, 0, 58, 40]),
        vote(MEDIAPIPE, [42, 0, 82, 40]),
    ]
    pairs = {tuple(sorted(one.box[0] for one in hand.votes)) for hand in fuse_all(votes)}
    assert pairs == {(0.0, 18.0), (30.0, 42.0)}


def test_seen_in_frame_and_in_overlapping_crops_is_one_vote():
    keypoints = keypoints_in([100, 100, 140, 150])
    votes = [
        vote(MEDIAPIPE, [100, 100, 140, 150], 0.7, keypoints=keypoints),
        vote(MEDIAPIPE, [101, 100, 141, 151], 0.9, keypoints=keypoints + 1, person=0),
        vote(MEDIAPIPE, [100, 102, 128, 150], 0.6, keypoints=keypoints - 1, person=1),  # cut by its crop
        vote(CONTACT, [100, 101, 140, 150], 0.5),
        vote(CONTACT, [100, 101, 125, 150], 0.4, person=1),
    ]
    (hand,) = fuse_all(votes)
    assert [(one.detector, one.score) for one in hand.votes] == [(CONTACT, 0.5), (MEDIAPIPE, 0.9)]
    assert hand.box.tolist() == pytest.approx(eq1(hand.votes, {}))


def test_duplicates_left_after_fusion_are_dropped():
    """A second square of the same detector on one hand, from another body, joins nothing."""
    votes = [
        vote(MEDIAPIPE, [0, 0, 40, 40], 0.9, side=L),
        vote(OPENPOSE, [0, 0, 40, 40], 0.6, side=L),
        vote(OPENPOSE, [-10, 4, 30, 44], 0.5, side=L),
    ]
    config = KEEP_ALL.model_copy(update={"duplicate": 0.5})
    assert affinity(votes[1], votes[2], config) < 0.5 < affinity(votes[1], votes[1], config)
    assert len(fuse_all(votes, config=config)) == 2
    assert len(fuse_all(votes)) == 1


def test_more_than_two_hands():
    boxes = [[50 * k, 0, 50 * k + 40, 40] for k in range(6)]
    hands = fuse_all([vote(name, box) for box in boxes for name in DETECTORS])
    assert np.allclose(sorted(hand.box.tolist() for hand in hands), boxes)


def test_low_scores_are_dropped():
    config = FusionConfig(min_score=0.5)
    alone, together = [0, 0, 40, 40], [100, 0, 140, 40]
    votes = [vote(MEDIAPIPE, alone, 0.4), vote(MEDIAPIPE, together, 0.4), vote(CONTACT, together, 0.4)]
    assert [hand.box.tolist() for hand in fuse_all(votes, config=config)] == [pytest.approx(together)]


# --- people ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "crop", "expected"),
    [
        ([10, 10, 30, 30], -1, 0),
        ([90, 100, 110, 120], -1, 1),
        ([65, 50, 75, 60], -1, 0),  # in both: the smaller person
        ([65, 50, 75, 60], 1, 1),  # in both: the crop it was found in
        ([10, 10, 30, 30], 1, 0),  # the crop of another person reached here
        ([80, 10, 88, 18], -1, 0),  # just outside the box, as hands are
        ([300, 10, 320, 30], 0, -1),
    ],
)
def test_person(box, crop, expected):
    (hand,) = fuse_all([vote(MEDIAPIPE, box, person=crop)], PEOPLE)
    assert hand.person == expected


# --- broken input ----------------------------------------------------------------------------------------


GOOD = vote(MEDIAPIPE, [10, 10, 50, 50], 0.9, L)


@pytest.mark.parametrize(
    "broken",
    [
        replace(GOOD, box=np.array([np.nan, 10, 50, 50])),
        replace(GOOD, box=np.array([10, 10, np.inf, 50])),
        replace(GOOD, box=np.array([-1e300, -1e300, 1e300, 1e300])),
        replace(GOOD, box=np.array([50.0, 10, 10, 50])),
        replace(GOOD, box=np.array([10.0, 10, 10, 50])),
        replace(GOOD, score=float("nan")),
    ],
)
def test_broken_votes_are_ignored(broken):
    broken = replace(broken, detector=CONTACT)
    with np.errstate(over="ignore"):
        assert fuse_all([broken]) == []
        assert plain(fuse_all([GOOD, broken])) == plain(fuse_all([GOOD]))


def test_broken_parts_of_a_good_vote_are_ignored():
    keypoints = keypoints_in([10, 10, 50, 50])
    keypoints[3, 0] = np.nan
    (hand,) = fuse_all([replace(GOOD, score=1.7, keypoints=keypoints, side_score=float("nan"))])
    assert (hand.score, hand.keypoints, hand.side) == (1.0, None, Side.UNKNOWN)


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="2 detectors"):
        fuse_all([vote(name, [0, 0, 9, 9]) for name in DETECTORS], detectors_run=2)
    for weight in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weights"):
            fuse_all([GOOD], weights={MEDIAPIPE: weight})
