"""What is known about a batch of hands, field by field."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Truth:
    """Labels of right hands (left ones mirrored), each with its own validity: 0 not known, 1 known, between: weight.

    What stands in fields that are not valid does not matter; it may be NaN.
    """

    keypoints_2d: Tensor
    """(B, 21, 2) fractions of the crop from its centre (``whim.reconstructor.camera``), OpenPose order."""
    keypoints_2d_valid: Tensor
    """(B, 21)."""
    keypoints_3d: Tensor
    """(B, 21, 3) metres, camera axes, any origin."""
    keypoints_3d_valid: Tensor
    """(B, 21). Without the wrist (0), neither the others nor the vertices can be used."""
    vertices: Tensor
    """(B, V, 3) metres, with the origin of ``keypoints_3d``, of the network's hand model."""
    vertices_valid: Tensor
    """(B,)."""
    rotations: Tensor
    """(B, 16, 3, 3) local, wrist first, MANO order."""
    global_orient_valid: Tensor
    """(B,) of the wrist's rotation."""
    hand_pose_valid: Tensor
    """(B,) of the other fifteen."""
    betas: Tensor
    """(B, 10)."""
    betas_valid: Tensor
    """(B,)."""

    @classmethod
    def unlabelled(cls, batch: int, vertices: int, *, device: Any = "cpu") -> Truth:
        """Hands of which nothing is known: zeros, none valid."""
        shapes: dict[str, tuple[int, ...]] = {
            "keypoints_2d": (21, 2),
            "keypoints_2d_valid": (21,),
            "keypoints_3d": (21, 3),
            "keypoints_3d_valid": (21,),
            "vertices": (vertices, 3),
            "vertices_valid": (),
            "rotations": (16, 3, 3),
            "global_orient_valid": (),
            "hand_pose_valid": (),
            "betas": (10,),
            "betas_valid": (),
        }
        return cls(**{name: torch.zeros(batch, *shape, device=device) for name, shape in shapes.items()})

    def __len__(self) -> int:
        return len(self.betas)

    def to(self, device: Any, *, non_blocking: bool = False) -> Truth:
        """The same on another device."""
        return Truth(
            **{f.name: getattr(self, f.name).to(device, non_blocking=non_blocking) for f in fields(self)}
        )

    def __getitem__(self, chosen: Any) -> Truth:
        """Some of the hands: a slice, or their numbers."""
        return Truth(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})
