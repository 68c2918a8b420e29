"""The released WHIM annotations: one file of hands per frame, and the frames in videos or pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.errors import BadFileError, UsageError
from whim.geometry import boxes as bx
from whim.hands.unpickle import load_object_npy
from whim.importers.files import load_file
from whim.importers.types import (
    ImportedHand,
    ImportedPicture,
    ImportOptions,
    Loaded,
    Skip,
    Skipped,
    Source,
    checked_box,
    clean,
)
from whim.importers.video_frames import Expected, frames_near
from whim.resources import shipped
from whim.shards.pixels import encode
from whim.shards.rows import Row
from whim.shards.videos import VideoFinder
from whim.sources.manifest import read_manifest

_SPLITS = ("train", "test")
_PICTURES = ("{stem}.npy.jpg", "{stem}.jpg", "{stem}.png")
SAME_PLACE = 0.3
"""Least IoU of a hand's box and the hull of its projected joints; below it the two do not show one hand."""
_LICENCE = (
    "WHIM annotations: terms of WiLoR (CC BY-NC-ND 4.0) unless stated otherwise; frames: their videos' terms"
)


class Options(ImportOptions):
    """Options of ``whim``."""

    videos: Path | None = None
    """Folder of the videos; None: ``data/videos``, where `whim fetch` puts them. A frame that lies as a picture beside
    its annotation needs no video."""
    video_list: Path | None = None
    """The release's json (id -> res, length, fps) or a WHIM manifest; None: the shipped ``manifests/videos.csv``."""


def read(source: Path, options: Options, skip: Skip) -> Source:
    """Read ``[WHIM/]{train,test}/anno/VIDEO/FRAME.npy``. FRAME counts at the frame rate of the video list.

    Raises:
        BadFileError: no annotations there, or a video list that cannot be read.
        UsageError: no such folder of videos.
    """
    folders = [
        (split, folder)
        for split in _SPLITS
        if options.split in (None, split)
        for root in (source, source / "WHIM")
        for folder in sorted((root / split / "anno").glob("*"))
        if folder.is_dir()
    ]
    if not folders:
        raise BadFileError(f"{source}: no annotations below {options.split or '{train,test}'}/anno/VIDEO/")
    if options.videos is not None and not options.videos.is_dir():
        raise UsageError(f"{options.videos}: no such folder")
    known = video_list(options.video_list)
    finder = VideoFinder(options.videos)

    def pictures() -> Iterator[ImportedPicture]:
        for split, folder in sorted(folders, key=lambda one: (one[0], clean(one[1].name))):
            facts = known.get(folder.name)
            if facts is None:
                skip(folder.name, "unknown-video", "not in the video list, so its frame rate is not known")
                continue
            video = finder.find(folder.name, {})
            missing = 0
            for path in sorted(folder.glob("*.npy"), key=lambda path: path.stem.zfill(9)):
                if not path.stem.isdigit():
                    skip(f"{folder.name}/{path.name}", "bad-name", "not a frame number")
                    continue
                still = _still(path)
                key = f"{folder.name}/{path.stem}"
                if still is None and video is None:
                    missing += 1
                    continue
                try:
                    hands = _hands(path, facts.size, key, skip)
                except BadFileError as error:
                    skip(key, "corrupt-annotation", str(error))
                    continue
                number = int(path.stem)
                yield ImportedPicture(
                    key=key,
                    path=still or video or path,
                    recording=clean(folder.name),
                    split=split,
                    size=facts.size,
                    hands=hands,
                    frame_index=number,
                    time_s=number / facts.fps,
                )
            if missing:
                skip(folder.name, "missing-video", f"{missing} frames with neither video nor picture")

    return Source(
        pictures=pictures(),
        total=None,
        box_convention="mesh-hull",
        licence=options.licence or _LICENCE,
        load=partial(_load, known=known),
        facts={
            "origin": "WHIM release",
            "sides": "0 left, 1 right, as in the readers of the release",
            "mano": "as released; whether left hands are mirrored right ones is not stated there",
        },
    )


def video_list(path: Path | None) -> dict[str, Expected]:
    """Video id -> size, rate and length as annotated.

    Raises:
        BadFileError: neither the release's json nor a manifest.
    """
    path = path or shipped("manifests/videos.csv")
    if path.suffix == ".csv":
        return {
            one.video_id: Expected((one.width, one.height), one.fps, one.frames)
            for one in read_manifest(path)
            if one.fps and one.width and one.height
        }
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: Expected((int(one["res"][1]), int(one["res"][0])), float(one["fps"]), int(one["length"]))
            for key, one in tree.items()
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadFileError(f"{path}: not a list of id -> res, length, fps ({error!r})") from error


