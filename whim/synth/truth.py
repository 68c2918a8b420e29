"""The label row of a rendered scene: exact boxes, keypoints, sides, parameters, camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whim.conventions import Side
from whim.shards.rows import NO_FIT, Row

Floats = NDArray[np.float64]

SEEN, BEHIND_ITSELF, HIDDEN = 1.0, 0.5, 0.0
"""Values of ``keypoint_scores``: seen; in the picture, but behind its own hand; behind something else or outside."""

NEAR_SURFACE_M = 0.02
"""A joint lies so deep below its own skin at most; what is further behind the first surface is hidden by it."""

LEAST_SHARE = 0.12
"""A hand of which a smaller share is seen gets no label: nobody could draw a box around it."""
LEAST_SIDE_PX = 5.0

TRUTH = "truth"
"""``detector`` of rendered people."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandTruth:
    """A hand of a scene, in the camera."""

    label: int
    """Its number in the label image."""
    side: Side
    betas: Floats
    hand_pose: Floats
    """(15, 3) axis-angle, of its own side."""
    global_orient: Floats
    translation: Floats
    topology: str
    joints: Floats
    """(21, 3) metres, camera axes, OpenPose order."""
    vertices: Floats
    """(V, 3)."""
    person: int = -1


@dataclass(frozen=True, kw_only=True)
class View:
    """A pinhole camera; pixel centres at halves, as everywhere in WHIM."""

    focal: float
    center: tuple[float, float]
    width: int
    height: int

    def project(self, points: Floats) -> Floats:
        """(..., 2) pixels of points (..., 3) in front of the camera."""
        return points[..., :2] / points[..., 2:] * self.focal + np.asarray(self.center)


def hand_row(
    hand: HandTruth, view: View, depth: NDArray[np.floating], labels: NDArray[np.integer]
) -> Row | None:
    """The label of a hand, or None when too little of it is seen.

    Args:
        hand: the truth.
        view: the camera.
        depth: (H, W) metres of the first surface, infinite where there is none.
        labels: (H, W) number of that surface.
    """
    if hand.vertices[:, 2].min() < 0.02:
        return None
    hull = view.project(hand.vertices)
    low, high = hull.min(axis=0), hull.max(axis=0)
    size = np.array([view.width, view.height], dtype=np.float64)
    x1, y1, x2, y2 = box = np.concatenate([np.clip(low, 0, size), np.clip(high, 0, size)])
    if min(x2 - x1, y2 - y1) < LEAST_SIDE_PX:
        return None
    # How many pixels the hand would have alone, from its silhouette's hull: fingers apart leave gaps in it.
    import cv2

    area = float(cv2.contourArea(cv2.convexHull(hull.astype(np.float32))))
    if (labels == hand.label).sum() < LEAST_SHARE * area:
        return None
    points = view.project(hand.joints)
    return {
        "box": box.tolist(),
        "side": int(hand.side),
        "side_score": 1.0,
        "score": 1.0,
        "keypoints_2d": points.tolist(),
        "keypoint_scores": visibility(hand, points, depth, labels).tolist(),
        "person": hand.person,
        "votes": [],
        "agreement": 1.0,
        **NO_FIT,
        "joints_3d": hand.joints.tolist(),
        "mano": {
            "global_orient": hand.global_orient.tolist(),
            "hand_pose": hand.hand_pose.tolist(),
            "betas": hand.betas.tolist(),
            "translation": hand.translation.tolist(),
            "topology": hand.topology,
        },
        "camera": {"focal": [view.focal] * 2, "center": list(view.center), "assumed": False},
    }


def visibility(
    hand: HandTruth, points: Floats, depth: NDArray[np.floating], labels: NDArray[np.integer]
) -> Floats:
    """(21,) SEEN, BEHIND_ITSELF or HIDDEN."""
    height, width = depth.shape
    inside = (points >= 0).all(axis=1) & (points < [width, height]).all(axis=1)
    column = np.clip(points[:, 0], 0, width - 1).astype(int)
    row = np.clip(points[:, 1], 0, height - 1).astype(int)
    nearer = depth[row, column] < hand.joints[:, 2] - NEAR_SURFACE_M
    own = labels[row, column] == hand.label
    return np.where(~inside | (nearer & ~own), HIDDEN, np.where(nearer, BEHIND_ITSELF, SEEN))


def scene_row(
    *,
    video_id: str,
    split: str,
    frame_index: int,
    time_s: float,
    picture_hash: int,
    view: View,
    hands: Sequence[Row],
    people: Sequence[Floats],
) -> Row:
    """One row of the label schema; ``people`` are boxes (4,) of rendered persons."""
    return {
        "video_id": video_id,
        "split": split,
        "frame_index": frame_index,
        "time_s": time_s,
        "width": view.width,
        "height": view.height,
        "picture_hash": picture_hash,
        "persons": [
            {"box": box.tolist(), "score": 1.0, "detector": TRUTH, "implementation": TRUTH} for box in people
        ],
        "hands": list(hands),
    }
