"""Fusion of the detectors' votes into hands (paper, section 3 and eq. 1). Pure functions.

Votes of one detector from the frame and from person crops are first reduced to one vote per hand. Votes of
different detectors are then put together, one per detector and hand, and every group becomes a hand. Nothing
depends on the order in which votes or detectors come: everything is sorted by its content first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from whim.config import Config
from whim.conventions import Side
from whim.geometry import boxes as bx
from whim.perception.types import Floats, Hand, HandVote, Person

PERSON_MARGIN = 0.1
"""A hand may reach out of its person's box by this share of the box's size."""
PERSON_SHARE = 0.5
"""A hand belongs to nobody when less than this share of it lies in the grown box."""


class FusionConfig(Config):
    """How votes become hands. The paper gives eq. 1 alone; the rest is WHIM's."""

    association: float = Field(default=0.25, ge=0, le=1)
    """Votes of two detectors may be one hand when their affinity (see ``affinity``) times the ratio of their
    boxes' sides is at least this. For boxes of one size that is about their IoU."""
    duplicate: float = Field(default=0.45, ge=0, le=1)
    """Two votes of one detector, or two fused hands, above this affinity are one hand: the better is kept."""
    keypoint_distance: float = Field(default=0.6, gt=0)
    """Hands whose keypoints lie apart by this much on average, in sides of the smaller box, are two hands,
    however much their boxes overlap (crossed arms, clasped hands)."""
    side_conflict: float = Field(default=0.5, ge=0, le=1)
    """Factor on the affinity when one vote says left and the other right."""
    min_score: float = Field(default=0.45, ge=0, le=1)
    """Fused hands below this score are dropped. A detector trusted by 0.5 needs 0.9 to be believed alone."""


def fuse(
    votes: Sequence[HandVote],
    persons: Sequence[Person],
    config: FusionConfig,
    *,
    weights: Mapping[str, float] | None = None,
    detectors_run: int,
) -> list[Hand]:
    """Hands of one frame, best score first; any number of them.

    ``weights`` holds a trust factor per detector name, multiplied into the confidence; 1 (the default) is
    eq. 1 as printed, and 0 keeps a detector's votes on record without any influence on box, side and score.
    ``detectors_run`` is the number of detectors asked, whether they voted or not.

    A vote is ignored when its box or score is not finite or its box is empty or inside out; keypoints that
    are not finite are ignored alone. Scores are cut to 0..1.

    Raises:
        ValueError: more detectors voted than were run, or a weight is negative or not finite.
    """
    trust = dict(weights or {})
    if not all(np.isfinite(weight) and weight >= 0 for weight in trust.values()):
        raise ValueError(f"weights must be finite and not negative: {trust}")
    ballots = sorted(
        (_Ballot(vote, trust.get(vote.detector, 1.0)) for vote in map(_clean, votes) if vote is not None),
        key=_Ballot.order,
    )
    voters = {ballot.vote.detector for ballot in ballots}
    if detectors_run < len(voters):
        raise ValueError(f"{detectors_run} detectors were run, but {sorted(voters)} voted")
    groups: list[list[_Ballot]] = []
    for _, of_detector in groupby(ballots, key=lambda ballot: (-ballot.trust, ballot.vote.detector)):
        groups = _associate(groups, _one_per_hand(list(of_detector), config), config)
    hands = [_hand(group, persons, detectors_run) for group in groups]
    hands = sorted((hand for hand in hands if hand.score >= config.min_score), key=_hand_order)
    return _without_duplicates(hands, config)


def weighted_box(boxes: Floats, confidences: Floats) -> Floats:
    """Eq. 1: the mean of boxes (N, 4) weighted by their confidences (N,). All zero: the plain mean."""
    total = confidences.sum()
    if total <= 0:
        return np.asarray(boxes.mean(axis=0))
    return np.asarray((confidences / total) @ boxes)


