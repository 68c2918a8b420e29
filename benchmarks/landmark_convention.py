"""Does a detector mark other points than the hand model has joints? The table that follows if so, and what it does.

    python benchmarks/landmark_convention.py [--data FOLDER] [--most 600] [--threads 2]

A knuckle that a detector marks may lie nearer to the skin, or further out along the finger, than the model's. Such
offsets are given in the plane of the palm: along the vector from wrist to middle knuckle, and across it along the one
from little to index knuckle, as shares of these vectors. Both are read off the landmarks themselves, so the same
numbers serve either side, view and size.

Offsets are learnt on every other block of 24 hands of a set, from the truth or from the fit's own residuals, and must
help on the other blocks and on the other sets. Whether an offset is the detector's is told by leaving the detector
out: exact projections of the truth. Needs pulled weights and the folder of shared data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fit_accuracy import Hands, clip, detected, photographs
from numpy.typing import ArrayLike
from real_hands import Recording, fitted, measured, palm_axes, spelled

from whim.conventions import Side
from whim.fitting.config import FitConfig
from whim.fitting.result import FitResult
from whim.geometry.procrustes import align
from whim.hands.mirror import mirror_points
from whim.hands.model import Floats
from whim.metrics.pose import pa_mpjpe

BLOCK = 24
"""Neighbouring hands resemble each other: halves are made of blocks."""
_WRIST, _INDEX, _MIDDLE, _LITTLE = 0, 5, 9, 17
_ROUNDS = 10
_ROBUST = 0.02
"""Residuals beyond this share of the box count linearly in :func:`estimate_offsets`."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data"),
        help="folder with params/, synthetic/, annotated/",
    )
    parser.add_argument("--most", type=int, default=600, help="hands of finger-spelling, at most")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    conventions(options.data, options.most, FitConfig(threads=options.threads))


def palm_vectors(points: ArrayLike) -> Floats:
    """(N, 2, 2) columns: wrist to middle knuckle, little to index knuckle, of landmarks (N, 21, 2), in pixels."""
    p = np.asarray(points, dtype=np.float64)
    return np.stack([p[:, _MIDDLE] - p[:, _WRIST], p[:, _INDEX] - p[:, _LITTLE]], axis=2)


def without_offsets(points: ArrayLike, offsets: ArrayLike) -> Floats:
    """Landmarks (N, 21, 2) moved to where the model has its joints, pixels; NaN where they or the palm are NaN.

    Args:
        points: a detector's landmarks, pixels, OpenPose order.
        offsets: (21, 2) shares of the palm's vectors.
    """
    p, shares = np.asarray(points, dtype=np.float64), np.asarray(offsets, dtype=np.float64)
    return p - np.einsum("nij,kj->nki", palm_vectors(p), shares)


def estimate_offsets(points: ArrayLike, joints: ArrayLike) -> Floats:
    """Offsets (21, 2) that best explain landmarks by the projected joints of the same hands.

    Robust least squares: a wrongly marked finger counts little, and a palm seen edge-on says nothing about the
    direction it hides.

    Args:
        points: (N, 21, 2) a detector's landmarks, pixels.
        joints: (N, 21, 2) where the model's joints really are, pixels.

    Raises:
        ValueError: for arrays of other shapes, numbers that are not finite, or fewer than two hands.
    """
    p, q = np.asarray(points, dtype=np.float64), np.asarray(joints, dtype=np.float64)
    if p.shape != q.shape or p.ndim != 3 or p.shape[1:] != (21, 2) or len(p) < 2:
        raise ValueError(f"expected two arrays (N, 21, 2) of at least two hands; got {p.shape} and {q.shape}")
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise ValueError("offsets are estimated from finite points only")
    box = np.ptp(q, axis=1).max(axis=1)[:, None, None]
    design, error = palm_vectors(q) / box, (p - q) / box
    weight = np.ones((len(p), 21))
    offsets = np.zeros((21, 2))
    for _ in range(_ROUNDS):
        normal = np.einsum("nk,nij,nil->kjl", weight, design, design)
        target = np.einsum("nk,nij,nki->kj", weight, design, error)
        offsets = np.linalg.solve(normal, target[..., None])[..., 0]
        left = np.linalg.norm(error - np.einsum("nij,kj->nki", design, offsets), axis=2)
        weight = np.minimum(1.0, _ROBUST / np.maximum(left, 1e-12))
    return offsets


