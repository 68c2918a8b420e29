"""The literal energy of eqs. 2-4: against a plain loop in numpy, and its slopes against finite differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whim.conventions import MANO_TO_OPENPOSE, OPENPOSE_TO_MANO
from whim.errors import UsageError
from whim.fitting.config import PaperConfig
from whim.fitting.energy import Observations
from whim.fitting.state import HandState
from whim.hands import kinematics
from whim.hands.biomechanics import bone_length_loss, embedded_limits, joint_angle_loss, root_bone_loss
from whim.hands.kinematics import rotation_from_axis_angle
from whim.hands.model import HandModel
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import (
    MeshPrior,
    aligned_meshes,
    embedded_mesh_prior,
    embedded_prior,
    fit_mesh_prior,
    pose_from_angles,
    sample_angles,
)

torch = pytest.importorskip("torch", reason="the solver 'paper' needs the extra 'train'")

from whim.fitting.paper import energy as paper  # noqa: E402
from whim.fitting.paper.partial import farthest_points, partial_hand  # noqa: E402

BATCH = 4
WEIGHTS = {"projection": 0.7, "biomechanics": 0.4, "mesh_prior": 0.9, "shape": 0.01}
UNKNOWN = ("turn", "angles", "betas", "log_scale", "shift")


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_open_hand()


@pytest.fixture(scope="module")
def mesh_prior(model: HandModel) -> MeshPrior:
    """Eight components of the whole mesh, from few samples."""
    rng = np.random.default_rng(0)
    return fit_mesh_prior(
        model, rng.normal(size=(200, 10)), pose_from_angles(model, sample_angles(rng, 200)), 8
    )


def random_state(seed: int = 0) -> HandState:
    rng = np.random.default_rng(seed)
    return HandState(
        rotation=rotation_from_axis_angle(rng.normal(size=(BATCH, 3))),
        angles=embedded_prior().mean + rng.normal(scale=0.5, size=(BATCH, 45)),
        betas=rng.normal(size=(BATCH, 10)),
        log_scale=np.log(rng.uniform(5, 9, BATCH)),
        shift=rng.normal(scale=0.3, size=(BATCH, 2)),
    )


def random_picture(seed: int = 1) -> Observations:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 1.0, (BATCH, 21))
    weights[:, 3] = 0.0
    return Observations(
        points=rng.normal(scale=0.3, size=(BATCH, 21, 2)),
        weights=weights,
        inverse_focal=np.linspace(0.0, 0.3, BATCH),
    )


def slow_terms(
    model: HandModel, prior: MeshPrior, d: int, state: HandState, seen: Observations, weak: bool
) -> list[dict[str, float]]:
    """Eqs. 2-4, hand by hand and point by point."""
    result = []
    for i in range(BATCH):
        one = state.take(np.array([i]))
        pose = pose_from_angles(model, one.angles)
        still = np.zeros((1, 3))
        points = kinematics.keypoints(model, one.betas, pose, still, still)[0]
        points = (points - points[0]) @ one.rotation[0].T
        scale, focal = np.exp(one.log_scale[0]), 0.0 if weak else seen.inverse_focal[i]
        projection = 0.0
        for k, (x, y, z) in enumerate(points[list(OPENPOSE_TO_MANO)]):
            depth = 1.0 + scale * z * focal
            u, v = (one.shift[0] + scale * np.array([x, y])) / depth
            projection += (
                seen.weights[i, k] * (abs(u - seen.points[i, k, 0]) + abs(v - seen.points[i, k, 1])) / 21
            )
        mesh = aligned_meshes(model, one.betas, pose)[0].ravel()
        basis = prior.components[:d]
        rebuilt = (mesh - prior.mean) @ basis.T @ basis + prior.mean
        palm = np.linalg.norm(model.J_template[4] - model.J_template[0])
        limits = embedded_limits()
        result.append(
            {
                "projection": projection,
                "biomechanics": bone_length_loss(points[None], limits)[0]
                + joint_angle_loss(points[None], limits)[0],
                "root_bones": root_bone_loss(points[None], limits)[0],
                "mesh_prior": np.sqrt(((mesh - rebuilt) ** 2).sum() / len(model.v_template)) / palm,
                "shape": (one.betas[0] ** 2).sum(),
            }
        )
    return result


@pytest.mark.parametrize("switches", [{}, {"root_bones": True}, {"weak_perspective": True}])
def test_the_energy_is_that_of_a_plain_loop(
    model: HandModel, mesh_prior: MeshPrior, switches: Mapping[str, bool]
) -> None:
    config = PaperConfig(**WEIGHTS, components=6, **switches)
    energy = paper.PaperEnergy(model, config, mesh_prior=mesh_prior, dtype=torch.float64)
    state, seen = random_state(), random_picture()
    slow = slow_terms(model, mesh_prior, 6, state, seen, config.weak_perspective)
    terms, visible = energy.terms(energy.unknowns(state), energy.target(seen))
    assert visible.all()
    for name, found in terms.items():
        expected = np.array([hand[name] for hand in slow])
        if name == "biomechanics" and config.root_bones:
            expected += [hand["root_bones"] for hand in slow]
        assert expected.min() > 1e-3
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-6)
    total, _ = energy(energy.unknowns(state), energy.target(seen))
    expected = sum(WEIGHTS[name] * loss.detach().numpy() for name, loss in terms.items())
    np.testing.assert_allclose(total.detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("whole", [True, False])
def test_slopes_are_those_of_finite_differences(model: HandModel, mesh_prior: MeshPrior, whole: bool) -> None:
    config = PaperConfig(**WEIGHTS, components=6, root_bones=True, vertices=None if whole else 32)
    energy = paper.PaperEnergy(model, config, mesh_prior=mesh_prior if whole else None, dtype=torch.float64)
    unknowns, target = energy.unknowns(random_state()), energy.target(random_picture())
    torch.nn.init.normal_(unknowns.turn, std=0.3, generator=torch.Generator().manual_seed(0))

    def cost(*free: Any) -> Any:
        moved = paper.Unknowns(base=unknowns.base, **dict(zip(UNKNOWN, free, strict=True)))
        return energy(moved, target)[0]

    free = [getattr(unknowns, name) for name in UNKNOWN]
    assert torch.autograd.gradcheck(cost, free, atol=1e-6, fast_mode=whole)


def test_slopes_are_those_of_the_plain_loop(model: HandModel, mesh_prior: MeshPrior) -> None:
    config = PaperConfig(**WEIGHTS, components=6)
    energy = paper.PaperEnergy(model, config, mesh_prior=mesh_prior, dtype=torch.float64)
    state, seen, rng, step = random_state(3), random_picture(4), np.random.default_rng(5), 1e-6
    unknowns = energy.unknowns(state)
    energy(unknowns, energy.target(seen))[0].sum().backward()
    slope = np.concatenate([tensor.grad.reshape(BATCH, -1).numpy() for tensor in unknowns.free()], axis=1)
    for _ in range(5):
        way = rng.normal(size=(BATCH, 61))  # in the order of a step: turn, angles, betas, scale, shift

        def slow_cost(sign: float, way: np.ndarray = way) -> np.ndarray:
            terms = slow_terms(model, mesh_prior, 6, state.stepped(sign * step * way), seen, False)
            return np.array([sum(WEIGHTS[name] * hand[name] for name in WEIGHTS) for hand in terms])

        numeric = (slow_cost(1.0) - slow_cost(-1.0)) / (2 * step)
        np.testing.assert_allclose((slope * way).sum(axis=1), numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_a_weight_of_zero_switches_its_term_off(model: HandModel, name: str) -> None:
    weights = {**WEIGHTS, name: 0.0}
    energy = paper.PaperEnergy(model, PaperConfig(**weights, vertices=32, components=4))
    terms, _ = energy.terms(energy.unknowns(random_state()), energy.target(random_picture()))
    assert set(terms) == set(WEIGHTS) - {name}


def test_a_hand_at_the_lens_is_reported_and_has_finite_slopes(model: HandModel) -> None:
    energy = paper.PaperEnergy(model, PaperConfig(mesh_prior=0.0))
    state, seen = random_state(), random_picture()
    near = HandState(**{**vars(state), "log_scale": np.array([2.0, 2.0, 2.0, 5.0])})
    unknowns = energy.unknowns(near)
    total, visible = energy(unknowns, energy.target(seen))
    assert visible.tolist() == [True, True, True, False]
    total.sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in unknowns.free())


def test_states_survive_the_way_to_tensors_and_back(model: HandModel) -> None:
    energy, state = paper.PaperEnergy(model, PaperConfig(mesh_prior=0.0)), random_state()
    unknowns = energy.unknowns(state)
    again = energy.state(unknowns)
    for name, value in vars(state).items():
        np.testing.assert_allclose(getattr(again, name), value, atol=1e-6)
    turn = np.random.default_rng(0).normal(size=(BATCH, 3))
    with torch.no_grad():
        unknowns.turn.copy_(torch.tensor(turn))
    np.testing.assert_allclose(
        energy.state(unknowns).rotation, rotation_from_axis_angle(turn) @ state.rotation, atol=1e-5
    )
    seen = random_picture()
    order = list(MANO_TO_OPENPOSE)
    np.testing.assert_allclose(energy.target(seen).points.numpy(), seen.points[:, order], atol=1e-6)


def test_a_prior_of_another_mesh_is_refused(model: HandModel, mesh_prior: MeshPrior) -> None:
    with pytest.raises(UsageError, match="has 8 components; 10"):
        paper.PaperEnergy(model, PaperConfig(), mesh_prior=mesh_prior)
    with pytest.raises(UsageError, match="vertices to null"):
        paper.PaperEnergy(model, PaperConfig(vertices=32, components=4), mesh_prior=mesh_prior)


@pytest.mark.parametrize("blend_shapes", [False, True])
def test_some_vertices_of_a_hand_are_those_of_the_whole(model: HandModel, blend_shapes: bool) -> None:
    rng = np.random.default_rng(0)
    if blend_shapes:  # as MANO has them
        model = replace(model, posedirs=rng.normal(scale=2e-4, size=(len(model.v_template), 3, 135)))
    part = partial_hand(model, 50)
    hands = (
        rng.normal(size=(3, 10)),
        rng.normal(scale=0.5, size=(3, 15, 3)),
        *rng.normal(size=(2, 3, 3)),
    )
    rows = farthest_points(model.v_template, 50)
    np.testing.assert_allclose(
        kinematics.vertices(part, *hands), kinematics.vertices(model, *hands)[:, rows], atol=1e-12
    )
    np.testing.assert_allclose(
        kinematics.keypoints(part, *hands), kinematics.keypoints(model, *hands), atol=1e-12
    )
    assert part.topology != model.topology
    assert embedded_mesh_prior(part, 4).topology == part.topology
    with pytest.raises(ValueError, match="no 779"):
        partial_hand(model, 779)


def test_farthest_points_cover_the_mesh(model: HandModel) -> None:
    points = model.v_template
    rows = farthest_points(points, 100)
    assert len(set(rows.tolist())) == 100
    assert sorted(farthest_points(points, len(points)).tolist()) == list(range(len(points)))

    def gap(chosen: np.ndarray) -> float:
        return np.linalg.norm(points[:, None] - points[chosen][None], axis=2).min(axis=1).max()

    lucky = min(gap(np.random.default_rng(seed).choice(len(points), 100)) for seed in range(5))
    assert gap(rows) < 0.6 * lucky
