"""HO-3D, versions 2 and 3: right hands that hold objects, in sequences of 640 x 480.

Training frames have joints and MANO parameters. Evaluation frames have a box and the wrist alone, unless the truth that
the authors published later (``evaluation_xyz.json``) lies in the same folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from whim.conventions import HAND_KEYPOINTS, Side
from whim.errors import BadFileError, UsageError
from whim.geometry import boxes as bx
from whim.hands.unpickle import load_pickle
from whim.importers.freihand import camera_row, project
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
from whim.metrics.submission import from_challenge, stream_list, swap_opengl
from whim.shards.rows import Row

SPLITS = {"train": "train", "test": "evaluation"}
"""Split of the labels -> the set's own word."""
TOPOLOGY = "mano"
_SUFFIXES = (".png", ".jpg")
_LICENCE = "HO-3D: academic research only, no redistribution"


class Options(ImportOptions):
    """Options of ``ho3d``."""


def read(source: Path, options: Options, skip: Skip) -> Source:
    """Read ``{train,evaluation}.txt`` and ``{train,evaluation}/SEQUENCE/{rgb,meta}``, one of the two parts.

    Recordings are the sequences, frames their numbers.

    Raises:
        BadFileError: no such files.
        UsageError: no split is named, or an unknown one.
    """
    wanted = [split for split, name in SPLITS.items() if options.split in (split, name)]
    if not wanted:
        raise UsageError(
            "HO-3D: say --split train or --split test; boxes are hulls of joints in the first and drawn in the second"
        )
    (split,) = wanted
    frames = frame_list(source, SPLITS[split])
    truth = _truth(source, split, frames)

    def pictures() -> Iterator[ImportedPicture]:
        for sequence, number in sorted(frames):
            picture = _picture(source, split, sequence, number, truth.get((sequence, number)), options, skip)
            if picture is not None:
                yield picture

    return Source(
        pictures=pictures(),
        total=len(frames),
        box_convention="keypoint-hull" if split == "train" else "annotated",
        licence=options.licence or _LICENCE,
        facts={"origin": "HO-3D", "joints": split == "train" or bool(truth)},
    )


def frame_list(source: Path, part: str) -> list[tuple[str, str]]:
    """Sequence and frame of each line of ``train.txt`` or ``evaluation.txt``, in the order of submissions.

    Raises:
        BadFileError: no such file, or other lines in it.
    """
    path = source / f"{part}.txt"
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFileError(f"{source}: not HO-3D: {error}") from error
    frames = []
    for line in lines:
        sequence, slash, number = line.partition("/")
        if not (slash and sequence and number.isdigit()):
            raise BadFileError(f"{path}: {line!r} is not SEQUENCE/FRAME")
        frames.append((sequence, number))
    return frames


