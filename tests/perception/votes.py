"""Votes, people and fused hands for the tests of fusion, and eq. 1 spelled out."""

from __future__ import annotations

import numpy as np

from whim.conventions import Side
from whim.perception.fusion import FusionConfig, fuse
from whim.perception.types import HandVote, Person

KEEP_ALL = FusionConfig(min_score=0)
MEDIAPIPE, OPENPOSE, CONTACT = "mediapipe", "openpose", "contacthands"
DETECTORS = (MEDIAPIPE, OPENPOSE, CONTACT)


def vote(detector, box, score=0.6, side=Side.UNKNOWN, side_score=None, keypoints=None, person=-1):
    known = side is not Side.UNKNOWN
    return HandVote(
        box=np.array(box, dtype=np.float64),
        score=score,
        detector=detector,
        implementation=f"{detector}-stub",
        side=side,
        side_score=(1.0 if known else 0.0) if side_score is None else side_score,
        keypoints=keypoints,
        keypoint_scores=None if keypoints is None else np.full(21, score),
        person=person,
    )


def keypoints_in(box, seed=0):
    """A hand-like cloud inside a box: the same shape in every box for one seed."""
    low, high = np.array(box[:2], dtype=float), np.array(box[2:], dtype=float)
    return low + (high - low) * np.random.default_rng(seed).integers(8, 56, (21, 2)) / 64


def person(box, score=0.9):
    return Person(box=np.array(box, dtype=np.float64), score=score, detector="vitpose", implementation="stub")


PEOPLE = (person([0, 0, 80, 160]), person([60, 20, 200, 200]))


def fuse_all(votes, persons=(), config=KEEP_ALL, weights=None, detectors_run=3):
    return fuse(votes, persons, config, weights=weights, detectors_run=detectors_run)


def eq1(votes, weights):
    """Eq. 1 spelled out: the reference beside ``weighted_box``."""
    sums, total = [0.0] * 4, 0.0
    for one in votes:
        confidence = weights.get(one.detector, 1.0) * one.score
        total += confidence
        for k in range(4):
            sums[k] += confidence * float(one.box[k])
    if total == 0:
        return [sum(float(one.box[k]) for one in votes) / len(votes) for k in range(4)]
    return [value / total for value in sums]


def plain(hands):
    """Hands as nested tuples that compare exactly."""
    return [
        (
            tuple(hand.box),
            hand.side,
            hand.side_score,
            hand.score,
            None if hand.keypoints is None else tuple(hand.keypoints.ravel()),
            hand.person,
            tuple((one.detector, one.score, tuple(one.box), one.side, one.person) for one in hand.votes),
            hand.agreement,
        )
        for hand in hands
    ]
