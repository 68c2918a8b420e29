"""The discriminator in the shared loop: one optimiser does what two would, and truth is exact in half precision."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from whim.conventions import Side  # noqa: E402
from whim.hands.mirror import mirror_pose  # noqa: E402
from whim.hands.open_hand import load_open_hand  # noqa: E402
from whim.reconstructor.config import LossConfig, NetworkConfig, VitConfig  # noqa: E402
from whim.reconstructor.data.labels import HandLabels  # noqa: E402
from whim.reconstructor.losses.objective import Objective  # noqa: E402
from whim.reconstructor.losses.truth import Truth  # noqa: E402
from whim.reconstructor.network import Reconstructor  # noqa: E402
from whim.reconstructor.training.adversary import Contest, real_hands  # noqa: E402
from whim.reconstructor.training.task import ReconstructorTask  # noqa: E402

HAND = load_open_hand()
SMALL = NetworkConfig(backbone=VitConfig(size="tiny", depth=1, width=32, heads=2), crop=64, width=48)


@pytest.fixture
def contest() -> Contest:
    torch.manual_seed(0)
    return Contest(Reconstructor(SMALL, HAND), Objective(LossConfig(adversarial=0.3, discriminator=0.7)))


def real(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.eye(3).repeat(count, 15, 1, 1), torch.zeros(count, 10)


def test_one_step_together_is_one_step_of_each(contest: Contest) -> None:
    torch.manual_seed(1)
    pictures, apart = torch.randn(3, 3, 64, 64), copy.deepcopy(contest)
    optimiser = torch.optim.AdamW(contest.parameters(), lr=1e-2, weight_decay=0.1)
    two = [
        torch.optim.AdamW(part.parameters(), lr=1e-2, weight_decay=0.1)
        for part in (apart.reconstructor, apart.discriminator)
    ]
    objective = apart._objective
    for _ in range(3):
        result, fooled, found = contest(pictures, *real(6))
        optimiser.zero_grad()
        (result.final.keypoints_2d.square().sum() + fooled + found).backward()
        optimiser.step()

        # The usual alternation: first the maker, then the discriminator on the hands that were made.
        result = apart.reconstructor(pictures)
        loss = result.final.keypoints_2d.square().sum()
        loss = loss + objective.adversarial(apart.discriminator, result.final)
        two[0].zero_grad()
        loss.backward()
        two[0].step()
        two[1].zero_grad()
        objective.discriminator(apart.discriminator, result.final, *real(6)).backward()
        two[1].step()
    for (name, a), (_, b) in zip(contest.named_parameters(), apart.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_real_hands_are_right_hands(contest: Contest) -> None:
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 0.3, (2, 15, 3)).astype(np.float32)
    pose[1] = mirror_pose(pose[0])
    nothing = np.full((2, 21, 3), np.nan, np.float32)
    hands = HandLabels(
        picture=np.zeros(2, np.int64),
        box=np.zeros((2, 4), np.float32),
        side=np.array([Side.RIGHT, Side.LEFT]),
        keypoints_2d=nothing[..., :2],
        joints_3d=nothing,
        global_orient=np.zeros((2, 3), np.float32),
        hand_pose=pose,
        betas=np.ones((2, 10), np.float32),
        translation=np.zeros((2, 3), np.float32),
        recording=np.zeros(2, np.int64),
    )
    found = real_hands([hands], HAND, seed=0)
    assert len(found.pose) == 2
    torch.testing.assert_close(found.pose[0], found.pose[1])
    hands.hand_pose[:] = np.nan
    made = real_hands([hands], HAND, seed=0)
    assert len(made.pose) > 1000
    assert "prior" in made.origin
    torch.testing.assert_close(made.pose @ made.pose.mT, torch.eye(3).expand_as(made.pose), atol=1e-5, rtol=0)


def test_the_truth_stays_exact_in_half_precision(contest: Contest) -> None:
    task = ReconstructorTask.__new__(ReconstructorTask)
    task.model = contest
    truth = Truth.unlabelled(4, len(HAND.v_template))
    truth.rotations[:] = torch.eye(3)
    truth.betas[:] = torch.linspace(-2, 2, 10)
    for name in ("hand_pose", "global_orient", "betas"):
        getattr(truth, f"{name}_valid")[:2] = 1.0
    exact = task._complete(truth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = task._complete(truth)
    assert torch.equal(exact.vertices, again.vertices)
    assert exact.vertices_valid.tolist() == [1, 1, 0, 0]
    assert exact.keypoints_3d_valid.sum(dim=1).tolist() == [21, 21, 0, 0]
