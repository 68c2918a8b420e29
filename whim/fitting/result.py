"""What a fit returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whim.hands.model import Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class FitResult:
    """Fitted hands. A hopeless one (too few keypoints, no side, no camera) has NaN everywhere and start -1.

    Parameters are those of the hand's own side, as ``kinematics.keypoints(..., side)`` takes them.
    """

    topology: str
    """Topology tag of the hand model the parameters belong to."""
    side: NDArray[np.int64]
    """(N,) whim.conventions.Side, as given."""
    global_orient: Floats
    """(N, 3) axis-angle, hand to camera."""
    hand_pose: Floats
    """(N, 15, 3) axis-angle, mean pose included."""
    betas: Floats
    """(N, 10) shape coefficients."""
    translation: Floats
    """(N, 3) metres, camera axes (x right, y down, z forward)."""
    joints_3d: Floats
    """(N, 21, 3) keypoints in the camera, metres, OpenPose order."""
    residual: Floats
    """(N,) mean distance in the picture between given and fitted keypoints, in units of the longer side of the
    hand's box. Above 0.025 the hand deserves doubt."""
    violation: Floats
    """(N,) how far the worst joint angle is outside its limits, radians."""
    start: NDArray[np.int64]
    """(N,) which start won; -1 for a hopeless hand."""
    converged: NDArray[np.bool_]
    """(N,) the solver came to rest before its last step."""
    cost: Floats
    """(N,) energy at the end."""

    def __len__(self) -> int:
        return len(self.cost)
