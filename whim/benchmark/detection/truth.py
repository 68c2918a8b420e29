"""Test pictures and their true hands from pixel shards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.benchmark.detection.config import SetConfig
from whim.benchmark.detection.types import Image
from whim.errors import BadFileError, UsageError
from whim.geometry import boxes as bx
from whim.shards import reader
from whim.shards.ensure import ensure_pixels, is_labels
from whim.shards.rows import Row


@dataclass(frozen=True, kw_only=True)
class LabelledPicture:
    """One picture and its truth."""

    key: str
    """recording/frame."""
    data: bytes
    boxes: NDArray[np.float64]
    """(M, 4), clipped to the picture."""
    side: NDArray[np.int64]
    """(M,)"""
    uncounted: NDArray[np.bool_]
    """(M,): hands that do not count, because there is no box of the wanted kind."""
    crowd: NDArray[np.float64]
    """(K, 4): regions that are not judged."""

    @cached_property
    def image(self) -> Image:
        """RGB as it is shown.

        Raises:
            BadFileError: not a picture.
        """
        found = cv2.imdecode(np.frombuffer(self.data, np.uint8), cv2.IMREAD_COLOR)
        if found is None:
            raise BadFileError(f"{self.key}: the picture in the shard cannot be decoded")
        return np.ascontiguousarray(found[..., ::-1], dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """A set whose pictures are read as they are needed."""

    config: SetConfig
    shards: Path
    keys: frozenset[tuple[str, int]]
    """recording, frame of the pictures that are used."""
    total: int
    """Pictures of the set and splits before any limit."""
    conventions: tuple[str, ...]
    """Box conventions that the shards state."""
    licences: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def pictures(self) -> Iterator[LabelledPicture]:
        """The pictures in the order of the shards."""
        for shard in reader.some_files(self.shards):
            lineage = reader.lineage(shard)
            ignored = [lineage.get("crowd") or {}]
            if self.config.ignore_unlabelled:
                ignored.append(lineage.get("unlabelled") or {})
            for row in reader.iter_rows(
                shard, ["image", "video_id", "frame_index", "width", "height", "hands"]
            ):
                if (row["video_id"], row["frame_index"]) in self.keys:
                    name = f"{row['video_id']}/{row['frame_index']}"
                    crowd = [box for regions in ignored for box in regions.get(name, [])]
                    yield labelled_picture(name, row, crowd, self.config)


def open_set(config: SetConfig, limit: int | None) -> LabelledSet:
    """Find the pictures of a set; labels without shards are packed first.

    Raises:
        UsageError: nothing there, no pictures of the wanted splits, or labels without pictures.
        BadFileError: a damaged shard.
    """
    path = config.path
    if not path.exists():
        raise UsageError(f"{path}: no such shards; `whim import` or `whim pack` makes them")
    shards = ensure_pixels(path) if is_labels(path) else path
    found: list[tuple[str, int]] = []
    splits, conventions, licences = set(), set(), set()
    for shard in reader.some_files(shards):
        table = reader.read_file(shard, ["video_id", "frame_index", "split", "image.path"])
        if "image" not in table.schema.names:
            raise UsageError(f"{shard}: labels without pictures; `whim pack` adds them")
        lineage = reader.lineage(shard)
        conventions.add(str(lineage.get("box_convention") or "not stated"))
        licences.add(str(lineage.get("licence") or "not stated"))
        for row in table.select(["video_id", "frame_index", "split"]).to_pylist():
            splits.add(row["split"])
            if not config.splits or row["split"] in config.splits:
                found.append((row["video_id"], row["frame_index"]))
    if config.recordings == "odd":
        chosen = set(list(dict.fromkeys(recording for recording, _ in found))[1::2])
        found = [one for one in found if one[0] in chosen]
    if config.held_out_of is not None:
        held = _held_out(config.held_out_of)
        found = [one for one in found if one[0] in held]
    if not found:
        wanted, there = " or ".join(config.splits) or "any split", ", ".join(repr(s) for s in sorted(splits))
        raise UsageError(
            f"{path}: no pictures of {wanted} and the wanted recordings; there is {there or 'nothing'}"
        )
    total = len(found)
    if limit is not None and limit < total:
        found = [found[index] for index in np.linspace(0, total - 1, limit).round().astype(int)]
    return LabelledSet(
        config=config,
        shards=shards,
        keys=frozenset(found),
        total=total,
        conventions=tuple(sorted(conventions)),
        licences=tuple(sorted(licences)),
    )


def _held_out(run: Path) -> set[str]:
    """Recordings that a training validated on.

    Raises:
        UsageError: no training there.
        BadFileError: its record is damaged.
    """
    path = run / "data.json"
    if not path.is_file():
        raise UsageError(f"{run}: no training there; `whim train-detector` makes one")
    try:
        sets = json.loads(path.read_text(encoding="utf-8"))["validation_recordings"]
        return {str(recording) for one in sets for recording in one["recordings"]}
    except (ValueError, KeyError, TypeError) as error:
        raise BadFileError(f"{path}: not the record of a training ({error})") from error


def labelled_picture(key: str, row: Row, crowd: list[list[float]], config: SetConfig) -> LabelledPicture:
    """Truth of one row. Automatic labels may leave the picture: boxes are clipped, and those outside dropped."""
    boxes, sides, uncounted = [], [], []
    for hand in row["hands"]:
        box, known = np.array(hand["box"], dtype=np.float64), True
        if config.truth == "keypoint-hull":
            hull = _hull(hand)
            known = hull is not None
            box = box if hull is None else hull
        box = bx.clip(box, row["width"], row["height"])
        if bx.area(box) > 0:
            boxes.append(box)
            sides.append(hand["side"])
            uncounted.append(not known)
    return LabelledPicture(
        key=key,
        data=row["image"]["bytes"],
        boxes=np.array(boxes).reshape(-1, 4),
        side=np.array(sides, dtype=np.int64),
        uncounted=np.array(uncounted, dtype=bool),
        crowd=bx.clip(np.array(crowd, dtype=np.float64).reshape(-1, 4), row["width"], row["height"]),
    )


def _hull(hand: Row) -> NDArray[np.float64] | None:
    if hand["keypoints_2d"] is None:
        return None
    points = np.array(hand["keypoints_2d"], dtype=np.float64)
    seen = np.array(hand["keypoint_scores"] or np.ones(len(points))) > 0
    return bx.hull(points[seen]) if seen.sum() >= 2 else None