def affinity(a: HandVote | Hand, b: HandVote | Hand, config: FusionConfig) -> float:
    """How likely two boxes show one hand, 0..1; symmetric, without unit.

    The share of the smaller box that lies in the larger, less the more the centres are apart (in sides of the
    larger box). IoU would not do: a hand cut off at the edge of a crop is the same hand, and OpenPose's
    square is wider than the hand. Keypoints that are apart, and opposite sides, speak against it; where both
    have keypoints, these alone decide.
    """
    p, q = a.box.tolist(), b.box.tolist()  # scalars: called for every pair of a frame's votes
    width, height = min(p[2], q[2]) - max(p[0], q[0]), min(p[3], q[3]) - max(p[1], q[1])
    if width <= 0 or height <= 0:
        return 0.0
    small, large = _areas(a, b)
    apart = math.hypot(p[0] + p[2] - q[0] - q[2], p[1] + p[3] - q[1] - q[3]) / 2 / math.sqrt(large)
    value = width * height / small * max(0.0, 1.0 - apart)
    if a.keypoints is not None and b.keypoints is not None:
        distance = float(np.linalg.norm(a.keypoints - b.keypoints, axis=-1).mean())
        return value if distance < config.keypoint_distance * math.sqrt(small) else 0.0
    if Side.UNKNOWN not in (a.side, b.side) and a.side != b.side:
        value *= config.side_conflict
    return value


def _fit(a: HandVote, b: HandVote, config: FusionConfig) -> float:
    """How well votes of two detectors can be averaged: affinity times the ratio of the boxes' sides.

    A box around a fingertip, or around both hands, lies well in or around the hand but would spoil the mean.
    """
    small, large = _areas(a, b)
    return affinity(a, b, config) * math.sqrt(small / large)


def _areas(a: HandVote | Hand, b: HandVote | Hand) -> tuple[float, float]:
    """Areas of two boxes, the smaller first."""
    first, second = ((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a.box.tolist(), b.box.tolist()))
    return min(first, second), max(first, second)


@dataclass(frozen=True, eq=False)
class _Ballot:
    """A vote and the trust in its detector."""

    vote: HandVote
    trust: float

    @property
    def confidence(self) -> float:
        return self.trust * self.vote.score

    def order(self) -> tuple[object, ...]:
        """By content alone: trusted detectors first, better votes first; equal keys are equal votes."""
        vote = self.vote
        keypoints = () if vote.keypoints is None else tuple(vote.keypoints.ravel())
        return (
            *(-self.trust, vote.detector, -vote.score, *vote.box),
            *(vote.side, -vote.side_score, vote.person, vote.implementation, *keypoints),
        )


def _clean(vote: HandVote) -> HandVote | None:
    """The vote with its score in 0..1 and without broken keypoints; None when it cannot count."""
    if not (np.isfinite(vote.box).all() and np.isfinite(vote.score) and 0 < bx.area(vote.box) < np.inf):
        return None
    cleaned = replace(vote, score=float(np.clip(vote.score, 0.0, 1.0)))
    if vote.keypoints is not None and not np.isfinite(vote.keypoints).all():
        cleaned = replace(cleaned, keypoints=None, keypoint_scores=None, world=None)
    if not np.isfinite(vote.side_score):
        cleaned = replace(cleaned, side=Side.UNKNOWN, side_score=0.0)
    return cleaned


def _one_per_hand(ballots: list[_Ballot], config: FusionConfig) -> list[_Ballot]:
    """One detector's votes, best first: a hand seen in several regions is one vote, the best of them."""
    kept: list[_Ballot] = []
    for ballot in ballots:
        if all(affinity(ballot.vote, other.vote, config) < config.duplicate for other in kept):
            kept.append(ballot)
    return kept


