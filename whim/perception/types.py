"""What detectors return, and the two protocols they follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whim.conventions import Side

Image = NDArray[np.uint8]  # (H, W, 3) RGB
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """One detector's vote for a person.

    ``detector`` is the paper's system this fills the place of; ``implementation`` is what really ran.
    """

    box: Floats
    """(4,) xyxy, pixels of the whole frame."""
    score: float
    """Confidence in 0..1."""
    detector: str
    implementation: str
    wrists: Floats | None = None
    """(2, 3) x, y in pixels of the whole frame and confidence of the left and of the right wrist; None from a
    detector of boxes alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandVote:
    """One detector's vote for a hand."""

    box: Floats
    """(4,) xyxy, pixels of the whole frame."""
    score: float
    """Confidence P(b_i | d_i) of eq. 1, in 0..1."""
    detector: str
    implementation: str
    side: Side = Side.UNKNOWN
    side_score: float = 0.0
    """Confidence of the side in 0..1; 0 when the side is unknown."""
    keypoints: Floats | None = None
    """(21, 2) pixels of the whole frame, OpenPose order."""
    keypoint_scores: Floats | None = None
    """(21,) confidences in 0..1."""
    world: Floats | None = None
    """(21, 3) the detector's own guess of the hand in space, metres, camera axes, any origin."""
    person: int = -1
    """Index of the person whose crop was searched; -1 for the whole frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Hand:
    """A fused hand (eq. 1)."""

    box: Floats
    side: Side
    side_score: float
    score: float
    keypoints: Floats | None
    keypoint_scores: Floats | None
    person: int
    votes: tuple[HandVote, ...]
    agreement: float
    world: Floats | None = None
    """(21, 3) as in ``HandVote``, of the vote whose keypoints were taken."""


class PersonDetector(Protocol):
    """Finds people in a picture."""

    detector: str
    implementation: str

    def detect(self, image: Image) -> list[Person]:
        """People in ``image`` (H, W, 3) RGB, boxes in its pixels, any score above the detector's floor."""
        ...

    def close(self) -> None:
        """Release what the detector holds. A detector lives as long as its process, or until this call."""
        ...


class HandDetector(Protocol):
    """Finds hands in a picture, which may be a frame or a person crop."""

    detector: str
    implementation: str

    def detect(self, image: Image) -> list[HandVote]:
        """Votes for hands in ``image`` (H, W, 3) RGB, coordinates in its pixels."""
        ...

    def close(self) -> None:
        """Release what the detector holds. A detector lives as long as its process, or until this call."""
        ...


def implementations(detectors: Sequence[PersonDetector | HandDetector]) -> list[str]:
    """``detector=implementation`` of each, for lineage records."""
    return [f"{d.detector}={d.implementation}" for d in detectors]
