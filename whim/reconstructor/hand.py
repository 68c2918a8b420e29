"""The right hand as a module: rotations and shape to mesh and keypoints in one pass.

``whim.hands.layer.HandLayer`` computes the same and is the reference. This one is part of the network: it moves and
compiles with it, knows no sides (the network sees right hands only, so nothing is asked of the GPU on the way, and
CUDA graphs can hold it), and walks the joints once for both results. Its arrays are never saved with the weights,
because the user's MANO must not leave the user's machine.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from whim.conventions import MANO_TO_OPENPOSE
from whim.hands.model import HandModel


class RightHand(nn.Module):
    """Mesh and keypoints of right hands. Holds constants only.

    Args:
        model: the hand; any with MANO's tree.
    """

    joints_template: Tensor
    joints_shape: Tensor
    vertices_template: Tensor
    vertices_shape: Tensor
    vertices_pose: Tensor | None
    weights: Tensor
    tips: Tensor
    order: Tensor
    identity: Tensor

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        self.model = model

        def keep(name: str, array: np.ndarray | None) -> None:
            value = None if array is None else torch.tensor(np.asarray(array), dtype=torch.float32)
            self.register_buffer(name, value, persistent=False)

        def by_coefficient(array: np.ndarray) -> np.ndarray:
            return np.moveaxis(array, -1, 0).reshape(array.shape[-1], -1)

        keep("joints_template", model.J_template)
        keep("joints_shape", by_coefficient(model.J_shapedirs))
        keep("vertices_template", model.v_template)
        keep("vertices_shape", by_coefficient(model.shapedirs))
        keep("vertices_pose", None if model.posedirs is None else by_coefficient(model.posedirs))
        keep("weights", model.weights)
        keep("tips", model.tip_regressor)
        keep("identity", np.eye(3))
        self.register_buffer("order", torch.tensor(MANO_TO_OPENPOSE), persistent=False)

    def forward(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices (B, V, 3) and keypoints (B, 21, 3, OpenPose order), metres, in the hand's own frame.

        Args:
            rotations: (B, 16, 3, 3) local, wrist first, MANO order.
            betas: (B, 10).
        """
        local, batch = rotations, len(betas)
        rest_joints = self.joints_template + (betas @ self.joints_shape).view(batch, 16, 3)
        rotations, joints = _walk(local, rest_joints)
        offsets = joints - (rotations @ rest_joints[..., None])[..., 0]
        rest = self.vertices_template + (betas @ self.vertices_shape).view(batch, -1, 3)
        if self.vertices_pose is not None:
            feature = (local[:, 1:] - self.identity).reshape(batch, 135)
            rest = rest + (feature @ self.vertices_pose).view(batch, -1, 3)
        maps = torch.cat([rotations, offsets[..., None]], dim=-1).reshape(batch, 16, 12)
        blended = (self.weights @ maps).view(batch, -1, 3, 4)
        vertices = (blended[..., :3] * rest[..., None, :]).sum(dim=-1) + blended[..., 3]
        return vertices, torch.cat([joints, self.tips @ vertices], dim=1)[:, self.order]


def _walk(local: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """World rotations (B, 16, 3, 3) and joints (B, 16, 3); all fingers take one step outwards at a time."""
    batch = len(local)
    turn = local[:, 1:].reshape(batch, 5, 3, 3, 3)
    chain = rest[:, 1:].reshape(batch, 5, 3, 3)
    rotation, place, before = local[:, None, 0], rest[:, None, 0], rest[:, None, 0]
    rotations, places = [], []
    for level in range(3):
        place = place + (rotation @ (chain[:, :, level] - before)[..., None])[..., 0]
        rotation = rotation @ turn[:, :, level]
        before = chain[:, :, level]
        rotations.append(rotation)
        places.append(place)
    fingers = torch.stack(rotations, dim=2).reshape(batch, 15, 3, 3)
    ends = torch.stack(places, dim=2).reshape(batch, 15, 3)
    return torch.cat([local[:, :1], fingers], dim=1), torch.cat([rest[:, :1], ends], dim=1)
