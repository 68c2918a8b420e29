"""Hands by the SSD-MobileNetV2-FPNLite of npm ``handtrackjs`` 0.1.5: a stand-in for ContactHands' boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whim.geometry import boxes as bx
from whim.perception.runtime import centred_input, onnx_session
from whim.perception.types import Floats, HandVote, Image

SIZE = 320
FACE = 4
"""Index of the class "face"; the other six are shapes of a hand."""
NMS_IOU = 0.4
MOST = 100
"""Candidates that enter suppression, best first."""


def hand_candidates(scores: NDArray[np.floating], floor: float) -> tuple[NDArray[np.intp], Floats]:
    """Anchors that are hands: indices, best first, and the best hand class's score of each.

    ``scores`` (N, 7). An anchor whose best class is "face" is not a hand, whatever its second class.
    """
    hand = np.delete(scores, FACE, axis=1).max(axis=1).astype(np.float64)
    found = np.flatnonzero((hand > floor) & (hand > scores[:, FACE]))
    found = found[np.argsort(-hand[found], kind="stable")][:MOST]
    return found, hand[found]


class HandtrackHands:
    """Hand boxes without side or keypoints; the six hand shapes count as one class."""

    implementation = "handtrackjs/ssd320fpnlite"
    weights = ("handtrack-ssd320",)

    def __init__(self, model: Path, *, detector: str, min_score: float, threads: int = 1) -> None:
        self.detector = detector
        self._min_score = min_score
        self._session = onnx_session(model, threads)

    def detect(self, image: Image) -> list[HandVote]:
        """Votes above the minimum score, best first."""
        scores, boxes = self._session.run(["scores", "boxes"], {"image": centred_input(image, SIZE)})
        found, found_scores = hand_candidates(scores, self._min_score)
        height, width = image.shape[:2]
        found_boxes = bx.clip(boxes[found][:, [1, 0, 3, 2]] * [width, height, width, height], width, height)
        return [
            HandVote(
                box=found_boxes[index],
                score=float(found_scores[index]),
                detector=self.detector,
                implementation=self.implementation,
            )
            for index in bx.nms(found_boxes, found_scores, NMS_IOU)
        ]

    def close(self) -> None:
        """Nothing to release: onnxruntime needs no care."""