def _associate(
    groups: list[list[_Ballot]], ballots: list[_Ballot], config: FusionConfig
) -> list[list[_Ballot]]:
    """Add one detector's votes to the groups so that the sum of affinities is largest (Hungarian).

    The affinity of a vote to a group is the mean over its members. Votes that fit nowhere start new groups.
    """
    values = np.array(
        [
            [np.mean([_fit(ballot.vote, member.vote, config) for member in group]) for ballot in ballots]
            for group in groups
        ]
    ).reshape(len(groups), len(ballots))
    values[values < config.association] = 0.0
    joined = {
        int(column): int(row)
        for row, column in zip(*linear_sum_assignment(values, maximize=True), strict=True)
        if values[row, column] > 0
    }
    grown = [list(group) for group in groups]
    for index, ballot in enumerate(ballots):
        if index in joined:
            grown[joined[index]].append(ballot)
        else:
            grown.append([ballot])
    return grown


def _hand(group: list[_Ballot], persons: Sequence[Person], detectors_run: int) -> Hand:
    """One group of votes -> a hand."""
    boxes = np.stack([ballot.vote.box for ballot in group])
    confidences = np.array([ballot.confidence for ballot in group])
    box = weighted_box(boxes, confidences)
    side, side_score = _side(group)
    with_keypoints = [ballot for ballot in group if ballot.vote.keypoints is not None]
    best = max(with_keypoints, key=lambda ballot: ballot.confidence).vote if with_keypoints else None
    return Hand(
        box=box,
        side=side,
        side_score=side_score,
        score=_score(confidences),
        keypoints=None if best is None else best.keypoints,
        keypoint_scores=None if best is None else best.keypoint_scores,
        person=_person(box, group, persons),
        votes=tuple(ballot.vote for ballot in group),
        agreement=float(bx.iou(boxes, box).mean()) * len(group) / detectors_run,
        world=None if best is None else best.world,
    )


def _score(confidences: Floats) -> float:
    """Noisy-or: the hand is there unless every voter is wrong.

    More voters give more, three at 0.6 give 0.94 and one alone 0.6; a detector's silence takes nothing away,
    because OpenPose is silent on every close-up.
    """
    return float(1.0 - np.prod(1.0 - np.clip(confidences, 0.0, 1.0)))


def _side(group: list[_Ballot]) -> tuple[Side, float]:
    """Side by weighted vote, and the share of the vote that agrees.

    A tie goes to the side with the surest single voter; a tie in that too, and silence, are unknown.
    """
    said = {side: [b for b in group if b.vote.side is side] for side in (Side.LEFT, Side.RIGHT)}
    totals = {side: sum(b.confidence * b.vote.side_score for b in voters) for side, voters in said.items()}
    total = sum(totals.values())
    if total <= 0:
        return Side.UNKNOWN, 0.0
    surest = {side: max((b.vote.side_score for b in voters), default=0.0) for side, voters in said.items()}
    keys = {side: (round(totals[side] / total, 9), surest[side]) for side in said}
    if keys[Side.LEFT] == keys[Side.RIGHT]:
        return Side.UNKNOWN, 0.0
    winner = max(keys, key=keys.__getitem__)
    return winner, totals[winner] / total


def _person(box: Floats, group: list[_Ballot], persons: Sequence[Person]) -> int:
    """Index of the person whose grown box holds most of the hand; -1 when nobody's holds enough.

    Among people who hold it alike, the one whose crop the votes came from, then the one with the smaller box.
    """
    crops = [ballot.vote.person for ballot in group]
    shares = [
        float(bx.intersection(box, bx.expand(person.box, PERSON_MARGIN))[0][0, 0] / bx.area(box))
        for person in persons
    ]
    keys = [
        (round(share, 2), crops.count(index), -float(bx.area(persons[index].box)), -index)
        for index, share in enumerate(shares)
        if share >= PERSON_SHARE
    ]
    return -max(keys)[-1] if keys else -1


def _hand_order(hand: Hand) -> tuple[float, ...]:
    """Best score first; equal scores by position, which no order of votes can change."""
    return (-hand.score, *hand.box)


def _without_duplicates(hands: list[Hand], config: FusionConfig) -> list[Hand]:
    """Hands, best first, without those that show the same hand as a better one."""
    kept: list[Hand] = []
    for hand in hands:
        if all(affinity(hand, other, config) < config.duplicate for other in kept):
            kept.append(hand)
    return kept
