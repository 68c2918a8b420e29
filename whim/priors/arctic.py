"""Hand poses from the user's copy of ARCTIC: ``raw_seqs/sXX/OBJECT_USE_NN.mano.npy``.

ARCTIC's terms forbid passing on what comes from it: a prior trained on it stays with its user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from whim.errors import BadFileError, UsageError
from whim.hands.mano import pose_from_pca
from whim.hands.mirror import mirror_pose
from whim.hands.model import Floats
from whim.hands.unpickle import load_object_npy
from whim.progress import Progress

RECORDED_FPS = 30.0
"""Frames per second of ARCTIC."""
FPS = 5.0
"""Frames per second kept: neighbouring frames show nearly the same hand."""
QUANTILE = 0.9
"""Frames whose fitting error is above this quantile of their sequence are left out."""
LICENCE = "ARCTIC: non-commercial, not to be redistributed"

_FIELDS = ("pose", "shape", "fitting_err")


@dataclass
class Harvest:
    """Poses of right hands and what was left out."""

    betas: list[Floats] = field(default_factory=list)
    """(n, 10) of each sequence and hand."""
    poses: list[Floats] = field(default_factory=list)
    """(n, 15, 3) axis-angle, mean pose added, left hands mirrored."""
    sequences: int = 0
    frames: int = 0
    """Frames of these sequences, before any was left out."""
    skipped: list[str] = field(default_factory=list)
    """Files that could not be read, and why."""


def read_arctic(root: Path, mano: Path, *, fps: float = FPS, quantile: float = QUANTILE) -> Harvest:
    """Poses of both hands of every sequence, one file in memory at a time.

    Frames whose fitting error is above the ``quantile`` of their sequence are left out, then every so many kept
    that about ``fps`` remain. ARCTIC's poses are relative to MANO's mean pose, which is in the user's MANO file.

    Raises:
        UsageError: no sequences below ``root``, none that can be read, or an option out of range.
        BadFileError: the MANO file is not one.
    """
    if not fps > 0.0 or not 0.0 < quantile <= 1.0:
        raise UsageError(
            f"fps must be above 0 and the quantile in 0..1; got fps {fps:g} and quantile {quantile:g}"
        )
    files = sorted(root.rglob("*.mano.npy"))
    if not files:
        raise UsageError(f"{root}: no sequences (raw_seqs/sXX/*.mano.npy) of ARCTIC below it")
    mean = pose_from_pca(mano, np.zeros((1, 45)))[0]
    harvest = Harvest()
    with Progress(len(files), "arctic", "sequence") as progress:
        for path in files:
            try:
                frames, hands = _hands(load_object_npy(path))
            except (BadFileError, OSError) as error:
                harvest.skipped.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                progress.step("skipped")
                continue
            for side, (pose, shape, error_of_fit) in hands.items():
                kept = np.flatnonzero(error_of_fit <= np.quantile(error_of_fit, quantile))
                kept = kept[:: max(1, round(RECORDED_FPS / fps))]
                own = pose[kept] + mean if side == "right" else mirror_pose(pose[kept]) + mean
                harvest.poses.append(own)
                harvest.betas.append(shape[kept])
            harvest.sequences += 1
            harvest.frames += frames
            progress.step()
    if not harvest.poses:
        raise UsageError(
            f"{root}: none of {len(files)} sequences could be read; the first: {harvest.skipped[0]}"
        )
    return harvest


def _hands(content: Any) -> tuple[int, dict[str, tuple[Floats, Floats, Floats]]]:
    """Number of frames F; pose (F', 15, 3), shape (F', 10) and fitting error (F',) of each hand's finite ones.

    Raises:
        BadFileError: the layout is another one, or no frame is finite.
    """
    if not isinstance(content, dict) or not {"left", "right"} & content.keys():
        raise BadFileError("not an ARCTIC sequence: it has no 'left' or 'right'")
    hands, most = {}, 0
    for side in ("left", "right"):
        if side not in content:
            continue
        hand = content[side]
        missing = [name for name in _FIELDS if not isinstance(hand, dict) or name not in hand]
        if missing:
            raise BadFileError(f"hand {side!r} of an ARCTIC sequence lacks {', '.join(missing)}")
        try:
            pose, shape, error = (np.asarray(hand[name], dtype=np.float64) for name in _FIELDS)
        except (TypeError, ValueError) as problem:
            raise BadFileError(
                f"hand {side!r} of an ARCTIC sequence holds no numbers: {problem}"
            ) from problem
        shape, error, frames = np.atleast_2d(shape), error.ravel(), len(np.atleast_1d(pose))
        if (
            pose.shape != (frames, 45)
            or shape.shape not in ((1, 10), (frames, 10))
            or error.shape != (frames,)
        ):
            raise BadFileError(
                f"hand {side!r}: expected pose (F, 45), shape (F, 10) or (10,) and fitting_err (F,); "
                f"got {pose.shape}, {shape.shape}, {error.shape}"
            )
        shape = np.broadcast_to(shape, (frames, 10))
        fine = np.isfinite(pose).all(axis=1) & np.isfinite(error) & np.isfinite(shape).all(axis=1)
        most = max(most, frames)
        if fine.any():
            hands[side] = (pose[fine].reshape(-1, 15, 3), shape[fine], error[fine])
    if not hands:
        raise BadFileError("no frame of either hand is finite")
    return most, hands
