"""Width and height of a picture file as it is shown, from its head where possible."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2

from whim.errors import BadFileError

_HEAD = 1 << 18
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) with the rotation tag applied.

    Raises:
        BadFileError: not a picture.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if head[:2] == b"\xff\xd8" and (found := _jpeg(head)):
        return found
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24 and b"eXIf" not in head:
        width, height = struct.unpack(">II", head[16:24])
        return width, height
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise BadFileError(f"{path}: not a picture that can be decoded")
    return picture.shape[1], picture.shape[0]


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """Size in the frame header; None when it lies too far back, or when there may be a rotation tag."""
    position = 2
    while position + 9 < len(head) and head[position] == 0xFF:
        marker, length = head[position + 1], struct.unpack(">H", head[position + 2 : position + 4])[0]
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", head[position + 5 : position + 9])
            return width, height
        if marker == 0xE1 and head[position + 4 : position + 8] == b"Exif":
            return None  # decoding is slower, and right
        position += 2 + length
    return None