def conventions(data: Path, most: int, config: FitConfig) -> None:
    """Print what offsets learnt here do there."""
    sets: dict[str, Recording | Hands] = {
        "snap": detected(photographs(data / "annotated/snap_realworld"), 1),
        "person_bust": detected(clip(data / "synthetic/person_bust.mp4"), 2),
        "two_forearms": detected(clip(data / "synthetic/two_forearms.mp4"), 2),
        "spelling": spelled(data / "params/fingerspelling_hands.npz", most),
    }
    halves = {name: (half(hands, 0), half(hands, 1)) for name, hands in sets.items()}
    tables = {f"truth of {name}": truth_table(a) for name, (a, _) in halves.items() if measured(a)}
    tables |= {f"fits of {name}": fit_table(a, config) for name, (a, _) in halves.items()}
    print("Landmarks without a table's offsets, held-out halves: PA-MPJPE, mm (change +- standard error over")
    print(
        "blocks); residual of the fit, % of the box. A table may be adopted when it helps beside its own set.\n"
    )
    print("| table from | " + " | ".join(f"{name} ({len(b.side)})" for name, (_, b) in halves.items()) + " |")
    print("|" + "---|" * (len(halves) + 1))
    plain = {name: fitted(b, config) for name, (_, b) in halves.items()}
    for source, table in {"none": np.zeros((21, 2)), **tables}.items():
        cells = []
        for name, (_, hands) in halves.items():
            points = without_offsets(hands.keypoints, table)
            result = fitted(hands, config, points) if table.any() else plain[name]
            cells.append(change(hands, plain[name], result))
        print(f"| {source} | " + " | ".join(cells) + " |", flush=True)
    leave_the_detector_out(halves, config)


def half(hands: Recording | Hands, which: int) -> Recording:
    """Every other block of hands."""
    chosen = (np.arange(len(hands.side)) // BLOCK) % 2 == which
    world = None if hands.world is None else hands.world[chosen]
    names = ("keypoints", "side", "focal", "center", "truth")
    return Recording(**{name: getattr(hands, name)[chosen] for name in names}, world=world)


def pixels(joints: np.ndarray, hands: Recording) -> np.ndarray:
    """(N, 21, 2) where the camera sees joints (N, 21, 3)."""
    return joints[..., :2] / joints[..., 2:] * hands.focal[:, None, None] + hands.center[:, None]


def truth_table(hands: Recording) -> np.ndarray:
    """Offsets of the landmarks from the true joints."""
    return estimate_offsets(hands.keypoints, pixels(hands.truth, hands))


def fit_table(hands: Recording, config: FitConfig) -> np.ndarray:
    """Offsets of the landmarks from the joints of fits, which need no truth, fitted anew with what was found."""
    table = np.zeros((21, 2))
    for _ in range(3):
        result = fitted(hands, config, without_offsets(hands.keypoints, table))
        good = np.isfinite(result.cost) & (result.residual < 0.03)
        table = estimate_offsets(hands.keypoints[good], pixels(result.joints_3d, hands)[good])
    return table


def change(hands: Recording, before: FitResult, after: FitResult) -> str:
    """Error and residual after, with the paired change of the error."""
    residual = f"{100 * np.nanmean(after.residual):.2f} %"
    if not measured(hands):
        return residual
    old, new = (1e3 * pa_mpjpe(result.joints_3d, hands.truth) for result in (before, after))
    if before is after:
        return f"{new.mean():.2f}; {residual}"
    blocks = np.array_split(new - old, max(2, round(len(new) / BLOCK)))
    means = [block.mean() for block in blocks]
    error = np.std(means, ddof=1) / np.sqrt(len(means))
    return f"{new.mean():.2f} ({(new - old).mean():+.2f} +- {error:.2f}); {residual}"


def leave_the_detector_out(halves: dict[str, tuple[Recording, Recording]], config: FitConfig) -> None:
    """Offsets in space of the truth from the fitted joints: from detected landmarks, and from exact projections."""
    tables, fits = {}, {}
    for name, (a, b) in halves.items():
        if measured(a):
            for kind in ("detected", "exact"):
                points = [h.keypoints if kind == "detected" else pixels(h.truth, h) for h in (a, b)]
                tables[name, kind] = offsets_in_space(a, fitted(a, config, points[0]).joints_3d)
                fits[name, kind] = (b, fitted(b, config, points[1]).joints_3d)
    print("\nOffsets in space added after the fit, held-out halves, PA-MPJPE, mm:\n")
    print("| fit | none | " + " | ".join(f"{name}, {kind}" for name, kind in tables) + " |")
    print("|" + "---|" * (len(tables) + 2))
    for (name, kind), (hands, joints) in fits.items():
        candidates = [np.zeros((21, 3)), *tables.values()]
        cells = [1e3 * pa_mpjpe(moved(hands, joints, table), hands.truth).mean() for table in candidates]
        print(f"| {name}, {kind} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    for name in halves:
        if (name, "exact") in tables:
            both = np.corrcoef(tables[name, "detected"].ravel(), tables[name, "exact"].ravel())[0, 1]
            print(f"{name}: correlation of the two tables {both:.2f}")


def _right(hands: Recording, joints: np.ndarray) -> np.ndarray:
    return np.where((hands.side == Side.LEFT)[:, None, None], mirror_points(joints), joints)


def offsets_in_space(hands: Recording, joints: np.ndarray) -> np.ndarray:
    """(21, 3) mean of truth minus fitted joints along the palm's axes, palms."""
    right, truth = _right(hands, joints), _right(hands, hands.truth)
    axes, length = palm_axes(right)
    apart = align(truth, right).apply(truth) - right
    return (np.einsum("nji,nkj->nki", axes, apart) / length[:, None, None]).mean(axis=0)


def moved(hands: Recording, joints: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Fitted joints with offsets (21, 3) added."""
    right = _right(hands, joints)
    axes, length = palm_axes(right)
    shift = np.einsum("nij,kj->nki", axes, table) * length[:, None, None]
    return _right(hands, right + shift)


if __name__ == "__main__":
    main()
