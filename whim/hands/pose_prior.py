"""Priors on hand pose: a Gaussian on anatomical angles, and the mesh PCA of the paper (eq. 4).

Anatomical angles are the coordinates of a joint's axis-angle vector along its own axes
(``kinematics.joint_axes``): twist, flexion, abduction, radians; 15 joints in MANO order, 45 numbers.

The embedded prior needs no data set: it comes from a sampler that knows how fingers move (flexed together in
part, the last joint following the middle one, less spread when flexed). Its numbers are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from whim.hands.kinematics import joint_axes, vertices
from whim.hands.model import Floats, HandModel

_FINGER = ("index", "middle", "little", "ring")  # MANO's order of the first twelve joints
_BATCH = 512
_MESH_SAMPLES = 10_000


def anatomical_angles(model: HandModel, hand_pose: ArrayLike) -> Floats:
    """(B, 45) twist, flexion and abduction of each joint, radians, from axis-angle poses (B, 15, 3)."""
    pose = np.asarray(hand_pose, dtype=np.float64)
    return np.einsum("bjc,jkc->bjk", pose, joint_axes(model)).reshape(len(pose), 45)


def pose_from_angles(model: HandModel, angles: ArrayLike) -> Floats:
    """(B, 15, 3) axis-angle poses from anatomical angles (B, 45)."""
    angles = np.asarray(angles, dtype=np.float64)
    return np.einsum("bjk,jkc->bjc", angles.reshape(len(angles), 15, 3), joint_axes(model))


def _limits() -> tuple[Floats, Floats]:
    finger = {
        0: ((-8, 8), (-25, 95), (-18, 18)),
        1: ((-4, 4), (-5, 115), (-4, 4)),
        2: ((-4, 4), (-8, 85), (-4, 4)),
    }
    thumb = {
        0: ((-20, 30), (-25, 45), (-35, 40)),
        1: ((-10, 10), (-15, 60), (-15, 15)),
        2: ((-5, 5), (-20, 85), (-5, 5)),
    }
    table = np.radians([finger[i] for _ in _FINGER for i in range(3)] + [thumb[i] for i in range(3)])
    return table[..., 0].reshape(45), table[..., 1].reshape(45)


ANGLE_LIMITS: tuple[Floats, Floats] = _limits()
"""Lowest and highest anatomical angles (45,) each, radians, from the ranges of motion of healthy hands."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianPrior:
    """A Gaussian on the 45 anatomical angles, with their hard limits."""

    mean: Floats
    """(45,) radians."""
    covariance: Floats
    """(45, 45) square radians."""
    precision: Floats
    """(45, 45) its inverse."""
    limits: tuple[Floats, Floats]
    """Lowest and highest angles, (45,) each, radians."""

    def violation(self, angles: ArrayLike) -> Floats:
        """(B,) how far the worst angle of each pose (B, 45) is outside its limits, radians."""
        a = np.asarray(angles, dtype=np.float64)
        return np.abs(a - np.clip(a, *self.limits)).max(axis=-1)


def fit_gaussian(angles: ArrayLike, *, widen: float = 1.0) -> GaussianPrior:
    """The Gaussian of sampled angles (N, 45), its covariance multiplied by ``widen``.

    Raises:
        ValueError: when the samples do not vary in all directions; then there is no precision.
    """
    a = np.asarray(angles, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] != 45 or len(a) <= 45 or not np.isfinite(a).all():
        raise ValueError(f"a prior needs more than 45 rows of 45 finite angles; got shape {a.shape}")
    covariance = widen * np.cov(a, rowvar=False)
    if np.linalg.cond(covariance) > 1e8:
        raise ValueError("the angles do not vary in all 45 directions: add poses, or a little noise")
    precision = np.linalg.inv(covariance)
    return GaussianPrior(
        mean=a.mean(axis=0),
        covariance=covariance,
        precision=0.5 * (precision + precision.T),
        limits=ANGLE_LIMITS,
    )


def sample_angles(rng: np.random.Generator, count: int) -> Floats:
    """(count, 45) plausible poses as anatomical angles, radians, inside ``ANGLE_LIMITS``.

    Each finger has a curl, partly shared by all. It flexes knuckle and middle joint; the last joint flexes
    0.4 to 0.8 times as much as the middle one; the spread shrinks with the curl. The thumb is independent.
    """
    degrees = np.zeros((count, 15, 3))
    shared = rng.beta(1.2, 1.6, count)
    for finger in range(len(_FINGER)):
        knuckle, middle, last = range(3 * finger, 3 * finger + 3)
        curl = np.clip(shared + rng.normal(0.0, 0.25, count), 0.0, 1.0)
        degrees[:, knuckle, 1] = -10.0 + 95.0 * curl
        degrees[:, knuckle, 2] = rng.normal(0.0, 7.0, count) * (1.0 - 0.7 * curl)
        degrees[:, middle, 1] = 100.0 * np.clip(curl + rng.normal(0.0, 0.2, count), 0.0, 1.0)
        degrees[:, last, 1] = degrees[:, middle, 1] * rng.uniform(0.4, 0.8, count)
    base, middle, last = 12, 13, 14
    degrees[:, base] = rng.normal((0.0, 8.0, 0.0), (6.0, 16.0, 16.0), (count, 3))
    degrees[:, middle, 1] = rng.uniform(-8.0, 45.0, count)
    degrees[:, middle, 2] = rng.normal(0.0, 4.0, count)
    degrees[:, last, 1] = rng.uniform(-8.0, 60.0, count)
    # Joints give a little in the directions they are not made for.
    angles = np.radians(degrees + rng.normal(0.0, 2.0, degrees.shape)).reshape(count, 45)
    return np.clip(angles, *ANGLE_LIMITS)


