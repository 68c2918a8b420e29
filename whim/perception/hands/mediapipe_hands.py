"""Hands by MediaPipe's HandLandmarker."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whim.conventions import HAND_KEYPOINTS, Side
from whim.geometry import boxes as bx
from whim.perception.runtime import LandmarkerTask
from whim.perception.types import HandVote, Image

GROWTH = 0.09
"""Growth of the keypoint hull on each side: keypoints lie inside the hand, boxes go around its skin. Chosen
by mean IoU with hand-drawn boxes (0.87; ungrown hulls give 0.70)."""

_SIDES = {"Left": Side.LEFT, "Right": Side.RIGHT}


class MediaPipeHands:
    """Boxes, sides, 21 keypoints in the picture and in space.

    * The landmarker exposes one score per hand, that of the side (0.5..1): it serves as the score of the box,
      the side and each keypoint alike. Hands it doubts are already dropped inside, by ``min_score``.
    * The label is the side as it looks in the picture: the anatomical side unless the picture is mirrored.
    """

    implementation = "mediapipe/hand_landmarker_full"
    weights = ("mediapipe-hand-landmarker",)

    def __init__(self, model: Path, *, detector: str, min_score: float, max_hands: int) -> None:
        self.detector = detector
        self._task = LandmarkerTask(
            "HandLandmarker",
            model,
            num_hands=max_hands,
            min_hand_detection_confidence=min_score,
            min_hand_presence_confidence=min_score,
        )

    def detect(self, image: Image) -> list[HandVote]:
        """Votes for hands in ``image``, in MediaPipe's order."""
        height, width = image.shape[:2]
        result = self._task.detect(image)
        votes = []
        for landmarks, (side, *_), space in zip(
            result.hand_landmarks, result.handedness, result.hand_world_landmarks, strict=True
        ):
            keypoints = np.array([(point.x * width, point.y * height) for point in landmarks])
            votes.append(
                HandVote(
                    box=bx.clip(bx.expand(bx.hull(keypoints), GROWTH), width, height),
                    score=float(side.score),
                    detector=self.detector,
                    implementation=self.implementation,
                    side=_SIDES[side.category_name],
                    side_score=float(side.score),
                    keypoints=keypoints,
                    keypoint_scores=np.full(len(HAND_KEYPOINTS), float(side.score)),
                    world=np.array([(point.x, point.y, point.z) for point in space]),
                )
            )
        return votes

    def close(self) -> None:
        """Release the landmarker."""
        self._task.close()
