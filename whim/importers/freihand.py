"""FreiHAND: right hands in pictures of 224 x 224, with joints, intrinsics and MANO parameters.

Training hands stand before four backgrounds each: picture number = hand + number of hands x variant.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from whim.conventions import HAND_KEYPOINTS, Side
from whim.errors import BadFileError, UsageError
from whim.geometry import boxes as bx
from whim.hands import kinematics
from whim.hands.model import HandModel
from whim.hands.select import load_hand
from whim.importers.types import (
    Floats,
    ImportedHand,
    ImportedPicture,
    ImportOptions,
    Skip,
    Source,
    checked_box,
    recording_of,
)
from whim.metrics.submission import stream_list
from whim.shards.rows import Row

SPLITS = {"test": "evaluation", "train": "training"}
"""Split of the labels -> the set's own word, in the order of the shards."""
VARIANTS = ("green screen", "harmonised", "coloured, sampled", "coloured, automatic")
"""Backgrounds of a training hand, in the order of their numbers."""
SAME_HAND = 0.003
"""Metres: MANO parameters are kept when their joints lie this near to the labelled ones, in the mean."""
_FRAME = (224, 224)
_LICENCE = "FreiHAND: research only, no commercial use"


class Options(ImportOptions):
    """Options of ``freihand``."""

    variants: tuple[int, ...] = Field(default=(0, 1, 2, 3), min_length=1)
    """Which backgrounds of the training hands."""
    box: Literal["keypoint-hull", "mesh-hull"] = "keypoint-hull"
    """Hull of the projected joints, or of the vertices (``*_verts.json``). The set has no boxes of its own."""
    hand: str | None = None
    """Your ``MANO_RIGHT.pkl``. The set's poses count from MANO's mean pose, which is in that file; without it the
    parameters are left out, and joints and camera kept."""


def read(source: Path, options: Options, skip: Skip) -> Source:
    """Read ``{training,evaluation}_{K,xyz,mano,verts}.json`` and ``{training,evaluation}/rgb``.

    Recordings: ``training-HAND`` with the background as frame, ``evaluation`` with the picture's number as frame.
    Where the joints are not there (an evaluation part without truth), pictures have no hands.

    Raises:
        BadFileError: no such files, or lists of different lengths.
        UsageError: an unknown split or variant; a hull of vertices that are not there.
    """
    wanted = [split for split in SPLITS if options.split in (None, split, SPLITS[split])]
    if not wanted:
        raise UsageError(f"FreiHAND has the splits train and test, not {options.split!r}")
    if not set(options.variants) <= set(range(len(VARIANTS))):
        raise UsageError(f"variants: {options.variants}; there are 0 to {len(VARIANTS) - 1}")
    there = [split for split in wanted if (source / f"{SPLITS[split]}_K.json").is_file()]
    if not there:
        names = " or ".join(f"{SPLITS[split]}_K.json" for split in wanted)
        raise BadFileError(f"{source}: not FreiHAND: no {names}")
    counts = {split: sum(1 for _ in stream_list(source / f"{SPLITS[split]}_K.json")) for split in there}
    for split in there:
        if options.box == "mesh-hull" and not _file(source, split, "verts").is_file():
            raise UsageError(f"{_file(source, split, 'verts')}: no such file; box=keypoint-hull needs none")
    hand = None if options.hand is None else load_hand(options.hand)

    def pictures() -> Iterator[ImportedPicture]:
        for split in there:
            yield from _pictures(source, split, counts[split], options, hand, skip)

    return Source(
        pictures=pictures(),
        total=sum(counts[split] * (len(options.variants) if split == "train" else 1) for split in there),
        box_convention=options.box,
        licence=options.licence or _LICENCE,
        facts={"origin": "FreiHAND", "hand": None if hand is None else hand.topology},
    )


def sample_number(hand: int, variant: int, hands: int) -> int:
    """Number in the file name of a training picture."""
    return hand + variant * hands


