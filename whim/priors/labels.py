"""Hand poses from the user's own labels: good fits teach the next fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whim.conventions import Side
from whim.errors import UsageError
from whim.hands.mirror import mirror_pose
from whim.hands.model import Floats, HandModel
from whim.progress import Progress
from whim.shards.reader import iter_rows, some_files

MOST_RESIDUAL = 0.025
"""Fits further from their keypoints, in sides of the box, teach nothing. On Snap's photographs those within have a
PA-MPJPE of 9.2 mm, those beyond of 13.9 mm; 0.02 keeps three in ten fewer, which are no better."""
LEAST_SCORE = 0.8
"""Nor do doubtful hands."""
MOST_HANDS = 200_000
"""A fair sample of so many is enough for 45 angles."""

_COLUMNS = [f"hands.list.element.{name}" for name in ("side", "score", "mano", "fit")]


@dataclass(frozen=True, kw_only=True, eq=False)
class GoodFits:
    """Right hands (left ones mirrored) that can be trusted."""

    betas: Floats
    """(N, 10)"""
    poses: Floats
    """(N, 15, 3) axis-angle."""
    seen: int
    """Labelled hands, good or not."""
    refused: Counter[str]
    """Why the others teach nothing."""


def read_labels(
    folders: Sequence[Path],
    model: HandModel,
    *,
    most_residual: float = MOST_RESIDUAL,
    least_score: float = LEAST_SCORE,
    most_hands: int = MOST_HANDS,
    seed: int = 0,
) -> GoodFits:
    """Converged fits of one hand model within ``most_residual`` and of at least ``least_score``.

    Of more than ``most_hands``, a fair sample is kept.

    Raises:
        BadFileError: a folder without labels, or a damaged file.
        UsageError: no good fit of this hand model in them.
    """
    rng = np.random.default_rng(seed)
    betas: list[Floats] = []
    poses: list[Floats] = []
    refused: Counter[str] = Counter()
    good = 0
    files = [file for folder in folders for file in some_files(folder)]
    with Progress(len(files), "labels", "file") as progress:
        for file in files:
            for row in iter_rows(file, _COLUMNS):
                for hand in row["hands"]:
                    reason = _fault(hand, model.topology, most_residual, least_score)
                    if reason:
                        refused[reason] += 1
                        continue
                    good += 1
                    shape, pose = np.array(hand["mano"]["betas"]), np.array(hand["mano"]["hand_pose"])
                    pose = mirror_pose(pose) if hand["side"] == Side.LEFT else pose
                    if len(poses) < most_hands:
                        betas.append(shape)
                        poses.append(pose)
                    # Every hand has the same chance, however many there are (reservoir sampling).
                    elif (place := int(rng.integers(good))) < most_hands:
                        betas[place], poses[place] = shape, pose
            progress.step()
    seen = good + sum(refused.values())
    if not poses:
        reasons = ", ".join(f"{reason} {count}" for reason, count in refused.most_common())
        raise UsageError(
            f"no good fit of {model.topology} (residual at most {most_residual:g}, score at least "
            f"{least_score:g}, converged) among {seen} hands" + (f": {reasons}" if reasons else "")
        )
    return GoodFits(betas=np.array(betas), poses=np.array(poses), seen=seen, refused=refused)


def _fault(hand: dict[str, Any], topology: str, most_residual: float, least_score: float) -> str:
    """Why a hand teaches nothing; empty for a good one."""
    mano, fit = hand["mano"], hand["fit"]
    if mano is None or fit is None:
        return "not fitted"
    if mano["topology"] != topology:
        return "other hand model"
    if hand["side"] == Side.UNKNOWN:
        return "side unknown"
    if not fit["converged"]:
        return "not converged"
    # Labels hold float32: a score written as 0.9 must pass a bound of 0.9.
    if not hand["score"] >= float(np.float32(least_score)):
        return "low score"
    if not fit["residual"] <= float(np.float32(most_residual)):
        return "high residual"
    finite = np.isfinite(mano["hand_pose"]).all() and np.isfinite(mano["betas"]).all()
    return "" if finite else "not finite"
