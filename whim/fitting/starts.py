"""Where the solver starts: a few poses and global rotations read off the palm.

Six keypoints of the palm lie nearly in a plane. Seen by scaled orthography, a plane leaves two rotations, each
the other's mirror image in depth (the bas-relief ambiguity). Both are starts, with open and with curled
fingers; a fifth comes from the detector's own guess of the hand in three dimensions, where there is one.
"""

from __future__ import annotations

import numpy as np

from whim.conventions import OPENPOSE_TO_MANO
from whim.fitting.energy import HandEnergy, Observations
from whim.fitting.state import HandState
from whim.geometry.procrustes import align_rotation
from whim.hands.model import Floats
from whim.hands.pose_prior import GaussianPrior

# Wrist, bases of the four fingers and of the thumb, in MANO order.
_PALM = (0, 1, 4, 7, 10, 13)

# Weight of the other keypoints: enough to go on when the palm is hidden, else without effect.
_REST_WEIGHT = 1e-3

_NEAREST = 0.15  # metres from the camera to a wrist, at the start
_SCALES = (1.0, 200.0)  # box sides per metre: hands of 1 m and 5 mm


def starting_states(energy: HandEnergy, seen: Observations, world: Floats | None) -> list[HandState]:
    """Four starts for each of B hands, or five: palm tilted one way or the other, fingers open or curled.

    ``world`` (B, 21, 3) is the detector's 3D guess in OpenPose order, any scale, camera axes; it gives the
    fifth start. Where it is not finite, the first is taken again.
    """
    mean = energy.prior.mean
    rest = energy.points(_state(np.eye(3)[None], mean))[0]
    tilts = _palm_rotations(rest, seen)
    starts = [_state(tilt, mean + change) for change in _curls(energy.prior) for tilt in tilts]
    if world is not None:
        guess = world[:, list(OPENPOSE_TO_MANO)]
        finite = (np.abs(guess) < 1e6).all(axis=(1, 2), keepdims=True)  # NaN compares false
        target = np.where(finite, guess, rest)[:, list(_PALM)]
        turned = align_rotation(np.broadcast_to(rest[list(_PALM)], target.shape), target)
        starts.append(_state(np.where(finite, turned, tilts[0]), mean))
    return [_placed(energy, start, seen) for start in starts]


def _state(rotation: Floats, angles: Floats) -> HandState:
    batch = len(rotation)
    return HandState(
        rotation=rotation,
        angles=np.tile(angles, (batch, 1)),
        betas=np.zeros((batch, 10)),
        log_scale=np.zeros(batch),
        shift=np.zeros((batch, 2)),
    )


def _curls(prior: GaussianPrior) -> tuple[Floats, Floats]:
    """(45,) changes of the mean pose: fingers a standard deviation less flexed, and more; the thumb stays."""
    flexion = np.zeros((15, 3))
    flexion[:12, 1] = np.sqrt(np.diag(prior.covariance)).reshape(15, 3)[:12, 1]
    return -flexion.ravel(), flexion.ravel()


def _palm_rotations(model_points: Floats, seen: Observations) -> tuple[Floats, Floats]:
    """The two rotations (B, 3, 3) that take the plane of the palm to its picture."""
    palm = model_points[list(_PALM)]
    _, _, axes = np.linalg.svd(palm - palm.mean(axis=0))
    axes[2] = np.cross(axes[0], axes[1])
    weights = seen.weights * np.where(np.isin(np.arange(21), _PALM), 1.0, _REST_WEIGHT)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    flat = model_points @ axes[:2].T  # (21, 2)
    p = flat - (weights @ flat)[:, None]
    q = seen.points - (weights[..., None] * seen.points).sum(axis=1, keepdims=True)
    weighted = np.swapaxes(p * weights[..., None], 1, 2)
    spread = weighted @ p + 1e-9 * np.eye(2)
    linear = np.swapaxes(np.linalg.solve(spread, weighted @ q), 1, 2)  # (B, 2, 2): plane -> picture
    scale = np.linalg.norm(linear, ord=2, axis=(1, 2))
    top = linear / np.maximum(scale, 1e-12)[:, None, None]
    # Columns of a rotation have length one and are orthogonal: that gives the third row up to its sign.
    depth = np.sqrt(np.maximum(1.0 - (top**2).sum(axis=1), 0.0))
    depth[:, 1] *= np.where((top[..., 0] * top[..., 1]).sum(axis=1) > 0.0, -1.0, 1.0)
    return _completed(top, depth) @ axes, _completed(top, -depth) @ axes


def _completed(top: Floats, third: Floats) -> Floats:
    """Rotations (B, 3, 3) from their first two columns: rows x, y (B, 2, 2) and row z (B, 2)."""
    columns = np.concatenate([top, third[:, None]], axis=1)
    u, _, vt = np.linalg.svd(columns, full_matrices=False)  # a degenerate picture gives no exact rotation
    first, second = np.moveaxis(u @ vt, 2, 0)
    return np.stack([first, second, np.cross(first, second)], axis=2)


def _placed(energy: HandEnergy, state: HandState, seen: Observations) -> HandState:
    """The state with scale and shift that bring its keypoints closest to the picture."""
    x = energy.points(state)[..., :2]
    weights = seen.weights / np.maximum(seen.weights.sum(axis=1, keepdims=True), 1e-12)
    mean_x = (weights[..., None] * x).sum(axis=1)
    mean_q = (weights[..., None] * seen.points).sum(axis=1)
    centred = (x - mean_x[:, None]) * weights[..., None]
    scale = (centred * (seen.points - mean_q[:, None])).sum(axis=(1, 2))
    scale /= np.maximum((centred * (x - mean_x[:, None])).sum(axis=(1, 2)), 1e-12)
    nearest = 1.0 / (_NEAREST * np.maximum(seen.inverse_focal, 1e-12))
    scale = np.minimum(np.clip(scale, *_SCALES), nearest)
    return HandState(
        rotation=state.rotation,
        angles=state.angles,
        betas=state.betas,
        log_scale=np.log(scale),
        shift=mean_q - scale[:, None] * mean_x,
    )
