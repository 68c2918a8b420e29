"""Hands per second of the fit, and milliseconds of the torch layer, beside smplx.

    python benchmarks/fit_speed.py [--rounds 3] [--hands 128] [--threads 2]

Needs torch and smplx (0.1.28). Everybody gets the same model, a file of MANO's shape made from the open hand with
random pose blend shapes, and in the fit the same keypoints with 1 % noise and the same rough 3D guess to start
from. The loop that people write with smplx: Adam, 200 steps on shape, pose, scale and place, L1 reprojection in
full perspective, a weak L2 on pose and shape. All take turns within each round; medians, and the ratio of medians.
Where others use the cores too, ``--threads 1`` disturbs the ratios least.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import smplx
import torch

from whim.conventions import MANO_TO_OPENPOSE
from whim.fitting.config import FitConfig, PaperConfig
from whim.fitting.fit import fit_hands
from whim.geometry.procrustes import align_rotation
from whim.hands.kinematics import keypoints
from whim.hands.layer import HandLayer
from whim.hands.mano import TIP_VERTICES, load_mano
from whim.hands.model import PARENTS, HandModel
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import embedded_prior, pose_from_angles, sample_angles
from whim.metrics.pose import pa_mpjpe

FOCAL, STEPS = 1000.0, 200
PALM = [0, 1, 5, 9, 13, 17]


def write_mano_shaped(path: Path) -> None:
    """A file of MANO's shape from the open hand, its vertices reordered so that MANO's fingertip ids are tips."""
    hand = load_open_hand()
    order = np.arange(len(hand.v_template))
    for tip, place in zip(hand.tip_template, TIP_VERTICES, strict=True):
        nearest = int(np.linalg.norm(hand.v_template[order] - tip, axis=1).argmin())
        order[[place, nearest]] = order[[nearest, place]]
    place_of = np.argsort(order)
    content = {
        "v_template": hand.v_template[order],
        "shapedirs": hand.shapedirs[order],
        "posedirs": np.random.default_rng(7).normal(scale=2e-4, size=(len(order), 3, 135)),
        "J_regressor": scipy.sparse.csc_matrix(hand.J_regressor[:, order]),
        "weights": hand.weights[order],
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], list(range(16))], dtype=np.int64),
        "f": place_of[hand.faces_closed[:1538]].astype(np.uint32),
        "hands_components": np.eye(45),
        "hands_mean": np.zeros(45),
        "hands_coeffs": np.zeros((5, 45)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "J": hand.J_template,
    }
    path.write_bytes(pickle.dumps(content, protocol=2))


def smplx_mano(path: Path, batch: int) -> Any:
    """The reference layer."""
    return smplx.MANO(
        str(path), use_pca=False, flat_hand_mean=True, is_rhand=True, batch_size=batch, dtype=torch.float32
    )


def smplx_keypoints(layer: Any, betas: Any, pose: Any, orient: Any, shift: Any) -> Any:
    """Its 21 keypoints (B, 21, 3) in OpenPose order."""
    out = layer(betas=betas, hand_pose=pose.flatten(1), global_orient=orient, transl=shift)
    points = torch.cat([out.joints[:, :16], out.vertices[:, list(TIP_VERTICES)]], dim=1)
    return points[:, list(MANO_TO_OPENPOSE)]


def random_hands(model: HandModel, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth (B, 21, 3), pixels with 1 % noise (B, 21, 2) from the principal point, a 3D guess 1 cm off."""
    rng = np.random.default_rng(0)
    pose = pose_from_angles(model, sample_angles(rng, count))
    orient = rng.normal(size=(count, 3))
    shift = np.stack([*rng.uniform(-0.1, 0.1, (2, count)), rng.uniform(0.6, 1.0, count)], axis=1)
    truth = keypoints(model, np.clip(rng.normal(size=(count, 10)), -2, 2), pose, orient, shift)
    seen = truth[..., :2] / truth[..., 2:] * FOCAL
    box = np.ptp(seen, axis=1).max(axis=1)[:, None, None]
    guess = truth - truth[:, :1] + rng.normal(scale=0.01, size=truth.shape)
    return truth, seen + 0.01 * box * rng.normal(size=seen.shape), guess


