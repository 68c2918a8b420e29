"""Error of the hand fit against exact truth, beside MediaPipe's own 3D guess on the same hands.

    python benchmarks/fit_accuracy.py [--data FOLDER] [--threads 2] [--count 1000] [--ablation [--every 3]]

Without ``--data`` only projections of random hands are fitted. With it, MediaPipe finds the hands of two
rendered clips (one follows another rig than the fitted model) and of real photographs with measured joints.
The true side and camera are given; the hands it misses are counted. Measured joints of two more data sets are
projected, which shows what other definitions of the joints cost.

With ``--ablation``, the solvers and the terms of their energies are compared instead (needs torch), on one in
``--every`` of the hands: the first-order solver is slow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.fitting.config import FitConfig, PaperConfig
from whim.fitting.fit import fit_hands
from whim.hands.biomechanics import embedded_limits, joint_angle_excess
from whim.hands.kinematics import keypoints
from whim.hands.mirror import mirror_points, mirror_pose
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import embedded_prior, pose_from_angles, sample_angles
from whim.metrics.pose import mpjpe, pa_mpjpe, root_relative_mpjpe

SIDE_PIXELS, FOCAL = 640.0, 1000.0
MATCH = 0.25
"""A detection belongs to a true hand when their keypoints are so near on average, in units of the box."""


@dataclass(frozen=True, kw_only=True)
class Hands:
    """Keypoints to fit, with the truth."""

    keypoints: np.ndarray
    side: np.ndarray
    focal: np.ndarray
    center: np.ndarray
    truth: np.ndarray
    world: np.ndarray | None
    labels: np.ndarray
    missed: int

    def take(self, every: int) -> Hands:
        """One in ``every`` of them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Hands(**{k: v[::every] if isinstance(v, np.ndarray) else v for k, v in values.items()})


