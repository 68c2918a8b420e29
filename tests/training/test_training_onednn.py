"""Strided 1x1 convolutions of few channels compute the same when they pick their pixels first."""

from __future__ import annotations

import copy

import torch

from whim.training.onednn import take_strides_first


def test_the_same_numbers_and_gradients() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1, 2), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3, 2, 1))
    changed = copy.deepcopy(plain)
    take_strides_first(changed)
    assert [layer.stride for layer in changed[::2]] == [(1, 1), (2, 2)]
    changed = copy.deepcopy(changed).to(
        memory_format=torch.channels_last
    )  # as the loop copies and lays it out
    assert changed.state_dict().keys() == plain.state_dict().keys()
    pictures = torch.randn(2, 3, 33, 24)
    wanted = plain(pictures)
    found = changed(pictures.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, wanted)
    wanted.square().sum().backward()
    found.square().sum().backward()
    for one, other in zip(changed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad.contiguous(), other.grad, rtol=1e-4, atol=1e-4)
