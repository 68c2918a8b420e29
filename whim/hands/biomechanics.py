"""Biomechanical losses on 21 keypoints (paper eq. 3, after Spurr et al., ECCV 2020).

All functions take right hands, (B, 21, 3) metres in OpenPose order; mirror left ones first. Losses have no
unit: lengths are measured in palms, the distance from the wrist to the knuckle of the middle finger.

Published limits were read off data sets with terms of their own. Ours come from a hand model and samples of its
poses (``fit_limits``), which also makes them fit that model's joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from whim.conventions import HAND_BONES
from whim.hands.kinematics import keypoints
from whim.hands.model import Floats, HandModel
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles, sample_angles

_PARENT, _CHILD = (list(column) for column in zip(*HAND_BONES, strict=True))
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


def bone_lengths(points: ArrayLike) -> Floats:
    """(B, 20) metres, order of ``HAND_BONES``."""
    return np.asarray(np.linalg.norm(_bones(points), axis=2))


def joint_angles(points: ArrayLike) -> Floats:
    """(B, 15, 2) flexion (towards the palm) and abduction (towards the thumb) of each joint, radians.

    Joints run outwards along each finger, thumb to little finger. The frame of a bone is z along it, x towards
    the palm, y = z x x; from bone to bone it is carried by the smallest rotation.
    """
    bones = _bones(points).reshape(-1, 5, 4, 3)
    rays = bones[:, :, 0]
    normals = _normals(rays)
    # The index has no share in its normal with the thumb: the web between them bends with the thumb.
    inner = normals[:, 1:-1] + normals[:, 2:]
    dorsal = np.concatenate([normals[:, :2], inner, normals[:, -1:]], axis=1)
    z = _unit(rays)
    y = _unit(np.cross(z, -dorsal))
    x = np.cross(y, z)
    angles = np.empty((len(bones), 5, 3, 2))
    for joint in range(3):
        child = bones[:, :, joint + 1]
        along_x, along_y, along_z = ((child * axis).sum(axis=2) for axis in (x, y, z))
        angles[:, :, joint, 0] = np.arctan2(along_x, along_z)
        angles[:, :, joint, 1] = np.arctan2(along_y, np.hypot(along_x, along_z))
        x, y, z = _carried(x, y, z, _unit(child))
    return angles.reshape(-1, 15, 2)


def palm_angles(points: ArrayLike) -> tuple[Floats, Floats]:
    """Curvature (B, 4), per metre, and spread (B, 4), radians, between neighbouring rays of the palm."""
    rays = _bones(points).reshape(-1, 5, 4, 3)[:, :, 0]
    normals = _normals(rays)
    inner = _unit(normals[:, :-1] + normals[:, 1:])
    edges = np.concatenate([normals[:, :1], inner, normals[:, -1:]], axis=1)
    apart = np.diff(rays, axis=1)
    curvature = (np.diff(edges, axis=1) * apart).sum(axis=2) / np.maximum((apart**2).sum(axis=2), _EPS)
    cross = np.linalg.norm(np.cross(rays[:, 1:], rays[:, :-1]), axis=2)
    return curvature, np.arctan2(cross, (rays[:, 1:] * rays[:, :-1]).sum(axis=2))


def bone_length_loss(points: ArrayLike, limits: JointLimits) -> Floats:
    """L_BL, (B,): mean excess of the bones over their range, palms."""
    lengths = bone_lengths(points)
    return _outside(lengths / _palm(lengths), limits.bones).mean(axis=1)


def joint_angle_loss(points: ArrayLike, limits: JointLimits) -> Floats:
    """L_A, (B,): mean excess of (flexion, abduction) over the octagon of each joint, radians."""
    excess = joint_angles(points) @ _DIRECTIONS.T - limits.reach
    return np.maximum(excess.max(axis=2), 0.0).mean(axis=1)


def root_bone_loss(points: ArrayLike, limits: JointLimits) -> Floats:
    """Spurr's third loss L_RB, (B,): mean excess of the palm's curvatures and spreads."""
    curvature, spread = palm_angles(points)
    curvature = curvature * _palm(bone_lengths(points))
    return (_outside(curvature, limits.curvature) + _outside(spread, limits.spread)).mean(axis=1)


def biomechanical_loss(points: ArrayLike, limits: JointLimits, *, root_bones: bool = False) -> Floats:
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


@lru_cache(maxsize=1)
def embedded_limits() -> JointLimits:
    """Limits of the open hand, from the anatomical sampler and shapes within 2.5 standard deviations."""
    rng, model = np.random.default_rng(0), load_open_hand()
    poses = pose_from_angles(model, sample_angles(rng, 10_000))
    return fit_limits(model, poses, rng.uniform(-2.5, 2.5, (10_000, 10)))


def _bones(points: ArrayLike) -> Floats:
    p = np.asarray(points, dtype=np.float64)
    if p.ndim != 3 or p.shape[1:] != (21, 3):
        raise ValueError(f"expected keypoints of shape (B, 21, 3); got {p.shape}")
    return p[:, _CHILD] - p[:, _PARENT]


def _palm(lengths: Floats) -> Floats:
    return np.maximum(lengths[:, [_MIDDLE_PALM_BONE]], _EPS)


def _normals(rays: Floats) -> Floats:
    """(B, 4, 3) normals of the palm between neighbouring rays; dorsal for right hands."""
    return _unit(np.cross(rays[:, 1:], rays[:, :-1]))


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _EPS)


def _outside(values: Floats, interval: Floats) -> Floats:
    return np.abs(values - np.clip(values, interval[:, 0], interval[:, 1]))


def _carried(x: Floats, y: Floats, z: Floats, child: Floats) -> tuple[Floats, Floats, Floats]:
    """The frame after the smallest rotation that takes z to ``child``."""
    axis = np.cross(z, child)
    share = 1.0 / np.maximum(1.0 + (z * child).sum(axis=-1, keepdims=True), 1e-3)

    def turned(v: Floats) -> Floats:
        once = np.cross(axis, v)
        return v + once + np.cross(axis, once) * share

    return turned(x), turned(y), child
