"""The unknowns of the fit and how a step changes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from whim.hands.kinematics import rotation_from_axis_angle
from whim.hands.model import Floats

# Where each group of unknowns lies in a step.
ROTATION, ANGLES, BETAS, LOG_SCALE, SHIFT = (
    slice(0, 3), slice(3, 48), slice(48, 58), slice(58, 59), slice(59, 61),
)  # fmt: skip
UNKNOWNS = 61

# Longest change in one step: linearisation ends about there.
MAX_TURN = 0.6
MAX_LOG_SCALE = 0.5

MAX_BETA = 3.0
"""Shape coefficients are kept inside +-3 standard deviations."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandState:
    """Unknowns of B right hands."""

    rotation: Floats
    """(B, 3, 3) global orientation, hand to camera."""
    angles: Floats
    """(B, 45) anatomical angles of the 15 joints: twist, flexion, abduction of each, radians. They are the
    axis-angle vector of the joint along its anatomical axes."""
    betas: Floats
    """(B, 10) shape coefficients."""
    log_scale: Floats
    """(B,) logarithm of picture units per metre at the wrist, which is focal length over wrist depth."""
    shift: Floats
    """(B, 2) wrist in the picture, relative to the principal point."""

    def __len__(self) -> int:
        return len(self.log_scale)

    def stepped(self, step: Floats) -> HandState:
        """The state after a step (B, 61); the rotation is changed from the left."""
        turn = np.clip(step[:, ROTATION], -MAX_TURN, MAX_TURN)
        return HandState(
            rotation=rotation_from_axis_angle(turn) @ self.rotation,
            angles=self.angles + np.clip(step[:, ANGLES], -MAX_TURN, MAX_TURN),
            betas=np.clip(self.betas + step[:, BETAS], -MAX_BETA, MAX_BETA),
            log_scale=self.log_scale + np.clip(step[:, LOG_SCALE][:, 0], -MAX_LOG_SCALE, MAX_LOG_SCALE),
            shift=self.shift + step[:, SHIFT],
        )

    def take(self, rows: np.ndarray) -> HandState:
        """Some of the hands."""
        return HandState(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def replaced(self, rows: np.ndarray, other: HandState) -> HandState:
        """This state with ``rows`` taken from ``other``, which holds just those."""
        result = {}
        for f in fields(self):
            result[f.name] = getattr(self, f.name).copy()
            result[f.name][rows] = getattr(other, f.name)
        return HandState(**result)


def concatenate(states: Sequence[HandState]) -> HandState:
    """Several batches as one."""
    return HandState(
        **{f.name: np.concatenate([getattr(s, f.name) for s in states]) for f in fields(HandState)}
    )
