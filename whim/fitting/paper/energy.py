"""The energy of eqs. 2-4 in torch, for a batch of right hands: the paper's losses and nothing in their place.

    E = l_proj 1/21 sum_i w_i |pi(x_i) - q_i|_1                            eq. 2
      + l_BMC (L_BL + L_A)                                                 eq. 3
      + l_prior |X - ((X - mu) U^T U + mu)|_2 / (palm sqrt(V))             eq. 4
      + l_shape |beta|^2                                                   not in the paper

with the weights l of ``PaperConfig``. Two slips of the print are mended: eq. 2 projects the model's joints (not
the detected ones), and eq. 4 adds mu inside the bracket. Picture lengths and projection are those of
``whim.fitting.energy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whim.conventions import MANO_TO_OPENPOSE
from whim.errors import UsageError
from whim.fitting.config import PaperConfig
from whim.fitting.energy import Observations
from whim.fitting.paper.partial import partial_hand
from whim.fitting.state import HandState
from whim.hands.biomechanics import JointLimits, biomechanical_loss, embedded_limits
from whim.hands.kinematics import joint_axes
from whim.hands.layer import HandLayer
from whim.hands.model import HandModel
from whim.hands.pose_prior import MeshPrior, embedded_mesh_prior, outside_square

# Smallest depth of a keypoint as a share of the wrist's, as in ``whim.fitting.energy``.
_MIN_DEPTH = 0.2

# Square metres under the root of eq. 4, whose slope at 0 is infinite.
_EPS = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Unknowns:
    """``HandState`` as tensors: what Adam changes, and the rotation that ``turn`` starts from."""

    base: Tensor
    """(B, 3, 3) global orientation of the start."""
    turn: Tensor
    """(B, 3) axis-angle vector of a rotation after ``base``."""
    angles: Tensor
    """(B, 45) anatomical angles, radians."""
    betas: Tensor
    """(B, 10)"""
    log_scale: Tensor
    """(B,) logarithm of picture units per metre at the wrist."""
    shift: Tensor
    """(B, 2) wrist in the picture, from the principal point."""

    def free(self) -> list[Tensor]:
        """The tensors to change, everything but ``base``."""
        return [getattr(self, f.name) for f in fields(self) if f.name != "base"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """``Observations`` as tensors, in OpenPose order."""

    points: Tensor
    """(B, 21, 2)"""
    weights: Tensor
    """(B, 21)"""
    inverse_focal: Tensor
    """(B,)"""


class PaperEnergy:
    """The energy for one hand model and set of weights.

    Args:
        model: the right hand.
        config: weights and switches.
        limits: of eq. 3; those of the anatomical sampler unless given.
        mesh_prior: of eq. 4, for the mesh of ``mesh_of(model, config)``; that of the sampler unless given. Its
            first ``config.components`` components are used.
        dtype: ``torch.float32`` unless given.

    Raises:
        UsageError: for a mesh prior of another mesh, or with fewer components.
    """

    def __init__(
        self,
        model: HandModel,
        config: PaperConfig,
        *,
        limits: JointLimits | None = None,
        mesh_prior: MeshPrior | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.dtype = config, dtype
        self.layer = HandLayer(model, dtype=dtype)
        self._axes = self._constant(joint_axes(model))
        self._wrist, self._wrist_shape = (
            self._constant(model.J_template[0]),
            self._constant(model.J_shapedirs[0].T),
        )
        if config.biomechanics > 0.0:
            self.limits = limits or embedded_limits(model)
        if config.mesh_prior > 0.0:
            self._use(mesh_of(model, config), mesh_prior)

    def terms(self, unknowns: Unknowns, target: Target) -> tuple[Mapping[str, Tensor], Tensor]:
        """Losses of eqs. 2-4, (B,) each and without their weights, by field of ``PaperConfig``; those of weight 0
        are left out. And (B,) bool: every keypoint is well in front of the camera. (The projection treats nearer
        ones as if they were just there.)
        """
        config, layer = self.config, self.layer
        local = layer.rotation_from_axis_angle(self.axis_angles(unknowns.angles))
        wrist = self._wrist + unknowns.betas @ self._wrist_shape
        rotation = layer.rotation_from_axis_angle(unknowns.turn) @ unknowns.base
        points = layer.keypoints(unknowns.betas, local, rotation, -wrist)
        scale = unknowns.log_scale.exp()[:, None]
        depth = 1.0 + scale * target.inverse_focal[:, None] * points[..., 2]
        result = {}
        if config.projection > 0.0:
            flat = unknowns.shift[:, None] + scale[..., None] * points[..., :2]
            apart = (flat / depth.clip(_MIN_DEPTH)[..., None] - target.points).abs().sum(dim=2)
            result["projection"] = (apart * target.weights).mean(dim=1)
        if config.biomechanics > 0.0:
            result["biomechanics"] = biomechanical_loss(points, self.limits, root_bones=config.root_bones)
        if config.mesh_prior > 0.0:
            upright = torch.eye(3, dtype=self.dtype).expand(len(points), 3, 3)
            mesh = self._mesh.vertices(unknowns.betas, local, upright, -wrist)
            square = outside_square(mesh.flatten(1) - self._mean, self._basis)
            result["mesh_prior"] = (square.clip(0.0) + _EPS).sqrt() / self._mesh_unit
        if config.shape > 0.0:
            result["shape"] = (unknowns.betas**2).sum(dim=1)
        return result, (depth.detach() > _MIN_DEPTH).all(dim=1)

    def __call__(self, unknowns: Unknowns, target: Target) -> tuple[Tensor, Tensor]:
        """The energy (B,), and which hands (B,) are well in front of the camera."""
        terms, visible = self.terms(unknowns, target)
        total = torch.zeros(len(unknowns.betas), dtype=self.dtype)
        for name, loss in terms.items():
            total = total + getattr(self.config, name) * loss
        return total, visible

    def axis_angles(self, angles: Tensor) -> Tensor:
        """(B, 15, 3) axis-angle vectors of anatomical angles (B, 45)."""
        return (angles.reshape(-1, 15, 1, 3) @ self._axes)[:, :, 0]

    def unknowns(self, state: HandState) -> Unknowns:
        """The state as tensors that want gradients."""
        values = {
            "base": state.rotation,
            "turn": np.zeros((len(state), 3)),
            "angles": state.angles,
            "betas": state.betas,
            "log_scale": state.log_scale,
            "shift": state.shift,
        }
        result = Unknowns(**{name: self._constant(value) for name, value in values.items()})
        for tensor in result.free():
            tensor.requires_grad_()
        return result

    def state(self, unknowns: Unknowns) -> HandState:
        """And back."""
        with torch.no_grad():
            rotation = self.layer.rotation_from_axis_angle(unknowns.turn.double()) @ unknowns.base.double()

        def array(tensor: Tensor) -> np.ndarray:
            return tensor.detach().double().numpy()

        return HandState(
            rotation=array(rotation),
            angles=array(unknowns.angles),
            betas=array(unknowns.betas),
            log_scale=array(unknowns.log_scale),
            shift=array(unknowns.shift),
        )

    def target(self, seen: Observations) -> Target:
        """Observations as tensors."""
        order = list(MANO_TO_OPENPOSE)
        focal = 0.0 if self.config.weak_perspective else 1.0
        return Target(
            points=self._constant(seen.points[:, order]),
            weights=self._constant(seen.weights[:, order]),
            inverse_focal=self._constant(seen.inverse_focal * focal),
        )

    def _use(self, mesh: HandModel, given: MeshPrior | None) -> None:
        """Take ``given``, or the embedded prior, for eq. 4."""
        d = self.config.components
        prior = embedded_mesh_prior(mesh, d) if given is None else given
        if prior.topology != mesh.topology:
            advice = "" if self.config.vertices is None else "; set fit.paper.vertices to null"
            raise UsageError(
                f"the mesh prior is one of {prior.topology}, the mesh is {mesh.topology}{advice}"
            )
        if len(prior.components) < d:
            raise UsageError(f"the mesh prior has {len(prior.components)} components; {d} are asked for")
        self._mesh = HandLayer(mesh, dtype=self.dtype)
        self._mean, self._basis = self._constant(prior.mean), self._constant(prior.components[:d].T)
        palm = np.linalg.norm(mesh.J_template[4] - mesh.J_template[0])
        self._mesh_unit = float(palm * np.sqrt(len(mesh.v_template)))

    def _constant(self, array: Any) -> Tensor:
        return torch.tensor(np.asarray(array), dtype=self.dtype)


def mesh_of(model: HandModel, config: PaperConfig) -> HandModel:
    """The hand whose vertices eq. 4 looks at: ``model``, or some of its vertices."""
    return model if config.vertices is None else partial_hand(model, config.vertices)
