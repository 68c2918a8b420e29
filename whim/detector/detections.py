"""Hands in a picture, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whim.errors import require

# In no extra: releases before 0.30 would overwrite the OpenCV of this environment.
_SUPERVISION = "pip install 'supervision>=0.30' (older releases bring a second OpenCV wheel)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """Hands of one picture, best first; pixels of that picture, counted from its corner."""

    boxes: NDArray[np.float32]
    """(N, 4) x1, y1, x2, y2."""
    side: NDArray[np.int64]
    """(N,) whim.conventions.Side, anatomical."""
    score: NDArray[np.float32]
    """(N,) 0..1."""
    keypoints: NDArray[np.float32]
    """(N, 21, 3) x, y, visibility 0..1; OpenPose order."""

    def __len__(self) -> int:
        return len(self.score)

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        return self[self.score >= score]

    def __getitem__(self, rows: Any) -> Detections:
        return Detections(
            boxes=self.boxes[rows],
            side=self.side[rows],
            score=self.score[rows],
            keypoints=self.keypoints[rows],
        )

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results: category 0 is a left hand, 1 a right one; ``keypoints`` x, y, visibility in a row."""
        return [
            {
                "image_id": image_id,
                "category_id": int(side),
                "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                "score": float(score),
                "keypoints": [float(value) for value in points.ravel()],
            }
            for (x1, y1, x2, y2), side, score, points in zip(
                self.boxes, self.side, self.score, self.keypoints, strict=True
            )
        ]

    def to_supervision(self) -> Any:
        """``supervision.Detections`` with the side as class; keypoints in ``data["keypoints"]``.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        supervision: Any = require("supervision", install=_SUPERVISION)
        return supervision.Detections(
            xyxy=self.boxes.astype(np.float32),
            confidence=self.score.astype(np.float32),
            class_id=self.side.astype(int),
            data={"keypoints": self.keypoints},
        )
