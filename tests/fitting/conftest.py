"""Random hands with their exact pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from whim.hands import kinematics
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles, sample_angles

FOCAL, CENTER = 900.0, (320.0, 240.0)


@dataclass(frozen=True)
class Scene:
    """Right hands and what a camera sees of them."""

    pose: np.ndarray
    betas: np.ndarray
    orient: np.ndarray
    translation: np.ndarray
    joints: np.ndarray
    pixels: np.ndarray
    box: np.ndarray
    focal: np.ndarray
    center: np.ndarray
    side: np.ndarray


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    """Right hands seen from the palm or the back, within 50 degrees, 0.5 to 1 m away."""

    def make(count: int, seed: int = 0, noise: float = 0.0) -> Scene:
        rng, model = np.random.default_rng(seed), load_open_hand()
        pose = pose_from_angles(model, sample_angles(rng, count))
        betas = np.clip(rng.normal(size=(count, 10)), -2, 2)
        angles = np.stack(
            [
                rng.uniform(-120, 120, count),
                rng.uniform(-50, 50, count),
                rng.choice([0, 180], count) + rng.uniform(-50, 50, count),
            ],
            axis=1,
        )
        upright = Rotation.from_matrix([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
        orient = (Rotation.from_euler("ZXY", angles, degrees=True) * upright).as_rotvec()
        depth = rng.uniform(0.5, 1.0, count)
        translation = np.stack(
            [rng.uniform(-0.15, 0.15, count), rng.uniform(-0.1, 0.1, count), depth], axis=1
        )
        joints = kinematics.keypoints(model, betas, pose, orient, translation)
        exact = joints[..., :2] / joints[..., 2:] * FOCAL + CENTER
        box = np.ptp(exact, axis=1).max(axis=1)
        return Scene(
            pose=pose,
            betas=betas,
            orient=orient,
            translation=translation,
            joints=joints,
            pixels=exact + noise * box[:, None, None] * rng.normal(size=exact.shape),
            box=box,
            focal=np.full(count, FOCAL),
            center=np.tile(CENTER, (count, 1)),
            side=np.ones(count, dtype=int),
        )

    return make