def _truth(source: Path, split: str, frames: list[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    path = source / "evaluation_xyz.json"
    if split == "train" or not path.is_file():
        return {}
    joints = list(stream_list(path))
    if len(joints) != len(frames):
        raise BadFileError(f"{path}: {len(joints)} hands, but evaluation.txt has {len(frames)} frames")
    return dict(zip(frames, joints, strict=True))


def _picture(
    source: Path, split: str, sequence: str, number: str, truth: Any, options: Options, skip: Skip
) -> ImportedPicture | None:
    home = source / SPLITS[split] / sequence
    key = f"{sequence}/{number}"
    found = [home / "rgb" / f"{number}{suffix}" for suffix in _SUFFIXES]
    path = next((one for one in found if one.is_file()), found[0])
    try:
        meta = load_pickle(home / "meta" / f"{number}.pkl")
        hand = _train_hand(meta) if split == "train" else _test_hand(meta, truth)
    except (OSError, BadFileError) as error:
        skip(key, "corrupt-annotation", str(error))
        return None
    except (KeyError, TypeError, ValueError, IndexError) as error:
        skip(key, "bad-hand", f"{type(error).__name__}: {error}")
        return None
    if hand is None:
        skip(key, "not-annotated", "the set gives nothing for this frame")
        return None
    return ImportedPicture(
        key=key,
        path=path,
        recording=recording_of(Path(sequence) / number, options, sequence),
        split=split,
        hands=[hand],
        frame_index=int(number) if options.recording_pattern is None else None,
    )


def _train_hand(meta: dict[str, Any]) -> ImportedHand | None:
    if meta.get("handJoints3D") is None or meta.get("camMat") is None:
        return None
    matrix = np.asarray(meta["camMat"], dtype=np.float64).reshape(3, 3)
    joints = from_challenge(np.reshape(meta["handJoints3D"], (len(HAND_KEYPOINTS), 3)), "ho3d")
    points = _projected(joints, matrix)
    box, reason = checked_box(bx.hull(points[:, :2]), None)
    if box is None:
        raise ValueError(reason)
    fit = {
        "joints_3d": joints.tolist(),
        "mano": _mano(meta, joints),
        "camera": camera_row(matrix),
        "fit": None,
    }
    return ImportedHand(box=box, side=Side.RIGHT, keypoints=points, fit=fit)


def _test_hand(meta: dict[str, Any], truth: Any) -> ImportedHand | None:
    if meta.get("handBoundingBox") is None or meta.get("camMat") is None:
        return None
    matrix = np.asarray(meta["camMat"], dtype=np.float64).reshape(3, 3)
    box, reason = checked_box(np.ravel(meta["handBoundingBox"]), None)
    if box is None:
        raise ValueError(reason)
    points = np.zeros((len(HAND_KEYPOINTS), 3))
    joints = None
    if truth is not None:
        joints = from_challenge(np.reshape(truth, (len(HAND_KEYPOINTS), 3)), "ho3d")
        points = _projected(joints, matrix)
    elif meta.get("handJoints3D") is not None:
        # The root alone; its place in the picture is one labelled keypoint.
        wrist = swap_opengl(np.reshape(meta["handJoints3D"], (-1, 3))[:1])
        points[:1] = _projected(wrist, matrix)
    fit: Row = {
        "joints_3d": None if joints is None else joints.tolist(),
        "mano": None,
        "camera": camera_row(matrix),
        "fit": None,
    }
    return ImportedHand(box=box, side=Side.RIGHT, keypoints=points if points.any() else None, fit=fit)


def _projected(joints: Floats, matrix: Floats) -> Floats:
    """(N, 3) pixels and a confidence of 1."""
    if not (np.isfinite(joints).all() and (joints[:, 2] > 0).all()):
        raise ValueError("joints that are not finite, or behind the camera")
    return np.column_stack([project(joints, matrix), np.ones(len(joints))])


def _mano(meta: dict[str, Any], joints: Floats) -> Row | None:
    """MANO parameters in OpenCV's axes; the set's poses contain the mean pose already.

    A half turn F about x takes the posed hand R (v - J0) + J0 + t to F R (v - J0) + F (J0 + t), where J0 is the wrist
    at rest. It is the labelled wrist less the translation: no hand model is needed.
    """
    if any(meta.get(name) is None for name in ("handPose", "handBeta", "handTrans")):
        return None
    pose = np.asarray(meta["handPose"], dtype=np.float64).reshape(16, 3)
    moved = np.asarray(meta["handTrans"], dtype=np.float64).reshape(3)
    rest = swap_opengl(joints[0]) - moved
    half_turn = Rotation.from_matrix(np.diag(swap_opengl(np.ones(3))))
    return {
        "global_orient": (half_turn * Rotation.from_rotvec(pose[0])).as_rotvec().tolist(),
        "hand_pose": pose[1:].tolist(),
        "betas": np.asarray(meta["handBeta"], dtype=np.float64).reshape(10).tolist(),
        "translation": (joints[0] - rest).tolist(),
        "topology": TOPOLOGY,
    }
