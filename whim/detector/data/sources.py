"""A configured set -> its pictures, whatever kind of folder it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from whim.detector.data.config import LabelConfig, SetConfig
from whim.detector.data.folders import coco_json, is_yolo, load_coco, load_yolo
from whim.detector.data.pixel_shards import is_pixel_shards, load_pixel_shards
from whim.detector.data.records import Records, RecordSet, whole
from whim.errors import UsageError
from whim.shards.ensure import ensure_pixels, is_labels

HELD_OUT = ("test", "val", "valid", "validation")
"""Splits that are never trained on unless a set names them."""


def open_set(
    config: SetConfig,
    labels: LabelConfig,
    *,
    videos: Path | None = None,
    say: Callable[[str], None] = print,
) -> RecordSet:
    """All pictures of a set; labels without up-to-date shards are packed first.

    Raises:
        UsageError: nothing there that WHIM can read.
        BadFileError: something there that is damaged.
    """
    path = config.path
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    return whole(str(path), _records(path, config, labels, videos, say))


def _records(
    path: Path, config: SetConfig, labels: LabelConfig, videos: Path | None, say: Callable[[str], None]
) -> Records:
    if is_labels(path):
        path = ensure_pixels(path, videos=videos, say=say)
    if is_pixel_shards(path):
        return load_pixel_shards(path, labels)
    if found := coco_json(path):
        return load_coco(found, config.recording_pattern)
    if path.is_dir() and is_yolo(path):
        return load_yolo(path, config.recording_pattern)
    raise UsageError(
        f"{path}: neither labels (`whim annotate`), pixel shards (`whim pack`), a COCO json, nor a YOLO folder "
        "with images/ and labels/"
    )


def training_part(pictures: RecordSet, config: SetConfig, seed: int) -> RecordSet:
    """What of a set is trained on: its named splits, or all that is not held out; at most ``config.limit``.

    Raises:
        UsageError: nothing is left.
    """
    splits: Sequence[str] = config.splits or [
        name for name in pictures.records.splits if name.lower() not in HELD_OUT
    ]
    return pictures.with_splits(splits).limited(config.limit, seed)


def validation_part(pictures: RecordSet, config: SetConfig, seed: int) -> RecordSet:
    """What of a set is validated on: its named splits, or everything; at most ``config.limit``.

    Raises:
        UsageError: nothing is left.
    """
    chosen = pictures.with_splits(config.splits) if config.splits else pictures
    return chosen.limited(config.limit, seed)