def _still(path: Path) -> Path | None:
    """The frame as a picture beside its annotation, or in ``images/VIDEO`` beside ``anno``."""
    for folder in (path.parent, path.parent.parent.parent / "images" / path.parent.name):
        for name in _PICTURES:
            if (folder / name.format(stem=path.stem)).is_file():
                return folder / name.format(stem=path.stem)
    return None


def _hands(path: Path, size: tuple[int, int], key: str, skip: Skip) -> list[ImportedHand]:
    content = load_object_npy(path)
    records = [content] if isinstance(content, dict) else list(content)
    hands = []
    for number, record in enumerate(records):
        place = f"{key}#{number}"
        try:
            hand = _hand(record, size, place, skip)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            skip(place, "bad-hand", f"{type(error).__name__}: {error}")
            continue
        hands += [] if hand is None else [hand]
    return hands


def _hand(record: dict[str, Any], size: tuple[int, int], place: str, skip: Skip) -> ImportedHand | None:
    box, reason = checked_box(np.ravel(record["bbox"]).tolist(), size)
    if box is None:
        skip(place, reason, f"{np.ravel(record['bbox']).tolist()} in {size[0]}x{size[1]}")
        return None
    side = Side(int(np.ravel(record["side"])[0]))
    translation = np.asarray(record["trans"], dtype=np.float64).reshape(3)
    joints = np.asarray(record["joints_3d"], dtype=np.float64).reshape(21, 3) + translation
    matrix = np.asarray(record["K"], dtype=np.float64).reshape(3, 3)
    points = None
    if (joints[:, 2] > 0).all():
        projected = joints @ matrix.T
        points = np.column_stack([projected[:, :2] / projected[:, 2:], np.ones(21)])
    if points is None or bx.iou(box, bx.hull(points[:, :2]))[0, 0] < SAME_PLACE:
        skip(f"{place}/joints", "joints-elsewhere", "the joints do not project into the box; the box is kept")
        return ImportedHand(box=box, side=side)
    fit: Row = {
        "joints_3d": joints.tolist(),
        "mano": _mano(record["mano"], translation) if record.get("mano") else None,
        "camera": {
            "focal": [matrix[0, 0], matrix[1, 1]],
            "center": [matrix[0, 2], matrix[1, 2]],
            "assumed": True,  # nobody calibrated these cameras
        },
        "fit": None,
    }
    return ImportedHand(box=box, side=side, keypoints=points, fit=fit)


def _mano(parameters: dict[str, Any], translation: np.ndarray) -> Row:
    def vectors(name: str, count: int) -> list[list[float]]:
        matrices = np.asarray(parameters[name], dtype=np.float64).reshape(count, 3, 3)
        return Rotation.from_matrix(matrices).as_rotvec().tolist()

    return {
        "global_orient": vectors("global_orient", 1)[0],
        "hand_pose": vectors("hand_pose", 15),
        "betas": np.asarray(parameters["betas"], dtype=np.float64).reshape(10).tolist(),
        "translation": translation.tolist(),
        "topology": "mano",
    }


def _load(
    pictures: Sequence[ImportedPicture], *, known: dict[str, Expected]
) -> Iterator[tuple[ImportedPicture, Loaded | Skipped]]:
    """Picture files as they are; frames of videos as JPEG."""
    for path, members in groupby(pictures, key=lambda one: (one.path, one.recording)):
        group = list(members)
        if path[0].suffix.lower() in (".jpg", ".png"):
            yield from ((one, load_file(one)) for one in group)
            continue
        expected = known[group[0].key.rpartition("/")[0]]
        for one, frame in zip(
            group, frames_near(path[0], [one.time_s for one in group], expected), strict=True
        ):
            if isinstance(frame, tuple):
                yield one, Skipped(key=one.key, reason=frame[0], detail=frame[1])
                continue
            height, width = frame.image.shape[:2]
            assert one.size is not None
            yield (
                one,
                Loaded(
                    data=encode(frame.image),
                    image=frame.image,
                    rescale=(width / one.size[0], height / one.size[1]),
                    frame_index=frame.index,
                    time_s=frame.time_s,
                ),
            )
