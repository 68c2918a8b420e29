"""The reconstructor together with its discriminator: one module, so that one loop trains both.

The two play against each other, but neither loss reaches the other's weights, and Adam treats each weight by itself:
one step on the sum of the losses is one step of each with an optimiser of its own. (Only clipping looks at all
gradients together.) Checkpoint and resume follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from whim.conventions import Side
from whim.hands.mirror import mirror_pose
from whim.hands.model import HandModel
from whim.hands.pose_prior import pose_from_angles, sample_angles
from whim.reconstructor.data.labels import HandLabels
from whim.reconstructor.losses.discriminator import Discriminator
from whim.reconstructor.losses.objective import Objective
from whim.reconstructor.network import Reconstruction, Reconstructor

_MOST = 20_000
PER_HAND = 2
"""Real hands that are shown for each made one (released)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RealHands:
    """Poses and shapes of right hands that the discriminator takes for real."""

    pose: Tensor
    """(N, 15, 3, 3)."""
    betas: Tensor
    """(N, 10)."""
    origin: str
    """Where they come from, for the terminal."""

    def draw(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """``count`` of them, by torch's global generator of the CPU."""
        chosen = torch.randint(len(self.pose), (count,))
        return self.pose[chosen].to(device), self.betas[chosen].to(device)


def real_hands(sets: Sequence[HandLabels], model: HandModel, *, seed: int) -> RealHands:
    """The labelled parameters of the training sets, left hands mirrored; without any, draws from the embedded pose
    prior with normal shapes."""
    poses: list[NDArray[np.float64]] = []
    betas: list[NDArray[np.floating]] = []
    for one in sets:
        known = np.isfinite(one.hand_pose).all(axis=(1, 2)) & np.isfinite(one.betas).all(axis=1)
        rows = np.flatnonzero(known)
        pose = one.hand_pose[rows].astype(np.float64)
        left = one.side[rows] == Side.LEFT
        pose[left] = mirror_pose(pose[left])
        poses.append(pose)
        betas.append(one.betas[rows])
    pose, origin = np.concatenate(poses), "the training sets"
    shape: NDArray[np.floating] = np.concatenate(betas)
    rng = np.random.default_rng([seed, 7])
    if not len(pose):
        pose = pose_from_angles(model, sample_angles(rng, _MOST))
        shape, origin = rng.normal(size=(_MOST, 10)), "the embedded pose prior"
    if len(pose) > _MOST:
        chosen = rng.permutation(len(pose))[:_MOST]
        pose, shape = pose[chosen], shape[chosen]
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
    return RealHands(
        pose=torch.tensor(matrices, dtype=torch.float32),
        betas=torch.tensor(shape, dtype=torch.float32),
        origin=origin,
    )


class Contest(nn.Module):
    """Reconstructor and discriminator.

    Args:
        reconstructor: makes hands.
        objective: for the adversarial terms of both.
    """

    def __init__(self, reconstructor: Reconstructor, objective: Objective) -> None:
        super().__init__()
        self.reconstructor = reconstructor
        self.discriminator = Discriminator()
        self._objective = objective

    def forward(
        self, pictures: Tensor, real_pose: Tensor, real_betas: Tensor
    ) -> tuple[Reconstruction, Tensor, Tensor]:
        """Hands, and the weighted losses (scalars) of their maker and of the discriminator."""
        result = self.reconstructor(pictures)
        fooled = self._objective.adversarial(self.discriminator, result.final)
        found = self._objective.discriminator(self.discriminator, result.final, real_pose, real_betas)
        return result, fooled, found


def reconstructor_of(model: nn.Module) -> Reconstructor:
    """The network itself, whatever is around it."""
    inner = model.reconstructor if isinstance(model, Contest) else model
    assert isinstance(inner, Reconstructor)
    return inner
