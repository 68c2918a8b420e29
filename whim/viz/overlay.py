"""Draw labels on pictures. Pure functions: the given picture stays as it was."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.conventions import HAND_BONES, Side

Image = NDArray[np.uint8]
Row = dict[str, Any]

SIDE_COLOURS: dict[Side, tuple[int, int, int]] = {
    Side.LEFT: (255, 149, 0),
    Side.RIGHT: (0, 174, 239),
    Side.UNKNOWN: (190, 190, 190),
}
"""RGB. Orange and blue stay apart for every kind of colour vision; the gallery page uses the same."""
SIDE_LETTERS: dict[Side, str] = {Side.LEFT: "L", Side.RIGHT: "R", Side.UNKNOWN: "?"}
_DARK = (20, 20, 20)
_WHITE = (255, 255, 255)
_SUBPIXEL_BITS = 4
_LARGE_HAND = 72.0
"""Longer side of the box in pixels. On smaller hands dots and outlines would hide what they mark."""


def draw_labels(image: Image, row: Row, *, longest: int, votes: bool = True) -> Image:
    """A frame scaled down to ``longest`` pixels with its labels drawn on it.

    ``image`` (H, W, 3) RGB at the size that ``row`` (a label row) was made for. Boxes of the votes are thin,
    fused boxes thick, keypoints joined by bones; orange is left, blue right, grey unknown. Lines keep their
    width whatever the scale, so that a thumbnail stays legible.
    """
    scale = min(1.0, longest / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image.copy()
    # Worst score last, so that the best hand lies on top.
    for hand in reversed(row["hands"]):
        if votes:
            for vote in hand["votes"]:
                _box(picture, vote["box"], scale, SIDE_COLOURS[Side(vote["side"])], width=1)
        _skeleton(picture, hand, scale)
        _box(picture, hand["box"], scale, SIDE_COLOURS[Side(hand["side"])], width=2)
        _tag(picture, hand, scale)
    return picture


def _points(values: Any, scale: float) -> NDArray[np.int32]:
    """Pixels of the frame (N, 2) -> fixed-point pixels of the scaled picture, as cv2 wants them."""
    # In cv2 the centre of the first pixel is 0; in WHIM its far edge is 1 and its centre 0.5.
    points = np.asarray(values, dtype=np.float64).reshape(-1, 2) * scale - 0.5
    return np.asarray(np.round(np.clip(points, -1e4, 1e4) * (1 << _SUBPIXEL_BITS)), dtype=np.int32)


def _box(picture: Image, box: Any, scale: float, colour: tuple[int, int, int], *, width: int) -> None:
    corners = _points(box, scale)
    start, end = (tuple(corner.tolist()) for corner in corners)
    for line, tint in ((width + 2, _DARK), (width, colour)) if width > 1 else ((width, colour),):
        cv2.rectangle(picture, start, end, tint, line, cv2.LINE_AA, _SUBPIXEL_BITS)


def _skeleton(picture: Image, hand: Row, scale: float) -> None:
    if hand["keypoints_2d"] is None:
        return
    points = _points(hand["keypoints_2d"], scale)
    x1, y1, x2, y2 = hand["box"]
    large = max(x2 - x1, y2 - y1) * scale >= _LARGE_HAND
    for width, tint in ((3, _DARK), (1, SIDE_COLOURS[Side(hand["side"])])) if large else ((1, _WHITE),):
        for parent, child in HAND_BONES:
            ends = tuple(points[parent].tolist()), tuple(points[child].tolist())
            cv2.line(picture, *ends, tint, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    for point in points if large else ():
        radius = 2 << _SUBPIXEL_BITS
        cv2.circle(picture, tuple(point.tolist()), radius, _WHITE, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _tag(picture: Image, hand: Row, scale: float) -> None:
    """Side and agreement on a plate above the box, or inside it at the upper edge of the picture."""
    text = f"{SIDE_LETTERS[Side(hand['side'])]} {100 * hand['agreement']:.0f}"
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    x = int(np.clip(hand["box"][0] * scale - 2, 0, max(0, picture.shape[1] - width - 6)))
    bottom = int(hand["box"][1] * scale) - 2
    if bottom < height + 6:
        bottom = min(int(hand["box"][1] * scale) + height + 8, picture.shape[0])
    colour = SIDE_COLOURS[Side(hand["side"])]
    cv2.rectangle(picture, (x, bottom - height - 6), (x + width + 6, bottom), colour, -1)
    cv2.putText(picture, text, (x + 3, bottom - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _DARK, 1, cv2.LINE_AA)
