"""Fitting whole batches: accuracy, sides, camera, and hands that cannot be fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from whim.conventions import Side
from whim.fitting import fit as fit_module
from whim.fitting.config import FitConfig
from whim.fitting.fit import fit_hands
from whim.fitting.result import FitResult
from whim.geometry.camera import assumed_focal
from whim.hands import kinematics
from whim.hands.mirror import mirror_points, mirror_pose, mirror_translation
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import embedded_prior
from whim.metrics.pose import mpjpe, pa_mpjpe

NUMBERS = ("global_orient", "hand_pose", "betas", "translation", "joints_3d", "violation", "cost")


def fit(keypoints: Any, side: Any, focal: Any, center: Any, scores: Any = None, **more: Any) -> FitResult:
    world = more.pop("world", None)
    return fit_hands(
        keypoints, scores, side, focal, center, load_open_hand(), embedded_prior(), FitConfig(**more), world
    )


def test_one_percent_noise_leaves_a_few_millimetres(make_scene: Callable) -> None:
    scene = make_scene(200, seed=1, noise=0.01)
    result = fit(scene.pixels, scene.side, scene.focal, scene.center)
    error = 1e3 * pa_mpjpe(result.joints_3d, scene.joints)
    assert error.mean() < 4.5
    assert np.median(error) < 3.5
    assert result.residual.mean() < 0.015
    assert (result.violation > np.radians(20)).sum() == 0
    assert result.converged.mean() > 0.8
    assert set(np.unique(result.start)) <= {0, 1, 2, 3}
    depth = np.abs(result.joints_3d[:, 0, 2] / scene.joints[:, 0, 2] - 1.0)
    assert np.median(depth) < 0.06  # size and distance of a hand cannot be told apart


def test_joints_are_those_of_the_parameters_and_reproject(make_scene: Callable) -> None:
    scene = make_scene(20)
    sides = np.arange(20) % 2
    result = fit(scene.pixels, sides, scene.focal, scene.center)
    joints = kinematics.keypoints(
        load_open_hand(), result.betas, result.hand_pose, result.global_orient, result.translation, sides
    )
    np.testing.assert_allclose(result.joints_3d, joints, atol=1e-12)
    right = sides == Side.RIGHT
    seen = joints[..., :2] / joints[..., 2:] * scene.focal[:, None, None] + scene.center[:, None]
    distance = np.linalg.norm(seen - scene.pixels, axis=2).mean(axis=1)
    np.testing.assert_allclose(result.residual[right], (distance / scene.box)[right], rtol=1e-9)
    assert result.residual[right].mean() < 0.012
    assert result.topology == load_open_hand().topology


def test_a_left_hand_is_fitted_as_its_mirror_image(make_scene: Callable) -> None:
    scene = make_scene(30, noise=0.01)
    right = fit(scene.pixels, scene.side, scene.focal, scene.center, world=scene.joints)
    flipped = scene.pixels.copy()
    flipped[..., 0] = 2 * scene.center[:, None, 0] - flipped[..., 0]
    left = fit(flipped, 1 - scene.side, scene.focal, scene.center, world=mirror_points(scene.joints))
    np.testing.assert_allclose(left.joints_3d, mirror_points(right.joints_3d), atol=1e-9)
    np.testing.assert_allclose(left.translation, mirror_translation(right.translation), atol=1e-9)
    np.testing.assert_allclose(left.hand_pose, mirror_pose(right.hand_pose), atol=1e-7)
    np.testing.assert_allclose(left.global_orient, mirror_pose(right.global_orient), atol=1e-7)
    for name in ("betas", "residual", "violation", "cost"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), atol=1e-7)


def test_the_picture_does_not_tell_the_side(make_scene: Callable) -> None:
    """Why the side is decided before the fit: with distant hands, the wrong one fits as well."""
    scene = make_scene(40, seed=3)
    far = scene.joints - scene.joints.mean(axis=1, keepdims=True) + (0.0, 0.0, 20.0)
    pixels = far[..., :2] / far[..., 2:] * 30_000 + scene.center[:, None]
    focal = np.full(40, 30_000.0)
    right, wrong = (fit(pixels, np.full(40, side), focal, scene.center) for side in (Side.RIGHT, Side.LEFT))
    assert np.median(wrong.cost) == pytest.approx(np.median(right.cost), rel=0.05)
    assert np.median(pa_mpjpe(wrong.joints_3d, far)) > 2 * np.median(pa_mpjpe(right.joints_3d, far))


def test_a_hand_near_the_border_is_fitted_as_well_as_one_in_the_middle(make_scene: Callable) -> None:
    scene = make_scene(60, seed=5)
    errors = {}
    for place in (0.0, 0.45):
        joints = scene.joints - scene.joints.mean(axis=1, keepdims=True) + (place, 0.0, 0.6)
        pixels = joints[..., :2] / joints[..., 2:] * 600 + scene.center[:, None]
        result = fit(pixels, scene.side, np.full(60, 600.0), scene.center)
        errors[place] = 1e3 * np.median(pa_mpjpe(result.joints_3d, joints))
        assert (
            np.median(np.abs(result.joints_3d[:, 0, 0] / result.joints_3d[:, 0, 2] * 0.6 - joints[:, 0, 0]))
            < 0.1
        )
    assert errors[0.45] < errors[0.0] + 1.0


def test_the_principal_point_moves_the_hand_not_its_pose(make_scene: Callable) -> None:
    scene = make_scene(10)
    here = fit(scene.pixels, scene.side, scene.focal, scene.center)
    shift = np.array([100.0, -50.0])
    there = fit(scene.pixels + shift, scene.side, scene.focal, scene.center + shift)
    np.testing.assert_allclose(there.joints_3d, here.joints_3d, atol=1e-6)


def test_scores_decide_what_is_believed(make_scene: Callable) -> None:
    scene = make_scene(40, seed=2)
    wrong = scene.pixels.copy()
    wrong[:, [8, 12]] += 0.15 * scene.box[:, None, None]
    scores = np.ones((40, 21))
    trusting = fit(wrong, scene.side, scene.focal, scene.center, scores=scores)
    scores[:, [8, 12]] = 0.01
    warned = fit(wrong, scene.side, scene.focal, scene.center, scores=scores)
    assert (
        pa_mpjpe(warned.joints_3d, scene.joints).mean()
        < 0.8 * pa_mpjpe(trusting.joints_3d, scene.joints).mean()
    )


@pytest.mark.parametrize("keypoint", [0, 5, 8])
def test_an_outlier_and_a_missing_keypoint_do_little_harm(make_scene: Callable, keypoint: int) -> None:
    scene = make_scene(60, seed=4)
    clean = fit(scene.pixels, scene.side, scene.focal, scene.center)
    broken = scene.pixels.copy()
    broken[:20, keypoint] = np.nan
    broken[20:40, keypoint] += 10 * scene.box[20:40, None]
    broken[40:, keypoint] = np.inf
    result = fit(broken, scene.side, scene.focal, scene.center)
    assert np.isfinite(result.joints_3d).all()
    harm = 1e3 * (pa_mpjpe(result.joints_3d, scene.joints) - pa_mpjpe(clean.joints_3d, scene.joints))
    assert harm.mean() < 3.0
    assert (result.residual[20:40] > 0.1).all()  # the outlier shows in the quality flag


def test_a_guess_of_the_detector_is_one_more_start(make_scene: Callable) -> None:
    scene = make_scene(50, seed=6, noise=0.02)
    world = scene.joints - scene.joints[:, :1]
    world[::2] = np.nan
    result = fit(scene.pixels, scene.side, scene.focal, scene.center, world=world)
    assert np.isfinite(result.cost).all()
    assert (result.start <= 4).all()
    assert (result.start[1::2] == 4).any()


def hopeless(scene: Any) -> dict[str, dict[str, np.ndarray]]:
    base = {
        "keypoints": scene.pixels[:1],
        "side": scene.side[:1],
        "focal": scene.focal[:1],
        "center": scene.center[:1],
    }
    five = np.full((1, 21, 2), np.nan)
    five[:, :5] = scene.pixels[:1, :5]
    return {
        "nan": {**base, "keypoints": np.full((1, 21, 2), np.nan)},
        "infinite": {**base, "keypoints": np.full((1, 21, 2), -np.inf)},
        "huge": {**base, "keypoints": scene.pixels[:1] * 1e200},
        "equal": {**base, "keypoints": np.full((1, 21, 2), 77.0)},
        "nearly equal": {**base, "keypoints": 1e6 + 1e-7 * scene.pixels[:1]},
        "five": {**base, "keypoints": five},
        "no score": {**base, "scores": np.zeros((1, 21))},
        "bad score": {**base, "scores": np.full((1, 21), np.nan)},
        "no side": {**base, "side": np.array([Side.UNKNOWN])},
        "no focal": {**base, "focal": np.array([np.nan])},
        "zero focal": {**base, "focal": np.array([0.0])},
        "no center": {**base, "center": np.array([[np.nan, 0.0]])},
    }


@pytest.mark.filterwarnings("error")
def test_hopeless_hands_are_flagged_and_leave_the_others_alone(make_scene: Callable) -> None:
    scene = make_scene(4)
    good = fit(scene.pixels, scene.side, scene.focal, scene.center, scores=np.ones((4, 21)))
    for name, case in hopeless(scene).items():
        scores = np.concatenate([np.ones((4, 21)), case.get("scores", np.ones((1, 21)))])
        joined = [
            np.concatenate([ours, case[key]])
            for key, ours in (
                ("keypoints", scene.pixels),
                ("side", scene.side),
                ("focal", scene.focal),
                ("center", scene.center),
            )
        ]
        result = fit(*joined, scores=scores)
        assert result.start[4] == -1, name
        assert not result.converged[4], name
        for field in (*NUMBERS, "residual"):
            assert np.isnan(getattr(result, field)[4]).all(), (name, field)
            np.testing.assert_allclose(getattr(result, field)[:4], getattr(good, field), atol=1e-6)


@pytest.mark.filterwarnings("error")
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e3, 1e7]), focal=st.floats(1e-2, 1e7))
def test_any_finite_nonsense_gives_finite_hands_or_a_flag(seed: int, scale: float, focal: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=scale, size=(3, 21, 2))
    points[1] = points[1, :1] + np.linspace(0, 1, 21)[:, None] * scale  # a straight line
    points[2, rng.integers(0, 21, 8)] = np.nan
    result = fit(points, rng.integers(0, 2, 3), np.full(3, focal), rng.normal(scale=scale, size=(3, 2)))
    fitted = result.start >= 0
    for field in NUMBERS:
        values = getattr(result, field)
        assert np.isfinite(values[fitted]).all(), field
        assert np.isnan(values[~fitted]).all(), field
    assert (result.joints_3d[fitted][..., 2] > 0).all()


def test_empty_and_single_batches(make_scene: Callable) -> None:
    nothing = fit(
        np.zeros((0, 21, 2)), np.zeros(0, int), np.zeros(0), np.zeros((0, 2)), world=np.zeros((0, 21, 3))
    )
    assert len(nothing) == 0
    assert nothing.joints_3d.shape == (0, 21, 3)
    scene = make_scene(5)
    together = fit(scene.pixels, scene.side, scene.focal, scene.center)
    alone = fit(scene.pixels[2:3], scene.side[2:3], scene.focal[2:3], scene.center[2:3])
    np.testing.assert_allclose(alone.joints_3d[0], together.joints_3d[2], atol=1e-6)


def test_chunks_and_threads_change_nothing(make_scene: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(30)
    whole = fit(scene.pixels, scene.side, scene.focal, scene.center)
    monkeypatch.setattr(fit_module, "_CHUNK", 7)
    parts = fit(scene.pixels, scene.side, scene.focal, scene.center, threads=3)
    np.testing.assert_allclose(parts.joints_3d, whole.joints_3d, atol=1e-6)


def test_wrong_shapes_are_named(make_scene: Callable) -> None:
    scene = make_scene(3)
    with pytest.raises(ValueError, match=r"focal must have the shape \(3,\)"):
        fit(scene.pixels, scene.side, scene.focal[:2], scene.center)
    with pytest.raises(ValueError, match=r"keypoints must have the shape \(3, 21, 2\)"):
        fit(scene.pixels[:, :20], scene.side, scene.focal, scene.center)


def test_the_camera_distance_follows_the_focal_length(make_scene: Callable) -> None:
    scene = make_scene(10)
    near, far = (fit(scene.pixels, scene.side, scene.focal * factor, scene.center) for factor in (1, 3))
    ratio = far.joints_3d[:, 0, 2] / near.joints_3d[:, 0, 2]
    assert np.median(ratio) == pytest.approx(3.0, rel=0.1)
    assert mpjpe(near.joints_3d, scene.joints).mean() < 0.1
    assert assumed_focal(640, 480) == 800.0


def test_a_hand_with_pose_blend_shapes_and_a_wrist_off_the_origin(make_scene: Callable) -> None:
    """MANO has both."""
    scene, rng = make_scene(40, seed=8), np.random.default_rng(0)
    hand = load_open_hand()
    model = replace(
        hand,
        topology="other",
        v_template=hand.v_template + np.array([0.09, 0.006, 0.006]),
        posedirs=rng.normal(scale=2e-4, size=(len(hand.v_template), 3, 135)),
    )
    joints = kinematics.keypoints(model, scene.betas, scene.pose, scene.orient, scene.translation)
    pixels = joints[..., :2] / joints[..., 2:] * scene.focal[:, None, None] + scene.center[:, None]
    result = fit_hands(
        pixels, None, scene.side, scene.focal, scene.center, model, embedded_prior(), FitConfig()
    )
    assert 1e3 * np.median(pa_mpjpe(result.joints_3d, joints)) < 4.0
    assert result.residual.mean() < 0.012
    assert result.topology == "other"
    again = kinematics.keypoints(
        model, result.betas, result.hand_pose, result.global_orient, result.translation
    )
    np.testing.assert_allclose(result.joints_3d, again, atol=1e-12)


@pytest.mark.parametrize("wrong", [{"sigma": 0.0}, {"iterations": 0}, {"threads": 0}, {"sigmas": 1.0}])
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FitConfig(**wrong)


@pytest.mark.slow
def test_ten_thousand_hands(make_scene: Callable) -> None:
    scene = make_scene(10_000, noise=0.01)
    result = fit(scene.pixels, scene.side, scene.focal, scene.center, threads=2)
    assert np.isfinite(result.joints_3d).all()
    assert 1e3 * pa_mpjpe(result.joints_3d, scene.joints).mean() < 4.5
