"""One hand as the network sees it, varied, with its labels in the crop's terms. Left hands become right ones here."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial.transform import Rotation

from whim.config import Config
from whim.conventions import Side
from whim.hands.mirror import mirror_pose
from whim.reconstructor.crops import Crops
from whim.reconstructor.data.labels import HandLabels

Image = NDArray[np.uint8]


class CropAugmentConfig(Config):
    """How a training crop is varied (the released code's geometry; the paper names it in section 7.2)."""

    scale: float = Field(default=0.3, ge=0, lt=1)
    """Largest change of the crop's size, as a share; standard normal times this, cut off at this."""
    rotation: float = Field(default=30.0, ge=0, le=180)
    """Standard deviation of the turn of ``rotated`` crops, degrees; cut off at the double."""
    rotated: float = Field(default=0.6, ge=0, le=1)
    """Share of crops that are turned."""
    shift: float = Field(default=0.02, ge=0)
    """Largest change of the centre, in crops and along each axis; standard normal times this, cut off at this."""
    colour: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of each channel's gain."""
    masked: float = Field(default=0.2, ge=0, le=1)
    """Share of crops with a rectangle covered."""

    @classmethod
    def off(cls) -> CropAugmentConfig:
        """Crops as they are."""
        return cls(scale=0.0, rotated=0.0, shift=0.0, colour=0.0, masked=0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class CropSample:
    """A right hand (left ones mirrored) in its crop; unknown values are NaN."""

    picture: Image
    """(S, S, 3) RGB."""
    keypoints_2d: NDArray[np.float32]
    """(21, 2) fractions of the crop from its centre."""
    joints_3d: NDArray[np.float32]
    """(21, 3) metres, turned as the crop is."""
    rotations: NDArray[np.float32]
    """(16, 3, 3) local rotations, wrist first."""
    betas: NDArray[np.float32]
    """(10,)."""


def make_sample(
    picture: Image, hand: HandLabels, size: int, config: CropAugmentConfig, rng: np.random.Generator
) -> CropSample:
    """The crop of one hand (``hand`` holds one row) from its picture (H, W, 3) RGB.

    Everything is mirrored and turned by the same matrices: places in the picture by the crop's map, directions in space
    by its mirror and turn.
    """
    crops = Crops.around(hand.box, hand.side)
    side = float(crops.sides[0]) * (1.0 + config.scale * float(np.clip(rng.normal(), -1, 1)))
    center = crops.centers[0] + np.clip(rng.normal(size=2), -1, 1) * config.shift * side
    angle = 0.0
    if rng.random() < config.rotated:
        angle = np.radians(
            np.clip(rng.normal(0.0, config.rotation), -2 * config.rotation, 2 * config.rotation)
        )
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    left = int(hand.side[0]) == Side.LEFT
    linear = turn @ np.diag([-1.0 if left else 1.0, 1.0])  # the picture's plane, mirrored, then turned
    view = crops.view(picture, center, side, size, linear)
    _recolour(view, config, rng)
    points = (hand.keypoints_2d[0].astype(np.float64) - center) @ linear.T / side
    turn_3d = np.eye(3)
    turn_3d[:2, :2] = turn
    mirror_3d = np.diag([-1.0 if left else 1.0, 1.0, 1.0])
    pose = np.concatenate([hand.global_orient, hand.hand_pose[0]]).astype(np.float64)
    rotations = np.full((16, 3, 3), np.nan)
    if np.isfinite(pose).all():
        rotations = Rotation.from_rotvec(mirror_pose(pose) if left else pose).as_matrix()
        rotations[0] = turn_3d @ rotations[0]
    return CropSample(
        picture=view,
        keypoints_2d=points.astype(np.float32),
        joints_3d=(hand.joints_3d[0] @ (turn_3d @ mirror_3d).T).astype(np.float32),
        rotations=rotations.astype(np.float32),
        betas=hand.betas[0],
    )


def _recolour(view: Image, config: CropAugmentConfig, rng: np.random.Generator) -> None:
    """Change colours and cover a rectangle, in place."""
    if config.colour > 0:
        gains = rng.uniform(1 - config.colour, 1 + config.colour, 3)
        table = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
        view[:] = cv2.LUT(view, table.reshape(1, 256, 3))
    if rng.random() < config.masked:
        size = len(view)
        w, h = (rng.uniform(0.1, 0.35, 2) * size).astype(int)
        x, y = int(rng.integers(0, size - w)), int(rng.integers(0, size - h))
        view[y : y + h, x : x + w] = rng.integers(0, 255, 3)
