"""A parametric hand as arrays: MANO's tree and conventions, whatever the mesh.

There is one model, the right hand. A left hand is its mirror image (``whim.hands.mirror``), so that no second
model can disagree with the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Parents of MANO's 16 joints: wrist, index 1-3, middle 4-6, little 7-9, ring 10-12, thumb 13-15.
PARENTS: tuple[int, ...] = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)

# The distal joint that carries each fingertip, thumb to little finger.
TIP_PARENTS: tuple[int, ...] = (15, 3, 6, 12, 9)

# What makes one mesh another: vertex numbers, rest shape, shape space, skin and regressors.
_IDENTITY = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "tip_regressor", "faces")


def topology_tag(name: str, arrays: Mapping[str, Any]) -> str:
    """``name`` and the hash of the arrays that give vertex numbers and shape coefficients their meaning."""
    digest = hashlib.sha256()
    for key in _IDENTITY:
        value = arrays.get(key)
        if value is not None:
            little = np.ascontiguousarray(value, dtype="<i8" if key == "faces" else "<f8")
            digest.update(f"{key}{little.shape}".encode())
            digest.update(little.tobytes())
    return f"{name}-{digest.hexdigest()[:12]}"


@dataclass(frozen=True, kw_only=True)
class TipSkin:
    """Skinning of the five fingertip keypoints, summed over their vertices beforehand.

    A fingertip is a weighted mean of skinned vertices. Skinning is linear in the rest vertices, so the sums
    over vertices can be taken once per (tip, joint) pair: exact, and no vertex is needed at run time.
    """

    tip: Ints
    """(P,) fingertip 0-4 of each pair, thumb to little finger."""
    joint: Ints
    """(P,) joint of each pair."""
    mass: Floats
    """(P,) share of the tip that follows the joint; sums to one per tip."""
    moment: Floats
    """(P, 3) mass times mean rest position, metres."""
    moment_shape: Floats
    """(P, 3, 10) its change per unit of each shape coefficient."""
    moment_pose: Floats | None
    """(P, 3, 135) its change with the pose feature, or None."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandModel:
    """A right hand. Canonical frame as MANO_RIGHT: fingers along -x, palm facing -y, thumb towards +z;
    metres."""

    name: str
    """Short name such as ``open-hand`` or ``mano``."""
    topology: str
    """Name and content hash of the mesh; travels into every output, because vertex numbers mean nothing
    without it."""
    v_template: Floats
    """(V, 3) rest vertices, metres."""
    shapedirs: Floats
    """(V, 3, 10) displacement per unit of each shape coefficient."""
    posedirs: Floats | None
    """(V, 3, 135) pose-dependent displacement, or None."""
    weights: Floats
    """(V, 16) skinning weights, rows sum to one."""
    J_regressor: Floats
    """(16, V) rest joints from rest vertices."""
    tip_regressor: Floats
    """(5, V) fingertip keypoints from vertices, thumb to little finger."""
    faces: Ints
    """(F, 3) triangles, open at the wrist."""
    faces_closed: Ints
    """(F', 3) the same with a cap on the wrist."""
    pose_mean: Floats
    """(15, 3) MANO's ``hands_mean``: already added in every ``hand_pose`` of WHIM; kept to convert foreign
    files."""

    @cached_property
    def J_template(self) -> Floats:
        """(16, 3) joints of the mean shape at rest."""
        return self.J_regressor @ self.v_template

    @cached_property
    def J_shapedirs(self) -> Floats:
        """(16, 3, 10) displacement of the joints per unit of each shape coefficient."""
        return np.tensordot(self.J_regressor, self.shapedirs, axes=1)

    @cached_property
    def tip_template(self) -> Floats:
        """(5, 3) fingertip keypoints of the mean shape at rest."""
        return self.tip_regressor @ self.v_template

    @cached_property
    def tip_skin(self) -> TipSkin:
        """What the lean keypoint path needs to know of the mesh."""
        share = self.tip_regressor[:, None, :] * self.weights.T[None]  # (5, 16, V)
        tip, joint = np.nonzero(share.sum(axis=2))
        pairs = share[tip, joint]
        return TipSkin(
            tip=tip.astype(np.int64),
            joint=joint.astype(np.int64),
            mass=pairs.sum(axis=1),
            moment=pairs @ self.v_template,
            moment_shape=np.tensordot(pairs, self.shapedirs, axes=1),
            moment_pose=None if self.posedirs is None else np.tensordot(pairs, self.posedirs, axes=1),
        )