def smplx_adam(path: Path, seen: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """The loop with smplx; joints (B, 21, 3)."""
    batch = len(seen)
    layer = smplx_mano(path, batch)
    zero = torch.zeros(batch, 45), torch.zeros(batch, 3), torch.zeros(batch, 3)
    rest = smplx_keypoints(layer, torch.zeros(batch, 10), *zero).detach().numpy()
    turn = torch.tensor(rotation_vectors(align_rotation(rest[:, PALM], guess[:, PALM])), dtype=torch.float32)
    box = np.ptp(seen, axis=1).max(axis=1)
    depth = FOCAL * np.ptp(guess[..., :2], axis=1).max(axis=1) / box
    place = np.concatenate([seen.mean(axis=1) / FOCAL * depth[:, None], depth[:, None]], axis=1)
    free = [
        torch.zeros(batch, 10, requires_grad=True),
        torch.zeros(batch, 45, requires_grad=True),
        turn.requires_grad_(),
        torch.tensor(place, dtype=torch.float32, requires_grad=True),
    ]
    target, unit = torch.tensor(seen, dtype=torch.float32), torch.tensor(box, dtype=torch.float32)
    adam = torch.optim.Adam(free, lr=0.03)
    for step in range(STEPS):
        for group in adam.param_groups:
            group["lr"] = 0.03 * 0.5 * (1.0 + np.cos(np.pi * step / STEPS))
        adam.zero_grad()
        points = smplx_keypoints(layer, *free)
        picture = FOCAL * points[..., :2] / points[..., 2:].clip(0.05)
        loss = ((picture - target).abs().sum(dim=2).mean(dim=1) / unit).sum()
        loss = loss + 2e-3 * ((free[0] ** 2).sum() + (free[1] ** 2).sum())
        loss.backward()
        adam.step()
    return smplx_keypoints(layer, *free).detach().double().numpy()


def rotation_vectors(matrices: np.ndarray) -> np.ndarray:
    """Axis-angle vectors (B, 3) of rotation matrices."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(matrices).as_rotvec()


def take_turns(tasks: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each, after one unmeasured call."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            if number:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def fits(path: Path, options: argparse.Namespace) -> None:
    """Table of the solvers."""
    model = load_mano(path)
    truth, seen, guess = random_hands(model, options.hands)
    count = len(seen)
    joints: dict[str, np.ndarray] = {}

    def ours(name: str, config: FitConfig, copies: int = 1) -> None:
        joints[name] = fit_hands(
            np.tile(seen, (copies, 1, 1)),
            None,
            np.ones(copies * count, dtype=int),
            np.full(copies * count, FOCAL),
            np.zeros((copies * count, 2)),
            model,
            embedded_prior(),
            config,
            world=np.tile(guess, (copies, 1, 1)),
        ).joints_3d[:count]

    def theirs(name: str) -> None:
        joints[name] = smplx_adam(path, seen, guess)

    loop, lm, paper, lean = (
        "smplx, Adam 200", "lm", "paper", "paper, PCA of 128 vertices",
    )  # fmt: skip
    configs = {
        paper: FitConfig(solver="paper"),
        lean: FitConfig(solver="paper", paper=PaperConfig(vertices=128)),
    }
    copies = 8  # enough to be timed
    seconds = take_turns(
        {
            loop: lambda: theirs(loop),
            lm: lambda: ours(lm, FitConfig(threads=options.threads), copies),
            **{name: (lambda name=name: ours(name, configs[name])) for name in configs},
        },
        options.rounds,
    )
    print(
        f"\n| fit, {count} hands at a time (lm: {copies * count}) | hands/s | times the loop | PA-MPJPE, mm |"
    )
    print("|---|---|---|---|")
    for name, value in seconds.items():
        rate = (copies if name == lm else 1) * count / value
        error = 1e3 * pa_mpjpe(joints[name], truth).mean()
        print(f"| {name} | {rate:.0f} | {rate * seconds[loop] / count:.1f} | {error:.1f} |")


def layers(path: Path, batch: int, rounds: int) -> None:
    """Rows of the table of layers for one batch size."""
    model, reference = load_mano(path), smplx_mano(path, batch)
    rng = np.random.default_rng(0)
    hands = [
        torch.tensor(rng.normal(scale=0.4, size=shape), dtype=torch.float32, requires_grad=True)
        for shape in ((batch, 10), (batch, 15, 3), (batch, 3), (batch, 3))
    ]
    layer, bare = HandLayer(model), HandLayer(load_open_hand())
    ways: dict[str, Callable[[], Any]] = {
        "smplx.MANO": lambda: smplx_keypoints(reference, *hands),
        "HandLayer.vertices": lambda: layer.vertices(*hands),
        "HandLayer.keypoints": lambda: layer.keypoints(*hands),
        "HandLayer.keypoints, open hand": lambda: bare.keypoints(*hands),
    }
    apart = (ways["smplx.MANO"]() - ways["HandLayer.keypoints"]()).abs().max().item()
    assert apart < 1e-5, f"the two layers disagree by {apart} m"

    def both_ways(way: Callable[[], Any]) -> None:
        (way() ** 2).sum().backward()

    with torch.no_grad():
        forward = take_turns(ways, rounds)
    backward = take_turns({name: (lambda way=way: both_ways(way)) for name, way in ways.items()}, rounds)
    first = next(iter(ways))
    for name in ways:
        there, back = forward[name], backward[name]
        print(
            f"| {batch} | {name} | {1e3 * there:.2f} | {forward[first] / there:.1f} | {1e3 * back:.2f} | "
            f"{backward[first] / back:.1f} |"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hands", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MANO_RIGHT.pkl"
        write_mano_shaped(path)
        print("| batch | layer | forward, ms | times smplx | forward and backward, ms | times smplx |")
        print("|---|---|---|---|---|---|")
        for batch, repeats in ((64, 20), (1024, 5)):
            layers(path, batch, repeats * options.rounds)
        fits(path, options)


if __name__ == "__main__":
    main()
