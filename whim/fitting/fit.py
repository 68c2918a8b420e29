"""From 2D keypoints of many hands to hand parameters in the camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from whim.conventions import OPENPOSE_TO_MANO, Side
from whim.errors import require
from whim.fitting.camera import hopeless, longer_side, look_at, usable
from whim.fitting.config import FitConfig
from whim.fitting.energy import HandEnergy, Observations
from whim.fitting.lm import Minimum, best_minimum
from whim.fitting.result import FitResult
from whim.fitting.starts import starting_states
from whim.fitting.state import HandState
from whim.hands import kinematics
from whim.hands.mirror import mirror_points, mirror_pose, mirror_translation
from whim.hands.model import Floats, HandModel
from whim.hands.pose_prior import GaussianPrior, MeshPrior

# Hands at a time. The matrices of 64 still fit the processor's cache; torch has costs per call to share.
_CHUNK = 64
_PAPER_CHUNK = 256

_Solver = Callable[[Sequence[HandState], Observations], tuple[Minimum, np.ndarray]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _RightHands:
    """Fitted right hands, those that were left ones in the mirror."""

    global_orient: Floats
    hand_pose: Floats
    betas: Floats
    translation: Floats
    violation: Floats
    start: np.ndarray
    converged: np.ndarray
    cost: Floats


def fit_hands(
    keypoints: ArrayLike,
    scores: ArrayLike | None,
    side: ArrayLike,
    focal: ArrayLike,
    center: ArrayLike,
    model: HandModel,
    prior: GaussianPrior,
    config: FitConfig,
    world: ArrayLike | None = None,
    *,
    mesh_prior: MeshPrior | None = None,
) -> FitResult:
    """Fit the hand model to 2D keypoints, in full perspective, by the solver that ``config`` names.

    The side must be decided before (``whim.fitting.side``): the picture of a left hand is also that of a right
    hand mirrored in depth, at nearly the same energy. Hands that cannot be fitted are flagged, never raised on.

    Args:
        keypoints: (N, 21, 2) pixels of the whole frame, OpenPose order; not finite where missing.
        scores: (N, 21) confidences, weights of the keypoints; None for all the same.
        side: (N,) Side.
        focal: (N,) focal length, pixels; ``geometry.camera.assumed_focal`` where nobody knows it.
        center: (N, 2) principal point, pixels.
        model: the right hand.
        prior: on its pose; ``paper`` takes it for its starts alone.
        config: weights and effort.
        world: (N, 21, 3) the detector's own 3D guess, metres, camera axes, NaN where there is none; helps to
            start.
        mesh_prior: of eq. 4, for the solver ``paper``; None for the embedded one.

    Raises:
        ValueError: for arrays of other shapes.
        UsageError: for a mesh prior of another mesh, or with fewer components than asked for.
        MissingExtraError: for the solver ``paper`` without torch.
    """
    points = np.asarray(keypoints, dtype=np.float64)
    count = len(points)
    weights = np.ones((count, 21)) if scores is None else np.asarray(scores, dtype=np.float64)
    sides = np.asarray(side, dtype=np.int64)
    focals, centers = np.asarray(focal, dtype=np.float64), np.asarray(center, dtype=np.float64)
    guess = None if world is None else np.asarray(world, dtype=np.float64)
    _check_shapes(count, points, weights, sides, focals, centers, guess)

    kept = usable(points, weights)
    known = np.isin(sides, (Side.LEFT, Side.RIGHT))
    rows = np.flatnonzero(known & ~hopeless(points, kept, focals, centers))
    energy = HandEnergy(
        model,
        prior,
        sigma=config.sigma,
        huber=config.huber,
        limit_sigma=float(np.radians(config.limit_sigma_deg)),
    )
    solve, size = _solver(energy, config, mesh_prior)

    # The one place where left hands enter the mirror: the picture is flipped about the principal point ...
    left = sides == Side.LEFT
    flipped = np.where(left[:, None, None], points * (-1, 1) + 2 * centers[:, None] * (1, 0), points)
    right_guess = None if guess is None else np.where(left[:, None, None], mirror_points(guess), guess)

    def fit_chunk(chunk: np.ndarray) -> _RightHands:
        return _fit_right(
            energy,
            solve,
            flipped[chunk],
            kept[chunk],
            weights[chunk],
            focals[chunk],
            centers[chunk],
            None if right_guess is None else right_guess[chunk],
        )

    chunks = [rows[first : first + size] for first in range(0, len(rows), size)]
    with ThreadPoolExecutor(max_workers=config.threads) as pool:
        fitted = list(pool.map(fit_chunk, chunks))

    def spread(name: str, shape: tuple[int, ...], missing: float) -> np.ndarray:
        result = np.full((count, *shape), missing)
        if fitted:
            result[rows] = np.concatenate([getattr(part, name) for part in fitted])
        return result

    # ... and here they leave it.
    orient, pose = spread("global_orient", (3,), np.nan), spread("hand_pose", (15, 3), np.nan)
    translation, betas = spread("translation", (3,), np.nan), spread("betas", (10,), np.nan)
    orient = np.where(left[:, None], mirror_pose(orient), orient)
    pose = np.where(left[:, None, None], mirror_pose(pose), pose)
    translation = np.where(left[:, None], mirror_translation(translation), translation)

    joints = np.full((count, 21, 3), np.nan)
    joints[rows] = kinematics.keypoints(
        model, betas[rows], pose[rows], orient[rows], translation[rows], sides[rows]
    )
    return FitResult(
        topology=model.topology,
        side=sides,
        global_orient=orient,
        hand_pose=pose,
        betas=betas,
        translation=translation,
        joints_3d=joints,
        residual=_residual(joints, points, weights, kept, focals, centers),
        violation=spread("violation", (), np.nan),
        start=spread("start", (), -1).astype(np.int64),
        converged=spread("converged", (), 0).astype(bool),
        cost=spread("cost", (), np.nan),
    )


def _solver(energy: HandEnergy, config: FitConfig, mesh_prior: MeshPrior | None) -> tuple[_Solver, int]:
    """The solver that ``config`` names, and how many hands to give it at a time."""
    if config.solver == "lm":
        return lambda starts, seen: best_minimum(energy, starts, seen, config.iterations), _CHUNK
    require("torch", extra="train")
    from whim.fitting.paper.energy import PaperEnergy
    from whim.fitting.paper.solver import best_of_starts

    literal = PaperEnergy(energy.model, config.paper, mesh_prior=mesh_prior)
    return lambda starts, seen: best_of_starts(literal, starts, seen), _PAPER_CHUNK


def _fit_right(
    energy: HandEnergy,
    solve: _Solver,
    points: Floats,
    kept: np.ndarray,
    weights: Floats,
    focal: Floats,
    center: Floats,
    world: Floats | None,
) -> _RightHands:
    """Fit right hands from every start and keep the best of each."""
    camera, observed = look_at(points, kept, weights, focal, center)
    order = list(OPENPOSE_TO_MANO)
    seen = Observations(
        points=observed.points[:, order],
        weights=observed.weights[:, order],
        inverse_focal=observed.inverse_focal,
    )
    starts = starting_states(energy, seen, None if world is None else camera.turn(world))
    found, start = solve(starts, seen)
    state = found.state
    rotation, wrist = camera.to_real(state)
    rest_wrist = energy.model.J_template[0] + state.betas @ energy.model.J_shapedirs[0].T
    return _RightHands(
        global_orient=Rotation.from_matrix(rotation).as_rotvec(),
        hand_pose=energy.axis_angles(state.angles),
        betas=state.betas,
        translation=wrist - rest_wrist,
        violation=energy.prior.violation(state.angles),
        start=start,
        converged=found.converged,
        cost=found.cost,
    )


def _residual(
    joints: Floats, points: Floats, weights: Floats, kept: np.ndarray, focal: Floats, center: Floats
) -> Floats:
    """(N,) mean distance of the given keypoints from the fitted ones, in units of the box."""
    projected = joints[..., :2] / joints[..., 2:] * focal[:, None, None] + center[:, None]
    given = np.isfinite(points).all(axis=2) & (weights > 0.0)
    apart = projected - np.where(
        given[..., None], np.clip(points, -1e9, 1e9), 0.0
    )  # squares must not overflow
    distance = np.linalg.norm(apart, axis=2)
    total = np.where(given, distance, 0.0).sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    return total / np.where(longer_side(points, kept) > 0.0, longer_side(points, kept), np.nan)


def _check_shapes(
    count: int,
    points: Floats,
    weights: Floats,
    sides: np.ndarray,
    focal: Floats,
    center: Floats,
    world: Floats | None,
) -> None:
    wanted: list[tuple[str, np.ndarray, tuple[int, ...]]] = [
        ("keypoints", points, (count, 21, 2)),
        ("scores", weights, (count, 21)),
        ("side", sides, (count,)),
        ("focal", focal, (count,)),
        ("center", center, (count, 2)),
    ]
    if world is not None:
        wanted.append(("world", world, (count, 21, 3)))
    for name, array, shape in wanted:
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}; got {array.shape}")
