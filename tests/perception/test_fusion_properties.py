"""Fusion: properties that hold for any votes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perception.votes import DETECTORS, KEEP_ALL, MEDIAPIPE, PEOPLE, eq1, fuse_all, keypoints_in, plain, vote

from whim.conventions import Side
from whim.geometry import boxes as bx
from whim.perception.fusion import affinity

# Coordinates in quarters: scaling by 4 and moving by whole pixels is exact, so that no threshold flips.
quarter = st.integers(0, 400).map(lambda n: n / 4)
extent = st.integers(32, 240).map(lambda n: n / 4)
share = st.integers(0, 64).map(lambda n: n / 64)


@st.composite
def one_vote(draw):
    x, y, width, height = draw(quarter), draw(quarter), draw(extent), draw(extent)
    box = [x, y, x + width, y + height]
    side = draw(st.sampled_from(Side))
    return vote(
        draw(st.sampled_from(DETECTORS)),
        box,
        draw(share),
        side,
        None if side is Side.UNKNOWN else draw(share),
        draw(st.none() | st.integers(0, 3).map(lambda seed: keypoints_in(box, seed))),
        draw(st.integers(-1, 1)),
    )


any_votes = st.lists(one_vote(), max_size=9)
any_weights = st.fixed_dictionaries(dict.fromkeys(DETECTORS, share))
everything = settings(derandomize=True, max_examples=60, deadline=None)


@everything
@given(any_votes, any_weights)
def test_boxes_are_eq1_inside_the_hull_of_their_votes(votes, weights):
    for hand in fuse_all(votes, weights=weights):
        boxes = np.stack([one.box for one in hand.votes])
        assert hand.box == pytest.approx(eq1(hand.votes, weights), abs=1e-9)
        assert (hand.box >= boxes.min(axis=0) - 1e-9).all()
        assert (hand.box <= boxes.max(axis=0) + 1e-9).all()


@everything
@given(any_votes, any_weights)
def test_hands_are_well_formed(votes, weights):
    hands = fuse_all(votes, PEOPLE, weights=weights)
    used = [id(one) for hand in hands for one in hand.votes]
    assert len(used) == len(set(used))
    assert [hand.score for hand in hands] == sorted((hand.score for hand in hands), reverse=True)
    for hand in hands:
        detectors = [one.detector for one in hand.votes]
        assert len(detectors) == len(set(detectors)) > 0
        assert 0 <= hand.score <= 1
        assert 0 <= hand.agreement <= len(hand.votes) / 3 + 1e-12
        assert 0 <= hand.side_score <= 1
        assert (hand.side is Side.UNKNOWN) == (hand.side_score == 0)
        assert -1 <= hand.person < len(PEOPLE)
        overlap = bx.iou(hand.box, np.stack([one.box for one in hand.votes])).mean()
        assert hand.agreement == pytest.approx(overlap * len(hand.votes) / 3)


@everything
@given(any_votes, any_weights, st.randoms(use_true_random=False))
def test_order_of_votes_does_not_matter(votes, weights, shuffler: random.Random):
    mixed = list(votes)
    shuffler.shuffle(mixed)
    assert plain(fuse_all(mixed, PEOPLE, weights=weights)) == plain(fuse_all(votes, PEOPLE, weights=weights))


@everything
@given(any_votes, st.sampled_from([0.25, 4.0]), st.integers(-300, 300), st.integers(-300, 300))
def test_moves_and_scales_with_the_picture(votes, scale, dx, dy):
    shift = np.array([dx, dy, dx, dy], dtype=np.float64)

    def moved(box):
        return box * scale + shift

    votes_there = [
        replace(
            one,
            box=moved(one.box),
            keypoints=None if one.keypoints is None else one.keypoints * scale + shift[:2],
        )
        for one in votes
    ]
    people_there = [replace(one, box=moved(one.box)) for one in PEOPLE]
    here, there = fuse_all(votes, PEOPLE), fuse_all(votes_there, people_there)
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        assert b.box == pytest.approx(moved(a.box), abs=1e-6)
        assert (a.side, a.score, a.person, len(a.votes)) == (b.side, b.score, b.person, len(b.votes))
        assert a.agreement == pytest.approx(b.agreement, abs=1e-9)


@everything
@given(any_votes)
def test_votes_of_fused_hands_fuse_to_the_same_hands(votes):
    hands = fuse_all(votes, PEOPLE)
    again = fuse_all([one for hand in hands for one in hand.votes], PEOPLE)
    assert plain(again) == plain(hands)


@everything
@given(any_votes)
def test_fused_boxes_as_votes_of_one_detector_stay(votes):
    hands = fuse_all(votes)
    as_votes = [
        vote(MEDIAPIPE, hand.box, hand.score, hand.side, hand.side_score, hand.keypoints) for hand in hands
    ]
    assert [tuple(hand.box) for hand in fuse_all(as_votes)] == [tuple(hand.box) for hand in hands]


@everything
@given(one_vote(), one_vote())
def test_affinity_is_symmetric_and_one_with_itself(a, b):
    assert affinity(a, b, KEEP_ALL) == affinity(b, a, KEEP_ALL)
    assert 0 <= affinity(a, b, KEEP_ALL) <= 1
    assert affinity(a, a, KEEP_ALL) == 1
