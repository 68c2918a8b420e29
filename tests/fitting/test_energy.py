"""Gradient and Gauss-Newton matrix of the fit's energy against finite differences, and the solver on it."""

from __future__ import annotations

import numpy as np
import pytest

from whim.conventions import OPENPOSE_TO_MANO
from whim.fitting.energy import HandEnergy, Observations
from whim.fitting.lm import best_minimum, minimise
from whim.fitting.state import UNKNOWNS, HandState
from whim.hands import kinematics
from whim.hands.kinematics import rotation_from_axis_angle
from whim.hands.model import HandModel
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import embedded_prior

BATCH = 8


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_open_hand()


@pytest.fixture(scope="module")
def energy(model: HandModel) -> HandEnergy:
    return HandEnergy(model, embedded_prior(), sigma=0.03, huber=2.0, limit_sigma=float(np.radians(4)))


def random_state(seed: int = 0, spread: float = 0.3) -> HandState:
    rng = np.random.default_rng(seed)
    return HandState(
        rotation=rotation_from_axis_angle(rng.normal(size=(BATCH, 3))),
        angles=embedded_prior().mean + rng.normal(scale=spread, size=(BATCH, 45)),
        betas=rng.normal(scale=0.7, size=(BATCH, 10)),
        log_scale=np.log(rng.uniform(5, 9, BATCH)),
        shift=rng.normal(scale=0.3, size=(BATCH, 2)),
    )


def observed(energy: HandEnergy, state: HandState, noise: float, seed: int = 1) -> Observations:
    rng = np.random.default_rng(seed)
    inverse_focal = np.linspace(0.0, 0.3, BATCH)  # from weak perspective to a hand near the lens
    points = energy.points(state)
    scale = np.exp(state.log_scale)[:, None]
    depth = 1 + scale * points[..., 2] * inverse_focal[:, None]
    flat = (state.shift[:, None] + scale[..., None] * points[..., :2]) / depth[..., None]
    weights = rng.uniform(0.2, 1.0, (BATCH, 21))
    weights[:, 3] = 0.0
    return Observations(
        points=flat + noise * rng.normal(size=flat.shape), weights=weights, inverse_focal=inverse_focal
    )


def numeric_gradient(energy: HandEnergy, state: HandState, seen: Observations) -> np.ndarray:
    step, result = 1e-6, np.empty((BATCH, UNKNOWNS))
    for k in range(UNKNOWNS):
        change = np.zeros((BATCH, UNKNOWNS))
        change[:, k] = step
        ahead, behind = (energy.cost(state.stepped(s * change), seen) for s in (1, -1))
        result[:, k] = (ahead - behind) / (2 * step)
    return result


def test_points_are_those_of_the_kinematics(model: HandModel, energy: HandEnergy) -> None:
    state = random_state()
    rotation = kinematics.rotation_from_axis_angle
    orient = np.zeros((BATCH, 3))
    straight = HandState(**{**vars(state), "rotation": rotation(orient)})
    expected = kinematics.keypoints(model, state.betas, energy.axis_angles(state.angles), orient, orient)
    points = energy.points(straight)
    found = (
        points
        + kinematics.forward(model, state.betas, energy.axis_angles(state.angles), orient, orient).joints[
            :, :1
        ]
    )
    np.testing.assert_allclose(found, expected[:, list(OPENPOSE_TO_MANO)], atol=1e-12)


@pytest.mark.parametrize("noise", [0.01, 0.3], ids=["quadratic", "robust"])
def test_gradient_equals_finite_differences(energy: HandEnergy, noise: float) -> None:
    state = random_state()
    seen = observed(energy, random_state(seed=2, spread=0.1) if noise > 0.1 else state, noise)
    gradient, _ = energy.system(state, seen)
    expected = numeric_gradient(energy, state, seen)
    # Jacobians are kept in single precision.
    error = np.abs(gradient - expected).max(axis=1) / np.abs(expected).max(axis=1)
    assert error.max() < 1e-5
    for group in (slice(0, 3), slice(3, 48), slice(48, 58), slice(58, 59), slice(59, 61)):
        scale = np.abs(expected[:, group]).max()
        np.testing.assert_allclose(gradient[:, group], expected[:, group], atol=2e-5 * scale)


