"""Pictures of the gallery: decode the chosen frames, draw, write JPEG files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from whim.errors import BadFileError
from whim.shards.pixels import difference, encode
from whim.shards.rows import Row
from whim.sources.video.decode import frames_at
from whim.viz.overlay import draw_labels

THUMB_PIXELS = 440
"""Longer side of the pictures on the sheet, labels drawn in."""
LARGE_PIXELS = 1280
"""Longer side of the enlarged pictures, clean: the page draws the labels over them."""
_QUALITY = 82


def write_pictures(
    video: Path, rows: Sequence[Row], target: Callable[[Row, str], Path], step: Callable[[], None]
) -> dict[int, str]:
    """Write thumbnail and large picture of each row (of one video, sorted by frame) to ``target(row, kind)``.

    Returns what is wrong with frames, by frame index; frames without an entry are fine. A frame that cannot
    be decoded has no picture; one that differs from the annotated one has, and says so.
    """
    pending = {row["frame_index"]: row for row in rows}
    problems: dict[int, str] = {}
    try:
        for frame in frames_at(video, list(pending)):
            row = pending.pop(frame.index)
            if reason := difference(frame, row):
                problems[frame.index] = f"not the picture that was annotated: it {reason}"
            image = frame.image
            if image.shape[:2] != (row["height"], row["width"]):
                image = cv2.resize(image, (row["width"], row["height"]), interpolation=cv2.INTER_AREA)
            for kind, picture in (
                ("thumb", draw_labels(image, row, longest=THUMB_PIXELS)),
                ("large", draw_labels(image, {**row, "hands": []}, longest=LARGE_PIXELS)),
            ):
                target(row, kind).write_bytes(encode(picture, _QUALITY))
            step()
    except BadFileError as error:
        problems |= dict.fromkeys(pending, str(error))
    return problems
