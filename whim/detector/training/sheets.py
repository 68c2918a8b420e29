"""Sample predictions as one picture: truth thin and white, predictions in the colours of the gallery."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.conventions import HAND_BONES, Side
from whim.detector.training.measure import Judged, best
from whim.files import atomic_path
from whim.viz.overlay import SIDE_COLOURS, SIDE_LETTERS

LEAST_SCORE = 0.25
_COLUMNS = 4
_BITS = 4


def write_sheet(path: Path, pictures: list[NDArray[np.uint8]], judged: list[Judged]) -> None:
    """RGB pictures (S, S, 3) of the input with truth and predictions of at least :data:`LEAST_SCORE`, as a JPEG."""
    drawn = [_draw(picture, one) for picture, one in zip(pictures, judged, strict=True)]
    blank = np.zeros_like(drawn[0])
    drawn += [blank] * (-len(drawn) % _COLUMNS)
    rows = [np.hstack(drawn[start : start + _COLUMNS]) for start in range(0, len(drawn), _COLUMNS)]
    sheet = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])


def _draw(picture: NDArray[np.uint8], one: Judged) -> NDArray[np.uint8]:
    image = np.ascontiguousarray(picture)
    for box in one.boxes:
        _rectangle(image, box, (255, 255, 255), 1)
    predicted = best(one.predicted)
    for row in np.flatnonzero(predicted.score >= LEAST_SCORE)[::-1]:
        side = Side(int(predicted.side[row]))
        points = np.round((np.clip(predicted.keypoints[row], -1e4, 1e4) - 0.5) * (1 << _BITS)).astype(
            np.int32
        )
        for parent, child in HAND_BONES:
            ends = tuple(points[parent].tolist()), tuple(points[child].tolist())
            cv2.line(image, *ends, SIDE_COLOURS[side], 1, cv2.LINE_AA, _BITS)
        _rectangle(image, predicted.boxes[row], SIDE_COLOURS[side], 2)
        x, y = predicted.boxes[row, :2].astype(int).tolist()
        text = f"{SIDE_LETTERS[side]} {100 * predicted.score[row]:.0f}"
        cv2.putText(
            image, text, (x + 2, max(y - 3, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, SIDE_COLOURS[side], 1
        )
    return image


def _rectangle(image: NDArray[np.uint8], box: NDArray, colour: tuple[int, int, int], width: int) -> None:
    x1, y1, x2, y2 = np.round((np.clip(box, -1e4, 1e4) - 0.5) * (1 << _BITS)).astype(int).tolist()
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA, _BITS)
