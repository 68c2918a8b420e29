"""Predictions of one detector on one set -> the numbers of a table's cell. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whim.benchmark.detection.config import Boxes
from whim.benchmark.detection.truth import LabelledPicture
from whim.benchmark.detection.types import Found
from whim.conventions import Side
from whim.geometry import boxes as bx
from whim.metrics.coco_ap import CocoResult, Judged, evaluate

SIDES = (Side.LEFT, Side.RIGHT)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Accuracy on a set, shares of 1; ``nan`` where there is no truth, None where it does not apply."""

    ap50: float
    """AP at IoU 0.5 of hands, whatever their side: the tables' first number."""
    ap: float
    """mAP over IoU 0.5:0.05:0.95: their second."""
    ap75: float
    recall: float
    """Share of the truth found at IoU 0.5 with all predictions."""
    small: float
    """mAP of hands below 32 x 32 pixels."""
    side_ap50: float | None
    """The same of left and right hands apart, mean of both."""
    side_ap: float | None
    pictures: int
    hands: int
    """True hands that count."""
    predictions: int
    curve: NDArray[np.float64]
    """(101,) precision at IoU 0.5 over recall 0, 0.01, ... 1; empty without truth."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; null for nan."""
        numbers = {name: _plain(value) for name, value in vars(self).items() if name != "curve"}
        return {**numbers, "curve": [round(float(value), 4) for value in self.curve]}


def judged(picture: LabelledPicture, found: Found, predicted: Boxes) -> Judged:
    """Both sides of the comparison, boxes clipped to the picture, classes by :class:`Side`.

    A true hand whose side nobody knows is there for both sides, and counts for neither.
    """
    boxes = found.boxes
    if predicted == "keypoint-hull" and found.keypoints is not None:
        boxes = np.array([_hull(points, box) for points, box in zip(found.keypoints, boxes, strict=True)])
    height, width = picture.image.shape[:2]
    boxes = bx.clip(boxes.reshape(-1, 4), width, height)
    return Judged(
        boxes=boxes,
        scores=found.score,
        classes=found.side,
        truth=picture.boxes,
        truth_classes=picture.side,
        uncounted=picture.uncounted,
        crowd=picture.crowd,
    )


def by_side(one: Judged) -> Judged:
    """The same with hands of unknown side doubled, uncounted in each class."""
    unknown = one.truth_classes == Side.UNKNOWN
    uncounted = np.zeros(len(one.truth), bool) if one.uncounted is None else one.uncounted
    extra = int(unknown.sum())
    return Judged(
        boxes=one.boxes,
        scores=one.scores,
        classes=one.classes,
        truth=np.concatenate([one.truth[~unknown], one.truth[unknown], one.truth[unknown]]),
        truth_classes=np.concatenate(
            [one.truth_classes[~unknown], np.full(extra, Side.LEFT), np.full(extra, Side.RIGHT)]
        ),
        uncounted=np.concatenate([uncounted[~unknown], np.ones(2 * extra, bool)]),
        crowd=one.crowd,
    )


def score(pictures: Sequence[Judged], *, sides: bool) -> Scores:
    """All numbers of a set; ``sides``: also those of left and right hands, if both truth and predictions tell."""
    agnostic = [one.agnostic() for one in pictures]
    result = evaluate(agnostic)
    known = [any((one.truth_classes != Side.UNKNOWN).any() for one in pictures)]
    known.append(
        any((one.classes != Side.UNKNOWN).any() for one in pictures) or not any(map(_found, pictures))
    )
    apart: CocoResult | None = None
    if sides and all(known):
        apart = evaluate([by_side(one) for one in pictures], classes=SIDES)
    return Scores(
        ap50=result.ap_at(0.5),
        ap=result.ap,
        ap75=result.ap_at(0.75),
        recall=float(result.recall[0, 0]),
        small=evaluate(agnostic, area="small").ap,
        side_ap50=None if apart is None else apart.ap_at(0.5),
        side_ap=None if apart is None else apart.ap,
        pictures=len(pictures),
        hands=int(result.truths[0]),
        predictions=sum(_found(one) for one in pictures),
        curve=result.curve(0.5),
    )


def _found(one: Judged) -> int:
    return len(one.boxes)


def _hull(points: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    return bx.hull(points) if np.isfinite(points).all() else box


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 6)
    return value
