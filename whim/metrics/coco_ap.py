"""COCO's average precision of boxes: the numbers of pycocotools, in numpy. Pure functions.

101-point interpolated precision at IoU 0.50:0.05:0.95, 100 predictions per picture and class, regions that are not
counted, area ranges (paper section 5.1: AP at IoU 0.5, and mAP over the ten IoUs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whim.geometry import boxes as bx

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
"""Predictions per picture and class that count, best first."""
AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Square pixels; both ends belong to the range."""
_ALMOST = 1.0 - 1e-10
_EPS = float(np.spacing(1.0))


def _no_boxes() -> Floats:
    return np.zeros((0, 4))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Predictions (N) and truth (M) of one picture. Boxes are xyxy."""

    boxes: Floats
    """(N, 4)"""
    scores: Floats
    """(N,)"""
    classes: Ints
    """(N,)"""
    truth: Floats
    """(M, 4)"""
    truth_classes: Ints
    """(M,)"""
    uncounted: Bools | None = None
    """(M,): neither found nor missed, and what matches them (as any truth, once) is not wrong. None: all count."""
    crowd: Floats = field(default_factory=_no_boxes)
    """(K, 4) regions, COCO's ``iscrowd``, of every class: any number of predictions inside one is not wrong."""

    def agnostic(self) -> Judged:
        """The same with one class for everything."""
        return Judged(
            boxes=self.boxes,
            scores=self.scores,
            classes=np.zeros(len(self.boxes), np.int64),
            truth=self.truth,
            truth_classes=np.zeros(len(self.truth), np.int64),
            uncounted=self.uncounted,
            crowd=self.crowd,
        )


@dataclass(frozen=True, kw_only=True)
class CocoResult:
    """Numbers of one area range; ``nan`` where there is no truth."""

    precision: Floats
    """(T, R, C): best precision at each IoU, at 101 recalls, of each class; nan for a class without truth."""
    recall: Floats
    """(T, C): share of the truth found with all predictions."""
    truths: Ints
    """(C,) counted truths."""
    ious: Floats = field(default_factory=lambda: IOUS)

    @property
    def ap(self) -> float:
        """mAP: mean over IoUs, recalls and classes with truth."""
        return _mean(self.precision)

    def ap_at(self, iou: float) -> float:
        """AP at one IoU, such as 0.5.

        Raises:
            ValueError: an IoU that was not evaluated.
        """
        found = np.flatnonzero(np.isclose(self.ious, iou))
        if not len(found):
            raise ValueError(f"IoU {iou} is not among {self.ious.tolist()}")
        return _mean(self.precision[found[0]])

    @property
    def ar(self) -> float:
        """Mean recall over IoUs and classes with truth."""
        return _mean(self.recall)

    def curve(self, iou: float = 0.5) -> Floats:
        """(101,) precision over :data:`RECALLS`, mean of the classes with truth; empty without truth."""
        row = self.precision[int(np.argmin(np.abs(self.ious - iou)))]
        known = ~np.isnan(row).any(axis=0)
        return np.asarray(row[:, known].mean(axis=1)) if known.any() else np.zeros(0)


def evaluate(
    pictures: Sequence[Judged],
    *,
    classes: Sequence[int] = (0,),
    ious: Floats = IOUS,
    most: int = MOST,
    area: str = "all",
) -> CocoResult:
    """COCO's evaluation of ``pictures`` for ``classes``, limited to truth in an area range of :data:`AREAS`.

    The area of a truth is that of its box.
    """
    low, high = AREAS[area]
    precision = np.full((len(ious), len(RECALLS), len(classes)), np.nan)
    recall = np.full((len(ious), len(classes)), np.nan)
    truths = np.zeros(len(classes), np.int64)
    for column, number in enumerate(classes):
        parts = [_of_class(one, number, ious, most, low, high) for one in pictures]
        truths[column] = sum(part.truths for part in parts)
        if truths[column]:
            curve, reached = _accumulate(parts, int(truths[column]), len(ious))
            precision[:, :, column], recall[:, column] = curve, reached
    return CocoResult(precision=precision, recall=recall, truths=truths, ious=np.asarray(ious))


