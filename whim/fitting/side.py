"""Is it a left or a right hand? Decided before the fit, because the fit cannot tell.

The picture of a left hand is also that of a right hand mirrored in depth, so both sides fit equally well. What
can tell are the detectors' labels, the arm the hand hangs on, and the same hand in earlier frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from whim.conventions import Side

BODY_CONFIDENCE = 0.95
"""How often a hand at a person's left wrist is a left one: body networks confuse sides of people from behind."""

# One detector's certainty is worth no more than this, and all earlier frames together no more than that.
_MOST_SURE_VOTE = 0.98
_MOST_SURE_TRACK = 0.99


@dataclass(frozen=True, kw_only=True)
class SideDecision:
    """The side, how sure, and what later frames of the track should know."""

    side: Side
    confidence: float
    """Probability of the side, 0.5..1; 0 when nothing is known."""
    evidence: float
    """Log-odds of a right hand from this frame alone; goes into the track."""


def decide_side(
    votes: Sequence[tuple[Side, float]], body: Side = Side.UNKNOWN, track: Sequence[float] = ()
) -> SideDecision:
    """Add up log-odds of independent witnesses.

    Args:
        votes: the detectors' sides with their confidences in 0..1. A confidence below one half speaks for the
            other side, as that of a two-way classifier does.
        body: side of the nearest wrist of the person's body, if it is near enough.
        track: ``evidence`` of the same hand in other frames. Frames of one track are far from independent, so
            their sum is bounded.
    """
    evidence = sum(_log_odds(side, min(score, _MOST_SURE_VOTE)) for side, score in votes)
    evidence += _log_odds(body, BODY_CONFIDENCE)
    bound = _log_odds(Side.RIGHT, _MOST_SURE_TRACK)
    total = evidence + max(-bound, min(bound, sum(track)))
    if total == 0.0:
        return SideDecision(side=Side.UNKNOWN, confidence=0.0, evidence=evidence)
    return SideDecision(
        side=Side.RIGHT if total > 0.0 else Side.LEFT,
        confidence=1.0 / (1.0 + math.exp(-min(abs(total), 50.0))),
        evidence=evidence,
    )


def _log_odds(side: Side, confidence: float) -> float:
    """Log-odds of a right hand; a side or confidence that is not known says nothing."""
    if side == Side.UNKNOWN or not 0.0 < confidence < 1.0:
        return 0.0
    return math.log(confidence / (1.0 - confidence)) * (1.0 if side == Side.RIGHT else -1.0)