def random_hands(rng: np.random.Generator, count: int, noise: float) -> Hands:
    """Projections of random hands, seen from the palm or the back, with Gaussian noise in units of the box."""
    model = load_open_hand()
    upright = Rotation.from_matrix([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # fingers up, the palm seen

    def turn(axis: str, degrees: np.ndarray) -> Rotation:
        return Rotation.from_euler(axis, degrees[:, None], degrees=True)

    view = (
        turn("z", rng.uniform(-120, 120, count))
        * turn("x", rng.uniform(-55, 55, count))
        * turn("y", rng.choice([0, 180], count) + rng.uniform(-55, 55, count))
        * upright
    )
    betas = np.clip(rng.normal(size=(count, 10)), -2, 2)
    pose = pose_from_angles(model, sample_angles(rng, count))
    side = rng.integers(0, 2, count)
    pose = np.where((side == Side.LEFT)[:, None, None], mirror_pose(pose), pose)
    truth = keypoints(model, betas, pose, view.as_rotvec(), np.zeros((count, 3)), side)
    size = rng.uniform(150, 260, count)
    depth = FOCAL * 0.19 / size
    room = (SIDE_PIXELS / 2 - 0.8 * size) * depth / FOCAL
    place = np.stack([*rng.uniform(-1, 1, (2, count)) * room, depth], axis=1)
    truth = truth - truth.mean(axis=1, keepdims=True) + place[:, None]
    seen = truth[..., :2] / truth[..., 2:] * FOCAL + SIDE_PIXELS / 2
    box = np.ptp(seen, axis=1).max(axis=1)
    return Hands(
        keypoints=seen + rng.normal(size=seen.shape) * noise * box[:, None, None],
        side=side,
        focal=np.full(count, FOCAL),
        center=np.full((count, 2), SIDE_PIXELS / 2),
        truth=truth,
        world=None,
        labels=side,
        missed=0,
    )


def measured_hands(path: Path, every: int) -> Hands:
    """Exact projections of measured hands (N, 21, 3) in camera space, all right ones."""
    with np.load(path) as file:
        truth = file["joints"][::every].astype(np.float64)
    count = len(truth)
    return Hands(
        keypoints=truth[..., :2] / truth[..., 2:] * FOCAL + SIDE_PIXELS / 2,
        side=np.full(count, Side.RIGHT),
        focal=np.full(count, FOCAL),
        center=np.full((count, 2), SIDE_PIXELS / 2),
        truth=truth,
        world=None,
        labels=np.full(count, Side.RIGHT),
        missed=0,
    )


Scene = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # picture, K, truth (H, 21, 3), sides (H,)


def clip(video: Path) -> Iterator[Scene]:
    """Frames of a rendered clip."""
    import av

    with np.load(video.with_name(f"{video.stem}_truth.npz")) as file:
        joints, camera, sides = (
            file["joints_3d"].astype(np.float64),
            file["K"].astype(np.float64),
            file["side"],
        )
    with av.open(str(video)) as container:
        for frame, truth in zip(container.decode(video=0), joints, strict=True):
            yield frame.to_ndarray(format="rgb24"), camera, truth, sides


def photographs(folder: Path) -> Iterator[Scene]:
    """Real left hands with measured joints; the camera of each crop."""
    import cv2

    with np.load(folder / "gt.npz") as file:
        truth = {key: file[key] for key in file.files}
    pictures = sorted(
        (folder / "images").iterdir(), key=lambda path: int("".join(filter(str.isdigit, path.stem)))
    )
    by_index = {int("".join(filter(str.isdigit, path.stem))): path for path in pictures}
    for row, index in enumerate(truth["index"]):
        picture = cv2.imread(str(by_index[int(index)]))[..., ::-1]
        x, y, width, _ = truth["bbox_xywh_in_1280x720"][row]
        fx, fy, cx, cy = truth["fx_fy_cx_cy"][row]
        zoom = picture.shape[1] / width
        camera = np.array([[fx * zoom, 0, (cx - x) * zoom], [0, fy * zoom, (cy - y) * zoom], [0, 0, 1]])
        joints = truth["joints_cam_cm"][row].astype(np.float64) / 100.0
        yield np.ascontiguousarray(picture), camera, joints[None], np.array([Side.LEFT])


def detected(scenes: Iterator[Scene], max_hands: int) -> Hands:
    """What MediaPipe finds of the true hands."""
    from whim.models.catalog import weight_path
    from whim.perception.runtime import LandmarkerTask

    task = LandmarkerTask(
        "HandLandmarker",
        weight_path("mediapipe-hand-landmarker"),
        num_hands=max_hands,
        min_hand_detection_confidence=0.5,
        min_hand_presence_confidence=0.5,
    )
    rows: list[tuple] = []
    missed = 0
    for picture, camera, joints, sides in scenes:
        height, width = picture.shape[:2]
        result = task.detect(picture)
        found = [np.array([(p.x * width, p.y * height) for p in hand]) for hand in result.hand_landmarks]
        for truth, side in zip(joints, sides, strict=True):
            seen = truth @ camera.T
            seen = seen[:, :2] / seen[:, 2:]
            box = np.ptp(seen, axis=0).max()
            distances = [np.linalg.norm(points - seen, axis=1).mean() / box for points in found]
            if not distances or min(distances) > MATCH:
                missed += 1
                continue
            best = int(np.argmin(distances))
            world = np.array([(p.x, p.y, p.z) for p in result.hand_world_landmarks[best]])
            label = Side.LEFT if result.handedness[best][0].category_name == "Left" else Side.RIGHT
            rows.append((found[best], side, camera[0, 0], camera[:2, 2], truth, world, label))
    task.close()
    points, side, focal, center, truth, world, labels = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return Hands(
        keypoints=points,
        side=side,
        focal=focal,
        center=center,
        truth=truth,
        world=world,
        labels=labels,
        missed=missed,
    )


def report(name: str, hands: Hands, config: FitConfig) -> str:
    """One row of the table; millimetres."""
    arguments = (hands.side, hands.focal, hands.center, load_open_hand(), embedded_prior(), config)
    began = time.perf_counter()
    result = fit_hands(hands.keypoints, None, *arguments, world=hands.world)
    rate = len(result) / (time.perf_counter() - began)
    error = 1e3 * pa_mpjpe(result.joints_3d, hands.truth)
    guess = "" if hands.world is None else f"{1e3 * pa_mpjpe(hands.world, hands.truth).mean():.1f}"
    flat = np.linalg.norm(result.joints_3d[:, 0] - hands.truth[:, 0], axis=1) / hands.truth[:, 0, 2]
    cells = [
        name,
        f"{len(result)} ({hands.missed})",
        f"{error.mean():.2f} / {np.median(error):.2f} / {np.percentile(error, 90):.2f}",
        guess,
        f"{1e3 * root_relative_mpjpe(result.joints_3d, hands.truth).mean():.1f}",
        f"{1e3 * np.median(mpjpe(result.joints_3d, hands.truth)):.0f} ({100 * np.median(flat):.1f} %)",
        f"{100 * result.residual.mean():.2f}",
        f"{100 * (result.violation > np.radians(20)).mean():.1f}",
        f"{100 * result.converged.mean():.0f}",
        f"{100 * (hands.labels == hands.side).mean():.0f}",
        f"{rate:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| hands | fitted (missed) | PA-MPJPE mean / median / p90 | MediaPipe PA | root-relative | "
    "camera space, median (of depth) | residual % of box | > 20 deg outside % | converged % | label right % | "
    "hands/s |"
)


ABLATION_HEADER = (
    "| hands | method | PA-MPJPE mean / median / p90 | root-relative | camera space, median | residual % of box "
    "| joint > 20 deg outside: keypoints, angles % | converged % | hands/s |"
)


def variants(threads: int) -> dict[str, FitConfig]:
    """The solvers, and the terms of their energies."""

    def paper(**changes: Any) -> FitConfig:
        return FitConfig(solver="paper", paper=PaperConfig(**changes), threads=threads)

    return {
        "paper: L1 alone (eq. 2)": paper(biomechanics=0, mesh_prior=0),
        "paper: eqs. 2, 3": paper(mesh_prior=0),
        "paper: eqs. 2, 4": paper(biomechanics=0),
        "paper: eqs. 2-4": paper(),
        "paper: eqs. 2-4, weak perspective": paper(weak_perspective=True),
        "paper: eqs. 2-4, PCA of 128 vertices": paper(vertices=128),
        "lm, Gaussian without limits": FitConfig(limit_sigma_deg=1e6, threads=threads),
        "lm": FitConfig(threads=threads),
    }


def implausible(joints: np.ndarray, side: np.ndarray) -> float:
    """Percentage of hands (B, 21, 3) with a joint more than 20 degrees outside the limits of eq. 3."""
    right = np.where((side == Side.LEFT)[:, None, None], mirror_points(joints), joints)
    excess = joint_angle_excess(right, embedded_limits()).max(axis=1)
    return 100.0 * float((excess > np.radians(20)).mean())


def ablation(name: str, hands: Hands, threads: int) -> Iterator[str]:
    """Rows of the second table: every variant, and MediaPipe's own guess, on the same hands."""

    def errors(joints: np.ndarray) -> list[str]:
        error = 1e3 * pa_mpjpe(joints, hands.truth)
        return [
            f"{error.mean():.2f} / {np.median(error):.2f} / {np.percentile(error, 90):.2f}",
            f"{1e3 * root_relative_mpjpe(joints, hands.truth).mean():.1f}",
        ]

    title = f"{name} ({len(hands.keypoints)})"
    for method, config in variants(threads).items():
        arguments = (hands.side, hands.focal, hands.center, load_open_hand(), embedded_prior(), config)
        fit_hands(
            hands.keypoints[:1], None, *(a[:1] for a in arguments[:3]), *arguments[3:]
        )  # priors, limits
        began = time.perf_counter()
        result = fit_hands(hands.keypoints, None, *arguments, world=hands.world)
        rate = len(result) / (time.perf_counter() - began)
        cells = [
            title,
            method,
            *errors(result.joints_3d),
            f"{1e3 * np.median(mpjpe(result.joints_3d, hands.truth)):.0f}",
            f"{100 * result.residual.mean():.2f}",
            f"{implausible(result.joints_3d, hands.side):.1f}, "
            f"{100 * (result.violation > np.radians(20)).mean():.1f}",
            f"{100 * result.converged.mean():.0f}",
            f"{rate:.0f}",
        ]
        yield "| " + " | ".join(cells) + " |"
    if hands.world is not None:
        cells = [title, "MediaPipe's own 3D", *errors(hands.world), "", ""]
        yield "| " + " | ".join([*cells, f"{implausible(hands.world, hands.side):.1f}", "", ""]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with synthetic/, annotated/ and params/")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--ablation", action="store_true", help="compare solvers and terms")
    parser.add_argument(
        "--every",
        type=int,
        default=3,
        help="with --ablation: one hand in so many; odd, since clips alternate sides",
    )
    options = parser.parse_args()
    if options.ablation:
        compare(options)
    else:
        measure(options)


def compare(options: argparse.Namespace) -> None:
    """The table of solvers and terms."""
    print(ABLATION_HEADER)
    print("|" + "---|" * (ABLATION_HEADER.count("|") - 1))
    sets = {"projections, 1 % noise": random_hands(np.random.default_rng(options.seed), options.count, 0.01)}
    if options.data is not None:
        for name in ("person_bust", "two_forearms"):
            sets[name] = detected(clip(options.data / f"synthetic/{name}.mp4"), 2)
        sets["snap_realworld"] = detected(photographs(options.data / "annotated/snap_realworld"), 1)
    for name, hands in sets.items():
        for row in ablation(name, hands.take(options.every), options.threads):
            print(row, flush=True)


def measure(options: argparse.Namespace) -> None:
    """The table of the default solver."""
    config = FitConfig(threads=options.threads)
    print(HEADER)
    print("|" + "---|" * HEADER.count(" |"))
    for noise in (0.0, 0.01, 0.03, 0.05):
        hands = random_hands(np.random.default_rng(options.seed), options.count, noise)
        print(report(f"projections, {100 * noise:.0f} % noise", hands, config))
    if options.data is not None:
        for name in ("person_bust", "two_forearms"):
            print(report(name, detected(clip(options.data / f"synthetic/{name}.mp4"), 2), config))
        photos = photographs(options.data / "annotated/snap_realworld")
        print(report("snap_realworld", detected(photos, 1), config))
        for name, every in (("stb_train_joints", 10), ("rhd_test_joints", 1)):
            hands = measured_hands(options.data / f"params/{name}.npz", every)
            print(report(f"{name}, projected", hands, config))


if __name__ == "__main__":
    main()
