"""The energy of the fit, its gradient and its Gauss-Newton matrix, for a batch of right hands.

    E = sum_i w_i huber(|pi(x_i) - q_i| / sigma)                      keypoints (eq. 2, robust)
      + 1/2 (a - mu)^T C^-1 (a - mu)                                  pose prior (in the place of eq. 4)
      + 1/2 sum_k (excess of angle a_k over its limits / sigma_a)^2   biomechanics (in the place of eq. 3)
      + 1/2 |beta|^2                                                  shape prior

Lengths in the picture are in units of the hand's box, from the principal point. The projection is

    pi(x) = (shift + s (x, y)) / (1 + s z / f)

with x relative to the wrist, s the scale at the wrist and f the focal length: full perspective, which becomes
weak perspective for 1/f = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whim.fitting.state import ANGLES, BETAS, LOG_SCALE, SHIFT, UNKNOWNS, HandState
from whim.hands.kinematics import Posed, fingertips, joint_axes, pose_joints, rotation_from_axis_angle
from whim.hands.model import PARENTS, Floats, HandModel
from whim.hands.pose_prior import GaussianPrior

# Smallest depth of a keypoint as a share of the wrist's: nearer ones would be behind the lens soon.
_MIN_DEPTH = 0.2

_JOINTS = 16
_ANCESTORS = np.zeros(
    (_JOINTS, _JOINTS), dtype=bool
)  # [j, a]: joint a moves joint j's frame (a = j included)
for _joint in range(_JOINTS):
    _above = _joint
    while _above >= 0:
        _ANCESTORS[_joint, _above] = True
        _above = PARENTS[_above]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """What the fit should explain, for B hands."""

    points: Floats
    """(B, 21, 2) keypoints in MANO order (joints, then tips), box units, principal point at the origin."""
    weights: Floats
    """(B, 21) their weights; 0 for missing ones."""
    inverse_focal: Floats
    """(B,) one over the focal length in box units; 0 means weak perspective."""

    def take(self, rows: np.ndarray) -> Observations:
        """Some of the hands."""
        return Observations(
            points=self.points[rows], weights=self.weights[rows], inverse_focal=self.inverse_focal[rows]
        )


class HandEnergy:
    """The energy for one hand model, prior and set of weights."""

    def __init__(
        self, model: HandModel, prior: GaussianPrior, *, sigma: float, huber: float, limit_sigma: float
    ) -> None:
        self.model, self.prior = model, prior
        self._sigma, self._huber, self._limit_sigma = sigma, huber, limit_sigma
        self._axes = joint_axes(model)
        skin = model.tip_skin
        member = np.eye(5)[skin.tip].T  # (5, P)
        # [tip, a, p]: joint a moves part p of the tip. Sums over parts are levers and masses per joint.
        self._tip_parts = member[:, None, :] * _ANCESTORS[skin.joint].T[None]
        self._tip_mass = self._tip_parts @ skin.mass  # (5, 16)
        self._joint_reach = _ANCESTORS & ~np.eye(_JOINTS, dtype=bool)  # a joint does not move itself

    def axis_angles(self, angles: Floats) -> Floats:
        """Axis-angle vectors (B, 15, 3) of anatomical angles (B, 45)."""
        return np.einsum("bjk,jkc->bjc", angles.reshape(-1, 15, 3), self._axes)

    def posed(self, state: HandState) -> Posed:
        """Joints with the wrist at the origin, turned into the camera's axes."""
        fingers = rotation_from_axis_angle(self.axis_angles(state.angles))
        rest = self.model.J_template + np.tensordot(state.betas, self.model.J_shapedirs, axes=(1, 2))
        local = np.concatenate([state.rotation[:, None], fingers], axis=1)
        return pose_joints(local, rest, np.zeros((len(state), 3)))

    def points(self, state: HandState) -> Floats:
        """(B, 21, 3) joints and tips in MANO order, relative to the wrist, metres."""
        posed = self.posed(state)
        return np.concatenate([posed.joints, fingertips(self.model, posed, state.betas)], axis=1)

    def cost(self, state: HandState, seen: Observations) -> Floats:
        """(B,) energy; infinite where a keypoint would come too near to the lens."""
        projected, depth = _project(self.points(state), state, seen)
        distance = np.linalg.norm(projected - seen.points, axis=2) / self._sigma
        inside = distance <= self._huber
        robust = np.where(inside, 0.5 * distance**2, self._huber * (distance - 0.5 * self._huber))
        deviation = state.angles - self.prior.mean
        result = (robust * seen.weights).sum(axis=1)
        result += 0.5 * ((deviation @ self.prior.precision) * deviation).sum(axis=1)
        result += 0.5 * (self._excess(state) ** 2).sum(axis=1)
        result += 0.5 * (state.betas**2).sum(axis=1)
        return np.where((depth > _MIN_DEPTH).all(axis=1), result, np.inf)

    def system(self, state: HandState, seen: Observations) -> tuple[Floats, Floats]:
        """Gradient (B, 61) and Gauss-Newton matrix (B, 61, 61) of the energy.

        The slope of MANO's pose blend shapes at the fingertips (below a tenth of a millimetre per radian of
        most joints) is left out of the gradient; the cost has them.
        """
        points, slopes = self._points_and_slopes(state)
        projected, depth = _project(points, state, seen)
        residual = (projected - seen.points) / self._sigma
        distance = np.linalg.norm(residual, axis=2)
        weight = seen.weights * np.minimum(1.0, self._huber / np.maximum(distance, 1e-12))

        scale = np.exp(state.log_scale)[:, None]
        per_metre = (scale / (depth * self._sigma))[:, :, None]
        closeness = (scale * seen.inverse_focal[:, None] / (depth * self._sigma))[:, :, None]
        root = np.sqrt(weight)[:, :, None]
        jacobian = np.zeros((len(state), 21, 2, UNKNOWNS), dtype=np.float32)
        for axis in range(2):
            row = jacobian[:, :, axis]
            u = projected[:, :, axis, None]
            row[..., :58] = root * per_metre * slopes[:, axis] - root * closeness * u * slopes[:, 2]
            row[..., LOG_SCALE] = root * (
                per_metre * points[..., axis, None] - closeness * u * points[..., 2, None]
            )
            row[..., SHIFT.start + axis] = root[..., 0] / (depth * self._sigma)
        rows = jacobian.reshape(len(state), 42, UNKNOWNS)
        weighted = (root * residual).reshape(len(state), 42, 1).astype(np.float32)
        transposed = rows.transpose(0, 2, 1)
        gradient = (transposed @ weighted)[..., 0].astype(np.float64)
        matrix = (transposed @ rows).astype(np.float64)

        excess = self._excess(state)
        gradient[:, ANGLES] += (state.angles - self.prior.mean) @ self.prior.precision
        gradient[:, ANGLES] += excess / self._limit_sigma
        gradient[:, BETAS] += state.betas
        matrix[:, ANGLES, ANGLES] += self.prior.precision
        diagonal = np.einsum("bii->bi", matrix)
        diagonal[:, ANGLES] += (excess != 0.0) / self._limit_sigma**2
        diagonal[:, BETAS] += 1.0
        return gradient, matrix

    def _excess(self, state: HandState) -> Floats:
        """(B, 45) signed distance of angles from their limits, in standard deviations."""
        low, high = self.prior.limits
        return (state.angles - np.clip(state.angles, low, high)) / self._limit_sigma

    def _points_and_slopes(self, state: HandState) -> tuple[Floats, NDArray[np.float32]]:
        """Points (B, 21, 3) and their slopes (B, 3, 21, 58) by rotation, angles and shape."""
        posed, skin, batch = self.posed(state), self.model.tip_skin, len(state)
        moment = skin.moment + np.tensordot(state.betas, skin.moment_shape, axes=(1, 2))
        if skin.moment_pose is not None:
            moment = moment + np.tensordot(posed.pose_feature, skin.moment_pose, axes=(1, 2))
        turn = posed.rotations[:, skin.joint]
        parts = (turn @ moment[..., None])[..., 0] + skin.mass[:, None] * posed.offsets[:, skin.joint]
        collect = np.eye(5)[:, skin.tip]
        points = np.concatenate([posed.joints, collect @ parts], axis=1)

        # A joint that turns by omega moves what it carries by omega x lever.
        lever = np.zeros((batch, 21, _JOINTS, 3), dtype=np.float32)
        np.subtract(
            posed.joints[:, :, None], posed.joints[:, None], out=lever[:, :_JOINTS],
            where=self._joint_reach[None, :, :, None],
        )  # fmt: skip
        carried = (self._tip_parts.reshape(5 * _JOINTS, -1) @ parts).reshape(batch, 5, _JOINTS, 3)
        lever[:, _JOINTS:] = carried - self._tip_mass[..., None] * posed.joints[:, None]
        omega = np.empty((batch, _JOINTS, 3, 3), dtype=np.float32)  # [a, axis, unknown]
        omega[:, 0] = np.eye(3)
        parents = posed.rotations[:, list(PARENTS[1:])]
        omega[:, 1:] = (
            parents @ _left_jacobian(self.axis_angles(state.angles)) @ np.swapaxes(self._axes, 1, 2)
        )

        slopes = np.empty((batch, 3, 21, 58), dtype=np.float32)
        for axis in range(3):
            after, last = (axis + 1) % 3, (axis + 2) % 3
            moved = omega[:, None, :, after] * lever[..., last, None]
            moved -= omega[:, None, :, last] * lever[..., after, None]
            slopes[:, axis, :, : BETAS.start] = moved.reshape(batch, 21, 48)
        slopes[..., BETAS] = self._shape_slopes(posed).transpose(0, 2, 1, 3)
        return points, slopes

    def _shape_slopes(self, posed: Posed) -> Floats:
        """(B, 21, 3, 10) change of the points per unit of each shape coefficient."""
        model, skin = self.model, self.model.tip_skin
        offsets = model.J_shapedirs[1:] - model.J_shapedirs[list(PARENTS[1:])]
        along = posed.rotations[:, list(PARENTS[1:])] @ offsets
        chain = along.reshape(-1, 5, 3, 3, 10).cumsum(axis=2).reshape(-1, 15, 3, 10)
        joints = np.concatenate([np.zeros_like(chain[:, :1]), chain], axis=1)
        own = skin.moment_shape - skin.mass[:, None, None] * model.J_shapedirs[skin.joint]
        parts = posed.rotations[:, skin.joint] @ own + skin.mass[:, None, None] * joints[:, skin.joint]
        tips = np.eye(5)[:, skin.tip] @ parts.reshape(len(parts), len(skin.tip), 30)
        return np.concatenate([joints, tips.reshape(-1, 5, 3, 10)], axis=1)


