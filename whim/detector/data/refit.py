"""Hands under an affine map: sides, keypoints, and boxes that stay tight when they are turned. Pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whim.conventions import Side
from whim.detector.data.hands import Hands

Floats = NDArray[np.float64]
LEAST_KEYPOINTS = 11
"""A box follows its keypoints when more than half of the 21 are labelled."""


def transform(hands: Hands, matrix: NDArray, crop: ArrayLike | None = None) -> Hands:
    """Hands of source pictures in the made picture, by one affine map (3, 3) or one for each hand (n, 3, 3).

    ``crop`` (4,) or (n, 4): the part of the source that is shown; keypoints outside are no longer labelled.
    A map that mirrors swaps left and right, whatever it is made of. Keypoints keep their numbers: the tip of the
    thumb is the tip of the thumb in a mirror too.
    """
    number = len(hands)
    matrices = np.broadcast_to(matrix, (number, 3, 3))
    boxes, visibility = hands.boxes.astype(np.float64), hands.visibility
    if crop is not None:
        shown = np.broadcast_to(np.asarray(crop, dtype=np.float64), (number, 4))
        boxes = np.clip(boxes, np.tile(shown[:, :2], 2), np.tile(shown[:, 2:], 2))
        visibility = np.where(inside(hands.keypoints, shown), visibility, 0)
    linear = matrices[:, :2, :2]
    points = hands.keypoints.astype(np.float64)
    turned = points @ linear.transpose(0, 2, 1) + matrices[:, None, :2, 2]
    mirrored = (np.linalg.det(linear) < 0) & (hands.side != Side.UNKNOWN)
    new = refit_from_corners(boxes, matrices)
    labelled = visibility > 0
    follow = labelled.sum(axis=1) >= LEAST_KEYPOINTS
    if follow.any():
        which = (boxes[follow], points[follow], turned[follow], labelled[follow])
        new[follow] = refit_from_keypoints(*which, linear[follow])
    return Hands(
        boxes=new.astype(np.float32),
        side=np.where(mirrored, 1 - hands.side, hands.side),
        keypoints=turned.astype(np.float32),
        visibility=visibility,
    )


def refit_from_keypoints(
    boxes: Floats, points: Floats, turned: Floats, labelled: NDArray[np.bool_], linear: Floats
) -> Floats:
    """Boxes (n, 4) around the turned keypoints (n, 21, 2), with the margins that the old boxes had around the old
    keypoints; ``linear`` (n, 2, 2).

    The margin towards a direction is that of the old directions it comes from, by cos^2 and sin^2 of the angle
    between them: exact for quarter turns and mirrors, smooth between.
    """
    hidden = ~labelled[..., None]
    low = np.where(hidden, np.inf, points).min(axis=1)
    high = np.where(hidden, -np.inf, points).max(axis=1)
    margins = np.concatenate([low - boxes[:, :2], boxes[:, 2:] - high], axis=1)  # left, top, right, bottom
    scale = np.sqrt(np.abs(np.linalg.det(linear)))[:, None]
    towards = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
    source = (
        towards @ linear / scale[..., None]
    )  # row k: the old direction that is turned into the new direction k
    parts = np.clip(source @ towards.T, 0.0, None) ** 2  # (n, new, old)
    new = scale * (parts @ margins[..., None])[..., 0]
    low = np.where(hidden, np.inf, turned).min(axis=1)
    high = np.where(hidden, -np.inf, turned).max(axis=1)
    return np.concatenate([low - new[:, :2], high + new[:, 2:]], axis=1)


def refit_from_corners(boxes: Floats, matrices: NDArray) -> Floats:
    """Boxes (n, 4) around turned boxes of which nothing is known but themselves; ``matrices`` (n, 3, 3).

    The box around the ellipse that fills the old box: half a side is sqrt(a^2 cos^2 + b^2 sin^2). A hand seldom
    reaches into the corners: on 4,000 hands (STB, RHD) turned by up to 60 degrees its mean IoU with the true box is
    0.78 and its median area 1.06 times the true one; 0.58 and 1.83 when the corners are turned.
    """
    half = (boxes[:, 2:] - boxes[:, :2])[..., None] / 2
    linear, offset = matrices[:, :2, :2], matrices[:, :2, 2]
    centre = (linear @ (boxes[:, :2, None] + half))[..., 0] + offset
    extent = np.sqrt(linear**2 @ half**2)[..., 0]
    return np.concatenate([centre - extent, centre + extent], axis=1)


def inside(points: NDArray, boxes: ArrayLike) -> NDArray[np.bool_]:
    """Which points (n, 21, 2) lie in a box (4,), or each in its own (n, 4)."""
    box = np.asarray(boxes)[..., None, :]
    return np.asarray(((points >= box[..., :2]) & (points <= box[..., 2:])).all(axis=-1))


def clip(
    hands: Hands, size: int, *, areas: Floats, min_visible: float, min_size: float
) -> tuple[Hands, NDArray]:
    """Hands limited to the input, and which of them are left (mask over what came in).

    ``areas`` (n,): what their boxes covered before anything was cut off, in pixels of the input.
    """
    box = np.clip(hands.boxes, 0.0, size)
    extent = np.clip(box[:, 2:] - box[:, :2], 0.0, None)
    left = (extent.prod(axis=1) >= min_visible * areas) & (
        extent.min(axis=1, initial=np.inf) >= max(min_size, 1e-3)
    )
    seen = inside(hands.keypoints, (0, 0, size, size))
    cut = Hands(
        boxes=box,
        side=hands.side,
        keypoints=hands.keypoints,
        visibility=np.where(seen, hands.visibility, 0),
    )
    return cut.select(left), left
