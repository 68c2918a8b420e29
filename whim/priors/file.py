"""The file of a trained prior: arrays and a record of where they come from; no pickles."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whim.errors import BadFileError, UsageError
from whim.files import atomic_path
from whim.hands.model import Floats, HandModel
from whim.hands.pose_prior import ANGLE_LIMITS, GaussianPrior, MeshPrior, anatomical_angles, fit_mesh_prior

FORMAT = "whim prior 1"
COMPONENTS = 45
"""Components in a file; any smaller d of eq. 4 is a slice of them."""
JITTER_RAD = np.radians(1.0)
"""Spread added to every angle: data in which a joint never moves says little about that joint."""

_ARRAYS = ("angle_mean", "angle_covariance", "mesh_mean", "mesh_components", "mesh_variances")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedPrior:
    """Both forms of the prior, learned from the same poses."""

    angle_mean: Floats
    """(45,) radians."""
    angle_covariance: Floats
    """(45, 45)."""
    mesh: MeshPrior
    """Of eq. 4, with COMPONENTS components."""
    record: dict[str, Any]
    """Source, counts, licence note."""

    def gaussian(self) -> GaussianPrior:
        """The Gaussian on anatomical angles, with the usual limits."""
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

    Raises:
        UsageError: fewer hands than the components need.
    """
    if len(hand_pose) <= COMPONENTS:
        raise UsageError(f"{len(hand_pose)} hands are too few for a prior; it takes more than {COMPONENTS}")
    angles = anatomical_angles(model, hand_pose)
    return TrainedPrior(
        angle_mean=angles.mean(axis=0),
        angle_covariance=np.cov(angles, rowvar=False) + JITTER_RAD**2 * np.eye(45),
        mesh=fit_mesh_prior(model, betas, hand_pose, COMPONENTS),
        record={**record, "hands": len(hand_pose), "model": model.name},
    )


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
        )


def load(path: Path, model: HandModel) -> TrainedPrior:
    """Read a file of :func:`save` for a hand model, strictly.

    Raises:
        UsageError: no such file, or it was trained with another hand model.
        BadFileError: it is not a prior, or damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such prior; `whim prior fit` makes one")
    try:
        with np.load(path, allow_pickle=False) as file:
            fields = {key: file[key] for key in file.files}
        if str(fields.get("format")) != FORMAT:
            raise ValueError(f"not in the format {FORMAT!r}")
        arrays = {name: fields[name].astype(np.float64) for name in _ARRAYS}
        topology, record = str(fields["topology"]), json.loads(str(fields["record"]))
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise BadFileError(f"{path} is not a prior of `whim prior fit` ({error})") from error
    if topology != model.topology:
        raise UsageError(
            f"{path} was trained with the hand {topology}, but the fit uses {model.topology}; "
            "train it again with that hand"
        )
    size = 3 * len(model.v_template)
    shapes = {"angle_mean": (45,), "angle_covariance": (45, 45), "mesh_mean": (size,)}
    shapes |= {"mesh_components": (len(arrays["mesh_variances"]), size)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise BadFileError(
                f"{path}: {name} must be finite and of shape {shape}; got {arrays[name].shape}"
            )
    return TrainedPrior(
        angle_mean=arrays["angle_mean"],
        angle_covariance=arrays["angle_covariance"],
        mesh=MeshPrior(
            topology=topology,
            mean=arrays["mesh_mean"],
            components=arrays["mesh_components"],
            variances=arrays["mesh_variances"],
        ),
        record=record,
    )


def explained(prior: TrainedPrior) -> dict[int, float]:
    """Share of the variance within the first d of the file's components."""
    total = prior.mesh.variances.sum()
    return {d: float(prior.mesh.variances[:d].sum() / total) for d in (5, 10, 20, COMPONENTS)}