def _pictures(
    source: Path, split: str, count: int, options: Options, model: HandModel | None, skip: Skip
) -> Iterator[ImportedPicture]:
    name = SPLITS[split]
    cameras = stream_list(_file(source, split, "K"))
    joints = _entries(source, split, "xyz")
    poses = _entries(source, split, "mano") if model is not None else repeat(None)
    meshes = _entries(source, split, "verts") if options.box == "mesh-hull" else repeat(None)
    for number in range(count):
        key = f"{name}/{number:08d}"
        try:
            camera, points, pose, mesh = [next(part) for part in (cameras, joints, poses, meshes)]
        except StopIteration as error:
            raise BadFileError(
                f"{source}: the lists of {name} are not equally long; one ends at {number}"
            ) from error
        hands = _hands(camera, points, pose, mesh, model, key, skip)
        for variant in options.variants if split == "train" else (None,):
            file = number if variant is None else sample_number(number, variant, count)
            path = source / name / "rgb" / f"{file:08d}.jpg"
            known = name if variant is None else f"{name}-{number:08d}"
            yield ImportedPicture(
                key=f"{name}/{file:08d}",
                path=path,
                recording=recording_of(path, options, known),
                split=split,
                size=_FRAME,
                hands=hands,
                # A pattern may put several hands into one recording: then pictures are counted.
                frame_index=(number if variant is None else variant)
                if options.recording_pattern is None
                else None,
            )


def _hands(
    camera: Any, points: Any, pose: Any, mesh: Any, model: HandModel | None, key: str, skip: Skip
) -> list[ImportedHand]:
    if points is None:
        return []
    try:
        matrix = np.asarray(camera, dtype=np.float64).reshape(3, 3)
        joints = np.asarray(points, dtype=np.float64).reshape(len(HAND_KEYPOINTS), 3)
        outline = joints if mesh is None else np.asarray(mesh, dtype=np.float64).reshape(-1, 3)
        parameters = None if model is None or pose is None else _mano(pose, joints, model)
    except (TypeError, ValueError) as error:
        skip(key, "bad-hand", f"{type(error).__name__}: {error}")
        return []
    if not (np.isfinite(joints).all() and (joints[:, 2] > 0).all() and (outline[:, 2] > 0).all()):
        skip(key, "bad-hand", "not finite, or behind the camera")
        return []
    box, reason = checked_box(bx.hull(project(outline, matrix)), _FRAME)
    if box is None:
        skip(key, reason, "the hand does not project into the picture")
        return []
    if parameters is not None and parameters["distance"] > SAME_HAND:
        skip(
            f"{key}/mano",
            "mano-elsewhere",
            f"joints of the parameters are {1e3 * parameters['distance']:.1f} mm from the labelled ones; joints kept",
        )
        parameters = None
    fit: Row = {
        "joints_3d": joints.tolist(),
        "mano": None if parameters is None else parameters["mano"],
        "camera": camera_row(matrix),
        "fit": None,
    }
    keypoints = np.column_stack([project(joints, matrix), np.ones(len(joints))])
    return [ImportedHand(box=box, side=Side.RIGHT, keypoints=keypoints, fit=fit)]


def project(points: Floats, matrix: Floats) -> Floats:
    """Pixels (N, 2) of points (N, 3) in front of a camera (3, 3)."""
    image = points @ matrix.T
    return np.asarray(image[:, :2] / image[:, 2:])


def camera_row(matrix: Floats) -> Row:
    """The label column of a calibrated camera (3, 3)."""
    return {
        "focal": [matrix[0, 0], matrix[1, 1]],
        "center": [matrix[0, 2], matrix[1, 2]],
        "assumed": False,
    }


def _mano(pose: Any, joints: Floats, model: HandModel) -> Row:
    """Parameters in WHIM's sense, and how far their joints are from the labelled ones.

    The set gives 48 numbers of pose relative to the mean, 10 of shape, and the place of a joint in the picture; the
    translation is taken from the labelled wrist, which is in metres.
    """
    numbers = np.asarray(pose, dtype=np.float64).reshape(-1)
    if len(numbers) != 61:
        raise ValueError(f"{len(numbers)} MANO numbers, not 61")
    betas, orient = numbers[None, 48:58], numbers[None, :3]
    hand_pose = numbers[3:48].reshape(1, 15, 3) + model.pose_mean
    translation = joints[:1] - (model.J_template[0] + model.J_shapedirs[0] @ betas[0])
    found = kinematics.keypoints(model, betas, hand_pose, orient, translation)[0]
    return {
        "distance": float(np.linalg.norm(found - joints, axis=1).mean()),
        "mano": {
            "global_orient": orient[0].tolist(),
            "hand_pose": hand_pose[0].tolist(),
            "betas": betas[0].tolist(),
            "translation": translation[0].tolist(),
            "topology": model.topology,
        },
    }


def _file(source: Path, split: str, part: str) -> Path:
    return source / f"{SPLITS[split]}_{part}.json"


def _entries(source: Path, split: str, part: str) -> Iterator[Any]:
    path = _file(source, split, part)
    return stream_list(path) if path.is_file() else repeat(None)
