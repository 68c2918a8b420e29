"""Metrics of boxes against truth: matching, recall, precision, mean IoU, average precision. Pure functions.

What cannot be computed (recall without truth, precision without predictions) is ``nan``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whim.geometry import boxes as bx

Floats = NDArray[np.float64]
RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which COCO reads the precision."""


def match(predictions: ArrayLike, scores: ArrayLike, truth: ArrayLike, threshold: float) -> Floats:
    """IoU (N,) of each prediction with its truth; 0 for a false one.

    Boxes (N, 4) and (M, 4), scores (N,). As in COCO: the best scored prediction chooses first, takes the free
    truth with which it overlaps most, and needs an IoU of at least ``threshold`` (> 0) with it.
    """
    overlap = bx.iou(predictions, truth)
    matched = np.zeros(len(overlap))
    for row in np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable"):
        if overlap.shape[1] == 0:
            break
        column = int(overlap[row].argmax())
        if overlap[row, column] >= threshold:
            matched[row] = overlap[row, column]
            overlap[:, column] = 0.0  # taken
    return matched


@dataclass(frozen=True)
class Counts:
    """Totals over pictures; they add up."""

    truths: int = 0
    predictions: int = 0
    matches: int = 0
    iou_sum: float = 0.0
    """Sum of the IoU of the matches."""

    @classmethod
    def of(cls, matched: ArrayLike, truths: int) -> Counts:
        """From what ``match`` returns (N,) and the number of true boxes."""
        overlaps = np.asarray(matched, dtype=np.float64)
        return cls(truths, len(overlaps), int((overlaps > 0).sum()), float(overlaps.sum()))

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.truths + other.truths,
            self.predictions + other.predictions,
            self.matches + other.matches,
            self.iou_sum + other.iou_sum,
        )

    @property
    def recall(self) -> float:
        """Share of the truth that was found."""
        return _share(self.matches, self.truths)

    @property
    def precision(self) -> float:
        """Share of the predictions that are true."""
        return _share(self.matches, self.predictions)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision: matches over the mean number of boxes on both sides."""
        return _share(2 * self.matches, self.truths + self.predictions)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the matches."""
        return _share(self.iou_sum, self.matches)


def average_precision(scores: ArrayLike, matched: ArrayLike, truths: int) -> float:
    """COCO's AP at one IoU: precision at 101 recalls, each the best at that recall or beyond, averaged.

    ``scores`` and ``matched`` (N,) hold the predictions of all pictures; ``matched`` is what ``match`` gave.
    """
    if truths == 0:
        return float("nan")
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    true = np.cumsum(np.asarray(matched, dtype=np.float64)[order] > 0)
    recall = true / truths
    precision = true / np.arange(1, len(true) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, RECALLS, side="left")].mean())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
