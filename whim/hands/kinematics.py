"""Forward kinematics and linear blend skinning of a hand, batched, in float64.

MANO's tree is a wrist (joint 0) with five chains of three joints (1-3, ..., 13-15), so a whole batch moves in
three steps outwards. All angles are radians, all lengths metres. ``hand_pose`` contains MANO's mean pose
already.

A hand has ``betas`` (B, 10), ``hand_pose`` (B, 15, 3), ``global_orient`` (B, 3) and ``translation`` (B, 3).
The global rotation turns about the wrist joint, the translation is added last (as in smplx: the wrist ends at
J0(betas) + translation). With ``side`` left, the parameters are those of the left hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from whim.conventions import MANO_TO_OPENPOSE, Side
from whim.hands.mirror import is_left, mirror_points, mirror_pose, mirror_translation
from whim.hands.model import TIP_PARENTS, Floats, HandModel

# Palmar direction for the thumb, which flexes across the palm: components along the palm's axes
# (towards the wrist, dorsal, radial).
_THUMB_PALMAR = (-0.10, -0.75, -0.65)


@dataclass(frozen=True, kw_only=True)
class Posed:
    """The 16 joints of posed right hands."""

    rotations: Floats
    """(B, 16, 3, 3) from rest to posed, in the world."""
    joints: Floats
    """(B, 16, 3) posed positions, MANO order."""
    rest_joints: Floats
    """(B, 16, 3) positions at rest."""
    local_rotations: Floats
    """(B, 16, 3, 3) relative to the parent."""

    @property
    def transforms(self) -> Floats:
        """(B, 16, 4, 4) pose of each joint's frame in the world."""
        result = np.zeros((*self.joints.shape[:2], 4, 4))
        result[..., :3, :3] = self.rotations
        result[..., :3, 3] = self.joints
        result[..., 3, 3] = 1.0
        return result

    @property
    def offsets(self) -> Floats:
        """(B, 16, 3) t of the skinning maps x -> R x + t, from rest vertices to posed ones."""
        return self.joints - (self.rotations @ self.rest_joints[..., None])[..., 0]

    @property
    def pose_feature(self) -> Floats:
        """(B, 135) input of MANO's pose blend shapes: local rotations less the identity."""
        return (self.local_rotations[:, 1:] - np.eye(3)).reshape(-1, 135)


def rotation_from_axis_angle(axis_angle: ArrayLike) -> Floats:
    """Rotation matrices (..., 3, 3) from axis-angle vectors (..., 3), by Rodrigues' formula.

    Written with sinc, so that it is smooth and exact down to zero.
    """
    a = np.asarray(axis_angle, dtype=np.float64)
    angle = np.sqrt((a * a).sum(axis=-1))[..., None, None]
    k = np.zeros((*a.shape, 3))
    k[..., 2, 1], k[..., 0, 2], k[..., 1, 0] = a[..., 0], a[..., 1], a[..., 2]
    k -= np.swapaxes(k, -1, -2)
    return np.eye(3) + np.sinc(angle / np.pi) * k + 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2 * (k @ k)


def forward(
    model: HandModel,
    betas: ArrayLike,
    hand_pose: ArrayLike,
    global_orient: ArrayLike,
    translation: ArrayLike,
) -> Posed:
    """Pose the 16 joints of right hands.

    Raises:
        ValueError: for arrays of other shapes.
    """
    betas, hand_pose, global_orient, translation = _checked(betas, hand_pose, global_orient, translation)
    local = rotation_from_axis_angle(np.concatenate([global_orient[:, None], hand_pose], axis=1))
    rest = model.J_template + np.tensordot(betas, model.J_shapedirs, axes=(1, 2))
    return pose_joints(local, rest, rest[:, 0] + translation)


def pose_joints(local_rotations: Floats, rest_joints: Floats, wrist: Floats) -> Posed:
    """Pose joints from local rotations (B, 16, 3, 3), rest joints (B, 16, 3) and the wrist's place (B, 3)."""
    batch = len(wrist)
    turn = local_rotations[:, 1:].reshape(batch, 5, 3, 3, 3)
    chain = rest_joints[:, 1:].reshape(batch, 5, 3, 3)
    r, p, origin = local_rotations[:, None, 0], wrist[:, None], rest_joints[:, None, 0]
    levels = []
    for level in range(3):
        p = p + (r @ (chain[:, :, level] - origin)[..., None])[..., 0]
        r = r @ turn[:, :, level]
        origin = chain[:, :, level]
        levels.append((r, p))
    fingers = np.stack([r for r, _ in levels], axis=2).reshape(batch, 15, 3, 3)
    places = np.stack([p for _, p in levels], axis=2).reshape(batch, 15, 3)
    rotations = np.concatenate([local_rotations[:, :1], fingers], axis=1)
    joints = np.concatenate([wrist[:, None], places], axis=1)
    return Posed(rotations=rotations, joints=joints, rest_joints=rest_joints, local_rotations=local_rotations)


def keypoints(
    model: HandModel,
    betas: ArrayLike,
    hand_pose: ArrayLike,
    global_orient: ArrayLike,
    translation: ArrayLike,
    side: Side | ArrayLike = Side.RIGHT,
) -> Floats:
    """The 21 keypoints (B, 21, 3) in OpenPose order, without touching the mesh.

    ``side`` is one Side or (B,) of them. Fingertips equal those of the skinned mesh exactly
    (``HandModel.tip_skin``).
    """
    betas, hand_pose, global_orient, translation = _checked(betas, hand_pose, global_orient, translation)
    left = is_left(side, len(betas))
    posed = forward(model, betas, *_to_right(left, hand_pose, global_orient, translation))
    points = np.concatenate([posed.joints, fingertips(model, posed, betas)], axis=1)
    return _to_side(left, points[:, list(MANO_TO_OPENPOSE)])


