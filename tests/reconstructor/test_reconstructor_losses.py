"""Eq. 8: equal to loops, independent of the batch, deaf to what is not known, felt by every parameter."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from whim.reconstructor.config import LossConfig
from whim.reconstructor.losses import Discriminator, Objective, Truth, reference

CONFIGS = {
    "paper": LossConfig(),
    "released": LossConfig.released(),
    "as printed": LossConfig(
        vertices_count_as=None, adversarial_form="norm", pose_space="6d", keypoints_3d=0.02
    ),
}
FIELDS = ("pose_6d", "rotations", "betas", "vertices", "keypoints", "keypoints_2d")


def arrays(record, names) -> dict[str, np.ndarray]:
    return {name: getattr(record, name).detach().double().numpy() for name in names}


def partly_known(truth: Truth) -> Truth:
    """The same, with some of each field missing: not a number, not valid."""
    lacks = {
        "keypoints_2d": ("keypoints_2d_valid", (slice(0, 2), slice(3, 9))),
        "keypoints_3d": ("keypoints_3d_valid", (slice(1, 3), slice(0, 5))),
        "vertices": ("vertices_valid", slice(2, 4)),
        "betas": ("betas_valid", slice(0, 3, 2)),
    }
    changed = {f.name: getattr(truth, f.name).clone() for f in dataclasses.fields(truth)}
    for name, (valid, where) in lacks.items():
        changed[name][where] = float("nan")
        changed[valid][where] = 0.0
    changed["rotations"][1] = float("nan")
    changed["hand_pose_valid"][1] = 0.0
    changed["global_orient_valid"][1] = 0.0
    return Truth(**changed)


@pytest.fixture
def result(make_network):
    return make_network()(torch.randn(4, 3, 64, 64))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_terms_equal_the_reference(result, make_truth, config) -> None:
    truth = partly_known(make_truth(4))
    total, terms = Objective(config)(result, truth)
    known = arrays(truth, [f.name for f in dataclasses.fields(truth)])
    expected = {}
    for stage, weight in (("coarse", config.coarse), ("refined", config.refined)):
        if weight > 0:
            made = arrays(getattr(result, stage), FIELDS)
            for name, value in reference.supervised(config, made, known).items():
                expected[f"{stage}/{name}"] = weight * value
    assert {name: float(value.detach()) for name, value in terms.items()} == pytest.approx(expected, rel=1e-4)
    assert float(total.detach()) == pytest.approx(sum(expected.values()), rel=1e-4)
    assert sum(value > 0 for value in expected.values()) >= 5


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_adversarial_losses_equal_the_reference(make_truth, result, config) -> None:
    discriminator, objective = Discriminator(), Objective(config)
    real = make_truth(7, vertices=1)
    weights = {name: value.detach().double().numpy() for name, value in discriminator.state_dict().items()}

    def judged(pose, betas):
        hands = zip(pose.detach().double().numpy(), betas.detach().double().numpy(), strict=True)
        return np.stack([reference.judge(weights, *hand) for hand in hands])

    made_scores = judged(result.final.hand_pose, result.final.betas)
    real_scores = judged(real.rotations[:, 1:], real.betas)
    assert made_scores.shape == (4, 17)
    found = objective.adversarial(discriminator, result.final)
    assert float(found.detach()) == pytest.approx(reference.adversarial(config, made_scores), rel=1e-4)
    found = objective.discriminator(discriminator, result.final, real.rotations[:, 1:], real.betas)
    expected = reference.discriminator(config, made_scores, real_scores)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)


def test_the_discriminator_has_the_released_size() -> None:
    assert sum(p.numel() for p in Discriminator().parameters()) == 1_545_211


def test_each_network_learns_from_its_own_loss_only(make_network, make_truth) -> None:
    network, discriminator, objective = make_network(), Discriminator(), Objective(LossConfig())
    real = make_truth(3, vertices=1)
    final = network(torch.randn(2, 3, 64, 64)).final
    objective.adversarial(discriminator, final).backward(retain_graph=True)
    assert all(p.grad is None for p in discriminator.parameters())
    assert network.refinement.pose.weight.grad.any()
    network.zero_grad()
    objective.discriminator(discriminator, final, real.rotations[:, 1:], real.betas).backward()
    assert all(p.grad is None for p in network.parameters())
    assert all(p.grad.any() for p in discriminator.parameters())


def loss_and_gradients(network, objective, pictures, truth):
    network.zero_grad()
    result = network(pictures)
    loss = objective(result, truth)[0] + objective.adversarial(_discriminator(), result.final)
    loss.backward()
    return float(loss.detach()), torch.cat([p.grad.flatten() for p in network.parameters()])


def _discriminator() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator()


def test_the_batch_size_does_not_change_the_objective(make_network, make_truth) -> None:
    """Twice the same hands give the same loss, and a batch that of its parts, though unlike things are known."""
    network, objective = make_network(), Objective(LossConfig())  # evaluation mode: no batch statistics
    pictures, truth = torch.randn(4, 3, 64, 64), partly_known(make_truth(4))
    once = loss_and_gradients(network, objective, pictures, truth)
    both = torch.arange(4).repeat(2)
    twice = loss_and_gradients(network, objective, pictures[both], truth[both])
    parts = [
        loss_and_gradients(network, objective, pictures[part], truth[part])
        for part in (slice(0, 2), slice(2, 4))
    ]
    assert twice[0] == pytest.approx(once[0], rel=1e-5)
    assert (parts[0][0] + parts[1][0]) / 2 == pytest.approx(once[0], rel=1e-5)
    assert abs(parts[0][0] - parts[1][0]) > 1e-3
    torch.testing.assert_close(twice[1], once[1], atol=1e-5, rtol=1e-3)
    torch.testing.assert_close((parts[0][1] + parts[1][1]) / 2, once[1], atol=1e-5, rtol=1e-3)


NEEDS = {
    "keypoints_2d": ("keypoints_2d_valid",),
    "vertices": ("vertices_valid", "keypoints_3d_valid"),
    "keypoints_3d": ("keypoints_3d_valid",),
    "hand_pose": ("hand_pose_valid",),
    "global_orient": ("global_orient_valid",),
    "betas": ("betas_valid",),
}


@pytest.mark.parametrize("term", NEEDS)
def test_what_is_not_known_has_no_value_and_no_gradient(make_network, make_truth, term) -> None:
    """One field at a time is known, of one hand of three; all else is NaN."""
    config, truth = LossConfig(), make_truth(3)
    if term == "keypoints_3d":
        config = LossConfig(keypoints_3d=0.05)
    changed = {
        f.name: torch.full_like(getattr(truth, f.name), float("nan")) for f in dataclasses.fields(truth)
    }
    for name in changed:
        if name.endswith("_valid"):
            changed[name] = torch.zeros_like(changed[name])
    for valid in NEEDS[term]:
        changed[valid][1] = getattr(truth, valid)[1]
    sources = {"hand_pose": "rotations", "global_orient": "rotations"}
    for name in {sources.get(term, term)} | ({"keypoints_3d"} if term == "vertices" else set()):
        changed[name][1] = getattr(truth, name)[1]
    pictures = torch.randn(3, 3, 64, 64, requires_grad=True)
    total, terms = Objective(config)(make_network()(pictures), Truth(**changed))
    # With vertices also the keypoints relative to the wrist are known, but they weigh nothing beside vertices.
    assert {name.split("/")[1] for name, value in terms.items() if value > 0} == {term}
    total.backward()
    assert torch.isfinite(pictures.grad).all()
    assert pictures.grad[1].any()
    assert not pictures.grad[[0, 2]].any()


def test_hands_without_vertices_learn_from_their_keypoints(result, make_truth) -> None:
    truth = dataclasses.replace(make_truth(4), vertices_valid=torch.tensor([1.0, 0, 0, 1]))
    terms = Objective(LossConfig()).supervised(result.final, truth)
    assert terms["keypoints_3d"] > 0
    none = Objective(LossConfig(keypoints_for_vertices=False)).supervised(result.final, truth)
    assert none["keypoints_3d"] == 0
    torch.testing.assert_close(none["vertices"], terms["vertices"])


def test_nothing_known_is_no_loss(result) -> None:
    total, _ = Objective(LossConfig())(result, Truth.unlabelled(4, 778))
    assert total == 0.0


def test_a_network_without_refinement_is_supervised_once(make_network, make_truth) -> None:
    result = make_network(refinement=None)(torch.randn(2, 3, 64, 64))
    _, terms = Objective(LossConfig.released())(result, make_truth(2))
    assert {name.split("/")[0] for name in terms} == {"coarse"}


@pytest.mark.parametrize(
    "changes",
    [{}, {"refinement__alignment": "released", "refinement__pyramid": "separate"}, {"refinement": None}],
)
def test_a_training_step_moves_every_parameter(make_network, make_truth, changes) -> None:
    """The released optimiser forgot the refinement module."""
    network, discriminator = make_network(fresh=True, **changes).train(), Discriminator()
    objective, truth = Objective(LossConfig()), make_truth(4)
    network.tokens.set_means(truth.rotations[0], truth.betas[0], torch.tensor([4.0, 0.1, 0.1]))
    optimisers = [torch.optim.AdamW(m.parameters(), lr=1e-3) for m in (network, discriminator)]
    before = [[p.detach().clone() for p in m.parameters()] for m in (network, discriminator)]
    result = network(torch.randn(4, 3, 64, 64))
    (objective(result, truth)[0] + objective.adversarial(discriminator, result.final)).backward()
    objective.discriminator(discriminator, result.final, truth.rotations[:, 1:], truth.betas).backward()
    for module, optimiser, old in zip((network, discriminator), optimisers, before, strict=True):
        still = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == []
        optimiser.step()
        assert not any(torch.equal(p, q) for p, q in zip(module.parameters(), old, strict=True))


def test_it_learns_some_hands_by_heart(make_network, open_hand) -> None:
    """Truth made by another network of the same kind, so that it can be reached."""
    pictures = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        wanted = make_network()(pictures).final
    truth = dataclasses.replace(
        Truth.unlabelled(4, len(open_hand.v_template)),
        **{name: getattr(wanted, name) for name in ("keypoints_2d", "vertices", "rotations", "betas")},
        **{name: torch.ones(4) for name in ("vertices_valid", "hand_pose_valid", "global_orient_valid")},
        betas_valid=torch.ones(4),
        keypoints_2d_valid=torch.ones(4, 21),
        keypoints_3d=wanted.keypoints,
        keypoints_3d_valid=torch.ones(4, 21),
    )
    network, objective = make_network(fresh=True).train(), Objective(LossConfig())
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss, terms = objective(network(pictures), truth)
        loss.backward()
        optimiser.step()
        losses.append({name: float(value.detach()) for name, value in terms.items()})
    for name in ("refined/keypoints_2d", "refined/vertices", "coarse/vertices"):
        assert losses[-1][name] < 0.6 * losses[0][name], name
