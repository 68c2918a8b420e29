"""The reconstructor: crops of hands in, coarse and refined hands out (section 4.2, figure 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whim.hands.model import HandModel
from whim.reconstructor.camera import project, translation_from_camera
from whim.reconstructor.config import FastVitConfig, NetworkConfig
from whim.reconstructor.fastvit import FastVit
from whim.reconstructor.hand import RightHand
from whim.reconstructor.refine import Refinement
from whim.reconstructor.rotation import matrix_from_6d
from whim.reconstructor.tokens import HandTokens, Raw
from whim.reconstructor.vit import Vit

# Of RGB in 0..1, as for ViTPose and the released weights.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class HandEstimate:
    """A batch of right hands. Left hands come in mirrored crops; to mirror the result back is the caller's."""

    pose_6d: Tensor
    """(B, 16, 6) the network's numbers for the rotations."""
    rotations: Tensor
    """(B, 16, 3, 3) the rotations, wrist first, MANO order."""
    betas: Tensor
    """(B, 10)."""
    camera: Tensor
    """(B, 3) scale, shift x, shift y (``whim.reconstructor.camera``)."""
    translation: Tensor
    """(B, 3) metres: the hand's origin before the camera of the crop; its depth is relative to the focal length."""
    vertices: Tensor
    """(B, V, 3) metres, without the translation."""
    keypoints: Tensor
    """(B, 21, 3) metres, without the translation, OpenPose order."""
    keypoints_2d: Tensor
    """(B, 21, 2) projected, fractions of the crop from its centre."""

    @property
    def global_orient(self) -> Tensor:
        """(B, 3, 3)."""
        return self.rotations[:, 0]

    @property
    def hand_pose(self) -> Tensor:
        """(B, 15, 3, 3)."""
        return self.rotations[:, 1:]


@dataclass(frozen=True)
class Reconstruction:
    """What the network says about a batch of crops."""

    coarse: HandEstimate
    refined: HandEstimate | None
    """None in a network without refinement."""

    @property
    def final(self) -> HandEstimate:
        """The refined hands where there are any."""
        return self.coarse if self.refined is None else self.refined


class Reconstructor(nn.Module):
    """Backbone with hand tokens, coarse hand, refinement.

    Args:
        config: which network.
        hand: the right hand whose mesh and keypoints it gives. The numbers of pose and shape mean something only
            together with the hand that the network was trained with.

    Raises:
        MissingExtraError: FastViT is asked for and timm is not installed.
    """

    def __init__(self, config: NetworkConfig, hand: HandModel) -> None:
        super().__init__()
        self.config = config
        backbone = config.backbone
        self.tokens = HandTokens(
            backbone.channels, config.pose_tokens, config.mean_camera, places=config.token_places
        )
        self.backbone: Vit | FastVit = (
            FastVit(backbone) if isinstance(backbone, FastVitConfig) else Vit(backbone, config.grid)
        )
        self.refinement = None if config.refinement is None else Refinement(config, self.backbone.shift)
        self.hand = RightHand(hand)

    def forward(self, pictures: Tensor) -> Reconstruction:
        """Hands in crops (B, 3, S, S): square, of right hands, from ``normalise``.

        Raises:
            ValueError: crops of another size.
        """
        side = self.config.crop
        if pictures.shape[1:] != (3, side, side):
            raise ValueError(f"crops must have the shape (B, 3, {side}, {side}), not {tuple(pictures.shape)}")
        margin = (side - self.config.width) // 2
        seen = pictures[..., margin : side - margin]
        tokens, features = self.backbone(seen, self.tokens(len(pictures)))
        raw = self.tokens.read(tokens)
        coarse = self.pose(raw)
        if self.refinement is None:
            return Reconstruction(coarse=coarse, refined=None)
        refined = self.refinement(features, raw, coarse.vertices)
        return Reconstruction(coarse=coarse, refined=self.pose(refined))

    def pose(self, raw: Raw) -> HandEstimate:
        """Mesh, keypoints and projection of hands given as the network's numbers; always in float32."""
        with torch.autocast(raw.pose.device.type, enabled=False):
            return self._pose(raw)

    def _pose(self, raw: Raw) -> HandEstimate:
        pose = raw.pose.reshape(-1, 16, 6)
        rotations = matrix_from_6d(pose)
        vertices, keypoints = self.hand(rotations, raw.betas)
        focal, side = self.config.focal, self.config.crop
        translation = translation_from_camera(raw.camera, focal, side)
        return HandEstimate(
            pose_6d=pose,
            rotations=rotations,
            betas=raw.betas,
            camera=raw.camera,
            translation=translation,
            vertices=vertices,
            keypoints=keypoints,
            keypoints_2d=project(keypoints, translation, focal, side),
        )


def normalise(crops: Tensor) -> Tensor:
    """RGB crops (B, S, S, 3) of uint8 to what the network takes, (B, 3, S, S) float32, on their device."""
    # Channel by channel: a tensor of constants would be a copy to the device, which a CUDA graph cannot hold.
    planes = [(crops[..., c].float() / 255.0 - MEAN[c]) / STD[c] for c in range(3)]
    return torch.stack(planes, dim=1)
