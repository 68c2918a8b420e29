"""Pictures of the gallery: get the chosen frames, draw, write files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from whim.errors import BadFileError
from whim.shards.pixels import difference, encode
from whim.shards.rows import Row
from whim.sources.video.decode import frames_at
from whim.viz.meshes import MeshLayer
from whim.viz.overlay import Image, draw_labels

THUMB_PIXELS = 440
"""Longer side of the pictures on the sheet, labels drawn in."""
LARGE_PIXELS = 1280
"""Longer side of the enlarged pictures, clean: the page draws the labels over them."""
KINDS = {"thumb": "jpg", "large": "jpg", "mesh": "webp"}
"""Kinds of pictures and their suffixes. ``mesh`` is a transparent layer over ``large``."""
_QUALITY = 82

Target = Callable[[Row, str], Path]
"""Row and kind -> file to write."""


def write_pictures(
    video: Path, rows: Sequence[Row], target: Target, meshes: MeshLayer, step: Callable[[], None]
) -> dict[int, str]:
    """Write the pictures of each row (of one video, sorted by frame) to ``target(row, kind)``.

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
            _write(frame.image, row, target, meshes)
            step()
    except BadFileError as error:
        problems |= dict.fromkeys(pending, str(error))
    return problems


def write_packed_pictures(
    rows: Sequence[Row], target: Target, meshes: MeshLayer, step: Callable[[], None]
) -> dict[int, str]:
    """The same for rows of pixel shards, which carry their pictures."""
    problems: dict[int, str] = {}
    for row in rows:
        picture = cv2.imdecode(np.frombuffer(row["image"]["bytes"], dtype=np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            problems[row["frame_index"]] = "the picture in the shard cannot be read"
        else:
            _write(np.ascontiguousarray(picture[..., ::-1]), row, target, meshes)
        step()
    return problems


def _write(image: Image, row: Row, target: Target, meshes: MeshLayer) -> None:
    if image.shape[:2] != (row["height"], row["width"]):
        image = cv2.resize(image, (row["width"], row["height"]), interpolation=cv2.INTER_AREA)
    target(row, "thumb").write_bytes(encode(draw_labels(image, row, longest=THUMB_PIXELS), _QUALITY))
    target(row, "large").write_bytes(
        encode(draw_labels(image, {**row, "hands": []}, longest=LARGE_PIXELS), _QUALITY)
    )
    layer = meshes.draw(row, longest=LARGE_PIXELS)
    if layer is None:
        target(row, "mesh").unlink(missing_ok=True)
    else:
        _, coded = cv2.imencode(
            ".webp", cv2.cvtColor(layer, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_WEBP_QUALITY, 80]
        )
        target(row, "mesh").write_bytes(coded.tobytes())
