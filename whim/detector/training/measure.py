"""Validation figures of the detector from its predictions. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whim.conventions import Side
from whim.geometry.boxes import iou
from whim.metrics.detection import average_precision, match

THRESHOLDS = np.arange(0.5, 0.96, 0.05)
"""COCO's IoUs (paper section 5.1)."""
MOST = 100
"""Predictions per picture that count, as in COCO."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What the network says of one picture, best score first or not; pixels of the input."""

    boxes: NDArray[np.float32]
    """(n, 4)"""
    score: NDArray[np.float32]
    """(n,)"""
    side: NDArray[np.int64]
    """(n,)"""
    keypoints: NDArray[np.float32]
    """(n, 21, 2)"""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One picture's predictions and truth."""

    predicted: Predicted
    boxes: NDArray[np.float32]
    """(m, 4) true boxes."""
    side: NDArray[np.int64]
    """(m,)"""
    keypoints: NDArray[np.float32]
    """(m, 21, 2)"""
    visibility: NDArray[np.int64]
    """(m, 21)"""


def best(predicted: Predicted) -> Predicted:
    """The :data:`MOST` best predictions, best first."""
    order = np.argsort(-predicted.score, kind="stable")[:MOST]
    return Predicted(**{name: value[order] for name, value in vars(predicted).items()})


def measure(pictures: Sequence[Judged]) -> dict[str, float]:
    """Figures over a validation set; ``nan`` where there is nothing to judge.

    ``ap``, ``ap50``: COCO's AP of hands whatever their side, at IoU 0.5:0.05:0.95 and 0.5. ``ap_side``: mean AP of
    left and right hands over pictures in which every side is known. ``side``: share of right sides among hands found
    at IoU 0.5. ``keypoints``: mean distance of the keypoints of those hands as a share of the longer box side.
    """
    limited = [(best(one.predicted), one) for one in pictures]
    curve = [_ap([(p.boxes, p.score, one.boxes) for p, one in limited], t) for t in THRESHOLDS]
    known = [(p, one) for p, one in limited if (one.side != Side.UNKNOWN).all()]
    sides = [
        _ap([_of_side(p, one, side) for p, one in known], t)
        for t in THRESHOLDS
        for side in (Side.LEFT, Side.RIGHT)
    ]
    right, judged, distances = 0, 0, []
    for p, one in limited:
        for row, column in _pairs(p, one.boxes):
            if one.side[column] != Side.UNKNOWN:
                judged += 1
                right += int(p.side[row] == one.side[column])
            seen = one.visibility[column] > 0
            if seen.any():
                length = np.linalg.norm(p.keypoints[row] - one.keypoints[column], axis=-1)[seen].mean()
                x1, y1, x2, y2 = one.boxes[column]
                distances.append(length / max(x2 - x1, y2 - y1))
    finite = [value for value in sides if not np.isnan(value)]
    return {
        "ap": float(np.mean(curve)),
        "ap50": curve[0],
        "ap_side": float(np.mean(finite)) if finite else float("nan"),
        "side": right / judged if judged else float("nan"),
        "keypoints": float(np.mean(distances)) if distances else float("nan"),
    }


def _of_side(p: Predicted, one: Judged, side: Side) -> tuple[NDArray, NDArray, NDArray]:
    which = p.side == side
    return p.boxes[which], p.score[which], one.boxes[one.side == side]


def _ap(pictures: Sequence[tuple[NDArray, NDArray, NDArray]], threshold: float) -> float:
    """AP at one IoU over (boxes, scores, true boxes) of each picture."""
    scores = [scores for _, scores, _ in pictures]
    matched = [match(boxes, scores, truth, threshold) for boxes, scores, truth in pictures]
    truths = sum(len(truth) for _, _, truth in pictures)
    if not pictures:
        return float("nan")
    return average_precision(np.concatenate(scores), np.concatenate(matched), truths)


def _pairs(p: Predicted, truth: NDArray) -> list[tuple[int, int]]:
    """(prediction, truth) that belong together at IoU 0.5."""
    if not len(p.boxes) or not len(truth):
        return []
    pairs, free = [], np.ones(len(truth), bool)
    overlaps = iou(p.boxes, truth)
    for row in range(len(p.boxes)):
        overlap = overlaps[row] * free
        column = int(overlap.argmax())
        if overlap[column] >= THRESHOLDS[0]:
            free[column] = False
            pairs.append((row, column))
    return pairs