def _project(points: Floats, state: HandState, seen: Observations) -> tuple[Floats, Floats]:
    """Projections (B, 21, 2) and depths (B, 21) as shares of the wrist's depth."""
    scale = np.exp(state.log_scale)[:, None]
    depth = 1.0 + scale * points[..., 2] * seen.inverse_focal[:, None]
    flat = state.shift[:, None] + scale[..., None] * points[..., :2]
    return flat / np.where(depth > _MIN_DEPTH, depth, 1.0)[..., None], depth


def _left_jacobian(axis_angle: Floats) -> Floats:
    """(..., 3, 3) maps a change of an axis-angle vector to the turn, seen from outside, that it makes."""
    a = axis_angle
    square = (a * a).sum(axis=-1)[..., None, None]
    angle = np.sqrt(square)
    k = np.zeros((*a.shape, 3))
    k[..., 2, 1], k[..., 0, 2], k[..., 1, 0] = a[..., 0], a[..., 1], a[..., 2]
    k -= np.swapaxes(k, -1, -2)
    small = square < 1e-6
    safe = np.where(small, 1.0, square)
    second = np.where(small, 1.0 / 6.0 - square / 120.0, (1.0 - np.sinc(angle / np.pi)) / safe)
    return np.eye(3) + 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2 * k + second * (k @ k)
