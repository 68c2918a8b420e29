"""The hand model and its fit on recorded hands: a MANO sequence, and the spread of fits of three data sets.

    python benchmarks/real_hands.py [--data FOLDER] [--most 2000] [--threads 2]

First, a real MANO sequence is put through our kinematics. Then hands are fitted: measured joints of STB and of a
recorded hand, as a virtual camera sees them, and the keypoints that MediaPipe found in finger-spelling. Long
recordings are thinned to ``--most`` hands, evenly.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fit_accuracy import Hands
from scipy.spatial.transform import Rotation

from whim.conventions import MANO_TO_OPENPOSE, OPENPOSE_TO_MANO, Side
from whim.fitting.config import FitConfig
from whim.fitting.fit import fit_hands
from whim.fitting.result import FitResult
from whim.hands.kinematics import keypoints
from whim.hands.model import PARENTS, TIP_PARENTS, HandModel, topology_tag
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import embedded_prior
from whim.metrics.pose import pa_mpjpe

FOCAL, MIDDLE, DISTANCE = 1000.0, 320.0, 0.6
DOUBT = 0.025
"""Residuals above this are flagged as doubtful."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Hands to fit; ``truth`` (N, 21, 3) metres, NaN where nobody measured."""

    keypoints: np.ndarray
    side: np.ndarray
    focal: np.ndarray
    center: np.ndarray
    truth: np.ndarray
    world: np.ndarray | None = None
    """MediaPipe's own guess, as in ``fit_hands``."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with params/, synthetic/"
    )
    parser.add_argument("--most", type=int, default=2000, help="hands of each set, at most")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    config, params = FitConfig(threads=options.threads), options.data / "params"
    print(mano_sequence(params / "dexmv_mano_sequence.npz"), end="\n\n")
    print(HEADER)
    print("|" + "---|" * HEADER.count(" |"))
    for name, hands in {
        "STB, joints projected": projected(params / "stb_train_joints.npz", options.most),
        "dex-retargeting, joints from random views": posed(
            params / "dexret_human_joint_right.npz", options.most
        ),
        "finger-spelling, MediaPipe": spelled(params / "fingerspelling_hands.npz", options.most),
    }.items():
        print(spread(name, hands, config), flush=True)


# --- a MANO sequence -------------------------------------------------------------------------------------------------


def mano_sequence(path: Path) -> str:
    """Error of our kinematics on recorded MANO parameters, without the MANO file.

    MANO's rest joints are linear in the shape coefficients: they are learnt from one half of the frames, and the
    joints of the other half predicted from pose, shape, orientation and translation alone. Tips carry MANO's pose
    blend shapes, which nobody can see here.
    """
    with np.load(path) as file:
        mano, truth, bones = (file[key].astype(np.float64) for key in ("mano", "joints", "transforms"))
    # The file's bones: wrist, then thumb to little finger, as ours are in OpenPose order without the tips.
    ours = [joint for joint in MANO_TO_OPENPOSE if joint < 16]
    turned = np.empty_like(bones[..., :3, :3])
    turned[:, ours] = bones[..., :3, :3]
    parents = [*PARENTS[1:], *TIP_PARENTS]
    places = truth[:, list(OPENPOSE_TO_MANO)]
    steps = np.einsum("bjki,bjk->bji", turned[:, parents], places[:, 1:] - places[:, parents])
    design = np.c_[np.ones(len(mano)), mano[:, 48:58]]
    errors = np.empty(truth.shape[:2])
    for train, test in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        linear = np.linalg.lstsq(design[train], steps[train].reshape(-1, 60), rcond=None)[0]
        rest = np.zeros((11, 21, 3))
        for point, parent in enumerate(parents, start=1):
            rest[:, point] = rest[:, parent] + linear.reshape(11, 20, 3)[:, point - 1]
        pose = mano[test, 3:48].reshape(-1, 15, 3)
        found = keypoints(_bare(rest), mano[test, 48:58], pose, mano[test, :3], mano[test, 58:])
        errors[test] = 1e3 * np.linalg.norm(found - truth[test], axis=2)
    tips = [4, 8, 12, 16, 20]
    joints = np.delete(errors, tips, axis=1)
    return (
        f"MANO sequence (DexMV, {len(mano)} frames): largest error of the 16 joints {joints.max():.3f} mm (mean "
        f"{joints.mean():.4f}), of the 5 tips {errors[:, tips].max():.2f} mm"
    )


def _bare(rest: np.ndarray) -> HandModel:
    """A hand whose 21 vertices are joints and tips; ``rest`` (11, 21, 3) is its mean and shape directions."""
    weights, none = np.eye(16)[[*range(16), *TIP_PARENTS]], np.zeros((0, 3), dtype=np.int64)
    arrays = {"v_template": rest[0], "shapedirs": np.moveaxis(rest[1:], 0, -1), "weights": weights}
    return HandModel(
        name="joints",
        topology=topology_tag("joints", arrays),
        posedirs=None,
        J_regressor=np.eye(21)[:16],
        tip_regressor=np.eye(21)[16:],
        faces=none,
        faces_closed=none,
        pose_mean=np.zeros((15, 3)),
        **arrays,
    )


# --- spread of fits --------------------------------------------------------------------------------------------------


HEADER = (
    "| hands | number (not fitted) | PA-MPJPE mm: mean, p50 / p90 / p99 | residual % of box: p50 / p90 / p99 | above "
    f"{100 * DOUBT:g} % | outside the limits, degrees: p50 / p90 / p99 | > 20 degrees % | converged % | hands/s |"
)


def seen(truth: np.ndarray) -> Recording:
    """Right hands (N, 21, 3) in camera space, metres, as the virtual camera sees them."""
    count = len(truth)
    return Recording(
        keypoints=truth[..., :2] / truth[..., 2:] * FOCAL + MIDDLE,
        side=np.full(count, Side.RIGHT),
        focal=np.full(count, FOCAL),
        center=np.full((count, 2), MIDDLE),
        truth=truth,
    )


def projected(path: Path, most: int) -> Recording:
    """Joints measured in a camera, seen by another one at the same place."""
    with np.load(path) as file:
        return seen(thin(file["joints"].astype(np.float64), most))


def posed(path: Path, most: int) -> Recording:
    """Joints relative to the wrist, seen from the palm or the back, within 50 degrees."""
    with np.load(path) as file:
        joints = thin(file["joints"].astype(np.float64), most)
    rng, count = np.random.default_rng(0), len(joints)
    # The recording's own axes do not matter: fingers up, the back of the hand towards the camera, then turned.
    upright = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]).T
    axes, _ = palm_axes(joints)
    local = np.einsum("nji,nkj->nki", axes, joints - joints[:, :1]) @ upright.T
    flip = rng.choice([0, 180], count)
    angles = [rng.uniform(-120, 120, count), rng.uniform(-50, 50, count), flip + rng.uniform(-50, 50, count)]
    view = Rotation.from_euler("ZXY", np.stack(angles, axis=1), degrees=True)
    turned = np.einsum("nij,nkj->nki", view.as_matrix(), local)
    return seen(turned - turned.mean(axis=1, keepdims=True) + (0.0, 0.0, DISTANCE))


def spelled(path: Path, most: int) -> Recording:
    """Keypoints of MediaPipe in videos of finger-spelling; focal length assumed, nothing measured."""
    with np.load(path) as file:
        landmarks, sizes = file["landmarks"][..., :2].astype(np.float64), file["frame_size"][file["sequence"]]
    frame, hand = np.nonzero(np.abs(landmarks).max(axis=(2, 3)) > 0.0)  # left and right, as Side counts them
    chosen = thin(np.arange(len(frame)), most)
    frame, hand = frame[chosen], hand[chosen]
    size = sizes[frame, :2].astype(np.float64)
    return Recording(
        keypoints=landmarks[frame, hand],
        side=hand,
        focal=np.hypot(*size.T),
        center=size / 2,
        truth=np.full((len(frame), 21, 3), np.nan),
    )


def spread(name: str, hands: Recording, config: FitConfig) -> str:
    """One row of the table."""
    began = time.perf_counter()
    result = fitted(hands, config)
    rate = len(result) / (time.perf_counter() - began)
    good = np.isfinite(result.cost)
    error = 1e3 * pa_mpjpe(result.joints_3d[good], hands.truth[good]) if measured(hands) else None
    violation = np.degrees(result.violation[good])
    cells = [
        name,
        f"{len(good)} ({int((~good).sum())})",
        "" if error is None else f"{error.mean():.2f}, {quantiles(error)}",
        quantiles(100 * result.residual[good]),
        f"{100 * (result.residual[good] > DOUBT).mean():.1f} %",
        quantiles(violation, 1),
        f"{100 * (violation > 20).mean():.1f}",
        f"{100 * result.converged[good].mean():.1f}",
        f"{rate:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def fitted(hands: Recording | Hands, config: FitConfig, points: np.ndarray | None = None) -> FitResult:
    """Fits of the hands, or of other keypoints in their place."""
    return fit_hands(
        hands.keypoints if points is None else points,
        None,
        hands.side,
        hands.focal,
        hands.center,
        load_open_hand(),
        embedded_prior(),
        config,
        world=hands.world,
    )


def measured(hands: Recording | Hands) -> bool:
    """Whether there is truth."""
    return bool(np.isfinite(hands.truth).all())


def quantiles(values: np.ndarray, digits: int = 2) -> str:
    """``p50 / p90 / p99``."""
    return " / ".join(f"{value:.{digits}f}" for value in np.quantile(values, (0.5, 0.9, 0.99)))


def thin(array: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spread."""
    return array[np.unique(np.linspace(0, len(array) - 1, min(most, len(array))).astype(int))]


def palm_axes(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes (N, 3, 3), columns along the palm, out of its back, their product; its length (N,). Right hands."""
    along = joints[:, 9] - joints[:, 0]
    length = np.linalg.norm(along, axis=1)
    along = along / length[:, None]
    out = np.cross(joints[:, 17] - joints[:, 0], joints[:, 5] - joints[:, 0])
    out -= (out * along).sum(axis=1, keepdims=True) * along
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return np.stack([along, out, np.cross(along, out)], axis=2), length


if __name__ == "__main__":
    main()
