"""``whim benchmark truth``: labels against labels whose truth is known, such as those of rendered clips.

Both are ordinary label folders: frames with the same video id and index are compared, hand by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from whim.conventions import Side
from whim.errors import UsageError
from whim.geometry.boxes import iou
from whim.metrics.pose import mpjpe, pa_mpjpe
from whim.shards.reader import iter_rows
from whim.shards.rows import Row

SAME = 0.5
"""Least IoU of a labelled and a true hand."""
SEEN = 0.5
"""A true hand counts when at least this share of its keypoints is visible; others are neither found nor missed."""

_COLUMNS = [
    "video_id",
    "frame_index",
    *(
        f"hands.list.element.{name}"
        for name in ("box", "side", "score", "keypoints_2d", "keypoint_scores", "joints_3d", "fit")
    ),
]


@dataclass
class TruthReport:
    """Accuracy of labels. Lists hold one number per hand that was found."""

    frames: int = 0
    hands: int = 0
    """True hands that can be seen."""
    wrong: int = 0
    """Labelled hands where there is none."""
    overlap: list[float] = field(default_factory=list)
    """IoU of the box with the true one."""
    side: list[bool] = field(default_factory=list)
    """Whether the side is right."""
    landmarks: list[float] = field(default_factory=list)
    """Mean distance of the 2D keypoints from the visible true ones, over the longer side of the true box."""
    pa: list[float] = field(default_factory=list)
    """PA-MPJPE, metres."""
    camera: list[float] = field(default_factory=list)
    """MPJPE in the camera, metres: focal length and depth are mostly assumptions."""
    fits: int = 0
    """Found hands with a fit."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; null where there is nothing to measure."""
        found = len(self.overlap)
        return {
            "frames": self.frames,
            "hands": self.hands,
            "recall": _or_none(found / self.hands if self.hands else math.nan),
            "precision": _or_none(found / (found + self.wrong) if found + self.wrong else math.nan),
            "mean_iou": _mean(self.overlap),
            "side_accuracy": _mean(self.side),
            "landmark_error": _mean(self.landmarks),
            "fitted": _or_none(self.fits / found if found else math.nan),
            "pa_mpjpe_mm": _mean(self.pa, 1e3),
            "pa_mpjpe_median_mm": _median(self.pa, 1e3),
            "camera_mpjpe_median_mm": _median(self.camera, 1e3),
        }

    def render(self) -> str:
        """Lines for people."""
        n = self.to_json()

        def number(key: str, scale: float = 1.0, digits: int = 1) -> str:
            return "-" if n[key] is None else f"{scale * n[key]:.{digits}f}"

        return "\n".join(
            [
                f"{self.hands} true hands in {self.frames} frames",
                f"  found               {number('recall', 100)} % at IoU {SAME}, {self.wrong} wrong ones",
                f"  boxes               {number('mean_iou', 1, 3)} mean IoU",
                f"  sides               {number('side_accuracy', 100)} % right",
                f"  keypoints, 2D       {number('landmark_error', 100)} % of the box, mean",
                f"  joints, 3D          {number('pa_mpjpe_mm')} mm PA-MPJPE, mean "
                f"({number('pa_mpjpe_median_mm')} median); {number('fitted', 100)} % of hands fitted",
                f"  place in the camera {number('camera_mpjpe_median_mm', 1, 0)} mm, median",
            ]
        )


def compare(labels: Path, truth: Path) -> TruthReport:
    """Compare the frames of ``labels`` with the same frames of ``truth``.

    Raises:
        BadFileError: no labels in one of them.
        UsageError: no frame in common.
    """
    found = {(row["video_id"], row["frame_index"]): row["hands"] for row in iter_rows(labels, _COLUMNS)}
    report = TruthReport()
    for row in iter_rows(truth, _COLUMNS):
        hands = found.get((row["video_id"], row["frame_index"]))
        if hands is not None:
            add_frame(report, hands, row["hands"])
    if not report.frames:
        raise UsageError(f"{labels} and {truth} have no frame in common (video_id and frame_index)")
    return report


def add_frame(report: TruthReport, hands: Sequence[Row], truth: Sequence[Row]) -> None:
    """Compare the hands of one frame, assigned so that the sum of overlaps is largest."""
    seen = [_visible(hand).mean() >= SEEN for hand in truth]
    report.frames += 1
    report.hands += sum(seen)
    overlap = (
        iou([hand["box"] for hand in hands], [hand["box"] for hand in truth]) if hands and truth else None
    )
    matched: dict[int, tuple[int, float]] = {}
    if overlap is not None:
        rows, columns = (indices.tolist() for indices in linear_sum_assignment(overlap, maximize=True))
        for i, j in zip(rows, columns, strict=True):
            if overlap[i, j] >= SAME:
                matched[i] = j, float(overlap[i, j])
    for index, hand in enumerate(hands):
        if index not in matched:
            report.wrong += 1
        elif seen[matched[index][0]]:
            _add_hand(report, hand, truth[matched[index][0]], matched[index][1])


def _add_hand(report: TruthReport, hand: Row, truth: Row, overlap: float) -> None:
    report.overlap.append(overlap)
    if truth["side"] != Side.UNKNOWN:
        report.side.append(hand["side"] == truth["side"])
    if hand["keypoints_2d"] is not None and truth["keypoints_2d"] is not None:
        x1, y1, x2, y2 = truth["box"]
        distance = np.linalg.norm(np.subtract(hand["keypoints_2d"], truth["keypoints_2d"]), axis=1)
        report.landmarks.append(float(distance[_visible(truth)].mean()) / max(x2 - x1, y2 - y1))
    if hand["joints_3d"] is not None and truth["joints_3d"] is not None:
        report.fits += 1
        points, true_points = np.array([hand["joints_3d"]]), np.array([truth["joints_3d"]])
        report.pa.append(float(pa_mpjpe(points, true_points)[0]))
        report.camera.append(float(mpjpe(points, true_points)[0]))


def _visible(hand: Row) -> np.ndarray:
    """(21,) bool: in truth a keypoint's score says whether it can be seen."""
    if hand["keypoint_scores"] is None:
        return np.ones(21, dtype=bool)
    return np.asarray(hand["keypoint_scores"]) > 0.0


def _mean(values: Sequence[float], scale: float = 1.0) -> float | None:
    return _or_none(scale * float(np.mean(values)) if values else math.nan)


def _median(values: Sequence[float], scale: float = 1.0) -> float | None:
    return _or_none(scale * float(np.median(values)) if values else math.nan)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
