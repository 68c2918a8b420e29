"""Hand poses from the user's own labels: good fits teach the next fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whim.conventions import Side
from whim.errors import UsageError
from whim.hands.mirror import mirror_pose
from whim.hands.model import Floats, HandModel
from whim.progress import Progress
from whim.shards.reader import iter_rows, some_files

MOST_RESIDUAL = 0.02
"""Fits further from their keypoints, in sides of the box, teach nothing."""
LEAST_SCORE = 0.8
"""Nor do doubtful hands."""
MOST_HANDS = 200_000
"""A fair sample of so many is enough for 45 angles."""

_COLUMNS = [f"hands.list.element.{name}" for name in ("side", "score", "mano", "fit")]


def read_labels(folders: Sequence[Path], model: HandModel, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Betas (N, 10) and poses (N, 15, 3) of right hands (left ones mirrored) from good fits.

    Raises:
        BadFileError: a folder without labels.
        UsageError: no good fit of this hand model in them.
    """
    rng = np.random.default_rng(seed)
    betas: list[list[float]] = []
    poses: list[Floats] = []
    seen = others = 0
    files = [file for folder in folders for file in some_files(folder)]
    with Progress(len(files), "labels", "file") as progress:
        for file in files:
            for row in iter_rows(file, _COLUMNS):
                for hand in row["hands"]:
                    if not _good(hand):
                        continue
                    if hand["mano"]["topology"] != model.topology:
                        others += 1
                        continue
                    pose = np.array(hand["mano"]["hand_pose"])
                    pose = mirror_pose(pose) if hand["side"] == Side.LEFT else pose
                    # Every hand has the same chance, however many there are (reservoir sampling).
                    place = len(poses) if len(poses) < MOST_HANDS else int(rng.integers(seen + 1))
                    seen += 1
                    if place == len(poses):
                        betas.append(hand["mano"]["betas"])
                        poses.append(pose)
                    elif place < MOST_HANDS:
                        betas[place], poses[place] = hand["mano"]["betas"], pose
            progress.step()
    if not poses:
        hint = f"; {others} good fits are of other hand models" if others else ""
        raise UsageError(
            f"no good fit (residual at most {MOST_RESIDUAL}, converged) of {model.topology} found{hint}"
        )
    return np.array(betas), np.array(poses)


def _good(hand: dict) -> bool:
    fit = hand["fit"]
    return bool(
        hand["mano"] is not None
        and fit is not None
        and fit["converged"]
        and fit["residual"] <= MOST_RESIDUAL
        and hand["score"] >= LEAST_SCORE
        and hand["side"] != Side.UNKNOWN
    )
