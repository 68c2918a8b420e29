"""Biomechanical losses on 21 keypoints (paper eq. 3, after Spurr et al., ECCV 2020).

All functions take right hands, (B, 21, 3) metres in OpenPose order; mirror left ones first. Losses have no
unit: lengths are measured in palms, the distance from the wrist to the knuckle of the middle finger.

Keypoints may be numpy arrays or torch tensors; results are of the same kind, and those of tensors can be
differentiated. The formulas are written once, with the names that both libraries share.

Published limits were read off data sets with terms of their own. Ours come from a hand model and samples of its
poses (``fit_limits``), which also makes them fit that model's joints.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from whim.hands.kinematics import keypoints
from whim.hands.model import Floats, HandModel
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles, sample_angles

Array: TypeAlias = Any
"""A numpy array, whatever becomes one, or a torch tensor. Results are of the kind of the arguments."""

_MIDDLE_PALM_BONE = 8  # wrist to the knuckle of the middle finger
_EPS = 1e-9
_LENGTH_MARGIN = 0.1

# The hull of allowed (flexion, abduction) is an octagon: for these unit directions, the reach is limited.
_DIRECTIONS = np.array([(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4])


@dataclass(frozen=True, kw_only=True, eq=False)
class JointLimits:
    """What a hand can do."""

    bones: Floats
    """(20, 2) shortest and longest bones, palms, order of ``HAND_BONES``."""
    reach: Floats
    """(15, 8) largest component of (flexion, abduction) along each of eight directions, radians."""
    curvature: Floats
    """(4, 2) range of the palm's curvature between neighbouring rays, per palm."""
    spread: Floats
    """(4, 2) range of the angle between neighbouring rays, radians."""


def bone_lengths(points: Array) -> Array:
    """(B, 20) metres, order of ``HAND_BONES``."""
    bones = _bones(points)
    return _norm(bones)[..., 0].reshape(-1, 20)


def joint_angles(points: Array) -> Array:
    """(B, 15, 2) flexion (towards the palm) and abduction (towards the thumb) of each joint, radians.

    Joints run outwards along each finger, thumb to little finger. The frame of a bone is z along it, x towards
    the palm, y = z x x; from bone to bone it is carried by the smallest rotation.
    """
    bones = _bones(points)
    xp = _library(bones)
    rays = bones[:, :, 0]
    normals = _normals(rays)
    # The index has no share in its normal with the thumb: the web between them bends with the thumb.
    inner = normals[:, 1:-1] + normals[:, 2:]
    dorsal = xp.concatenate([normals[:, :2], inner, normals[:, -1:]], axis=1)
    z = _unit(rays)
    y = _unit(_cross(z, -dorsal))
    x = _cross(y, z)
    angles = []
    for joint in range(3):
        child = bones[:, :, joint + 1]
        along_x, along_y, along_z = ((child * axis).sum(axis=2) for axis in (x, y, z))
        away = (along_x * along_x + along_z * along_z + _EPS**2) ** 0.5  # not hypot: its slope at 0 is NaN
        angles += [xp.stack([xp.arctan2(along_x, along_z), xp.arctan2(along_y, away)], axis=-1)]
        x, y, z = _carried(x, y, z, _unit(child))
    return xp.stack(angles, axis=2).reshape(-1, 15, 2)


def palm_angles(points: Array) -> tuple[Array, Array]:
    """Curvature (B, 4), per metre, and spread (B, 4), radians, between neighbouring rays of the palm."""
    rays = _bones(points)[:, :, 0]
    xp = _library(rays)
    normals = _normals(rays)
    inner = _unit(normals[:, :-1] + normals[:, 1:])
    edges = xp.concatenate([normals[:, :1], inner, normals[:, -1:]], axis=1)
    apart = rays[:, 1:] - rays[:, :-1]
    curvature = ((edges[:, 1:] - edges[:, :-1]) * apart).sum(axis=2)
    curvature = curvature / xp.clip((apart * apart).sum(axis=2), _EPS, None)
    sine = _norm(_cross(rays[:, 1:], rays[:, :-1]))[..., 0]
    return curvature, xp.arctan2(sine, (rays[:, 1:] * rays[:, :-1]).sum(axis=2))


def bone_length_loss(points: Array, limits: JointLimits) -> Array:
    """L_BL, (B,): mean excess of the bones over their range, palms."""
    lengths = bone_lengths(points)
    return _outside(lengths / _palm(lengths), limits.bones).mean(axis=1)


def joint_angle_excess(points: Array, limits: JointLimits) -> Array:
    """(B, 15) how far (flexion, abduction) of each joint is outside its octagon, radians; 0 inside."""
    angles = joint_angles(points)
    xp = _library(angles)
    excess = angles @ _as(angles, _DIRECTIONS.T) - _as(angles, limits.reach)
    return xp.clip(xp.amax(excess, axis=2), 0.0, None)


def joint_angle_loss(points: Array, limits: JointLimits) -> Array:
    """L_A, (B,): mean excess of the joints, radians."""
    return joint_angle_excess(points, limits).mean(axis=1)


