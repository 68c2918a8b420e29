"""Picture files as bytes for a shard: JPEG and PNG stay as they are, byte for byte; others become PNG."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.importers.types import ImportedPicture, Loaded, Skipped

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
_JPEG, _JPEG_END, _PNG, _PNG_END = b"\xff\xd8", b"\xff\xd9", b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_TAIL = 4096
_ORIENTATION = 0x0112


def load_files(pictures: Sequence[ImportedPicture]) -> Iterator[tuple[ImportedPicture, Loaded | Skipped]]:
    """Each picture with its file's content, or why it cannot be used."""
    for picture in pictures:
        yield picture, load_file(picture)


def load_file(picture: ImportedPicture) -> Loaded | Skipped:
    """One picture; JPEG and PNG keep their bytes.

    A JPEG with a rotation tag is shown turned, and labels refer either to that or to the stored pixels: the labelled
    size decides. In the second case the tag, and nothing else, is neutralised, so that every reader sees what was
    labelled.
    """
    try:
        data = picture.path.read_bytes()
    except OSError as error:
        return Skipped(key=picture.key, reason="missing-picture", detail=str(error))
    if (data[:2] == _JPEG and _JPEG_END not in data[-_TAIL:]) or (
        data[:8] == _PNG and _PNG_END not in data[-64:]
    ):
        return Skipped(key=picture.key, reason="corrupt-picture", detail=f"{picture.path} is cut short")
    image = decode(data)
    if image is not None and picture.size and _size(image) != picture.size and data[:2] == _JPEG:
        stored = without_rotation(data)
        turned = decode(stored) if stored != data else None
        if turned is not None and _size(turned) == picture.size:
            data, image = stored, turned
    if image is None:
        return Skipped(key=picture.key, reason="corrupt-picture", detail=f"{picture.path} cannot be decoded")
    if picture.size and _size(image) != picture.size:
        seen, said = ("x".join(map(str, size)) for size in (_size(image), picture.size))
        return Skipped(
            key=picture.key, reason="size-mismatch", detail=f"{picture.path} is {seen}, labelled {said}"
        )
    if data[:2] != _JPEG and data[:8] != _PNG:
        data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    return Loaded(data=data, image=image)


def decode(data: bytes) -> NDArray[np.uint8] | None:
    """RGB (H, W, 3) as it is shown, or None."""
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        return None
    return None if found is None else np.ascontiguousarray(found[..., ::-1], dtype=np.uint8)


def find_picture(name: str, folders: Sequence[Path]) -> Path:
    """The first of ``folders`` that has the picture; where none has, the place where it should be."""
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    return folders[0] / name


def without_rotation(jpeg: bytes) -> bytes:
    """The same JPEG with the value of its EXIF rotation tag set to 1 (upright); unchanged when it has none."""
    position = 2
    while position + 10 < len(jpeg) and jpeg[position] == 0xFF:
        marker, length = jpeg[position + 1], struct.unpack(">H", jpeg[position + 2 : position + 4])[0]
        start = position + 10
        if marker == 0xE1 and jpeg[position + 4 : start] == b"Exif\0\0":
            place = _orientation_place(jpeg, start, position + 2 + length)
            if place:
                order = "<" if jpeg[start : start + 2] == b"II" else ">"
                return jpeg[:place] + struct.pack(f"{order}H", 1) + jpeg[place + 2 :]
        if marker == 0xDA:
            break
        position += 2 + length
    return jpeg


def _orientation_place(jpeg: bytes, start: int, end: int) -> int | None:
    """Where the value of the tag lies in the first directory of the TIFF structure at ``start``."""
    order = {b"II": "<", b"MM": ">"}.get(jpeg[start : start + 2])
    try:
        if order is None:
            return None
        directory = start + struct.unpack(f"{order}I", jpeg[start + 4 : start + 8])[0]
        (count,) = struct.unpack(f"{order}H", jpeg[directory : directory + 2])
        for number in range(count):
            entry = directory + 2 + 12 * number
            if entry + 12 <= end and struct.unpack(f"{order}H", jpeg[entry : entry + 2])[0] == _ORIENTATION:
                return entry + 8
    except struct.error:
        return None
    return None


def _size(image: NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[1], image.shape[0]
