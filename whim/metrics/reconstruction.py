"""Errors of reconstructed hands as the FreiHAND and HO-3D challenges compute them (paper tables 3-5).

Joints and vertices are aligned apart from each other, each by the orthogonal matrix that fits best, **reflections
allowed**: a mirrored hand is forgiven. The same numbers after a proper rotation stand beside; where the two differ, a
left hand was taken for a right one somewhere. Points are metres; results are millimetres and shares of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from whim.geometry.procrustes import Floats, align

AUC_LIMIT = 0.05
"""Metres: the curve of correct points runs from 0 to here."""
AUC_STEPS = 100
"""Thresholds on it, both ends included."""
F_THRESHOLDS = (0.005, 0.015)
"""Metres: F@5 and F@15."""
_TINY = 1e-8
"""What the official scripts add to the extent of a point set, so that a collapsed one can be divided by it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OfficialAlignment:
    """Maps x -> (x - source) matrix^T scale + target, one per point set."""

    matrix: Floats
    """(B, 3, 3) orthogonal, determinant +1 or -1."""
    scale: Floats
    """(B,)"""
    source: Floats
    """(B, 3) centre of the points before."""
    target: Floats
    """(B, 3) and after."""

    def apply(self, points: ArrayLike) -> Floats:
        """Points (B, K, 3) after the map."""
        centred = np.asarray(points, dtype=np.float64) - self.source[:, None]
        turned = centred @ np.swapaxes(self.matrix, 1, 2)
        return turned * self.scale[:, None, None] + self.target[:, None]


def official_alignment(predicted: ArrayLike, truth: ArrayLike) -> OfficialAlignment:
    """Similarities, reflections allowed, that bring points (B, K, 3) to the true ones.

    Both sets are centred and divided by their Frobenius norm, turned by the solution of the orthogonal Procrustes
    problem, and scaled by its nuclear norm and the truth's extent. Points that are all one (the challenges' entry for
    "nothing found") end at the centre of the truth.

    Raises:
        ValueError: for sets of different shapes.
    """
    p, t = _pair(predicted, truth)
    centre_p, centre_t = p.mean(axis=1), t.mean(axis=1)
    p, t = p - centre_p[:, None], t - centre_t[:, None]
    extent_p = np.linalg.norm(p, axis=(1, 2)) + _TINY
    extent_t = np.linalg.norm(t, axis=(1, 2)) + _TINY
    unit_p, unit_t = p / extent_p[:, None, None], t / extent_t[:, None, None]
    u, singular, vt = np.linalg.svd(np.swapaxes(unit_t, 1, 2) @ unit_p)
    return OfficialAlignment(
        matrix=u @ vt,
        scale=singular.sum(axis=1) * extent_t / extent_p,
        source=centre_p,
        target=centre_t,
    )


