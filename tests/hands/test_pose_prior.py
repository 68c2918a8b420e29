"""The sampler, the Gaussian on anatomical angles and the mesh PCA of eq. 4."""

from __future__ import annotations

import numpy as np
import pytest

from whim.hands import pose_prior as pp
from whim.hands.model import HandModel


def samples(model: HandModel, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 10)), pp.pose_from_angles(model, pp.sample_angles(rng, count))


def test_angles_and_poses_are_two_names_of_the_same(open_hand: HandModel) -> None:
    pose = np.random.default_rng(0).normal(scale=0.5, size=(50, 15, 3))
    angles = pp.anatomical_angles(open_hand, pose)
    np.testing.assert_allclose(pp.pose_from_angles(open_hand, angles), pose, atol=1e-12)
    lengths = np.linalg.norm(angles.reshape(50, 15, 3), axis=2)
    np.testing.assert_allclose(lengths, np.linalg.norm(pose, axis=2), rtol=1e-12)


def test_sampled_poses_are_anatomical() -> None:
    angles = pp.sample_angles(np.random.default_rng(0), 4000)
    low, high = pp.ANGLE_LIMITS
    assert (angles >= low).all()
    assert (angles <= high).all()
    by_joint = angles.reshape(-1, 15, 3)
    flexion = by_joint[:, :12, 1].reshape(-1, 4, 3)
    fingers_together = np.corrcoef(flexion[:, 0, 0], flexion[:, 3, 0])[0, 1]
    last_follows = np.corrcoef(flexion[:, 1, 1], flexion[:, 1, 2])[0, 1]
    assert fingers_together > 0.4
    assert last_follows > 0.8
    spread, curl = np.abs(by_joint[:, 0, 2]), flexion[:, 0, 0]
    assert spread[curl > np.radians(70)].mean() < 0.7 * spread[curl < np.radians(10)].mean()


def test_the_gaussian_is_that_of_the_samples() -> None:
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(45, 45))
    angles = rng.normal(size=(60_000, 45)) @ mixing.T + 0.3
    prior = pp.fit_gaussian(angles, widen=2.0)
    expected = 2.0 * mixing @ mixing.T
    assert np.abs(prior.covariance - expected).max() < 0.05 * np.abs(expected).max()
    np.testing.assert_allclose(prior.covariance @ prior.precision, np.eye(45), atol=1e-6)
    np.testing.assert_allclose(prior.mean, 0.3, atol=0.15)


@pytest.mark.parametrize(
    "angles",
    [np.zeros((10, 45)), np.zeros((100, 45)), np.zeros((100, 44)), np.full((100, 45), np.nan)],
    ids=["few", "still", "short", "nan"],
)
def test_useless_samples_are_refused(angles: np.ndarray) -> None:
    with pytest.raises(ValueError, match="angles"):
        pp.fit_gaussian(angles)


def test_the_embedded_prior_is_always_the_same_and_positive() -> None:
    prior = pp.embedded_prior()
    again = pp.fit_gaussian(pp.sample_angles(np.random.default_rng(0), 20_000), widen=1.5)
    np.testing.assert_array_equal(prior.precision, again.precision)
    assert np.linalg.eigvalsh(prior.precision).min() > 0.0
    assert prior.violation(prior.mean[None])[0] == 0.0


def test_violation_is_the_worst_excess() -> None:
    prior = pp.embedded_prior()
    angles = np.clip(np.zeros((2, 45)), *prior.limits)
    angles[1, 1] = prior.limits[1][1] + 0.3
    angles[1, 5] = prior.limits[0][5] - 0.1
    np.testing.assert_allclose(prior.violation(angles), [0.0, 0.3], atol=1e-12)


def test_eq_4_is_the_distance_to_the_subspace(open_hand: HandModel) -> None:
    betas, pose = samples(open_hand, 300)
    prior = pp.fit_mesh_prior(open_hand, betas, pose, 10)
    np.testing.assert_allclose(prior.components @ prior.components.T, np.eye(10), atol=1e-10)
    mesh = pp.aligned_meshes(open_hand, betas[:20], pose[:20])
    literal = np.linalg.norm((mesh - prior.reconstruct(mesh)).reshape(20, -1), axis=1)
    np.testing.assert_allclose(prior.loss(mesh), literal, rtol=1e-9)
    inside = prior.reconstruct(mesh)
    assert prior.loss(inside).max() < 1e-6
    assert prior.loss(prior.mean.reshape(1, -1, 3))[0] < 1e-9
    assert prior.topology == open_hand.topology


def test_streamed_components_equal_those_of_all_meshes_at_once(
    open_hand: HandModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pp, "_BATCH", 64)
    betas, pose = samples(open_hand, 150)
    prior = pp.fit_mesh_prior(open_hand, betas, pose, 5)
    meshes = pp.aligned_meshes(open_hand, betas, pose).reshape(150, -1)
    _, singular, rows = np.linalg.svd(meshes - meshes.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(prior.mean, meshes.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(prior.variances, singular[:5] ** 2 / 150, rtol=1e-6)
    np.testing.assert_allclose(np.abs(prior.components @ rows[:5].T), np.eye(5), atol=1e-5)


def test_more_components_explain_more(open_hand: HandModel) -> None:
    betas, pose = samples(open_hand, 300)
    mesh = pp.aligned_meshes(open_hand, *samples(open_hand, 50, seed=1))
    losses = [pp.fit_mesh_prior(open_hand, betas, pose, d).loss(mesh).mean() for d in (5, 20, 45)]
    assert losses[0] > 2 * losses[1] > 4 * losses[2]
    with pytest.raises(ValueError, match="components"):
        pp.fit_mesh_prior(open_hand, betas[:5], pose[:5], 10)


def test_meshes_are_compared_without_place_and_turn(open_hand: HandModel) -> None:
    betas, pose = samples(open_hand, 3)
    mesh = pp.aligned_meshes(open_hand, betas, pose)
    np.testing.assert_allclose(open_hand.J_regressor[0] @ open_hand.v_template, open_hand.J_template[0])
    wrist = np.einsum("v,bvc->bc", open_hand.J_regressor[0], mesh)
    assert np.abs(wrist).max() < 2e-3  # the wrist's own vertices bend a little with the fingers
