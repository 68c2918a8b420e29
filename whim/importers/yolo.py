"""Generic YOLO text files: one hand a line, in shares of the picture, with 21 keypoints or without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from whim.conventions import Side
from whim.errors import BadFileError
from whim.importers.coco import is_hand
from whim.importers.files import SUFFIXES, decode
from whim.importers.types import (
    ImportedHand,
    ImportedPicture,
    ImportOptions,
    Skip,
    Source,
    checked_box,
    keypoint_hull,
    keypoints_of,
    recording_of,
    side_of,
)

_LENGTHS = {5: 0, 5 + 42: 2, 5 + 63: 3}
"""Numbers of a line -> numbers per keypoint."""
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Options(ImportOptions):
    """Options of ``yolo``."""

    categories: tuple[str, ...] = ()
    """Names of the classes that are hands, or ``*`` for all; empty: those whose name says hand, left or right, or all
    when no ``data.yaml`` names them."""
    box: Literal["annotated", "keypoint-hull"] = "annotated"
    """Boxes as they stand there, or hulls of the labelled keypoints."""


def read(source: Path, options: Options, skip: Skip) -> Source:
    """Read ``images/[SPLIT/]`` with ``labels/[SPLIT/]``, or ``SPLIT/images`` with ``SPLIT/labels``.

    A line is ``class cx cy w h``, then nothing, 21 x (x, y), or 21 x (x, y, visibility). A picture without text file
    has no hands.

    Raises:
        BadFileError: no such folders, or a ``data.yaml`` that cannot be read.
    """
    if not source.is_dir():
        raise BadFileError(f"{source}: not a folder with images/ and labels/")
    names, licence = _data_yaml(source)
    found = [
        (path, text, split, recording_of(place, options))
        for path, text, split, place in _pairs(source)
        if options.split is None or split in ("", options.split)
    ]
    if not found:
        raise BadFileError(f"{source}: no pictures in an images/ folder beside a labels/ folder")
    found.sort(key=lambda one: (one[2] or options.split or "", one[3]))

    def pictures() -> Iterator[ImportedPicture]:
        for path, text, split, recording in found:
            key = path.relative_to(source).as_posix()
            size = _size(path)  # shares of a picture say nothing without its size
            hands = [] if size is None else _hands(text, key, size, names, options, skip)
            yield ImportedPicture(
                key=key,
                path=path,
                recording=recording,
                split=split or options.split or "",
                size=size,
                hands=hands,
            )

    return Source(
        pictures=pictures(), total=len(found), box_convention=options.box, licence=options.licence or licence
    )


def _pairs(source: Path) -> Iterator[tuple[Path, Path, str, Path]]:
    """(picture, text file, split, place of the picture below the folders of that name)."""
    for images in sorted(path for path in source.rglob("images") if path.is_dir()):
        labels = images.with_name("labels")
        if labels.is_dir():
            for path in sorted(images.rglob("*")):
                if path.suffix.lower() in SUFFIXES:
                    place = path.relative_to(images)
                    parts = [*images.relative_to(source).parts[:-1], *place.parts[:-1]]
                    split = next((_SPLITS[part] for part in parts if part in _SPLITS), "")
                    inner = Path(*(part for part in place.parts if part not in _SPLITS))
                    yield path, (labels / place).with_suffix(".txt"), split, inner


def _size(path: Path) -> tuple[int, int] | None:
    image = decode(path.read_bytes())
    return None if image is None else (image.shape[1], image.shape[0])


def _hands(
    text: Path, key: str, size: tuple[int, int], names: dict[int, str], options: Options, skip: Skip
) -> list[ImportedHand]:
    hands = []
    lines = text.read_text(encoding="utf-8").splitlines() if text.is_file() else []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words:
            place = f"{key}#{number}"
            try:
                numbers = np.array([float(word) for word in words])
            except ValueError:
                skip(place, "bad-line", f"{text}:{number}: not numbers")
                continue
            if len(numbers) not in _LENGTHS:
                skip(place, "bad-line", f"{text}:{number}: {len(numbers)} numbers; a hand has 5, 47 or 68")
            elif (hand := _hand(numbers, size, names, options, place, skip)) is not None:
                hands.append(hand)
    return hands


def _hand(
    numbers: Any, size: tuple[int, int], names: dict[int, str], options: Options, place: str, skip: Skip
) -> ImportedHand | None:
    number = int(numbers[0])
    name = names.get(number, "")
    if (names or options.categories) and not is_hand(name or str(number), options.categories):
        skip(place, "unknown-category", f"{name or number!r} is no hand")
        return None
    centre, extent = numbers[1:3] * size, numbers[3:5] * size
    box: Any = np.concatenate([centre - extent / 2, centre + extent / 2])
    points = None
    if per := _LENGTHS[len(numbers)]:
        given = numbers[5:].reshape(21, per)
        seen = given[:, 2] if per == 3 else (given > 0).all(axis=1)
        points = keypoints_of(np.column_stack([given[:, :2] * size, seen]))
    if options.box == "keypoint-hull":
        box = keypoint_hull(points)
        if box is None:
            skip(place, "no-keypoints", "fewer than two labelled keypoints")
            return None
    found, reason = checked_box(box, size)
    if found is None:
        skip(place, reason, f"{numbers[1:5].tolist()}")
        return None
    return ImportedHand(box=found, side=side_of(name) if name else Side.UNKNOWN, keypoints=points)


def _data_yaml(source: Path) -> tuple[dict[int, str], str]:
    """Class names and licence of the folder's ``data.yaml``."""
    for name in ("data.yaml", "dataset.yaml"):
        path = source / name
        if path.is_file():
            try:
                tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
                names = tree.get("names") or {}
                pairs = names.items() if isinstance(names, dict) else enumerate(names)
                about = tree.get("roboflow") or tree
                return {int(k): str(v) for k, v in pairs}, str(
                    about.get("license") or about.get("licence") or ""
                )
            except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
                raise BadFileError(f"{path}: {error}") from error
    return {}, ""