@lru_cache(maxsize=1)
def embedded_prior() -> GaussianPrior:
    """The prior that needs no data: the sampler's Gaussian, widened since real hands vary more than it."""
    return fit_gaussian(sample_angles(np.random.default_rng(0), 20_000), widen=1.5)


@dataclass(frozen=True, kw_only=True, eq=False)
class MeshPrior:
    """Principal components of posed meshes: the prior of eq. 4."""

    topology: str
    """Topology tag of the mesh; the components mean nothing for another one."""
    mean: Floats
    """(3V,) mean mesh, wrist joint at the origin, no global rotation, metres."""
    components: Floats
    """(d, 3V) orthonormal rows, widest variation first."""
    variances: Floats
    """(d,) square metres."""

    def reconstruct(self, mesh: ArrayLike) -> Floats:
        """(B, V, 3) the nearest meshes inside the subspace, (X - mu) U^T U + mu.

        Eq. 4 is printed as X - [(X - mu) U^T] U + mu, which would add mu to every residual.
        """
        deviation = self._deviation(mesh)
        flat = deviation @ self.components.T @ self.components + self.mean
        return flat.reshape(len(flat), -1, 3)

    def loss(self, mesh: ArrayLike) -> Floats:
        """(B,) length of the residual of eq. 4, metres, for meshes (B, V, 3) aligned as the mean is.

        By Pythagoras no mesh is reconstructed: |Y - Y U^T U|^2 = |Y|^2 - |Y U^T|^2 with Y = X - mu.
        """
        return np.sqrt(np.maximum(outside_square(self._deviation(mesh), self.components.T), 0.0))

    def _deviation(self, mesh: ArrayLike) -> Floats:
        x = np.asarray(mesh, dtype=np.float64)
        return x.reshape(len(x), -1) - self.mean


def outside_square(deviation: Any, basis: Any) -> Any:
    """(B,) square of the part of vectors (B, n) outside the span of orthonormal columns (n, d).

    For numpy arrays and torch tensors alike. Rounding may leave it a little below zero.
    """
    inside = deviation @ basis
    return (deviation * deviation).sum(axis=1) - (inside * inside).sum(axis=1)


def aligned_meshes(model: HandModel, betas: ArrayLike, hand_pose: ArrayLike) -> Floats:
    """(B, V, 3) meshes without global rotation, wrist joint at the origin, as eq. 4 compares them."""
    betas = np.asarray(betas, dtype=np.float64)
    wrist = model.J_template[0] + betas @ model.J_shapedirs[0].T
    return vertices(model, betas, hand_pose, np.zeros((len(betas), 3)), -wrist)


def fit_mesh_prior(model: HandModel, betas: ArrayLike, hand_pose: ArrayLike, components: int) -> MeshPrior:
    """Principal components of the meshes of betas (N, 10) and poses (N, 15, 3).

    The covariance is summed over batches, so memory does not grow with the number of samples.

    Raises:
        ValueError: for more components than samples can give.
    """
    betas, pose = np.asarray(betas, dtype=np.float64), np.asarray(hand_pose, dtype=np.float64)
    size = 3 * len(model.v_template)
    if not 0 < components < min(len(betas), size):
        raise ValueError(f"{len(betas)} samples cannot give {components} components")
    origin = aligned_meshes(model, betas[:1], pose[:1]).reshape(size)  # near the mean: sums stay accurate
    total, product = np.zeros(size), np.zeros((size, size))
    for first in range(0, len(betas), _BATCH):
        rows = slice(first, first + _BATCH)
        deviation = aligned_meshes(model, betas[rows], pose[rows]).reshape(-1, size) - origin
        total += deviation.sum(axis=0)
        product += deviation.T @ deviation
    mean = total / len(betas)
    covariance = product / len(betas) - np.outer(mean, mean)
    # Only the widest are asked for: a partial decomposition is several times faster than the whole.
    from scipy.linalg import eigh

    values, vectors = eigh(covariance, subset_by_index=(size - components, size - 1))
    return MeshPrior(
        topology=model.topology,
        mean=origin + mean,
        components=np.ascontiguousarray(vectors[:, ::-1].T),
        variances=np.maximum(values[::-1], 0.0),
    )


@lru_cache(maxsize=4)
def embedded_mesh_prior(model: HandModel, components: int) -> MeshPrior:
    """The prior of eq. 4 that needs no data: components of the sampler's poses on normally distributed shapes.

    The paper trains it on ARCTIC, whose terms forbid shipping what comes from it; ``fit_mesh_prior`` does so
    with your copy.
    """
    rng = np.random.default_rng(0)
    poses = pose_from_angles(model, sample_angles(rng, _MESH_SAMPLES))
    betas = np.clip(rng.normal(size=(_MESH_SAMPLES, 10)), -2.5, 2.5)
    return fit_mesh_prior(model, betas, poses, components)
