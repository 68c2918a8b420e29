"""Eq. 8 as a mean over hands. ``reference.py`` holds the same as loops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from whim.reconstructor.config import LossConfig
from whim.reconstructor.losses.discriminator import Discriminator
from whim.reconstructor.losses.truth import Truth
from whim.reconstructor.network import HandEstimate, Reconstruction
from whim.reconstructor.rotation import six_from_matrix


class Objective:
    """Losses of the reconstructor and of its discriminator.

    Every term is divided by the batch size, not by the number of labelled hands: so the loss of a batch is the mean
    of the losses of its parts, whatever is known of the hands in each, and accumulating gradients or sharing a
    batch among processes does not change the objective.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __call__(self, result: Reconstruction, truth: Truth) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss without the adversarial part (scalar), and its weighted terms by stage and name."""
        terms: dict[str, Tensor] = {}
        stages = {
            "coarse": (result.coarse, self.config.coarse),
            "refined": (result.refined, self.config.refined),
        }
        if result.refined is None:  # then the coarse hand is the result
            stages = {"coarse": (result.coarse, self.config.refined)}
        for stage, (estimate, weight) in stages.items():
            if estimate is not None and weight > 0:
                for name, value in self.supervised(estimate, truth).items():
                    terms[f"{stage}/{name}"] = weight * value
        return torch.stack(list(terms.values())).sum(), terms

    def supervised(self, estimate: HandEstimate, truth: Truth) -> dict[str, Tensor]:
        """Weighted terms of one stage (scalars)."""
        c = self.config
        terms = {
            "keypoints_2d": c.keypoints_2d
            * _l1(estimate.keypoints_2d, truth.keypoints_2d, truth.keypoints_2d_valid).mean()
        }
        terms.update(self._three_d(estimate, truth))
        rotations, wanted = estimate.rotations, truth.rotations
        if c.pose_space == "6d":
            rotations, wanted = estimate.pose_6d, six_from_matrix(truth.rotations)
        pose = _squares(rotations[:, 1:], wanted[:, 1:], truth.hand_pose_valid)
        orient = _squares(rotations[:, :1], wanted[:, :1], truth.global_orient_valid)
        terms["hand_pose"] = c.hand_pose * pose.mean()
        terms["global_orient"] = c.global_orient * orient.mean()
        known = truth.betas_valid
        shape = _squares(estimate.betas, truth.betas, known)
        if c.missing_betas_are_zero:
            shape = shape + _squares(estimate.betas, torch.zeros_like(estimate.betas), 1.0 - known.float())
        terms["betas"] = c.betas * shape.mean()
        return terms

    def adversarial(self, discriminator: Discriminator, estimate: HandEstimate) -> Tensor:
        """How far the hands are from fooling the discriminator (weighted scalar).

        Gradients reach the hands, never the discriminator.
        """
        fixed = {name: value.detach() for name, value in discriminator.named_parameters()}
        judged = functional_call(discriminator, fixed, (estimate.hand_pose, estimate.betas)).float()
        squares = (judged - 1.0).square().sum(dim=1)
        if self.config.adversarial_form == "norm":
            squares = (squares + 1e-12).sqrt()  # a root has no gradient at zero
        return self.config.adversarial * squares.mean()

    def discriminator(
        self, discriminator: Discriminator, estimate: HandEstimate, real_pose: Tensor, real_betas: Tensor
    ) -> Tensor:
        """Loss of the discriminator (weighted scalar); gradients reach it alone.

        Args:
            discriminator: to train.
            estimate: made hands.
            real_pose: (M, 15, 3, 3) rotations of real hands, as many as one likes.
            real_betas: (M, 10).
        """
        made = discriminator(estimate.hand_pose.detach(), estimate.betas.detach()).float()
        real = discriminator(real_pose, real_betas).float()
        loss = made.square().sum(dim=1).mean()
        loss = loss + self.config.real_hands_count * (real - 1.0).square().sum(dim=1).mean()
        return self.config.discriminator * loss

    def _three_d(self, estimate: HandEstimate, truth: Truth) -> dict[str, Tensor]:
        """Terms of vertices and keypoints relative to the wrist."""
        c = self.config
        wrist = _known(truth.keypoints_3d, truth.keypoints_3d_valid)[:, :1]
        rooted = (truth.keypoints_3d_valid[:, 0] > 0).float()
        vertices_valid = truth.vertices_valid.float() * rooted
        keypoints_valid = truth.keypoints_3d_valid.float() * rooted[:, None]
        count = estimate.vertices.shape[1]
        vertices = _l1(
            estimate.vertices - estimate.keypoints[:, :1],
            truth.vertices - wrist,
            vertices_valid[:, None].expand(-1, count),
        )
        if c.vertices_count_as is not None:
            vertices = vertices * (c.vertices_count_as / count)
        keypoints = _l1(
            estimate.keypoints - estimate.keypoints[:, :1], truth.keypoints_3d - wrist, keypoints_valid
        )
        terms = {"vertices": c.vertices * vertices.mean(), "keypoints_3d": c.keypoints_3d * keypoints.mean()}
        if c.keypoints_for_vertices:
            alone = torch.where(vertices_valid > 0, 0.0, 1.0)
            terms["keypoints_3d"] = terms["keypoints_3d"] + c.vertices * (alone * keypoints).mean()
        return terms


def _known(values: Tensor, valid: Tensor) -> Tensor:
    """Zeros where nothing is known: NaN times zero would still be NaN, in the value and in the gradient."""
    mask = (valid > 0).reshape(*valid.shape, *(1,) * (values.ndim - valid.ndim))
    return torch.where(mask, values, 0.0)


def _l1(points: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """(B,) sum over points (B, N, D) of weight (B, N) times the sum of absolute differences."""
    return ((points - _known(wanted, valid)).abs().sum(dim=-1) * valid).sum(dim=-1)


def _squares(values: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """(B,) weight (B,) times the sum of squared differences of (B, ...)."""
    return (values - _known(wanted, valid)).square().flatten(1).sum(dim=1) * valid
