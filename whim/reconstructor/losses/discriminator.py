"""Tells poses and shapes of real hands from made ones ([35, 63], section 4.2). Sizes as released."""

from __future__ import annotations

import torch
from torch import Tensor, nn

JOINTS = 15


class Discriminator(nn.Module):
    """17 judgements per hand: each finger joint, the shape, all joints together. The wrist's rotation is free."""

    def __init__(self, channels: int = 32, hidden: int = 1024) -> None:
        super().__init__()
        self.rotation = nn.Sequential(
            nn.Linear(9, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU()
        )
        self.joint_weight = nn.Parameter(torch.empty(JOINTS, channels))
        self.joint_bias = nn.Parameter(torch.zeros(JOINTS))
        self.shape = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1))
        self.together = nn.Sequential(
            nn.Linear(JOINTS * channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        # As fifteen layers of one output each.
        bound = (6.0 / (channels + 1)) ** 0.5
        nn.init.uniform_(self.joint_weight, -bound, bound)

    def forward(self, hand_pose: Tensor, betas: Tensor) -> Tensor:
        """Judgements (B, 17), 1 real, 0 made, of rotations (B, 15, 3, 3) and shapes (B, 10)."""
        features = self.rotation(hand_pose.flatten(2))
        joints = (features * self.joint_weight).sum(dim=-1) + self.joint_bias
        return torch.cat([joints, self.shape(betas), self.together(features.flatten(1))], dim=1)
