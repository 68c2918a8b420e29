"""Mean pose, shape and camera of the training sets: where the network's tokens begin (section 7.2).

The pose must not be the same for all joints. Its tokens have no place of their own, so that two fingers with the same
mean would be the same to the network for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.hands.kinematics import keypoints
from whim.hands.mirror import mirror_points, mirror_pose
from whim.hands.model import HandModel
from whim.hands.pose_prior import embedded_prior, pose_from_angles
from whim.metrics.pose import pa_mpjpe
from whim.reconstructor.crops import Crops
from whim.reconstructor.data.labels import HandLabels

_MOST = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Means:
    """What the tokens begin with."""

    rotations: NDArray[np.float32]
    """(16, 3, 3) local, wrist first, of right hands."""
    betas: NDArray[np.float32]
    """(10,)."""
    camera: NDArray[np.float32]
    """(3,) scale and shift (``whim.reconstructor.camera``)."""


def mean_hand(sets: Sequence[HandLabels], weights: Sequence[float], model: HandModel) -> Means:
    """Means over sets of right and mirrored left hands, each hand counted with the weight of its set.

    Where no hand has what it takes: the mean of the embedded pose prior, zero shape, the scale 4 of the released
    network.
    """
    parts = [_thinned(one) for one in sets]
    share = np.concatenate(
        [np.full(len(p), w * len(s) / len(p)) for p, s, w in zip(parts, sets, weights, strict=True)]
    )
    hands = HandLabels.join(parts)
    left = hands.side == Side.LEFT
    pose = np.concatenate([hands.global_orient[:, None], hands.hand_pose], axis=1).astype(np.float64)
    pose[left] = mirror_pose(pose[left])
    known = np.isfinite(pose).all(axis=(1, 2))
    if known.any():
        matrices = Rotation.from_rotvec(pose[known].reshape(-1, 3)).as_matrix().reshape(-1, 16, 3, 3)
        rotations = np.stack(
            [Rotation.from_matrix(matrices[:, j]).mean(share[known]).as_matrix() for j in range(16)]
        )
    else:
        fingers = pose_from_angles(model, embedded_prior().mean[None])[0]
        wrist = np.diag([1.0, -1.0, -1.0])[None]
        rotations = np.concatenate([wrist, Rotation.from_rotvec(fingers).as_matrix()])
    shaped = np.isfinite(hands.betas).all(axis=1)
    betas = np.average(hands.betas[shaped], axis=0, weights=share[shaped]) if shaped.any() else np.zeros(10)
    return Means(
        rotations=rotations.astype(np.float32),
        betas=betas.astype(np.float32),
        camera=_mean_camera(hands, left, share).astype(np.float32),
    )


def guessing_error(means: Means, sets: Sequence[HandLabels], model: HandModel) -> float:
    """Mean PA-MPJPE, metres, of guessing the mean hand for every hand in space; NaN without any.

    A network that is not better has learned nothing about fingers.
    """
    hands = HandLabels.join([_thinned(one) for one in sets])
    truth = hands.joints_3d.astype(np.float64)
    bare = np.isnan(truth).any(axis=(1, 2))  # then the joints follow from the parameters, where there are any
    known = bare & np.isfinite(hands.hand_pose).all(axis=(1, 2)) & np.isfinite(hands.betas).all(axis=1)
    if known.any():
        part = hands[known]
        truth[known] = keypoints(
            model, part.betas, part.hand_pose, part.global_orient, np.zeros((len(part), 3)), part.side
        )
    in_space = np.isfinite(truth).all(axis=(1, 2))
    if not in_space.any():
        return float("nan")
    left = hands.side == Side.LEFT
    truth[left] = mirror_points(truth[left])
    pose = Rotation.from_matrix(means.rotations).as_rotvec()[None]
    mean = keypoints(model, means.betas[None], pose[:, 1:], pose[:, 0], np.zeros((1, 3)))
    return float(pa_mpjpe(np.repeat(mean, in_space.sum(), axis=0), truth[in_space]).mean())


def cameras(hands: HandLabels) -> NDArray[np.float64]:
    """(N, 3) scale and shift that put the joints of each hand best on its keypoints in its plain crop; NaN where
    either is not known. Left hands are mirrored."""
    crops = Crops.around(hands.box, hands.side)
    flip = np.where(hands.side == Side.LEFT, -1.0, 1.0)[:, None, None]
    seen = (hands.keypoints_2d - crops.centers[:, None]) / crops.sides[:, None, None]
    seen = seen * np.concatenate([flip, np.ones_like(flip)], axis=-1)
    own = (hands.joints_3d - hands.translation[:, None]).astype(np.float64)
    own = np.where(flip < 0, mirror_points(own), own)[..., :2]
    middle_seen, middle_own = seen.mean(axis=1, keepdims=True), own.mean(axis=1, keepdims=True)
    spread = ((own - middle_own) ** 2).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        half = ((seen - middle_seen) * (own - middle_own)).sum(axis=(1, 2)) / spread  # crops per metre
        shift = middle_seen[:, 0] / half[:, None] - middle_own[:, 0]
    return np.concatenate([2.0 * half[:, None], shift], axis=1)


def _mean_camera(
    hands: HandLabels, left: NDArray[np.bool_], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    values = cameras(hands)
    good = np.isfinite(values).all(axis=1) & (values[:, 0] > 0.5)  # seen end on, a hand tells no scale
    if not good.any():
        return np.array([4.0, 0.0, 0.0])
    return np.average(values[good], axis=0, weights=share[good])


def _thinned(hands: HandLabels) -> HandLabels:
    """At most some thousand hands, evenly spread: a mean needs no more."""
    rows = np.linspace(0, len(hands) - 1, min(len(hands), _MOST)).round().astype(np.int64)
    return hands[rows]
