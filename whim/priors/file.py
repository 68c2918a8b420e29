"""The file of a trained prior: arrays and a record of where they come from; no pickles."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whim.errors import BadFileError, UsageError
from whim.files import atomic_path
from whim.hands.biomechanics import JointLimits, fit_limits
from whim.hands.model import Floats, HandModel
from whim.hands.pose_prior import (
    ANGLE_LIMITS,
    GaussianPrior,
    MeshPrior,
    aligned_meshes,
    anatomical_angles,
    fit_mesh_prior,
)

FORMAT = "whim prior 2"
COMPONENTS = 45
"""Components in a file; any smaller d of eq. 4 is a slice of them."""
FEWEST_HANDS = 500
"""The limits of eq. 3 leave out the outermost 0.2 % of the hands, so there must be so many."""
JITTER_RAD = np.radians(1.0)
"""Spread added to every angle: data in which a joint never moves says little about that joint."""

_BATCH = 512
_MOST_FOR_LIMITS = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedPrior:
    """The forms of the prior, learned from the same hands."""

    angle_mean: Floats
    """(45,) radians."""
    angle_covariance: Floats
    """(45, 45)."""
    mesh: MeshPrior
    """Of eq. 4, with COMPONENTS components."""
    total_variance: float
    """Mean squared distance of the meshes from their mean, square metres, within the components and outside."""
    limits: JointLimits
    """Of eq. 3, that these hands keep."""
    record: dict[str, Any]
    """Source, counts, licence note."""

    def gaussian(self) -> GaussianPrior:
        """The Gaussian on anatomical angles, with the usual limits: what healthy hands can do is no matter of data."""
        precision = np.linalg.inv(self.angle_covariance)
        return GaussianPrior(
            mean=self.angle_mean,
            covariance=self.angle_covariance,
            precision=0.5 * (precision + precision.T),
            limits=ANGLE_LIMITS,
        )

    def sliced(self, components: int) -> MeshPrior:
        """The mesh prior of d = ``components``.

        Raises:
            UsageError: more than the file has.
        """
        if components > len(self.mesh.components):
            raise UsageError(
                f"this prior has {len(self.mesh.components)} components; paper.components asks for {components}"
            )
        return MeshPrior(
            topology=self.mesh.topology,
            mean=self.mesh.mean,
            components=self.mesh.components[:components],
            variances=self.mesh.variances[:components],
        )


def train(model: HandModel, betas: Floats, hand_pose: Floats, record: dict[str, Any]) -> TrainedPrior:
    """Learn from right hands: betas (N, 10), poses (N, 15, 3).

    Meshes are made and summed in batches: memory grows with N by the parameters alone.

    Raises:
        UsageError: fewer hands than ``FEWEST_HANDS``.
    """
    if len(hand_pose) < FEWEST_HANDS:
        raise UsageError(f"{len(hand_pose)} hands are too few for a prior; it takes at least {FEWEST_HANDS}")
    angles = anatomical_angles(model, hand_pose)
    mesh = fit_mesh_prior(model, betas, hand_pose, COMPONENTS)
    few = slice(None, None, -(-len(hand_pose) // _MOST_FOR_LIMITS))
    return TrainedPrior(
        angle_mean=angles.mean(axis=0),
        angle_covariance=np.cov(angles, rowvar=False) + JITTER_RAD**2 * np.eye(45),
        mesh=mesh,
        total_variance=_spread(model, betas, hand_pose, mesh.mean),
        limits=fit_limits(model, hand_pose[few], betas[few]),
        record={**record, "hands": len(hand_pose), "model": model.name},
    )


def _spread(model: HandModel, betas: Floats, hand_pose: Floats, mean: Floats) -> float:
    """Mean squared distance of the meshes from ``mean``."""
    total = 0.0
    for first in range(0, len(betas), _BATCH):
        rows = slice(first, first + _BATCH)
        deviation = aligned_meshes(model, betas[rows], hand_pose[rows]).reshape(-1, len(mean)) - mean
        total += float((deviation * deviation).sum())
    return total / len(betas)


def explained(prior: TrainedPrior) -> list[tuple[int, float, float]]:
    """For d = 5, 10, 20 and 45: d, the share of the variance within d components, the distance of meshes from
    them (root mean square over hands and vertices), metres."""
    rows = []
    for d in (5, 10, 20, COMPONENTS):
        inside = min(float(prior.mesh.variances[:d].sum()), prior.total_variance)
        outside = (prior.total_variance - inside) / (len(prior.mesh.mean) // 3)
        rows.append((d, inside / prior.total_variance, float(np.sqrt(outside))))
    return rows


def save(path: Path, prior: TrainedPrior) -> None:
    """Write the file, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            format=np.array(FORMAT),
            topology=np.array(prior.mesh.topology),
            record=np.array(json.dumps(prior.record, sort_keys=True)),
            angle_mean=prior.angle_mean,
            angle_covariance=prior.angle_covariance,
            mesh_mean=prior.mesh.mean,
            mesh_components=prior.mesh.components.astype(np.float32),
            mesh_variances=prior.mesh.variances,
            total_variance=np.array(prior.total_variance),
            limit_bones=prior.limits.bones,
            limit_reach=prior.limits.reach,
            limit_curvature=prior.limits.curvature,
            limit_spread=prior.limits.spread,
        )


