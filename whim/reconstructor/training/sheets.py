"""Validation crops with predicted keypoints (colour) over the true ones (white), as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from whim.conventions import HAND_BONES
from whim.files import atomic_path

_COLUMNS, _SIDE = 6, 192


def write_sheet(path: Path, samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Crops (S, S, 3) RGB with predicted and true keypoints (21, 2) in fractions of the crop, as a JPEG."""
    tiles = []
    for crop, predicted, truth in samples:
        tile = cv2.resize(np.ascontiguousarray(crop), (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
        for points, colour in ((truth, (255, 255, 255)), (predicted, (0, 174, 239))):
            pixels = np.round(np.clip((np.nan_to_num(points) + 0.5) * _SIDE - 0.5, -1e4, 1e4) * 16).astype(
                np.int32
            )
            for parent, child in HAND_BONES:
                ends = tuple(pixels[parent].tolist()), tuple(pixels[child].tolist())
                cv2.line(tile, *ends, colour, 1, cv2.LINE_AA, 4)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _COLUMNS)
    rows = [np.hstack(tiles[start : start + _COLUMNS]) for start in range(0, len(tiles), _COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
