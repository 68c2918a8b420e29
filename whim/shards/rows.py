"""Plain objects of the perception rooms -> rows of the label schema. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whim.perception.types import Hand, HandVote, Person

Row = dict[str, Any]
"""One frame: a dictionary with the columns of :mod:`whim.shards.schema`."""

NO_FIT: Row = {"joints_3d": None, "mano": None, "camera": None, "fit": None}
"""The columns of a hand that was not fitted."""


def frame_row(
    *,
    video_id: str,
    split: str,
    frame_index: int,
    time_s: float,
    width: int,
    height: int,
    picture_hash: int,
    persons: Sequence[Person],
    hands: Sequence[Hand],
    fits: Sequence[Row] | None = None,
) -> Row:
    """One row of the label schema.

    ``fits`` gives the columns ``joints_3d``, ``mano``, ``camera`` and ``fit`` of each hand; without it they are
    null.
    """
    if fits is None:
        fits = [NO_FIT] * len(hands)
    return {
        "video_id": video_id,
        "split": split,
        "frame_index": int(frame_index),
        "time_s": float(time_s),
        "width": int(width),
        "height": int(height),
        "picture_hash": int(picture_hash),
        "persons": [_person(person) for person in persons],
        "hands": [{**_hand(hand), **fit} for hand, fit in zip(hands, fits, strict=True)],
    }


def _person(person: Person) -> Row:
    return {
        "box": person.box.tolist(),
        "score": float(person.score),
        "detector": person.detector,
        "implementation": person.implementation,
    }


def _vote(vote: HandVote) -> Row:
    return {
        "box": vote.box.tolist(),
        "score": float(vote.score),
        "side": int(vote.side),
        "side_score": float(vote.side_score),
        "detector": vote.detector,
        "implementation": vote.implementation,
        "person": int(vote.person),
    }


def _hand(hand: Hand) -> Row:
    return {
        "box": hand.box.tolist(),
        "side": int(hand.side),
        "side_score": float(hand.side_score),
        "score": float(hand.score),
        "keypoints_2d": None if hand.keypoints is None else hand.keypoints.tolist(),
        "keypoint_scores": None if hand.keypoint_scores is None else hand.keypoint_scores.tolist(),
        "person": int(hand.person),
        "votes": [_vote(vote) for vote in hand.votes],
        "agreement": float(hand.agreement),
    }
