"""Small networks whose every weight matters, and hands with labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from whim.hands.model import HandModel
from whim.hands.open_hand import load_open_hand
from whim.reconstructor.config import NetworkConfig, RefineConfig, VitConfig
from whim.reconstructor.losses import Truth
from whim.reconstructor.network import Reconstructor


@pytest.fixture(scope="session")
def open_hand() -> HandModel:
    return load_open_hand()


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(5)


def tiny_config(**changes: Any) -> NetworkConfig:
    """64 x 48 pixels, 4 x 3 tokens of 32 channels. Keys ``refinement__x`` change the refinement."""
    inner = {key.split("__")[1]: changes.pop(key) for key in list(changes) if "__" in key}
    values: dict[str, Any] = {
        "crop": 64,
        "width": 48,
        "backbone": VitConfig(size="tiny", width=32, depth=2, heads=4),
        "refinement": RefineConfig(**inner),
    }
    return NetworkConfig(**{**values, **changes})


@pytest.fixture
def make_network(open_hand: HandModel) -> Callable[..., Reconstructor]:
    """A network in evaluation mode with random weights, none zero, none small; the hand stays inside the crop."""

    def make(*, fresh: bool = False, **changes: Any) -> Reconstructor:
        network = Reconstructor(tiny_config(**changes), open_hand)
        if fresh:  # as a training begins
            return network
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if name.startswith("tokens.mean_") or not value.is_floating_point():
                    continue
                noise = torch.randn(value.shape, generator=generator)
                if name.endswith("running_var"):
                    value.copy_(1.0 + 0.3 * noise.abs())
                elif "camera" in name and "_out" in name:
                    value.copy_(0.02 * noise)
                elif "refinement.camera" in name:
                    value.copy_(0.01 * noise)
                elif "patch_embed.layers" in name and value.ndim > 1:  # seven ReLUs in a row swallow less
                    value.copy_(noise * (2.0 / value[0].numel() ** 0.5))
                elif value.ndim > 1:
                    value.copy_(noise * (0.5 / value[0].numel() ** 0.5))
                else:  # norms have the only weights with one dimension
                    value.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * noise)
            # In the middle of the crop: the open hand reaches 18 cm to the left of its wrist.
            network.tokens.mean_camera.copy_(torch.tensor([[4.0, 0.08, 0.0]]))
        return network.eval()

    return make


@pytest.fixture
def make_truth() -> Callable[..., Truth]:
    """Random labels, all valid with different weights."""

    def make(batch: int, vertices: int = 778, seed: int = 1) -> Truth:
        g = torch.Generator().manual_seed(seed)
        rotations, _ = torch.linalg.qr(torch.randn(batch, 16, 3, 3, generator=g))
        return Truth(
            keypoints_2d=0.3 * torch.randn(batch, 21, 2, generator=g),
            keypoints_2d_valid=torch.rand(batch, 21, generator=g),
            keypoints_3d=0.1 * torch.randn(batch, 21, 3, generator=g),
            keypoints_3d_valid=0.1 + torch.rand(batch, 21, generator=g),
            vertices=0.1 * torch.randn(batch, vertices, 3, generator=g),
            vertices_valid=torch.ones(batch),
            rotations=rotations,
            global_orient_valid=torch.ones(batch),
            hand_pose_valid=torch.ones(batch),
            betas=torch.randn(batch, 10, generator=g),
            betas_valid=torch.ones(batch),
        )

    return make