def load(path: Path, model: HandModel) -> TrainedPrior:
    """Read a file of :func:`save` for a hand model, strictly.

    Raises:
        UsageError: no such file, or it was trained with another hand model.
        BadFileError: it is not a prior, or damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such prior; `whim prior fit` makes one")
    shapes = _shapes(model)
    try:
        with np.load(path, allow_pickle=False) as file:
            texts = {name: str(file[name]) for name in ("format", "topology", "record")}
            if texts["format"] != FORMAT:
                raise ValueError(f"its format is {texts['format'][:40]!r}, not {FORMAT!r}")
            record = dict(json.loads(texts["record"]))
            arrays = {name: file[name].astype(np.float64) for name in shapes}
    except Exception as error:  # of zip, zlib and numpy's headers, down to Python's tokenizer: no common base
        raise BadFileError(f"{path} is not a prior of `whim prior fit` ({error})") from error
    if texts["topology"] != model.topology:
        raise UsageError(
            f"{path} was trained with the hand {texts['topology'][:60]}, but the fit uses {model.topology}; "
            "train it again with that hand"
        )
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise BadFileError(
                f"{path}: {name} must be finite and of shape {shape}; got {arrays[name].shape}"
            )
    _check_numbers(path, arrays)
    return TrainedPrior(
        angle_mean=arrays["angle_mean"],
        angle_covariance=arrays["angle_covariance"],
        mesh=MeshPrior(
            topology=model.topology,
            mean=arrays["mesh_mean"],
            components=arrays["mesh_components"],
            variances=arrays["mesh_variances"],
        ),
        total_variance=float(arrays["total_variance"]),
        limits=JointLimits(
            bones=arrays["limit_bones"],
            reach=arrays["limit_reach"],
            curvature=arrays["limit_curvature"],
            spread=arrays["limit_spread"],
        ),
        record=record,
    )


def _shapes(model: HandModel) -> dict[str, tuple[int, ...]]:
    """Arrays of a file and their shapes."""
    size = 3 * len(model.v_template)
    return {
        "angle_mean": (45,),
        "angle_covariance": (45, 45),
        "mesh_mean": (size,),
        "mesh_components": (COMPONENTS, size),
        "mesh_variances": (COMPONENTS,),
        "total_variance": (),
        "limit_bones": (20, 2),
        "limit_reach": (15, 8),
        "limit_curvature": (4, 2),
        "limit_spread": (4, 2),
    }


def _check_numbers(path: Path, arrays: dict[str, Floats]) -> None:
    """What the fit relies on: a Gaussian that can be inverted, an orthonormal basis, intervals."""
    covariance, basis = arrays["angle_covariance"], arrays["mesh_components"]
    intervals = [arrays[f"limit_{name}"] for name in ("bones", "curvature", "spread")]
    faults = {
        "its covariance is not symmetric and positive": not np.allclose(covariance, covariance.T, atol=1e-9)
        or np.linalg.eigvalsh(covariance).min() <= 0.0,
        "its components are not orthonormal": not np.allclose(basis @ basis.T, np.eye(COMPONENTS), atol=1e-4),
        "its variances are negative": bool((arrays["mesh_variances"] < 0.0).any()),
        "its total variance is not positive": bool(arrays["total_variance"] <= 0.0),
        "its limits are no intervals": any((span[:, 0] > span[:, 1]).any() for span in intervals),
    }
    for fault, found in faults.items():
        if found:
            raise BadFileError(f"{path} is damaged: {fault}")
