"""The kinematics of ``whim.hands.kinematics`` for torch: differentiable, float32, on any device.

Same parameters, same conventions, same numbers to 1e-5. Rotations may be given as axis-angle vectors (as
there) or as matrices, which is what networks predict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from whim.conventions import MANO_TO_OPENPOSE, Side
from whim.errors import require
from whim.hands.mirror import AXIS_ANGLE_SIGNS, POINT_SIGNS
from whim.hands.model import HandModel

if TYPE_CHECKING:
    from torch import Tensor


class HandLayer:
    """Keypoints and vertices of a batch of hands as torch tensors.

    Needs the extra ``train``. Holds constants only: nothing in it learns.

    Args:
        model: the right hand.
        device: where the tensors live.
        dtype: ``torch.float32`` unless given.
    """

    def __init__(self, model: HandModel, *, device: Any = "cpu", dtype: Any = None) -> None:
        torch = require("torch", extra="train")
        self._torch = torch
        self.model = model

        def constant(array: np.ndarray | list | tuple) -> Tensor:
            return torch.as_tensor(np.asarray(array), dtype=dtype or torch.float32, device=device)

        def index(array: np.ndarray | tuple) -> Tensor:
            return torch.as_tensor(np.asarray(array), dtype=torch.long, device=device)

        skin = model.tip_skin
        self._joints = constant(model.J_template)
        # Shape and pose directions with the coefficient first, so that each is one matrix product.
        self._joints_shape = constant(np.moveaxis(model.J_shapedirs, -1, 0).reshape(10, -1))
        self._vertices = constant(model.v_template)
        self._vertices_shape = constant(np.moveaxis(model.shapedirs, -1, 0).reshape(10, -1))
        self._weights = constant(model.weights)
        self._tip_mass = constant(skin.mass)[:, None]
        self._tip_moment = constant(skin.moment)
        self._tip_moment_shape = constant(np.moveaxis(skin.moment_shape, -1, 0).reshape(10, -1))
        self._tip_joint = index(skin.joint)
        self._tip_collect = constant(np.eye(5)[:, skin.tip])
        self._vertices_pose = self._tip_moment_pose = None
        if model.posedirs is not None and skin.moment_pose is not None:
            self._vertices_pose = constant(np.moveaxis(model.posedirs, -1, 0).reshape(135, -1))
            self._tip_moment_pose = constant(np.moveaxis(skin.moment_pose, -1, 0).reshape(135, -1))
        self._order = index(MANO_TO_OPENPOSE)
        self._eye = constant(np.eye(3))
        self._point_signs = constant(POINT_SIGNS)
        self._axis_signs = constant(AXIS_ANGLE_SIGNS)
        self._matrix_signs = constant(np.multiply.outer(POINT_SIGNS, POINT_SIGNS))

    def keypoints(
        self,
        betas: Tensor,
        hand_pose: Tensor,
        global_orient: Tensor,
        translation: Tensor,
        side: Any = Side.RIGHT,
    ) -> Tensor:
        """The 21 keypoints (B, 21, 3) in OpenPose order, without touching the mesh.

        ``hand_pose`` is (B, 15, 3) axis-angle or (B, 15, 3, 3) matrices, ``global_orient`` (B, 3) or (B, 3,
        3); ``side`` is one Side or (B,) of them.
        """
        left = self._is_left(side, len(betas))
        local = self._local_rotations(left, hand_pose, global_orient)
        rotations, joints, offsets = self._forward(betas, local, self._mirrored(left, translation))
        moment = self._tip_moment + (betas @ self._tip_moment_shape).reshape(-1, *self._tip_moment.shape)
        if self._tip_moment_pose is not None:
            moment = moment + (self._pose_feature(local) @ self._tip_moment_pose).reshape(
                -1, *self._tip_moment.shape
            )
        moved = (rotations[:, self._tip_joint] @ moment[..., None])[..., 0]
        moved = moved + self._tip_mass * offsets[:, self._tip_joint]
        points = self._torch.cat([joints, self._tip_collect @ moved], dim=1)[:, self._order]
        return self._mirrored(left, points)

    def vertices(
        self,
        betas: Tensor,
        hand_pose: Tensor,
        global_orient: Tensor,
        translation: Tensor,
        side: Any = Side.RIGHT,
    ) -> Tensor:
        """The skinned mesh (B, V, 3); arguments as for ``keypoints``."""
        left = self._is_left(side, len(betas))
        local = self._local_rotations(left, hand_pose, global_orient)
        rotations, _, offsets = self._forward(betas, local, self._mirrored(left, translation))
        rest = self._vertices + (betas @ self._vertices_shape).reshape(-1, *self._vertices.shape)
        if self._vertices_pose is not None:
            rest = rest + (self._pose_feature(local) @ self._vertices_pose).reshape(-1, *self._vertices.shape)
        maps = self._torch.cat([rotations, offsets[..., None]], dim=-1).reshape(-1, 16, 12)
        blended = (self._weights @ maps).reshape(-1, len(self._weights), 3, 4)
        return self._mirrored(left, (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3])

    def rotation_from_axis_angle(self, axis_angle: Tensor) -> Tensor:
        """Rotation matrices (..., 3, 3) from axis-angle vectors (..., 3); finite gradients down to zero."""
        torch = self._torch
        angle = torch.linalg.vector_norm(axis_angle, dim=-1)[..., None, None]
        x, y, z = axis_angle.unbind(-1)
        zero = torch.zeros_like(x)
        k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*axis_angle.shape, 3)
        return (
            self._eye + torch.sinc(angle / np.pi) * k + 0.5 * torch.sinc(angle / (2 * np.pi)) ** 2 * (k @ k)
        )

    def _forward(self, betas: Tensor, local: Tensor, translation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """World rotations, joints and skinning offsets of right hands: (B, 16, 3, 3), (B, 16, 3), (B, 16,
        3)."""
        torch, batch = self._torch, len(betas)
        rest = self._joints + (betas @ self._joints_shape).reshape(batch, 16, 3)
        turn = local[:, 1:].reshape(batch, 5, 3, 3, 3)
        chain = rest[:, 1:].reshape(batch, 5, 3, 3)
        bone = torch.diff(chain, dim=2, prepend=rest[:, None, None, 0].expand(batch, 5, 1, 3))
        wrist = rest[:, 0] + translation
        r, p = local[:, None, 0], wrist[:, None]
        rotations, joints = [], []
        for level in range(3):
            p = p + (r @ bone[:, :, level, :, None])[..., 0]
            r = r @ turn[:, :, level]
            rotations.append(r)
            joints.append(p)
        world = torch.cat([local[:, :1], torch.stack(rotations, dim=2).reshape(batch, 15, 3, 3)], dim=1)
        places = torch.cat([wrist[:, None], torch.stack(joints, dim=2).reshape(batch, 15, 3)], dim=1)
        return world, places, places - (world @ rest[..., None])[..., 0]

    def _local_rotations(self, left: Tensor, hand_pose: Tensor, global_orient: Tensor) -> Tensor:
        """(B, 16, 3, 3) of right hands, from vectors or matrices of hands of either side."""
        torch = self._torch
        rotations = torch.cat([global_orient[:, None], hand_pose], dim=1)
        if rotations.ndim == 4:
            return torch.where(left[:, None, None, None], rotations * self._matrix_signs, rotations)
        rotations = torch.where(left[:, None, None], rotations * self._axis_signs, rotations)
        return self.rotation_from_axis_angle(rotations)

    def _pose_feature(self, local: Tensor) -> Tensor:
        return (local[:, 1:] - self._eye).reshape(-1, 135)

    def _mirrored(self, left: Tensor, points: Tensor) -> Tensor:
        mask = left.reshape(-1, *(1,) * (points.ndim - 1))
        return self._torch.where(mask, points * self._point_signs, points)

    def _is_left(self, side: Any, batch: int) -> Tensor:
        torch = self._torch
        sides = torch.as_tensor(side, device=self._eye.device).expand(batch)
        if not ((sides == Side.LEFT) | (sides == Side.RIGHT)).all():
            raise ValueError("every hand needs a side, left or right, before its kinematics can be computed")
        return sides == Side.LEFT
