"""What the benchmark asks of a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whim.conventions import HAND_KEYPOINTS

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""


class Hands(Protocol):
    """Hands found in one picture, in its pixels. ``whim.detector.detections.Detections`` is one."""

    @property
    def boxes(self) -> Any:
        """(N, 4) xyxy."""
        ...

    @property
    def side(self) -> Any:
        """(N,) Side values."""
        ...

    @property
    def score(self) -> Any:
        """(N,) in 0..1."""
        ...

    @property
    def keypoints(self) -> Any:
        """(N, 21, 2 or more) x, y first, or None."""
        ...


class Detector(Protocol):
    """What finds hands."""

    def detect(self, pictures: list[Image]) -> Sequence[Hands]:
        """Hands of each picture (H, W, 3) RGB."""
        ...


@dataclass(frozen=True, kw_only=True)
class Found:
    """Hands of one picture as arrays."""

    boxes: NDArray[np.float64]
    """(N, 4)"""
    side: NDArray[np.int64]
    """(N,)"""
    score: NDArray[np.float64]
    """(N,)"""
    keypoints: NDArray[np.float64] | None = None
    """(N, 21, 2); nan for a hand without."""

    @classmethod
    def of(cls, hands: Hands) -> Found:
        """Checked copy of what a detector returned.

        Raises:
            ValueError: shapes that do not fit together, or values that are not finite.
        """
        boxes = np.asarray(hands.boxes, dtype=np.float64).reshape(-1, 4)
        side = np.asarray(hands.side, dtype=np.int64).reshape(-1)
        score = np.asarray(hands.score, dtype=np.float64).reshape(-1)
        keypoints = getattr(hands, "keypoints", None)
        if keypoints is not None:
            shape = (len(boxes), len(HAND_KEYPOINTS), -1 if len(boxes) else 2)
            keypoints = np.asarray(keypoints, dtype=np.float64).reshape(shape)[..., :2]
        if not len(boxes) == len(side) == len(score):
            raise ValueError(f"{len(boxes)} boxes, {len(side)} sides, {len(score)} scores")
        if not (np.isfinite(boxes).all() and np.isfinite(score).all()):
            raise ValueError("a box or score that is not finite")
        return cls(boxes=boxes, side=side, score=score, keypoints=keypoints)

    @classmethod
    def none(cls) -> Found:
        """Nothing found."""
        return cls(boxes=np.zeros((0, 4)), side=np.zeros(0, np.int64), score=np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A detector ready to be measured, and what is known of it."""

    detector: Detector
    implementation: str
    """What really runs."""
    device: str
    """Where, by name."""
    parameters: int | None = None
    size_mb: float | None = None
    """Of the weights: half precision for checkpoints, the file for others."""
    size_note: str = ""
    network: Callable[[Image], Callable[[], object]] | None = None
    """Picture -> a call that runs the network alone on it, prepared; None where it cannot be told apart."""
    close: Callable[[], None] = lambda: None
