"""Colours, blur and masks of a made picture, in place. No change of colour space: it costs more than the rest."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.detector.data.draws import SampleDraw
from whim.detector.data.hands import Hands
from whim.detector.data.refit import inside

Image = NDArray[np.uint8]
_LUMA = np.array([0.114, 0.587, 0.299])
"""Weights of blue, green, red in the brightness."""


def recolour(picture: Image, draw: SampleDraw, out: Image) -> None:
    """BGR ``picture`` -> RGB ``out``, both (S, S, 3): saturation, gains, contrast and brightness in one pass that also
    turns the channels round, then gamma and blur when drawn."""
    matrix = colour_matrix(draw)
    if matrix is None:
        cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=out)
    else:
        cv2.transform(picture, np.ascontiguousarray(matrix[::-1], dtype=np.float32), dst=out)
    if draw.gamma != 1.0:
        table = np.round(255 * (np.arange(256) / 255) ** draw.gamma).astype(np.uint8)
        cv2.LUT(out, table, dst=out)
    if draw.blur:
        cv2.blur(out, (draw.blur, draw.blur), dst=out)


def colour_matrix(draw: SampleDraw) -> NDArray[np.float64] | None:
    """(3, 4): new blue, green, red from old ones and 1, values 0..255; None when nothing changes."""
    if (draw.saturation, draw.gains, draw.contrast, draw.brightness) == (1.0, (1.0, 1.0, 1.0), 1.0, 0.0):
        return None
    mix = draw.saturation * np.eye(3) + (1 - draw.saturation) * _LUMA
    mix = draw.contrast * np.array(draw.gains)[:, None] * mix
    offset = 255 * (0.5 * (1 - draw.contrast) + draw.brightness)
    return np.concatenate([mix, np.full((3, 1), offset)], axis=1)


def cover(picture: Image, hands: Hands, draw: SampleDraw, max_masked: float) -> Hands:
    """Paint the masks; covered keypoints become hidden, hands covered beyond ``max_masked`` are no longer targets."""
    if not draw.masks:
        return hands
    size = picture.shape[0]
    covered = np.zeros(len(hands))
    area = np.clip(hands.boxes[:, 2:] - hands.boxes[:, :2], 1e-6, None).prod(axis=1)
    visibility = hands.visibility.copy()
    for mask, colour in zip(draw.masks, draw.mask_colours, strict=True):
        x1, y1, x2, y2 = (round(size * share) for share in mask)
        picture[y1:y2, x1:x2] = colour
        low = np.maximum(hands.boxes[:, :2], (x1, y1))
        high = np.minimum(hands.boxes[:, 2:], (x2, y2))
        covered += np.clip(high - low, 0, None).prod(axis=1) / area  # where masks overlap, rather too much
        visibility[inside(hands.keypoints, (x1, y1, x2, y2)) & (visibility == 2)] = 1
    kept = Hands(boxes=hands.boxes, side=hands.side, keypoints=hands.keypoints, visibility=visibility)
    return kept.select(covered <= max_masked)