def fingertips(model: HandModel, posed: Posed, betas: Floats) -> Floats:
    """The five fingertips (B, 5, 3) of posed right hands, thumb to little finger."""
    skin = model.tip_skin
    moment = skin.moment + np.tensordot(betas, skin.moment_shape, axes=(1, 2))
    if skin.moment_pose is not None:
        moment = moment + np.tensordot(posed.pose_feature, skin.moment_pose, axes=(1, 2))
    moved = (posed.rotations[:, skin.joint] @ moment[..., None])[..., 0]
    moved += skin.mass[:, None] * posed.offsets[:, skin.joint]
    collect = np.eye(5)[:, skin.tip]  # (5, P)
    return collect @ moved


def vertices(
    model: HandModel,
    betas: ArrayLike,
    hand_pose: ArrayLike,
    global_orient: ArrayLike,
    translation: ArrayLike,
    side: Side | ArrayLike = Side.RIGHT,
) -> Floats:
    """The skinned mesh (B, V, 3). For left hands use ``mirror_faces(model.faces)``."""
    betas, hand_pose, global_orient, translation = _checked(betas, hand_pose, global_orient, translation)
    left = is_left(side, len(betas))
    posed = forward(model, betas, *_to_right(left, hand_pose, global_orient, translation))
    rest = model.v_template + np.tensordot(betas, model.shapedirs, axes=(1, 2))
    if model.posedirs is not None:
        rest += np.tensordot(posed.pose_feature, model.posedirs, axes=(1, 2))
    maps = np.concatenate([posed.rotations, posed.offsets[..., None]], axis=-1).reshape(-1, 16, 12)
    blended = (model.weights @ maps).reshape(-1, len(model.weights), 3, 4)
    return _to_side(left, (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3])


def joint_axes(model: HandModel) -> Floats:
    """Anatomical axes (15, 3, 3) of the finger joints at rest; rows twist, flexion, abduction, orthonormal.

    Twist is the bone outwards, flexion turns it towards the palm (positive = flexed), abduction is
    flexion x twist. Computed from joints and palm normal alone, so it serves any model with MANO's tree.
    """
    joints, tips = model.J_template, model.tip_template
    palm = palm_axes(model)
    axes = np.empty((15, 3, 3))
    tip_of = {joint: tip for tip, joint in enumerate(TIP_PARENTS)}
    for joint in range(1, 16):
        end = tips[tip_of[joint]] if joint in tip_of else joints[joint + 1]
        bone = _unit(end - joints[joint])
        palmar = np.array(_THUMB_PALMAR) @ palm if joint >= 13 else -palm[1]
        flexion = _unit(np.cross(bone, palmar))
        axes[joint - 1] = bone, flexion, np.cross(flexion, bone)
    return axes


def palm_axes(model: HandModel) -> Floats:
    """Axes of the palm at rest (3, 3); rows towards the wrist, dorsal, radial.

    The palm is the plane of the row of knuckles and the mean direction of the fingers' first bones; the first
    axis runs from the middle knuckle to the wrist.
    """
    joints = model.J_template
    first_bones = joints[[2, 5, 8, 11]] - joints[[1, 4, 7, 10]]
    outwards = _unit((first_bones / np.linalg.norm(first_bones, axis=1, keepdims=True)).sum(axis=0))
    dorsal = _unit(np.cross(outwards, joints[1] - joints[7]))
    back = joints[0] - joints[4]
    back = _unit(back - dorsal * (back @ dorsal))
    return np.stack([back, dorsal, np.cross(back, dorsal)])


def _unit(vector: Floats) -> Floats:
    return vector / np.linalg.norm(vector)


def _checked(
    betas: ArrayLike, hand_pose: ArrayLike, global_orient: ArrayLike, translation: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    arrays = tuple(
        np.asarray(value, dtype=np.float64) for value in (betas, hand_pose, global_orient, translation)
    )
    batch = arrays[0].shape[0] if arrays[0].ndim else 0
    wanted = ((batch, 10), (batch, 15, 3), (batch, 3), (batch, 3))
    if tuple(array.shape for array in arrays) != wanted:
        found = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(
            "betas, hand_pose, global_orient and translation must have the shapes "
            f"(B, 10), (B, 15, 3), (B, 3), (B, 3); got {found}"
        )
    return arrays[0], arrays[1], arrays[2], arrays[3]


def _to_right(
    left: np.ndarray, hand_pose: Floats, global_orient: Floats, translation: Floats
) -> tuple[Floats, Floats, Floats]:
    """Parameters of the right hands that the left ones among them mirror."""
    if not left.any():
        return hand_pose, global_orient, translation
    return (
        np.where(left[:, None, None], mirror_pose(hand_pose), hand_pose),
        np.where(left[:, None], mirror_pose(global_orient), global_orient),
        np.where(left[:, None], mirror_translation(translation), translation),
    )


def _to_side(left: np.ndarray, points: Floats) -> Floats:
    return np.where(left[:, None, None], mirror_points(points), points) if left.any() else points
