"""Fit the hand model to every hand of a segment (paper, section 3, eqs. 2-4), all in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from whim.annotate.config import FitStageConfig
from whim.fitting.fit import fit_hands
from whim.fitting.result import FitResult
from whim.geometry.camera import assumed_focal
from whim.hands.model import HandModel
from whim.hands.pose_prior import GaussianPrior, MeshPrior, embedded_prior
from whim.hands.select import load_hand
from whim.perception.types import Hand
from whim.priors.file import load as load_prior
from whim.shards.rows import NO_FIT, Row


@dataclass(frozen=True)
class Fitter:
    """What every fit of a pipeline needs, loaded once per process."""

    config: FitStageConfig
    model: HandModel
    prior: GaussianPrior
    mesh_prior: MeshPrior | None = None
    """Of eq. 4, for the solver ``paper``; None: the embedded one."""

    def fit(self, frames: Sequence[Sequence[Hand]], sizes: Sequence[tuple[int, int]]) -> list[list[Row]]:
        """The label columns ``joints_3d``, ``mano``, ``camera`` and ``fit`` of every hand, frame by frame.

        All four are null for a hand without keypoints or side, or one that no hand model can explain.

        Args:
            frames: hands of each frame, sides decided.
            sizes: width and height of each frame, pixels.
        """
        hands = [hand for found in frames for hand in found]
        size = np.array(
            [size for found, size in zip(frames, sizes, strict=True) for _ in found], dtype=np.float64
        )
        size = size.reshape(len(hands), 2)
        focal = np.array([self._focal(width, height) for width, height in size])
        missing = np.full((21, 3), np.nan)
        result = fit_hands(
            _stack([missing[:, :2] if hand.keypoints is None else hand.keypoints for hand in hands], 2),
            _stack([np.ones(21) if hand.keypoint_scores is None else hand.keypoint_scores for hand in hands]),
            np.array([hand.side for hand in hands], dtype=np.int64),
            focal,
            size / 2,
            self.model,
            self.prior,
            self.config,
            world=_stack([missing if hand.world is None else hand.world for hand in hands], 3),
            mesh_prior=self.mesh_prior,
        )
        rows = [self._columns(result, row, focal[row], size[row]) for row in range(len(hands))]
        ends = list(accumulate(len(found) for found in frames))
        return [rows[end - len(found) : end] for end, found in zip(ends, frames, strict=True)]

    def _focal(self, width: float, height: float) -> float:
        return self.config.focal_px or self.config.focal_diagonals * assumed_focal(width, height)

    def _columns(self, result: FitResult, row: int, focal: float, size: np.ndarray) -> Row:
        if not np.isfinite(result.cost[row]):
            return NO_FIT
        return {
            "joints_3d": result.joints_3d[row].tolist(),
            "mano": {
                "global_orient": result.global_orient[row].tolist(),
                "hand_pose": result.hand_pose[row].tolist(),
                "betas": result.betas[row].tolist(),
                "translation": result.translation[row].tolist(),
                "topology": result.topology,
            },
            "camera": {
                "focal": [focal, focal],
                "center": (size / 2).tolist(),
                "assumed": self.config.focal_px is None,
            },
            "fit": {
                "residual": float(result.residual[row]),
                "violation": float(result.violation[row]),
                "converged": bool(result.converged[row]),
                "solver": f"{self.config.solver}/{result.start[row]}",
            },
        }


@lru_cache(maxsize=1)
def load_fitter(config: FitStageConfig) -> Fitter:
    """The fitter of a pipeline; the same one in every segment of a process.

    Raises:
        UsageError: the file of the hand model or of the prior is missing, or they do not belong together.
        BadFileError: one of them is not what it should be.
    """
    model = load_hand(config.hand)
    if config.prior is None:
        return Fitter(config=config, model=model, prior=embedded_prior())
    trained = load_prior(Path(config.prior), model)
    mesh = trained.sliced(config.paper.components) if config.solver == "paper" else None
    return Fitter(config=config, model=model, prior=trained.gaussian(), mesh_prior=mesh)


def fitted(rows: Sequence[Sequence[dict[str, Any]]]) -> int:
    """How many hands got a fit."""
    return sum(columns["mano"] is not None for row in rows for columns in row)


def _stack(arrays: Sequence[np.ndarray], *last: int) -> np.ndarray:
    return np.array(arrays, dtype=np.float64).reshape(len(arrays), 21, *last)
