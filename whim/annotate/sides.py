"""Which hand is it? Votes, the arm and the track of a segment, put together before the fit.

The fit cannot tell the side: the picture of a left hand is also that of a right one mirrored in depth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whim.annotate.tracks import link_hands
from whim.conventions import Side
from whim.fitting.side import SideDecision, decide_side
from whim.perception.types import Hand, Person

WRIST_REACH = 0.75
"""A body's wrist belongs to a hand when it lies so near to it, in sides of the hand's box ..."""
WRIST_LEAD = 2.0
"""... and the body's other wrist lies so many times further away."""
WRIST_SEEN = 0.5
"""Least confidence of a wrist."""
BELONG_TOGETHER = 0.97
"""How often two hands found on one person are that person's left and right."""
BELONG_TOGETHER_UNSEEN = 0.85
"""The same of the only two hands in a picture without people."""


def decide_sides(
    hands: Sequence[Sequence[Hand]], persons: Sequence[Sequence[Person]], times: Sequence[float]
) -> list[list[Hand]]:
    """The hands of a segment with their sides decided; ``side_score`` becomes the probability of the side.

    Args:
        hands: fused hands of each frame.
        persons: people of each frame.
        times: seconds of each frame, ascending.
    """
    tracks = link_hands(hands, times)
    evidence: dict[int, list[tuple[int, float]]] = defaultdict(list)  # of each track: frame, log-odds
    for frame, (numbers, found, people) in enumerate(zip(tracks, hands, persons, strict=True)):
        for number, hand in zip(numbers, found, strict=True):
            evidence[number].append((frame, _decide(hand, people, ()).evidence))
    decided = []
    for frame, (numbers, found, people) in enumerate(zip(tracks, hands, persons, strict=True)):
        row = []
        for number, hand in zip(numbers, found, strict=True):
            others = [value for seen, value in evidence[number] if seen != frame]
            row.append(_decide(hand, people, others))
        decided.append(
            [
                replace(hand, side=decision.side, side_score=decision.confidence)
                for hand, decision in zip(found, one_of_each(row, found, len(people)), strict=True)
            ]
        )
    return decided


def one_of_each(decisions: Sequence[SideDecision], hands: Sequence[Hand], people: int) -> list[SideDecision]:
    """The decisions of a frame, where nobody has two hands of one side.

    Of two hands of one person that were decided alike, the less sure one is the other after all, unless both are
    surer than it is that they belong together (a wrong box, or somebody else's hand). Two hands in a picture
    without people are most likely one person's, too.
    """
    result = list(decisions)
    owners = [hand.person for hand in hands]
    for owner in set(owners):
        pair = [index for index, person in enumerate(owners) if person == owner]
        if len(pair) != 2 or (owner < 0 and people > 0):
            continue
        first, second = (result[index] for index in pair)
        if first.side != second.side or first.side == Side.UNKNOWN:
            continue
        weak = pair[0] if first.confidence <= second.confidence else pair[1]
        belief = BELONG_TOGETHER if owner >= 0 else BELONG_TOGETHER_UNSEEN
        doubt = result[weak].confidence
        if doubt < belief:
            # Bayes: the weak hand's own odds against those of the two being one person's.
            odds = belief / (1.0 - belief) * (1.0 - doubt) / doubt
            result[weak] = replace(result[weak], side=first.side.other, confidence=odds / (1.0 + odds))
    return result


def _decide(hand: Hand, people: Sequence[Person], track: Sequence[float]) -> SideDecision:
    # A body network's score below one half is doubt about the arm, not a vote for the other side.
    votes = [(vote.side, max(vote.side_score, 0.5)) for vote in hand.votes]
    return decide_side(votes, body_side(hand, people), track)


def body_side(hand: Hand, people: Sequence[Person]) -> Side:
    """Side of the wrist of the hand's person that the hand hangs on; unknown when both or none are near."""
    wrists = people[hand.person].wrists if hand.person >= 0 else None
    if wrists is None:
        return Side.UNKNOWN
    x1, y1, x2, y2 = hand.box
    place = np.array([x1 + x2, y1 + y2]) / 2 if hand.keypoints is None else hand.keypoints[0]
    distance = np.linalg.norm(wrists[:, :2] - place, axis=1) / max(x2 - x1, y2 - y1)
    distance = np.where(wrists[:, 2] >= WRIST_SEEN, distance, np.inf)
    near = int(np.argmin(distance))
    if not distance[near] <= WRIST_REACH or distance[1 - near] < WRIST_LEAD * distance[near]:
        return Side.UNKNOWN
    return (Side.LEFT, Side.RIGHT)[near]
