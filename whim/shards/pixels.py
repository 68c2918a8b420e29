"""Pictures of labelled frames: decode again, compare with the label's picture hash, encode as JPEG."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from whim.errors import BadFileError
from whim.shards.rows import Row
from whim.sources.video.decode import Frame, frames_at
from whim.sources.video.hashing import difference_hash, hamming

JPEG_QUALITY = 90
PICTURE_DISTANCE = 10
"""Bits of 64 by which the hash of a decoded frame may differ from the label's. The same file gives 0; fifteen
real clips coded again at low quality (H.264, CRF 36) gave at most 9. Frames 0.2 s apart exceed it somewhere
in half of the clips: another cut is found, a shift by a frame or two in calm footage not always."""
TIME_TOLERANCE_S = 0.02
"""Containers round times to milliseconds; another frame rate is off by more within a second."""

CHECKED_COLUMNS = ("frame_index", "time_s", "width", "height", "picture_hash")
"""Label columns that :func:`read_pictures` needs."""


class PictureStore:
    """JPEGs of one video, in a file without a name: it costs no memory and vanishes with the process."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        self._ends = [0]

    def append(self, jpeg: bytes) -> None:
        """Add the next picture.

        Raises:
            OSError: the disk is full.
        """
        self._file.write(jpeg)
        self._ends.append(self._ends[-1] + len(jpeg))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        start, end = self._ends[index], self._ends[index + 1]
        self._file.seek(start)
        return self._file.read(end - start)

    def close(self) -> None:
        """Release the disk space."""
        self._file.close()


def encode(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """RGB picture (H, W, 3) as JPEG bytes."""
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise ValueError(f"a picture of shape {image.shape} cannot be a JPEG")
    return jpeg.tobytes()


def difference(frame: Frame, row: Row) -> str:
    """How a decoded frame differs from the one that ``row`` was made from; empty when it does not."""
    height, width = frame.image.shape[:2]
    if (width, height) != (row["width"], row["height"]):
        return f"is {width}x{height} instead of {row['width']}x{row['height']}"
    if abs(frame.time_s - row["time_s"]) > TIME_TOLERANCE_S:
        return f"comes at {frame.time_s:.2f} s instead of {row['time_s']:.2f} s"
    distance = hamming(difference_hash(frame.image), row["picture_hash"])
    return f"shows another picture ({distance} of 64 hash bits differ)" if distance > PICTURE_DISTANCE else ""


def read_pictures(
    video: Path, labels: pa.Table, store: PictureStore, step: Callable[[], None] = lambda: None
) -> None:
    """Decode every labelled frame of ``video`` into ``store``, in the order of ``labels`` (sorted by frame).

    ``labels`` has :data:`CHECKED_COLUMNS`; ``step`` is called for each frame.

    Raises:
        BadFileError: nothing of the video may be used. ``code``: ``picture-mismatch`` when frames are not the
            annotated ones, ``bad-labels`` when a frame is there twice, or what decoding says.
        OSError: the disk is full.
    """
    rows = labels.select(CHECKED_COLUMNS).to_pylist()
    indices = [row["frame_index"] for row in rows]
    if any(later <= earlier for earlier, later in pairwise(indices)):
        raise BadFileError(f"the labels of {video} hold a frame twice or out of order", code="bad-labels")
    differ = 0
    first = ""
    for frame, row in zip(frames_at(video, indices), rows, strict=True):
        step()
        if reason := difference(frame, row):
            differ += 1
            first = first or f"frame {frame.index} {reason}"
        elif not differ:  # after the first difference only the count goes on
            store.append(encode(frame.image))
    if differ:
        raise BadFileError(
            f"{video}: not the video that was annotated; {differ} of {len(rows)} frames differ: {first}",
            code="picture-mismatch",
        )