@dataclass(frozen=True)
class _Part:
    """Predictions of one class in one picture, best first."""

    scores: Floats
    matched: Bools
    """(T, N)"""
    ignored: Bools
    """(T, N): neither right nor wrong."""
    truths: int


def _of_class(one: Judged, number: int, ious: Floats, most: int, low: float, high: float) -> _Part:
    chosen = np.flatnonzero(one.classes == number)
    chosen = chosen[np.argsort(-one.scores[chosen], kind="stable")][:most]
    boxes, scores = one.boxes[chosen].reshape(-1, 4), one.scores[chosen]
    mine = one.truth_classes == number
    real = one.truth[mine].reshape(-1, 4)
    sizes = bx.area(real)
    skipped = (sizes < low) | (sizes > high)
    if one.uncounted is not None:
        skipped |= one.uncounted[mine]
    truth = np.concatenate([real, one.crowd.reshape(-1, 4)])
    crowd = np.arange(len(truth)) >= len(real)
    skipped = np.concatenate([skipped, np.ones(len(one.crowd), bool)])
    order = np.argsort(skipped, kind="stable")  # counted ones are offered first
    truth, crowd, skipped = truth[order], crowd[order], skipped[order]
    matched, ignored = _match(boxes, truth, crowd, skipped, ious)
    own = bx.area(boxes)
    ignored |= ~matched & ((own < low) | (own > high))
    return _Part(scores, matched, ignored, int((~skipped).sum()))


def _match(boxes: Floats, truth: Floats, crowd: Bools, skipped: Bools, ious: Floats) -> tuple[Bools, Bools]:
    """(matched, ignored) (T, N). The best scored prediction chooses first, at every IoU on its own.

    It takes the free truth with the largest overlap, the last of equals; an uncounted one only when no counted one
    overlaps enough.
    """
    matched = np.zeros((len(ious), len(boxes)), bool)
    ignored = np.zeros_like(matched)
    if not len(boxes) or not len(truth):
        return matched, ignored
    inter, overlap = bx.intersection(boxes, truth)
    own = bx.area(boxes)[:, None]
    within = np.divide(inter, own, out=np.zeros_like(inter), where=own > 0)
    overlap = np.where(crowd, within, overlap)
    least = np.minimum(ious, _ALMOST)[:, None]
    free = np.ones((len(ious), len(truth)), bool)
    rows = np.arange(len(ious))
    last = len(truth) - 1
    counted = ~skipped
    # Only these can match anything; most predictions of a low score overlap nothing.
    for index in np.flatnonzero(overlap.max(axis=1) >= least.min()):
        possible = free & (overlap[index] >= least)  # (T, M)
        first = possible & counted
        possible = np.where(first.any(axis=1, keepdims=True), first, possible)
        value = np.where(possible, overlap[index], -1.0)
        column = last - value[:, ::-1].argmax(axis=1)
        hit = value[rows, column] >= 0
        matched[hit, index] = True
        ignored[:, index] = hit & skipped[column]
        taken = hit & ~crowd[column]
        free[rows[taken], column[taken]] = False
    return matched, ignored


def _accumulate(parts: Sequence[_Part], truths: int, number: int) -> tuple[Floats, Floats]:
    """Precision (T, R) and recall (T,) over all pictures."""
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    matched = np.concatenate([part.matched for part in parts], axis=1)[:, order]
    ignored = np.concatenate([part.ignored for part in parts], axis=1)[:, order]
    right = np.cumsum(matched & ~ignored, axis=1, dtype=np.float64)
    wrong = np.cumsum(~matched & ~ignored, axis=1, dtype=np.float64)
    curve = np.zeros((number, len(RECALLS)))
    reached = right[:, -1] / truths if len(scores) else np.zeros(number)
    for row in range(number if len(scores) else 0):
        precision = right[row] / (right[row] + wrong[row] + _EPS)
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        curve[row] = best[np.searchsorted(right[row] / truths, RECALLS, side="left")]
    return curve, reached


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
