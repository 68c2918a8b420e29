"""The solver ``paper``: accuracy, what each term is for, sides, and hands that cannot be fitted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from whim.conventions import Side
from whim.errors import MissingExtraError, UsageError
from whim.fitting import fit as fit_module
from whim.fitting.config import FitConfig, PaperConfig
from whim.fitting.fit import fit_hands
from whim.fitting.result import FitResult
from whim.hands import kinematics
from whim.hands.biomechanics import embedded_limits, joint_angle_excess
from whim.hands.mirror import mirror_points, mirror_pose
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import embedded_prior, fit_mesh_prior, pose_from_angles, sample_angles
from whim.metrics.pose import pa_mpjpe

torch = pytest.importorskip("torch", reason="the solver 'paper' needs the extra 'train'")

from whim.fitting.paper.energy import PaperEnergy  # noqa: E402
from whim.fitting.paper.solver import best_of_starts  # noqa: E402

NUMBERS = ("global_orient", "hand_pose", "betas", "translation", "joints_3d", "violation", "cost")
FAST: dict[str, Any] = {"vertices": 32, "iterations": 8, "screening": 2}


def fit(
    keypoints: Any, side: Any, focal: Any, center: Any, scores: Any = None, world: Any = None, **paper: Any
) -> FitResult:
    config = FitConfig(solver="paper", paper=PaperConfig(**paper))
    return fit_hands(
        keypoints, scores, side, focal, center, load_open_hand(), embedded_prior(), config, world
    )


def fit_scene(scene: Any, **paper: Any) -> FitResult:
    return fit(scene.pixels, scene.side, scene.focal, scene.center, **paper)


def test_eqs_2_to_4_beat_reprojection_alone(make_scene: Callable) -> None:
    scene = make_scene(64, seed=1, noise=0.01)
    whole, alone = (
        fit_scene(scene, **switches)
        for switches in ({"vertices": 64, "iterations": 120}, {"biomechanics": 0.0, "mesh_prior": 0.0})
    )
    error, without = (1e3 * pa_mpjpe(result.joints_3d, scene.joints) for result in (whole, alone))
    assert error.mean() < 7.0
    assert np.median(error) < 5.0
    assert error.mean() < 0.75 * without.mean()
    assert whole.residual.mean() < 0.012
    assert alone.residual.mean() < whole.residual.mean()  # it fits the noise
    assert set(np.unique(whole.start)) <= {0, 1, 2, 3}
    assert whole.converged.mean() > 0.8

    def implausible(result: FitResult) -> float:
        return (joint_angle_excess(result.joints_3d, embedded_limits()).max(axis=1) > np.radians(20)).mean()

    assert implausible(whole) < 0.05
    assert implausible(alone) > 0.3


def test_joints_are_those_of_the_parameters_and_reproject(make_scene: Callable) -> None:
    scene, sides = make_scene(12), np.arange(12) % 2
    result = fit(scene.pixels, sides, scene.focal, scene.center, vertices=32, iterations=60)
    joints = kinematics.keypoints(
        load_open_hand(), result.betas, result.hand_pose, result.global_orient, result.translation, sides
    )
    np.testing.assert_allclose(result.joints_3d, joints, atol=1e-12)
    seen = joints[..., :2] / joints[..., 2:] * scene.focal[:, None, None] + scene.center[:, None]
    distance = np.linalg.norm(seen - scene.pixels, axis=2).mean(axis=1)
    np.testing.assert_allclose(result.residual, distance / scene.box, rtol=1e-9)
    assert result.residual.mean() < 0.02
    assert result.topology == load_open_hand().topology


def test_a_left_hand_is_fitted_as_its_mirror_image(make_scene: Callable) -> None:
    scene = make_scene(10, noise=0.01)
    right = fit_scene(scene, world=scene.joints, **FAST)
    flipped = scene.pixels.copy()
    flipped[..., 0] = 2 * scene.center[:, None, 0] - flipped[..., 0]
    left = fit(flipped, 1 - scene.side, scene.focal, scene.center, world=mirror_points(scene.joints), **FAST)
    np.testing.assert_allclose(left.joints_3d, mirror_points(right.joints_3d), atol=1e-4)
    np.testing.assert_allclose(left.hand_pose, mirror_pose(right.hand_pose), atol=1e-3)
    np.testing.assert_allclose(left.cost, right.cost, rtol=1e-4)


def test_the_cost_is_the_energy_of_the_result_and_falls_with_more_steps(make_scene: Callable) -> None:
    scene, model, seen = make_scene(8, noise=0.01), load_open_hand(), {}

    def spy(energy: PaperEnergy, starts: Any, observed: Any) -> Any:
        found, chosen = best_of_starts(energy, starts, observed)
        exact = PaperEnergy(model, energy.config, dtype=torch.float64)
        target = exact.target(observed)
        seen["cost"] = exact(exact.unknowns(found.state), target)[0].detach().numpy()
        seen["starts"] = [exact(exact.unknowns(start), target)[0].detach().numpy() for start in starts]
        return found, chosen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whim.fitting.paper.solver.best_of_starts", spy)
        costs = []
        for iterations in (1, 20, 60):
            result = fit_scene(scene, vertices=32, iterations=iterations, screening=2)
            np.testing.assert_allclose(result.cost, seen["cost"], rtol=1e-3)
            assert (result.cost <= np.min(seen["starts"], axis=0) * (1 + 1e-3)).all()
            costs.append(result.cost)
    assert (costs[1] < costs[0]).all()
    assert costs[2].mean() < 0.9 * costs[1].mean()


def test_scores_decide_what_is_believed(make_scene: Callable) -> None:
    scene = make_scene(16, seed=2)
    tips, effort = [8, 12], {"vertices": 32, "iterations": 60, "screening": 5}
    wrong = scene.pixels.copy()
    wrong[:, tips] += 0.15 * scene.box[:, None, None]

    def followed(score: float) -> float:
        """Median distance of the fitted fingertips from the wrong ones, in boxes."""
        scores = np.ones((16, 21))
        scores[:, tips] = score
        joints = fit(wrong, scene.side, scene.focal, scene.center, scores=scores, **effort).joints_3d
        seen = joints[..., :2] / joints[..., 2:] * scene.focal[:, None, None] + scene.center[:, None]
        return float(np.median(np.linalg.norm(seen - wrong, axis=2)[:, tips] / scene.box[:, None]))

    assert followed(0.01) > 1.5 * followed(1.0)


def test_weak_perspective_is_for_distant_hands(make_scene: Callable) -> None:
    scene = make_scene(16, seed=3)
    effort = {"vertices": 32, "iterations": 60}

    def gap(distance: float) -> float:
        joints = scene.joints - scene.joints.mean(axis=1, keepdims=True) + (0.0, 0.0, distance)
        pixels = joints[..., :2] / joints[..., 2:] * scene.focal[:, None, None] + scene.center[:, None]
        rest = (scene.side, scene.focal, scene.center)
        weak, full = (fit(pixels, *rest, weak_perspective=w, **effort) for w in (True, False))
        return float(np.median(weak.residual / full.residual))

    assert gap(0.4) > 1.5
    assert gap(30.0) < 1.2


def test_a_mesh_prior_of_your_own_is_used(make_scene: Callable) -> None:
    scene, model = make_scene(12, seed=4, noise=0.01), load_open_hand()
    rng = np.random.default_rng(0)
    fists = sample_angles(rng, 4000)
    fists = fists[fists.reshape(-1, 15, 3)[:, [1, 4, 7, 10], 1].min(axis=1) > np.radians(60)]
    assert len(fists) > 100
    prior = fit_mesh_prior(model, rng.normal(size=(len(fists), 10)), pose_from_angles(model, fists), 4)
    config = FitConfig(solver="paper", paper=PaperConfig(components=4, mesh_prior=30.0, iterations=30))

    def bend(mesh_prior: Any) -> float:
        result = fit_hands(
            scene.pixels, None, scene.side, scene.focal, scene.center, model, embedded_prior(), config,
            mesh_prior=mesh_prior,
        )  # fmt: skip
        return float(np.linalg.norm(result.hand_pose[:, [1, 4, 7, 10]], axis=2).mean())

    few = FitConfig(solver="paper", paper=PaperConfig(components=5))
    assert bend(prior) > 1.2 * float(np.linalg.norm(scene.pose[:, [1, 4, 7, 10]], axis=2).mean())
    with pytest.raises(UsageError, match="4 components; 5"):
        fit_hands(
            scene.pixels, None, scene.side, scene.focal, scene.center, model, embedded_prior(), few,
            mesh_prior=prior,
        )  # fmt: skip


@pytest.mark.parametrize("keypoint", [0, 8])
def test_outliers_and_missing_keypoints_do_little_harm(make_scene: Callable, keypoint: int) -> None:
    scene = make_scene(24, seed=4)
    effort = {"vertices": 32, "iterations": 80}
    clean = fit_scene(scene, **effort)
    broken = scene.pixels.copy()
    broken[:8, keypoint] = np.nan
    broken[8:16, keypoint] += 10 * scene.box[8:16, None]
    broken[16:, keypoint] = np.inf
    result = fit(broken, scene.side, scene.focal, scene.center, **effort)
    assert np.isfinite(result.joints_3d).all()
    harm = 1e3 * (pa_mpjpe(result.joints_3d, scene.joints) - pa_mpjpe(clean.joints_3d, scene.joints))
    assert harm.mean() < 3.0
    assert (result.residual[8:16] > 0.1).all()


def hopeless(scene: Any) -> dict[str, np.ndarray]:
    five = np.full((21, 2), np.nan)
    five[:5] = scene.pixels[0, :5]
    return {
        "nan": np.full((21, 2), np.nan),
        "infinite": np.full((21, 2), np.inf),
        "huge": scene.pixels[0] * 1e200,
        "equal": np.full((21, 2), 77.0),
        "five": five,
    }


@pytest.mark.filterwarnings("error")
def test_hopeless_hands_are_flagged_and_leave_the_others_alone(make_scene: Callable) -> None:
    scene = make_scene(3)
    good, cases = fit_scene(scene, **FAST), hopeless(scene)
    count = 3 + len(cases) + 1
    points = np.concatenate([scene.pixels, [*cases.values(), scene.pixels[0]]])
    side = np.array([*scene.side, *(Side.RIGHT for _ in cases), Side.UNKNOWN])
    result = fit(points, side, np.full(count, scene.focal[0]), np.tile(scene.center[0], (count, 1)), **FAST)
    assert (result.start[3:] == -1).all()
    assert not result.converged[3:].any()
    for field in (*NUMBERS, "residual"):
        assert np.isnan(getattr(result, field)[3:]).all(), field
        np.testing.assert_allclose(getattr(result, field)[:3], getattr(good, field), atol=2e-4)


@pytest.mark.filterwarnings("error")
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e3, 1e7]), focal=st.floats(1e-2, 1e7))
def test_any_nonsense_gives_finite_hands_or_a_flag(seed: int, scale: float, focal: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=scale, size=(4, 21, 2))
    points[1] = points[1, :1] + np.linspace(0, 1, 21)[:, None] * scale  # a straight line
    points[2, rng.integers(0, 21, 8)] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
    points[3] = points[3, :1]
    points[3, 0] += scale  # all equal but one
    scores = rng.choice([0.0, 1e-6, 1.0, 1e6], size=(4, 21))
    world = rng.normal(size=(4, 21, 3)) * rng.choice([0.0, 1.0, np.nan, 1e30])
    center = rng.normal(scale=scale, size=(4, 2))
    result = fit(points, rng.integers(0, 2, 4), np.full(4, focal), center, scores, world, **FAST)
    fitted = result.start >= 0
    for field in NUMBERS:
        values = getattr(result, field)
        assert np.isfinite(values[fitted]).all(), field
        assert np.isnan(values[~fitted]).all(), field
    assert (result.joints_3d[fitted][..., 2] > 0).all()
    assert np.abs(result.betas[fitted]).max(initial=0.0) <= 3.0


def test_no_hand_one_hand_and_chunks(make_scene: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = fit(np.zeros((0, 21, 2)), np.zeros(0, int), np.zeros(0), np.zeros((0, 2)), **FAST)
    assert nothing.joints_3d.shape == (0, 21, 3)
    scene = make_scene(7)
    together = fit_scene(scene, **FAST)
    alone = fit(scene.pixels[2:3], scene.side[2:3], scene.focal[2:3], scene.center[2:3], **FAST)
    np.testing.assert_allclose(alone.joints_3d[0], together.joints_3d[2], atol=1e-4)
    monkeypatch.setattr(fit_module, "_PAPER_CHUNK", 3)
    config = FitConfig(solver="paper", paper=PaperConfig(**FAST), threads=2)
    parts = fit_hands(
        scene.pixels, None, scene.side, scene.focal, scene.center, load_open_hand(), embedded_prior(), config
    )
    np.testing.assert_allclose(parts.joints_3d, together.joints_3d, atol=1e-4)


def test_only_the_solver_paper_needs_torch(make_scene: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(2)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"whim\[train\]"):
        fit_scene(scene)
    arguments = (None, scene.side, scene.focal, scene.center, load_open_hand(), embedded_prior())
    assert np.isfinite(fit_hands(scene.pixels, *arguments, FitConfig()).cost).all()
    code = "import sys, whim.fitting.fit; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"solver": "adam"},
        {"paper": {"components": 0}},
        {"paper": {"biomechanics": -1.0}},
        {"paper": {"learning_rate": 0.0}},
        {"paper": {"weight": 1.0}},
    ],
)
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FitConfig(**wrong)
