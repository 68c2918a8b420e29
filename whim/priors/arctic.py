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

FPS = 30.0
"""Frames per second of ARCTIC."""
LICENCE = "ARCTIC: non-commercial, not to be redistributed"


@dataclass
class Harvest:
    """Poses of right hands and what was left out."""

    betas: list[Floats] = field(default_factory=list)
    """(n, 10) of each sequence and hand."""
    poses: list[Floats] = field(default_factory=list)
    """(n, 15, 3) axis-angle, mean pose added, left hands mirrored."""
    sequences: int = 0
    skipped: list[str] = field(default_factory=list)
    """Files that could not be read, and why."""


def read_arctic(root: Path, mano: Path, *, fps: float = 5.0, quantile: float = 0.9) -> Harvest:
    """Poses of both hands of every sequence.

    Frames whose fitting error is above the ``quantile`` of their sequence are left out, then every so many kept
    that about ``fps`` remain. ARCTIC's poses are relative to MANO's mean pose, which is in the user's MANO file.

    Raises:
        UsageError: no sequences below ``root``, or none that can be read.
        BadFileError: the MANO file is not one.
    """
    files = sorted(root.rglob("*.mano.npy"))
    if not files:
        raise UsageError(f"{root}: no sequences (raw_seqs/sXX/*.mano.npy) of ARCTIC below it")
    mean = pose_from_pca(mano, np.zeros((1, 45)))[0]
    harvest = Harvest()
    with Progress(len(files), "arctic", "sequence") as progress:
        for path in files:
            try:
                hands = _hands(load_object_npy(path))
            except BadFileError as error:
                harvest.skipped.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                progress.step("skipped")
                continue
            for side, (pose, shape, error_of_fit) in hands.items():
                kept = np.flatnonzero(error_of_fit <= np.quantile(error_of_fit, quantile))
                kept = kept[:: max(1, round(FPS / fps))]
                own = pose[kept] + mean if side == "right" else mirror_pose(pose[kept]) + mean
                harvest.poses.append(own)
                harvest.betas.append(np.broadcast_to(shape, (len(pose), 10))[kept])
            harvest.sequences += 1
            progress.step()
    if not harvest.poses:
        raise UsageError(
            f"{root}: none of {len(files)} sequences could be read; the first: {harvest.skipped[0]}"
        )
    return harvest


def _hands(content: Any) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Pose (F, 15, 3), shape (F or 1, 10) and fitting error (F,) of each hand.

    Raises:
        BadFileError: the layout is another one.
    """
    if not isinstance(content, dict) or not {"left", "right"} & content.keys():
        raise BadFileError("not an ARCTIC sequence: it has no 'left' or 'right'")
    hands = {}
    for side in ("left", "right"):
        if side not in content:
            continue
        try:
            pose = np.asarray(content[side]["pose"], dtype=np.float64)
            shape = np.atleast_2d(np.asarray(content[side]["shape"], dtype=np.float64))
            error = np.asarray(
                content[side].get("fitting_err", np.zeros(len(pose))), dtype=np.float64
            ).ravel()
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise BadFileError(f"hand {side!r} of an ARCTIC sequence lacks {problem}") from problem
        frames = len(pose)
        if (
            pose.shape != (frames, 45)
            or shape.shape[1:] != (10,)
            or len(shape) not in (1, frames)
            or len(error) != frames
        ):
            raise BadFileError(
                f"hand {side!r}: expected pose (F, 45), shape (F, 10) and fitting_err (F,); "
                f"got {pose.shape}, {shape.shape}, {error.shape}"
            )
        fine = np.isfinite(pose).all(axis=1) & np.isfinite(error)
        hands[side] = (
            pose[fine].reshape(-1, 15, 3),
            shape if len(shape) == 1 else shape[fine],
            error[fine],
        )
    return {side: hand for side, hand in hands.items() if len(hand[0])}
