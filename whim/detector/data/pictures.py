"""Picture files and stretches of shards -> arrays, decoded no larger than needed."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.detector.data.records import WHOLE_FILE, Record
from whim.errors import BadFileError

Image = NDArray[np.uint8]

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_JPEG = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_TAIL = 4096
"""The end mark of a whole JPEG stands in its last bytes; some cameras write a little after it."""


def reduction(size: tuple[int, int], target: float) -> int:
    """Largest of 1, 2, 4, 8 by which a picture may be reduced and still be ``target`` pixels on its longer side."""
    ratio = max(size) / target * 1.01
    return max(factor for factor in _REDUCED if factor == 1 or factor <= ratio)


def read(record: Record, factor: int = 1) -> Image:
    """BGR picture (ceil(H / factor), ceil(W / factor), 3).

    Source pixel x lies at x / factor. JPEG decodes reduced in a fraction of the time. A rotation tag is followed
    when that gives the labelled size, as some sets label the picture as it is shown and some as it is stored.

    Raises:
        BadFileError: missing, damaged, cut short, or of another size than its label says.
    """
    try:
        data = _bytes(record)
    except OSError as error:
        raise BadFileError(f"{record.name}: {error}") from error
    if data[:2] == _JPEG and _JPEG_END not in data[-_TAIL:]:
        # OpenCV would fill what is missing with grey and say nothing.
        raise BadFileError(f"{record.name}: the picture is cut short")
    flags = _REDUCED[factor]
    array = np.frombuffer(data, np.uint8)
    found = (0, 0)
    for extra in (0, cv2.IMREAD_IGNORE_ORIENTATION):
        try:
            picture = cv2.imdecode(array, flags | extra) if len(array) else None
        except cv2.error as error:
            raise BadFileError(f"{record.name}: not a picture ({error.err})") from error
        if picture is None:
            raise BadFileError(f"{record.name}: not a picture that can be decoded")
        found = picture.shape[1], picture.shape[0]
        if all(abs(got - want / factor) < 1 for got, want in zip(found, record.size, strict=True)):
            return picture
        if found[0] == found[1]:
            break
    width, height = record.size
    raise BadFileError(
        f"{record.name}: {found[0] * factor}x{found[1] * factor} pixels instead of {width}x{height}"
    )


def _bytes(record: Record) -> bytes:
    if record.length == WHOLE_FILE:
        return Path(record.path).read_bytes()
    data = os.pread(_open(record.path, os.getpid()).fileno(), record.length, record.start)
    if len(data) != record.length:
        raise BadFileError(f"{record.name}: the shard ends before this picture does")
    return data


@lru_cache(maxsize=512)
def _open(path: str, process: int) -> BinaryIO:
    """Shards stay open; a fork opens its own."""
    return Path(path).open("rb")
