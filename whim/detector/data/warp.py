"""One warp per tile, straight into the made picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.detector.data.layout import Affine, Tile

Image = NDArray[np.uint8]
FILL = 114
"""Grey of what no picture covers."""
EDGE = 3
"""Pixels by which :func:`padded` repeats the edge, so that interpolation never mixes in what is not the picture."""
_SUBPIXEL_BITS = 6


def padded(picture: Image) -> Image:
    """A picture as :func:`paste` wants it."""
    return cv2.copyMakeBorder(picture, EDGE, EDGE, EDGE, EDGE, cv2.BORDER_REPLICATE)


def paste(canvas: Image, picture: Image, factor: int, tile: Tile) -> None:
    """Draw ``tile`` into ``canvas`` (S, S, 3); ``picture`` is its source reduced by ``factor``, :func:`padded`.

    Only the part of the canvas that the tile can reach is touched; what its crop does not show stays as it was.
    """
    # OpenCV can warp into a picture and leave the rest alone (BORDER_TRANSPARENT), but three times slower than this.
    corners = np.array([(x, y) for x, y in _corners(tile.crop)]) @ tile.matrix[:2, :2].T + tile.matrix[:2, 2]
    low = np.clip(np.floor(corners.min(axis=0)), 0, canvas.shape[1::-1]).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, canvas.shape[1::-1]).astype(int)
    if (high <= low).any():
        return
    part = canvas[low[1] : high[1], low[0] : high[0]]
    height, width = picture.shape[0] - 2 * EDGE, picture.shape[1] - 2 * EDGE
    x1, y1 = (max(0, int(np.floor(value / factor))) for value in tile.crop[:2])
    x2, y2 = min(width, int(np.ceil(tile.crop[2] / factor))), min(height, int(np.ceil(tile.crop[3] / factor)))
    source = picture[y1 : y2 + 2 * EDGE, x1 : x2 + 2 * EDGE]
    x, y = factor * (x1 - EDGE), factor * (y1 - EDGE)
    matrix = tile.matrix @ np.array([[factor, 0.0, x], [0.0, factor, y], [0.0, 0.0, 1.0]])
    matrix[:2, 2] -= low
    warped = cv2.warpAffine(source, to_opencv(matrix), (part.shape[1], part.shape[0]), flags=cv2.INTER_LINEAR)
    mask = np.zeros(part.shape[:2], np.uint8)
    outline = np.round((corners - low - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillConvexPoly(mask, outline, 255, cv2.LINE_8, _SUBPIXEL_BITS)
    cv2.copyTo(warped, mask, part)


def _corners(crop: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    x1, y1, x2, y2 = crop
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def to_opencv(matrix: Affine) -> NDArray[np.float64]:
    """(2, 3) for OpenCV, where the centre of the first pixel is at 0 and not at 0.5."""
    result = matrix[:2].copy()
    result[:, 2] += matrix[:2, :2] @ np.array([0.5, 0.5]) - 0.5
    return result