def distances(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """(B, K) distances between points (B, K, 3)."""
    p, t = _pair(predicted, truth)
    return np.asarray(np.linalg.norm(p - t, axis=2))


def official_distances(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """(B, K) distances after the official alignment."""
    return distances(official_alignment(predicted, truth).apply(predicted), truth)


def proper_distances(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """(B, K) distances after the best similarity without reflection."""
    return distances(align(predicted, truth).apply(predicted), truth)


def correct_counts(
    found: ArrayLike, *, limit: float = AUC_LIMIT, steps: int = AUC_STEPS
) -> NDArray[np.int64]:
    """(steps,) how many distances are within each threshold from 0 to ``limit``, ends included."""
    flat = np.sort(np.asarray(found, dtype=np.float64), axis=None)
    return np.asarray(np.searchsorted(flat, np.linspace(0.0, limit, steps), side="right"), dtype=np.int64)


def auc_of_counts(counts: ArrayLike, total: int) -> float:
    """Area under the curve of :func:`correct_counts` by trapezoids, as a share of the largest one; nan without any."""
    if total == 0:
        return float("nan")
    curve = np.asarray(counts, dtype=np.float64) / total
    return float(((curve[1:] + curve[:-1]) / 2).mean())


def f_scores(predicted: ArrayLike, truth: ArrayLike, thresholds: tuple[float, ...] = F_THRESHOLDS) -> Floats:
    """(T,) F-scores of two point clouds (N, 3) and (M, 3).

    The harmonic mean of the share of each cloud that lies nearer than a threshold to the other; 0 when both are 0.
    """
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    to_truth, to_predicted = KDTree(t).query(p)[0], KDTree(p).query(t)[0]
    limits = np.asarray(thresholds)[:, None]
    of_predicted, of_truth = (to_truth < limits).mean(axis=1), (to_predicted < limits).mean(axis=1)
    whole = of_predicted + of_truth
    return np.divide(2 * of_predicted * of_truth, whole, out=np.zeros(len(whole)), where=whole > 0)


@dataclass(frozen=True, kw_only=True)
class HandScores:
    """A row of tables 3-5. Millimetres and shares of 1; None where there is nothing to compute it from."""

    hands: int
    """True hands that count, found or not."""
    missing: int
    """Without a prediction: counted like the challenges' empty entry, a hand shrunk to one point."""
    not_finite: int
    """Predictions with nan or infinity; counted as missing."""
    pa_mpjpe: float | None
    auc_j: float | None
    pa_mpvpe: float | None
    auc_v: float | None
    f5: float | None
    f15: float | None
    proper_pa_mpjpe: float | None
    """PA-MPJPE by a proper rotation."""
    proper_pa_mpvpe: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in vars(self).items()}


class ReconstructionMeter:
    """Sums over hands; holds no hand."""

    def __init__(self) -> None:
        self._hands = self._missing = self._not_finite = 0
        self._joints, self._vertices = _Points(), _Points()
        self._f = np.zeros(len(F_THRESHOLDS))
        self._clouds = 0

    def add(
        self,
        joints: ArrayLike | None,
        true_joints: ArrayLike,
        vertices: ArrayLike | None = None,
        true_vertices: ArrayLike | None = None,
        *,
        same_mesh: bool = True,
    ) -> None:
        """One hand: joints (21, 3) in any one order; vertices (N, 3) and (M, 3). ``joints`` None: nothing found.

        Meshes of different topology (``same_mesh`` False, or N != M) have no vertex error, and their F-scores are
        taken after the alignment of the joints. The official scripts mean to do the same, but leave out the extent of
        the prediction, which shrinks the mesh several times; such numbers would say nothing.

        Raises:
            ValueError: shapes that do not fit; a truth that is not finite.
        """
        truth = np.asarray(true_joints, dtype=np.float64)
        mesh = None if true_vertices is None else np.asarray(true_vertices, dtype=np.float64)
        if not np.isfinite(truth).all() or (mesh is not None and not np.isfinite(mesh).all()):
            raise ValueError("the truth is not finite")
        found = None if joints is None else np.asarray(joints, dtype=np.float64)
        skin = None if vertices is None else np.asarray(vertices, dtype=np.float64)
        self._hands += 1
        if found is not None and not (np.isfinite(found).all() and (skin is None or np.isfinite(skin).all())):
            self._not_finite += 1
            found = None
        if found is None:
            self._missing += 1
            found = np.zeros_like(truth)
            skin = None if mesh is None else np.zeros_like(mesh)
            same_mesh = True
        placed = official_alignment(found[None], truth[None])
        self._joints.add(
            distances(placed.apply(found[None]), truth[None]), proper_distances(found[None], truth[None])
        )
        if mesh is None or skin is None:
            return
        if same_mesh and skin.shape == mesh.shape:
            placed = official_alignment(skin[None], mesh[None])
            self._vertices.add(
                distances(placed.apply(skin[None]), mesh[None]), proper_distances(skin[None], mesh[None])
            )
        self._f += f_scores(placed.apply(skin[None])[0], mesh)
        self._clouds += 1

    def scores(self) -> HandScores:
        """The numbers so far. Vertex numbers only if every hand has both meshes (of the same topology, for errors)."""
        meshes = self._hands > 0 and self._vertices.sets == self._hands
        clouds = self._hands > 0 and self._clouds == self._hands
        f = self._f / self._clouds if clouds else self._f
        return HandScores(
            hands=self._hands,
            missing=self._missing,
            not_finite=self._not_finite,
            pa_mpjpe=self._joints.mean() if self._hands else None,
            auc_j=self._joints.auc() if self._hands else None,
            pa_mpvpe=self._vertices.mean() if meshes else None,
            auc_v=self._vertices.auc() if meshes else None,
            f5=float(f[0]) if clouds else None,
            f15=float(f[1]) if clouds else None,
            proper_pa_mpjpe=self._joints.mean(proper=True) if self._hands else None,
            proper_pa_mpvpe=self._vertices.mean(proper=True) if meshes else None,
        )


class _Points:
    """Distances of one kind, summed up."""

    def __init__(self) -> None:
        self.sets = 0
        self._count = 0
        self._sums = np.zeros(2)
        self._within = np.zeros(AUC_STEPS, dtype=np.int64)

    def add(self, official: Floats, proper: Floats) -> None:
        self.sets += len(official)
        self._count += official.size
        self._sums += official.sum(), proper.sum()
        self._within += correct_counts(official)

    def mean(self, *, proper: bool = False) -> float:
        """Millimetres. All hands have the same number of points, so this is the scripts' mean of means too."""
        return 1e3 * float(self._sums[int(proper)]) / self._count

    def auc(self) -> float:
        return auc_of_counts(self._within, self._count)


def _pair(predicted: ArrayLike, truth: ArrayLike) -> tuple[Floats, Floats]:
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.shape != t.shape or p.ndim != 3 or p.shape[2] != 3:
        raise ValueError(f"expected two arrays of the same shape (B, K, 3); got {p.shape} and {t.shape}")
    return p, t
