"""The side of a hand from votes, body and track."""

from __future__ import annotations

import pytest

from whim.conventions import Side
from whim.fitting.side import SideDecision, decide_side

LEFT, RIGHT, UNKNOWN = Side.LEFT, Side.RIGHT, Side.UNKNOWN


def test_nothing_known_stays_unknown() -> None:
    silence = SideDecision(side=UNKNOWN, confidence=0.0, evidence=0.0)
    assert decide_side([]) == silence
    assert decide_side([(UNKNOWN, 0.9), (RIGHT, 0.0), (LEFT, float("nan"))]) == silence
    assert decide_side([(LEFT, 0.8), (RIGHT, 0.8)]).side == UNKNOWN


def test_one_vote_is_taken_at_its_word() -> None:
    decision = decide_side([(LEFT, 0.8)])
    assert decision.side == LEFT
    assert decision.confidence == pytest.approx(0.8)
    assert decide_side([(RIGHT, 0.3)]).side == LEFT


def test_agreement_makes_surer_and_the_surer_vote_wins() -> None:
    assert decide_side([(RIGHT, 0.8), (RIGHT, 0.7)]).confidence > 0.9
    assert decide_side([(RIGHT, 0.9), (LEFT, 0.6)]).side == RIGHT
    assert decide_side([(RIGHT, 1.0)]).confidence < 1.0 or decide_side([(RIGHT, 1.0)]).side == RIGHT


def test_the_body_overrules_a_doubtful_label_but_not_several_sure_ones() -> None:
    assert decide_side([(RIGHT, 0.9)], body=LEFT).side == LEFT
    assert decide_side([(RIGHT, 0.98), (RIGHT, 0.9)], body=LEFT).side == RIGHT
    assert decide_side([], body=RIGHT).side == RIGHT


def test_the_track_corrects_a_single_frame_and_is_bounded() -> None:
    right = decide_side([(RIGHT, 0.9)]).evidence
    wrong = decide_side([(LEFT, 0.9)], track=[right] * 3)
    assert wrong.side == RIGHT
    assert wrong.evidence < 0.0  # what the frame itself says goes into the track, not what was decided
    assert decide_side([(LEFT, 0.98)], body=LEFT, track=[right] * 1000).side == LEFT


@pytest.mark.parametrize("body", [LEFT, RIGHT, UNKNOWN])
def test_left_and_right_are_treated_alike(body: Side) -> None:
    votes = [(LEFT, 0.7), (RIGHT, 0.9), (LEFT, 0.55)]
    one = decide_side(votes, body, [0.3, -2.0])
    other = decide_side([(side.other, score) for side, score in votes], body.other, [-0.3, 2.0])
    assert other.side == one.side.other
    assert other.confidence == pytest.approx(one.confidence)