def root_bone_loss(points: Array, limits: JointLimits) -> Array:
    """Spurr's third loss L_RB, (B,): mean excess of the palm's curvatures and spreads."""
    curvature, spread = palm_angles(points)
    curvature = curvature * _palm(bone_lengths(points))
    return (_outside(curvature, limits.curvature) + _outside(spread, limits.spread)).mean(axis=1)


def biomechanical_loss(points: Array, limits: JointLimits, *, root_bones: bool = False) -> Array:
    """L_BMC = L_BL + L_A, (B,) (eq. 3). ``root_bones`` adds L_RB, which the paper leaves out."""
    loss = bone_length_loss(points, limits) + joint_angle_loss(points, limits)
    return loss + root_bone_loss(points, limits) if root_bones else loss


def fit_limits(
    model: HandModel,
    hand_pose: ArrayLike,
    betas: ArrayLike,
    *,
    tail: float = 0.002,
    margin: float = np.radians(6),
) -> JointLimits:
    """Limits that hands of these poses (N, 15, 3) and shapes (N, 10) keep.

    Ranges leave out a share ``tail`` of the samples at each end. Angles get ``margin`` radians on top. Lengths
    and curvatures get a tenth: shape spaces vary the size of a palm more than its proportions.

    Raises:
        ValueError: for fewer samples than the tails need.
    """
    pose, shape = np.asarray(hand_pose, dtype=np.float64), np.asarray(betas, dtype=np.float64)
    if len(pose) * tail < 1.0:
        raise ValueError(
            f"{len(pose)} samples say nothing about the outermost {tail:g}; give at least {1 / tail:.0f}"
        )
    still = np.zeros((len(pose), 3))
    points = keypoints(model, shape, pose, still, still)
    lengths = bone_lengths(points)
    curvature, spread = palm_angles(points)
    along = joint_angles(points) @ _DIRECTIONS.T

    def span(values: Floats) -> Floats:
        return np.quantile(values, (tail, 1.0 - tail), axis=0).T

    def widened(interval: Floats) -> Floats:
        return interval + _LENGTH_MARGIN * np.abs(interval) * (-1.0, 1.0)

    return JointLimits(
        bones=widened(span(lengths / _palm(lengths))),
        reach=np.quantile(along, 1.0 - tail, axis=0) + margin,
        curvature=widened(span(curvature * _palm(lengths))),
        spread=span(spread) + np.array([-margin, margin]),
    )


@lru_cache(maxsize=4)
def embedded_limits(model: HandModel | None = None) -> JointLimits:
    """Limits of a model (the open hand), from the anatomical sampler and shapes within 2.5 standard deviations."""
    rng, model = np.random.default_rng(0), model or load_open_hand()
    poses = pose_from_angles(model, sample_angles(rng, 10_000))
    return fit_limits(model, poses, rng.uniform(-2.5, 2.5, (10_000, 10)))


def _library(array: Array) -> Any:
    """numpy or torch. Torch is not imported here: whoever has a tensor has it."""
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]


def _as(like: Array, constant: Floats) -> Array:
    """A constant beside ``like``: numpy's array or a tensor of its kind."""
    return constant if isinstance(like, np.ndarray) else like.new_tensor(constant)


def _bones(points: Array) -> Array:
    """(B, 5, 4, 3) bones of each finger, palm rays first."""
    if not hasattr(points, "new_tensor"):
        points = np.asarray(points, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (21, 3):
        raise ValueError(f"expected keypoints of shape (B, 21, 3); got {tuple(points.shape)}")
    xp, batch = _library(points), len(points)
    fingers = points[:, 1:].reshape(batch, 5, 4, 3)
    wrist = xp.broadcast_to(points[:, None, :1], (batch, 5, 1, 3))
    return fingers - xp.concatenate([wrist, fingers[:, :, :-1]], axis=2)


def _palm(lengths: Array) -> Array:
    return _library(lengths).clip(lengths[:, [_MIDDLE_PALM_BONE]], _EPS, None)


def _normals(rays: Array) -> Array:
    """(B, 4, 3) normals of the palm between neighbouring rays; dorsal for right hands."""
    return _unit(_cross(rays[:, 1:], rays[:, :-1]))


def _cross(a: Array, b: Array) -> Array:
    return _library(a).cross(a, b, axis=-1)


def _norm(vectors: Array) -> Array:
    return _library(vectors).linalg.norm(vectors, axis=-1, keepdims=True)


def _unit(vectors: Array) -> Array:
    return vectors / _library(vectors).clip(_norm(vectors), _EPS, None)


def _outside(values: Array, interval: Floats) -> Array:
    low, high = _as(values, interval[:, 0]), _as(values, interval[:, 1])
    return _library(values).abs(values - _library(values).clip(values, low, high))


def _carried(x: Array, y: Array, z: Array, child: Array) -> tuple[Array, Array, Array]:
    """The frame after the smallest rotation that takes z to ``child``."""
    axis = _cross(z, child)
    cosine = (z * child).sum(axis=-1)[..., None]
    share = 1.0 / _library(cosine).clip(1.0 + cosine, 1e-3, None)

    def turned(v: Array) -> Array:
        once = _cross(axis, v)
        return v + once + _cross(axis, once) * share

    return turned(x), turned(y), child
