"""COCO-WholeBody: the two hands of each person, with their boxes, 21 points and validity."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from whim.conventions import Side
from whim.errors import BadFileError
from whim.importers.coco import in_order, json_file, load_json, picture_folders, split_in, xywh
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
)

SIDES = {Side.LEFT: "lefthand", Side.RIGHT: "righthand"}
_ARMS = {Side.LEFT: (9, 7, 5), Side.RIGHT: (10, 8, 6)}
"""COCO's body keypoints: wrist, elbow, shoulder."""
_WITHOUT_ELBOW = 0.25
"""Side of the region around a wrist whose elbow is not labelled, as a share of the person's longer side."""
_LICENCE = "COCO-WholeBody annotations: non-commercial research; pictures: Flickr terms per image"


class Options(ImportOptions):
    """Options of ``coco-wholebody``."""

    images: Path | None = None
    """Folder of the pictures; None: looked for around the json, in ``val2017`` and ``train2017`` too."""
    box: Literal["annotated", "keypoint-hull"] = "annotated"
    """``lefthand_box`` and ``righthand_box`` as they stand, or the hulls of the labelled keypoints. In real records
    the former are about a tenth wider than the latter, and sometimes lie elsewhere."""


def read(source: Path, options: Options, skip: Skip) -> Source:
    """Read ``coco_wholebody_{train,val}_v1.0.json``, or the folder that holds it.

    Only valid hands are hands. The place of each hand that is not valid, but whose wrist is labelled, is kept as an
    unlabelled region. Crowds have no hands and are no regions.

    Raises:
        BadFileError: not such a file.
    """
    path = json_file(source)
    tree = load_json(path)
    try:
        return _source(path, tree, options, skip)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BadFileError(f"{path}: not a COCO-WholeBody file ({type(error).__name__}: {error})") from error


def _source(path: Path, tree: dict[str, Any], options: Options, skip: Skip) -> Source:
    people: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    known = {image["id"] for image in tree["images"]}
    for one in tree["annotations"]:
        if one["image_id"] not in known:
            skip(f"annotation {one.get('id')}", "missing-image", f"no image {one['image_id']} in {path.name}")
        elif not one.get("iscrowd"):
            people[one["image_id"]].append(one)
    folders = picture_folders(path, options.images)
    pictures = []
    for image in tree["images"]:
        size = (int(image["width"]), int(image["height"]))
        hands, unlabelled = [], []
        for person in people[image["id"]]:
            for side, name in SIDES.items():
                key = f"{image['file_name']}#{person['id']}/{name}"
                if person[f"{name}_valid"]:
                    hand = _hand(person, side, name, size, options, key, skip)
                    hands += [] if hand is None else [hand]
                elif (region := region_of(person, side)) is not None:
                    unlabelled.append(region.tolist())
        pictures.append(
            ImportedPicture(
                key=image["file_name"],
                path=find_picture(image["file_name"], folders),
                recording=recording_of(Path(image["file_name"]), options),
                split=options.split or split_in(path.stem),
                size=size,
                hands=hands,
                unlabelled=unlabelled,
            )
        )
    return Source(
        pictures=in_order(pictures),
        total=len(pictures),
        box_convention=options.box,
        licence=options.licence or _LICENCE,
        facts={"origin": "COCO-WholeBody"},
    )


def _hand(
    person: dict[str, Any],
    side: Side,
    name: str,
    size: tuple[int, int],
    options: Options,
    key: str,
    skip: Skip,
) -> ImportedHand | None:
    points = keypoints_of(person[f"{name}_kpts"])
    box: Any = xywh(person[f"{name}_box"])
    if options.box == "keypoint-hull":
        box = keypoint_hull(points)
        if box is None:
            skip(key, "no-keypoints", "fewer than two labelled keypoints")
            return None
    found, reason = checked_box(box, size)
    if found is None:
        skip(key, reason, f"{person[f'{name}_box']} in a picture of {size[0]}x{size[1]}")
        return None
    return ImportedHand(box=found, side=side, keypoints=points)


def region_of(person: dict[str, Any], side: Side) -> Floats | None:
    """Square (4,) in which the hand at a labelled wrist must be; None without that wrist.

    OpenPose's hand square: the wrist moved on by a third of the forearm, 1.5 times the longer of forearm and 0.9 of
    the upper arm. Without elbow: around the wrist.
    """
    body = np.asarray(person["keypoints"], dtype=np.float64).reshape(17, 3)
    wrist, elbow, shoulder = body[list(_ARMS[side])]
    if wrist[2] <= 0:
        return None
    if elbow[2] > 0:
        forearm = wrist[:2] - elbow[:2]
        upper = np.linalg.norm(elbow[:2] - shoulder[:2]) if shoulder[2] > 0 else 0.0
        centre = wrist[:2] + 0.33 * forearm
        half = 0.75 * max(float(np.linalg.norm(forearm)), 0.9 * float(upper))
    else:
        centre = wrist[:2]
        half = 0.5 * _WITHOUT_ELBOW * max(person["bbox"][2:])
    return np.concatenate([centre - half, centre + half]) if half > 0 else None