def test_matrix_is_the_curvature_where_residuals_vanish(energy: HandEnergy) -> None:
    state = random_state(spread=0.02)
    seen = observed(energy, state, 0.0)
    _, matrix = energy.system(state, seen)
    step = 1e-5
    for k in range(0, UNKNOWNS, 4):
        change = np.zeros((BATCH, UNKNOWNS))
        change[:, k] = step
        ahead, _ = energy.system(state.stepped(change), seen)
        behind, _ = energy.system(state.stepped(-change), seen)
        column = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(column[:, k], matrix[:, k, k], rtol=0.02)
    np.testing.assert_allclose(matrix, np.swapaxes(matrix, 1, 2), rtol=1e-4, atol=1e-2)
    assert np.linalg.eigvalsh(matrix).min() > 0.0


def test_missing_keypoints_do_not_count(energy: HandEnergy) -> None:
    state = random_state()
    seen = observed(energy, state, 0.05)
    moved = Observations(**{**vars(seen), "points": seen.points.copy()})
    moved.points[:, 3] += 5.0
    np.testing.assert_array_equal(energy.cost(state, seen), energy.cost(state, moved))
    for one, other in zip(energy.system(state, seen), energy.system(state, moved), strict=True):
        np.testing.assert_allclose(one, other)


def test_a_keypoint_behind_the_lens_costs_infinitely(energy: HandEnergy) -> None:
    state = random_state()
    seen = observed(energy, state, 0.0)
    near = Observations(**{**vars(seen), "inverse_focal": np.full(BATCH, 20.0)})
    behind = energy.points(state)[..., 2].min(axis=1) < -0.01
    assert behind.sum() >= BATCH // 2
    state, near = state.take(behind), near.take(behind)
    assert np.isinf(energy.cost(state, near)).all()
    found = minimise(energy, state, near, 3)
    assert not found.converged.any()
    np.testing.assert_array_equal(found.state.angles, state.angles)


def test_every_accepted_step_lowers_the_energy(energy: HandEnergy) -> None:
    start = random_state(spread=0.2)
    seen = observed(energy, random_state(seed=4, spread=0.2), 0.02)
    costs = [energy.cost(start, seen)]
    for iterations in range(1, 12):
        found = minimise(energy, start, seen, iterations)
        np.testing.assert_allclose(found.cost, energy.cost(found.state, seen), rtol=1e-9)
        costs.append(found.cost)
    assert (np.diff(costs, axis=0) <= 1e-9).all()
    assert (costs[-1] < 0.5 * costs[0]).all()


def test_at_the_minimum_the_gradient_vanishes(energy: HandEnergy) -> None:
    seen = observed(energy, random_state(spread=0.1), 0.01)
    found = minimise(energy, random_state(seed=0, spread=0.1), seen, 60)
    assert found.converged.all()
    start_gradient, _ = energy.system(random_state(seed=3), seen)
    gradient, matrix = energy.system(found.state, seen)
    # What one more Newton step would still gain.
    left = 0.5 * (gradient * np.linalg.solve(matrix, gradient[..., None])[..., 0]).sum(axis=1)
    assert (left < 0.01 * found.cost).all()
    assert np.abs(gradient).max() < 0.05 * np.abs(start_gradient).max()


def test_the_best_start_wins(energy: HandEnergy) -> None:
    truth = random_state(spread=0.1)
    seen = observed(energy, truth, 0.005)
    starts = [random_state(seed=11), truth, random_state(seed=12)]
    best, chosen = best_minimum(energy, starts, seen, 10)
    assert (best.cost <= 1.02 * minimise(energy, truth, seen, 10).cost).all()
    np.testing.assert_allclose(best.cost, energy.cost(best.state, seen), rtol=1e-9)
    again, reversed_choice = best_minimum(energy, starts[::-1], seen, 10)
    np.testing.assert_allclose(again.cost, best.cost, rtol=1e-6)
    np.testing.assert_array_equal(reversed_choice, 2 - chosen)
    only, first = best_minimum(energy, [truth], seen, 10)
    assert (first == 0).all()
    assert (only.cost >= best.cost * (1 - 1e-3)).all()
