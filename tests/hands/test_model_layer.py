"""The torch layer: equal to numpy, right gradients, and a clear word when torch is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from whim.conventions import Side
from whim.errors import MissingExtraError
from whim.hands import kinematics
from whim.hands.layer import HandLayer
from whim.hands.mano import load_mano
from whim.hands.model import HandModel


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="the layer needs the extra 'train'")


def tensors(torch, hands, dtype=None):
    return [torch.as_tensor(x, dtype=dtype or torch.float32) for x in hands]


@pytest.fixture(params=["open hand", "with pose blend shapes"])
def model(request, open_hand: HandModel, mano_content, write_pickle) -> HandModel:
    return open_hand if request.param == "open hand" else load_mano(write_pickle(mano_content))


@pytest.mark.parametrize("side", [Side.RIGHT, Side.LEFT, np.array([0, 1, 1, 0, 1])])
def test_it_equals_numpy(torch, model: HandModel, random_hands, side) -> None:
    hands = random_hands(5)
    layer = HandLayer(model)
    for name in ("keypoints", "vertices"):
        expected = getattr(kinematics, name)(model, *hands, side)
        found = getattr(layer, name)(*tensors(torch, hands), side)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_matrices_and_vectors_give_the_same(torch, open_hand: HandModel, random_hands) -> None:
    betas, pose, orient, shift = random_hands(4)
    matrices = kinematics.rotation_from_axis_angle(pose), kinematics.rotation_from_axis_angle(orient)
    layer = HandLayer(open_hand, dtype=torch.float64)
    sides = np.array([0, 1, 0, 1])
    for name in ("keypoints", "vertices"):
        found = getattr(layer, name)(*tensors(torch, (betas, *matrices, shift), torch.float64), sides)
        expected = getattr(kinematics, name)(open_hand, betas, pose, orient, shift, sides)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_gradients_equal_finite_differences(torch, model: HandModel, random_hands) -> None:
    layer = HandLayer(model, dtype=torch.float64)
    hands = [x.requires_grad_() for x in tensors(torch, random_hands(2), torch.float64)]
    assert torch.autograd.gradcheck(lambda *h: layer.keypoints(*h, np.array([0, 1])), hands)


def test_gradients_are_finite_at_the_rest_pose(torch, open_hand: HandModel) -> None:
    layer = HandLayer(open_hand)
    hands = [torch.zeros(shape, requires_grad=True) for shape in ((1, 10), (1, 15, 3), (1, 3), (1, 3))]
    (layer.keypoints(*hands) ** 2).sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in hands)
    assert hands[1].grad.abs().max() > 0


def test_no_hand_and_unknown_side(torch, open_hand: HandModel, random_hands) -> None:
    layer = HandLayer(open_hand)
    nobody = [x[:0] for x in tensors(torch, random_hands(1))]
    assert layer.keypoints(*nobody).shape == (0, 21, 3)
    assert layer.vertices(*nobody).shape == (0, 778, 3)
    with pytest.raises(ValueError, match="needs a side"):
        layer.keypoints(*tensors(torch, random_hands(2)), torch.tensor([1, -1]))


def test_without_torch_it_names_the_extra(open_hand: HandModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"whim\[train\]"):
        HandLayer(open_hand)
