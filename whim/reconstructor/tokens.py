"""Pose, shape and camera tokens, and the coarse hand that is read from them (section 4.2).

A token is a learned linear map of a fixed mean ("initialised with the mean of the training set", section 7.2); what
is read from it afterwards is added to that mean.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from whim.reconstructor.rotation import six_from_matrix

POSE, BETAS, CAMERA = 96, 10, 3


class Raw(NamedTuple):
    """A hand as the network's own numbers."""

    pose: Tensor
    """(B, 96) six numbers per rotation, wrist first, MANO order; not orthonormal."""
    betas: Tensor
    """(B, 10)."""
    camera: Tensor
    """(B, 3) scale, shift x, shift y."""


class HandTokens(nn.Module):
    """Tokens in, coarse hand out.

    Args:
        width: channels C of a token.
        pose_tokens: 16, one per rotation with one shared map, or 1 for all 96 numbers.
        mean_camera: scale and shift to begin with.
        places: add a learned vector to each token.
    """

    mean_pose: Tensor
    mean_betas: Tensor
    mean_camera: Tensor

    def __init__(
        self, width: int, pose_tokens: int, mean_camera: tuple[float, float, float], *, places: bool = False
    ) -> None:
        super().__init__()
        self.pose_tokens = pose_tokens
        numbers = POSE // pose_tokens
        # A flat hand, the palm turned half around x: fingers to the left, palm down in the picture.
        pose = torch.eye(3).repeat(16, 1, 1)
        pose[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        self.register_buffer("mean_pose", six_from_matrix(pose).reshape(1, POSE))
        self.register_buffer("mean_betas", torch.zeros(1, BETAS))
        self.register_buffer("mean_camera", torch.tensor([mean_camera], dtype=torch.float32))
        self.pose_in = nn.Linear(numbers, width)
        self.betas_in = nn.Linear(BETAS, width)
        self.camera_in = nn.Linear(CAMERA, width)
        self.pose_out = nn.Linear(width, numbers)
        self.betas_out = nn.Linear(width, BETAS)
        self.camera_out = nn.Linear(width, CAMERA)
        for layer in (self.pose_out, self.betas_out, self.camera_out):
            small(layer)
        self.places = nn.Parameter(torch.empty(1, self.count, width)) if places else None
        if self.places is not None:
            nn.init.trunc_normal_(self.places, std=0.1)  # as large as what tells tokens apart besides

    @property
    def count(self) -> int:
        """Number of tokens."""
        return self.pose_tokens + 2

    def set_means(self, rotations: Tensor, betas: Tensor, camera: Tensor) -> None:
        """Begin with the means of the training set: matrices (16, 3, 3), (10,) and (3,)."""
        self.mean_pose.copy_(six_from_matrix(rotations).reshape(1, POSE))
        self.mean_betas.copy_(betas.reshape(1, BETAS))
        self.mean_camera.copy_(camera.reshape(1, CAMERA))

    def forward(self, batch: int) -> Tensor:
        """Tokens (B, count, C): pose, shape, camera."""
        pose = self.pose_in(self.mean_pose.view(1, self.pose_tokens, -1))
        tokens = torch.cat(
            [pose, self.betas_in(self.mean_betas)[:, None], self.camera_in(self.mean_camera)[:, None]], dim=1
        )
        if self.places is not None:
            tokens = tokens + self.places
        return tokens.expand(batch, -1, -1)

    def read(self, tokens: Tensor) -> Raw:
        """The coarse hand from the tokens (B, count, C) that the backbone returns."""
        # In half precision a head's result would be a tenth of a millimetre off.
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.float()
            return Raw(
                pose=self.mean_pose + self.pose_out(tokens[:, : self.pose_tokens]).flatten(1),
                betas=self.mean_betas + self.betas_out(tokens[:, -2]),
                camera=self.mean_camera + self.camera_out(tokens[:, -1]),
            )


def small(layer: nn.Linear) -> None:
    """Begin near zero: a residual that starts large has to be unlearned first."""
    nn.init.xavier_uniform_(layer.weight, gain=0.01)
    nn.init.zeros_(layer.bias)
