"""Image folders (COCO json, YOLO text) as records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from whim.conventions import Side
from whim.detector.data.records import WHOLE_FILE, Records
from whim.detector.data.sizes import picture_size
from whim.errors import BadFileError

_RECORDING_KEYS = ("video_id", "recording", "session", "sequence")
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass
class LoosePicture:
    """One picture file and its hands, before they become columns."""

    path: Path
    size: tuple[int, int]
    recording: str
    split: str = ""
    boxes: list[Sequence[float]] = field(default_factory=list)
    sides: list[int] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    """(21, 3) each: x, y, visibility."""


def coco_json(path: Path) -> Path | None:
    """The COCO file that ``path`` is or holds, or None."""
    if path.is_file():
        return path if path.suffix == ".json" else None
    named = [path / "annotations.json", path / "_annotations.coco.json"]
    found = [one for one in named if one.is_file()] or sorted((path / "annotations").glob("*.json"))
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:4])
        raise BadFileError(f"{path}: several COCO files ({names}); name one of them")
    return found[0] if found else None


def is_yolo(path: Path) -> bool:
    """Whether ``path`` holds ``images`` and ``labels`` folders."""
    return (path / "images").is_dir() and (path / "labels").is_dir()


def load_coco(path: Path, pattern: str | None = None) -> Records:
    """Hands of a COCO json: boxes xywh; keypoints when 21 (OpenPose order, as `whim` exports them).

    The side comes from ``side`` or ``handedness`` of the annotation (a :class:`Side` value or left/right), else from
    the name of the category. Annotations with ``iscrowd`` are left out. The split is the picture's ``split``.

    Raises:
        BadFileError: not such a file, or a picture that is nowhere to be found.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        sides = {c["id"]: side_of(c.get("name", "")) for c in tree.get("categories", [])}
        pictures: dict[Any, LoosePicture] = {}
        for image in tree["images"]:
            place = _find(path, image["file_name"])
            known = next(
                (str(image[key]) for key in _RECORDING_KEYS if image.get(key) not in (None, "")), None
            )
            pictures[image["id"]] = LoosePicture(
                path=place,
                size=(int(image["width"]), int(image["height"])),
                recording=_recording(place, pattern, known),
                split=str(image.get("split", "")),
            )
        for one in tree["annotations"]:
            x, y, width, height = one["bbox"]
            if one.get("iscrowd") or width <= 0 or height <= 0:
                continue
            picture = pictures[one["image_id"]]
            picture.boxes.append((x, y, x + width, y + height))
            stated = one.get("side", one.get("handedness"))
            side = side_of(stated) if stated is not None else sides.get(one.get("category_id"), Side.UNKNOWN)
            picture.sides.append(int(side))
            picture.points.append(_points(one.get("keypoints")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFileError(f"{path}: not a COCO file of boxes ({type(error).__name__}: {error})") from error
    return to_records(pictures.values())


def load_yolo(folder: Path, pattern: str | None = None) -> Records:
    """Hands of a YOLO folder: ``images/**`` with ``labels/**/NAME.txt``, one hand a line, in shares of the picture.

    ``class cx cy w h``, then 21 x (x, y, visibility) or 21 x (x, y) if there are keypoints. Classes whose name in
    ``data.yaml`` says left or right give the side. The split is the folder below ``images``.

    Raises:
        BadFileError: a line that is not as above, or a picture whose size cannot be read.
    """
    names = _class_names(folder)
    pictures = []
    for path in sorted((folder / "images").rglob("*")):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        relative = path.relative_to(folder / "images")
        split = relative.parts[0] if len(relative.parts) > 1 else ""
        picture = LoosePicture(path, picture_size(path), _recording(path, pattern, None), split)
        text = (folder / "labels" / relative).with_suffix(".txt")
        for number, line in enumerate(text.read_text().splitlines() if text.exists() else [], start=1):
            if line.strip():
                try:
                    _add_yolo_line(picture, [float(word) for word in line.split()], names)
                except ValueError as error:
                    raise BadFileError(f"{text}:{number}: {error}") from error
        pictures.append(picture)
    if not pictures:
        raise BadFileError(f"{folder}/images: no pictures")
    return to_records(pictures)


def _add_yolo_line(picture: LoosePicture, numbers: list[float], names: dict[int, str]) -> None:
    size = np.array(picture.size, dtype=np.float64)
    rest = np.array(numbers[5:])
    if len(numbers) < 5 or len(rest) not in (0, 42, 63):
        raise ValueError(f"{len(numbers)} numbers; a hand has 5, 47 or 68")
    centre, extent = np.array(numbers[1:3]) * size, np.array(numbers[3:5]) * size
    points = np.zeros((21, 3))
    if len(rest):
        given = rest.reshape(21, -1)
        points[:, :2] = given[:, :2] * size
        points[:, 2] = given[:, 2] if given.shape[1] == 3 else 2 * (given > 0).all(axis=1)
    if extent.min() > 0:
        picture.boxes.append((*(centre - extent / 2), *(centre + extent / 2)))
        picture.sides.append(int(side_of(names.get(int(numbers[0]), ""))))
        picture.points.append(points)


def side_of(name: Any) -> Side:
    """Side in the name of a class, or a :class:`Side` value; unknown when it says none or both."""
    if isinstance(name, int):
        return Side(name) if name in (0, 1) else Side.UNKNOWN
    text = str(name).lower()
    left, right = "left" in text, "right" in text
    return Side.UNKNOWN if left == right else (Side.LEFT if left else Side.RIGHT)


def to_records(pictures: Iterable[LoosePicture]) -> Records:
    """Loose pictures as columns. Boxes are clipped to the picture; one outside of it is left out."""
    listed = list(pictures)
    recordings = {name: row for row, name in enumerate(dict.fromkeys(one.recording for one in listed))}
    splits = {name: row for row, name in enumerate(dict.fromkeys(one.split for one in listed))}
    counts, boxes, sides, points = [], [], [], []
    for one in listed:
        limit = np.array([*one.size, *one.size], dtype=np.float64)
        clipped = np.clip(np.array(one.boxes, dtype=np.float64).reshape(-1, 4), 0, limit)
        keep = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
        counts.append(int(keep.sum()))
        boxes.append(clipped[keep])
        sides.append(np.array(one.sides, dtype=np.int8)[keep])
        points.append(np.array(one.points, dtype=np.float32).reshape(-1, 21, 3)[keep])
    number = len(listed)
    all_points = np.concatenate(points) if points else np.zeros((0, 21, 3), np.float32)
    return Records(
        paths=[str(one.path) for one in listed],
        path=np.arange(number, dtype=np.int32),
        start=np.zeros(number, np.int64),
        length=np.full(number, WHOLE_FILE, np.int64),
        frame=np.full(number, -1, np.int32),
        size=np.array([one.size for one in listed], np.int32).reshape(-1, 2),
        recordings=list(recordings),
        recording=np.array([recordings[one.recording] for one in listed], np.int32),
        splits=list(splits),
        split=np.array([splits[one.split] for one in listed], np.int32),
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=(np.concatenate(boxes) if boxes else np.zeros((0, 4))).astype(np.float32),
        side=np.concatenate(sides) if sides else np.zeros(0, np.int8),
        keypoints=np.ascontiguousarray(all_points[..., :2]),
        visibility=np.clip(all_points[..., 2], 0, 2).astype(np.uint8),
    )


def _points(values: Any) -> np.ndarray:
    if values is None or len(values) != 63:  # another number of points is another skeleton
        return np.zeros((21, 3))
    return np.array(values, dtype=np.float64).reshape(21, 3)


def _find(json_path: Path, name: str) -> Path:
    home = json_path.parent
    places = [home / "images" / name, home / name, home.parent / "images" / name, home.parent / name]
    for place in places:
        if place.is_file():
            return place
    raise BadFileError(f"{json_path}: {name} lies neither beside it nor in images/")


def _recording(path: Path, pattern: str | None, known: str | None) -> str:
    if pattern is not None:
        found = re.search(pattern, path.as_posix())
        if found is None:
            raise BadFileError(f"{path}: recording_pattern {pattern!r} does not match")
        return found.group(1) if found.re.groups else found.group(0)
    return known if known is not None else path.as_posix()


def _class_names(folder: Path) -> dict[int, str]:
    for name in ("data.yaml", "dataset.yaml"):
        if (folder / name).is_file():
            try:
                names = (yaml.safe_load((folder / name).read_text(encoding="utf-8")) or {}).get("names", {})
            except (yaml.YAMLError, AttributeError) as error:
                raise BadFileError(f"{folder / name}: {error}") from error
            return {
                int(k): str(v) for k, v in (names.items() if isinstance(names, dict) else enumerate(names))
            }
    return {}
