"""Generic COCO: boxes xywh, side from the category or a field, 21 keypoints if there are any."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from whim.conventions import Side
from whim.errors import BadFileError
from whim.importers.files import find_picture
from whim.importers.types import (
    Floats,
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

HAND_WORDS = ("hand", "left", "right", "palm", "fist")
_RECORDING_KEYS = ("video_id", "recording", "session", "sequence", "seq_name")
_SIDE_KEYS = ("side", "handedness", "hand_side", "hand_type")


class Options(ImportOptions):
    """Options of ``coco``."""

    images: Path | None = None
    """Folder of the pictures; None: looked for around the json."""
    categories: tuple[str, ...] = ()
    """Names of the categories that are hands, or ``*`` for all; empty: those whose name says hand, left or right."""
    box: Literal["annotated", "keypoint-hull"] = "annotated"
    """Boxes as they stand there, or hulls of the labelled keypoints."""
    side: Literal["left", "right"] | None = None
    """Side of every hand of which the file says none; FreiHAND has right hands alone."""


def read(source: Path, options: Options, skip: Skip) -> Source:
    """Read a COCO json, or the folder that holds one (``annotations.json``, ``annotations/*.json``).

    Raises:
        BadFileError: not such a file.
    """
    path = json_file(source)
    tree = load_json(path)
    try:
        return _source(path, tree, options, skip)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadFileError(f"{path}: not a COCO file of boxes ({type(error).__name__}: {error})") from error


def _source(path: Path, tree: dict[str, Any], options: Options, skip: Skip) -> Source:
    names = {one["id"]: str(one.get("name", "")) for one in tree.get("categories") or []}
    folders = picture_folders(path, options.images)
    annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    known = {image["id"] for image in tree["images"]}
    for one in tree["annotations"]:
        if one["image_id"] in known:
            annotations[one["image_id"]].append(one)
        else:
            skip(f"annotation {one.get('id')}", "missing-image", f"no image {one['image_id']} in {path.name}")
    pictures = []
    for image in tree["images"]:
        if (split := _split(image, path, options)) is None:
            continue
        place = find_picture(image["file_name"], folders)
        stated = next((image[key] for key in _RECORDING_KEYS if image.get(key) not in (None, "")), None)
        size = (int(image["width"]), int(image["height"]))
        hands, crowd = [], []
        for one in annotations[image["id"]]:
            key = f"{image['file_name']}#{one.get('id')}"
            name = names.get(one.get("category_id"), "")
            if names and not is_hand(name, options.categories):
                skip(key, "unknown-category", f"{name or one.get('category_id')!r} is no hand")
            elif one.get("iscrowd"):
                crowd.append(xywh(one["bbox"]).tolist())
            elif (hand := _hand(one, name, size, options, key, skip)) is not None:
                hands.append(hand)
        pictures.append(
            ImportedPicture(
                key=image["file_name"],
                path=place,
                recording=recording_of(Path(image["file_name"]), options, stated),
                split=split,
                size=size,
                hands=hands,
                crowd=crowd,
            )
        )
    info = tree.get("info") if isinstance(tree.get("info"), dict) else {}
    return Source(
        pictures=in_order(pictures),
        total=len(pictures),
        box_convention=options.box,
        licence=options.licence or str((info or {}).get("licence") or (info or {}).get("license") or ""),
        facts={"origin": str((info or {}).get("source") or (info or {}).get("description") or "")},
    )


def _hand(
    one: dict[str, Any], category: str, size: tuple[int, int], options: Options, key: str, skip: Skip
) -> ImportedHand | None:
    points = keypoints_of(one.get("keypoints"))
    if points is None and one.get("keypoints") and any(one["keypoints"]):
        skip(f"{key}/keypoints", "bad-keypoints", "not 21 points of x, y, visibility; the box is kept")
    box: Any = xywh(one["bbox"])
    if options.box == "keypoint-hull":
        box = keypoint_hull(points)
        if box is None:
            skip(key, "no-keypoints", "fewer than two labelled keypoints")
            return None
    found, reason = checked_box(box, size)
    if found is None:
        skip(key, reason, f"{one['bbox']} in a picture of {size[0]}x{size[1]}")
        return None
    side = next((side_of(one[name]) for name in _SIDE_KEYS if name in one), Side.UNKNOWN)
    for other in (category, options.side):
        side = side_of(other) if side is Side.UNKNOWN else side
    return ImportedHand(box=found, side=side, keypoints=points)


def _split(image: dict[str, Any], path: Path, options: ImportOptions) -> str | None:
    """Split of a picture; None when it is not wanted."""
    stated = str(image.get("split") or "")
    if options.split is None:
        return stated or split_in(path.stem)
    return options.split if stated in ("", options.split) else None


def split_in(name: str) -> str:
    """``train``, ``val`` or ``test`` when a file name says so."""
    return next((split for split in ("train", "val", "test") if split in name.lower()), "")


def is_hand(name: str, wanted: Sequence[str]) -> bool:
    """Whether a category is a hand."""
    if wanted:
        return "*" in wanted or name in wanted
    return any(word in name.lower() for word in HAND_WORDS)


def xywh(box: Sequence[float]) -> Floats:
    """COCO's box -> (4,) xyxy."""
    x, y, width, height = (float(value) for value in box)
    return np.array([x, y, x + width, y + height])


def json_file(source: Path) -> Path:
    """The json that ``source`` is or holds.

    Raises:
        BadFileError: none there, or several.
    """
    if source.is_file():
        return source
    named = [source / "annotations.json", source / "_annotations.coco.json"]
    found = [path for path in named if path.is_file()]
    found = found or sorted((source / "annotations").glob("*.json")) or sorted(source.glob("*.json"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:4]) or "none"
        raise BadFileError(f"{source}: expected one annotation json, found {names}; name the file itself")
    return found[0]


def load_json(path: Path) -> dict[str, Any]:
    """A COCO file with its two lists.

    Raises:
        BadFileError: not such a file.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFileError(f"{path}: {error}") from error
    if not isinstance(tree, dict) or not all(
        isinstance(tree.get(k), list) for k in ("images", "annotations")
    ):
        raise BadFileError(f"{path}: not a COCO file: no lists `images` and `annotations`")
    return tree


def picture_folders(path: Path, given: Path | None) -> list[Path]:
    """Where the pictures of a json may lie, likeliest first."""
    if given is not None:
        return [given]
    home = path.parent
    years = [home.parent / name for name in ("val2017", "train2017", "images/val2017", "images/train2017")]
    return [home / "images", home, home.parent / "images", home.parent, *years]


def in_order(pictures: list[ImportedPicture]) -> list[ImportedPicture]:
    """By split, then by recording in the order in which recordings first appear, otherwise as listed."""
    first: dict[str, int] = {}
    for one in pictures:
        first.setdefault(one.recording, len(first))
    return sorted(pictures, key=lambda one: (one.split, first[one.recording]))
